//! The groups of our addresses, as they come and go, and the questions of routers and switches about them.

use super::Stack;
use super::address::Estate;
use crate::house::{mld, near::Near, slaac::Slaac};
use crate::house::{ndp, places::ALL_NODES};
use crate::out::Parcel;
use crate::wire::Ip;
use std::net::{IpAddr, Ipv6Addr};
use world::{Help, Instant};

impl Estate {
    /// The groups in which others look for addresses that are ours, or that are to be.
    fn groups(&self) -> Vec<Ipv6Addr> {
        let Some(near) = &self.near else { return Vec::new() };
        let fixed = self.fixed.ours.iter().filter_map(|cidr| match cidr.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        let made = self.slaac.iter().flat_map(Slaac::wanted);
        fixed.chain(near.wanted()).chain(made).map(ndp::group).collect()
    }
}

impl Stack {
    /// Takes up the groups of all addresses, and says at once what is new of them.
    pub(super) fn regroup(&mut self) {
        let groups = self.estate.groups();
        self.estate.groups.hear_only(self.now, &groups);
        self.keep_groups();
    }

    /// Says what is due of our groups, and when to come back.
    pub(super) fn keep_groups(&mut self) -> Option<Instant> {
        let due = self.estate.groups.deadline()?;
        if due <= self.now {
            let drawn = self.draw();
            let said = self.estate.groups.turn(self.now, drawn);
            let from = self.estate.near.as_ref().and_then(Near::ours).unwrap_or(Ipv6Addr::UNSPECIFIED);
            let old = self.estate.groups.is_old(self.now);
            for frame in mld::frames(self.neighbours.mac(), from, old, &said) {
                self.out.push(Parcel { frame, help: Help::default() });
            }
        }
        self.estate.groups.deadline()
    }

    /// Hears a question about groups, if it is one.
    pub(super) fn arrive_query(&mut self, packet: &Ip<'_>) {
        let Some(query) = mld::Query::read(packet) else { return };
        let groups = &self.estate.groups;
        let to_group = matches!(packet.to, IpAddr::V6(to) if to == ALL_NODES || groups.hears(to));
        if to_group || self.neighbours.addresses.is_own(packet.to) {
            let drawn = self.draw();
            self.estate.groups.hear(self.now, &query, drawn);
        }
    }

    /// A number that nobody can foresee.
    fn draw(&mut self) -> u32 {
        self.made += 1;
        self.secrets.number(self.made)
    }
}
