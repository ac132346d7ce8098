//! Datagrams on their way through the stack.

use super::Stack;
use crate::house::report::Report;
use crate::out::Parcel;
use crate::post::{Bounce, Letter, PostError};
use crate::wire::{Ends, Ip, ip, udp};
use core::task::Waker;
use std::net::SocketAddr;
use world::{Checksum, Help};

/// How often another port is drawn when one is taken.
const DRAWS: usize = 64;

impl Stack {
    /// A datagram for nobody is not answered: whoever scans learns nothing, and no victim hears of us.
    pub(super) fn arrive_udp(&mut self, packet: &Ip<'_>, checksum: Checksum) {
        let Some((ends, payload)) = udp::read(packet, checksum) else { return self.figures.malformed += 1 };
        self.figures.letters += 1;
        self.office.arrive(&ends, payload);
    }

    pub(super) fn arrive_bounce(&mut self, report: &Report) {
        self.office.bounce(&report.ends, report.trouble);
    }

    /// Opens a UDP port: the given one, or one that nobody can foresee.
    pub(crate) fn open_post(&mut self, port: Option<u16>) -> Result<u16, PostError> {
        if self.office.is_full() {
            return Err(PostError::TooMany);
        }
        if let Some(port) = port {
            return if self.office.open(port) { Ok(port) } else { Err(PostError::Taken(port)) };
        }
        for _ in 0..DRAWS {
            let port = self.draw_port();
            if self.office.open(port) {
                return Ok(port);
            }
        }
        Err(PostError::TooMany)
    }

    fn draw_port(&mut self) -> u16 {
        self.made += 1;
        self.secrets.post(self.made)
    }

    pub(crate) fn shut_post(&mut self, port: u16) {
        self.office.shut(port);
    }

    pub(crate) fn take_letter(&mut self, port: u16, waker: &Waker) -> Option<Result<Letter, Bounce>> {
        self.office.take(port, waker)
    }

    pub(crate) fn letters_lost(&self, port: u16) -> u64 {
        self.office.lost_at(port)
    }

    /// Sends a datagram to one other host.
    pub(crate) fn send(&mut self, port: u16, remote: SocketAddr, bytes: &[u8]) -> Result<(), PostError> {
        let addresses = &self.neighbours.addresses;
        let source = addresses.source(remote.ip()).filter(|_| addresses.next_hop(remote.ip()).is_some());
        let local = SocketAddr::new(source.ok_or(PostError::NoAddress)?, port);
        let ends = Ends { local, remote };
        if !ends.has_a_peer() || addresses.is_broadcast(remote.ip()) || addresses.is_own(remote.ip()) {
            return Err(PostError::NotAHost(remote));
        }
        let most = self.mtu(remote.ip()).saturating_sub(ip::header(remote.ip()) + udp::HEADER);
        if bytes.len() > most {
            return Err(PostError::TooLong(most));
        }
        self.office.write(&ends);
        let mut frame = self.out.start(remote.ip());
        udp::write(&mut frame, &ends, bytes);
        let parcel = Parcel { frame, help: Help::default() };
        self.out.route(self.now, &mut self.neighbours, remote.ip(), parcel);
        self.posted = true;
        Ok(())
    }
}
