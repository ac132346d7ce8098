//! Addresses that come and go: what was told at the start, what a DHCP server gives and what routers advertise.
//!
//! When an address goes, everything that was said from it ends without a word: who speaks in the name of an address
//! that somebody else may have by now does harm. When one comes, everybody on the wire is told.

use super::Stack;
use crate::config::{Cidr, Config, News, Whereabouts};
use crate::gate::limit::Limit;
use crate::house::arp::{Arp, EVERYBODY};
use crate::house::dhcp::{self, Dhcp};
use crate::house::groups::Groups;
use crate::house::lease::Lease;
use crate::house::ndp::{self, Ndp};
use crate::house::near::{self, Near};
use crate::house::places::{Addresses, is_link_local};
use crate::house::routers::{self, Advertisement};
use crate::house::slaac::{self, Slaac};
use crate::out::{Parcel, direct};
use crate::wire::dhcp::{CLIENT, Heard, SERVER, Said};
use crate::wire::{Ends, Ip, udp};
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use world::{Checksum, Help, Instant, NicFacts};

/// News that wait to be told.
const NEWS: usize = 16;
/// The least time between two words in defence of an address.
const DEFENCE: Duration = Duration::from_secs(10);
/// What becomes of us when three addresses were somebody else's.
const ON_THIS_WIRE: &str = "we go on with the others, and have none that is good on this wire only";
const UNDER_A_PREFIX: &str =
    "others are tried when a router advertises the prefix again, in a minute or later";
/// Steps of one turn: more follow at once in the next.
const STEPS: usize = 16;

/// Where we are, and how we know.
pub(crate) struct Estate {
    /// What was told at the start.
    pub(super) fixed: Addresses,
    /// Our address on this wire only, where IPv6 is spoken.
    pub(super) near: Option<Near>,
    pub(super) groups: Groups,
    /// What addresses of our own making follow from.
    stable: Option<[u8; 16]>,
    dhcp: Option<Dhcp>,
    lease: Option<Lease>,
    pub(super) slaac: Option<Slaac>,
    /// The largest packet of either family.
    mtu: [usize; 2],
    widest: usize,
    /// When somebody was last told that an address is ours.
    defended: Option<Instant>,
    news: VecDeque<News>,
    telling: Limit,
}

impl Estate {
    pub(super) fn new(config: &Config, facts: &NicFacts, now: Instant) -> Self {
        let v6 = config.slaac || config.addresses.iter().any(|cidr| cidr.address.is_ipv6());
        Self {
            fixed: Addresses::new(config),
            near: v6.then(|| Near::new(facts.mac)),
            groups: Groups::default(),
            stable: config.stable,
            dhcp: config.dhcp.then(|| Dhcp::new(facts.mac, facts.mtu, now)),
            lease: None,
            slaac: config.slaac.then(|| Slaac::new(facts.mtu, now)),
            mtu: [facts.mtu; 2],
            widest: facts.mtu,
            defended: None,
            news: VecDeque::new(),
            telling: Limit::a_second(4),
        }
    }

    fn tell(&mut self, now: Instant, news: News) {
        if self.news.len() < NEWS && self.telling.allows(now) {
            self.news.push_back(news);
        }
    }

    /// What all sources say together.
    fn addresses(&self, now: Instant) -> Addresses {
        let (mut ours, mut stale) = (self.fixed.ours.clone(), Vec::new());
        let near = self.near.as_ref().and_then(Near::ours).map(IpAddr::V6);
        ours.extend(near.map(|address| Cidr { address, prefix: 64 }));
        ours.extend(self.lease.iter().map(Lease::cidr));
        for (home, fresh) in self.slaac.iter().flat_map(|slaac| slaac.homes(now)) {
            let address = IpAddr::V6(home.address);
            ours.push(Cidr { address, prefix: if home.on_link { 64 } else { 128 } });
            stale.extend((!fresh).then_some(address));
        }
        let mut gateways = self.fixed.gateways.clone();
        gateways.extend(self.lease.as_ref().and_then(|lease| lease.gateway).map(IpAddr::V4));
        gateways.extend(self.slaac.as_ref().and_then(Slaac::router).map(IpAddr::V6));
        Addresses { ours, gateways, stale, any: self.fixed.any }
    }
}

impl Stack {
    /// The largest packet that may go to `other`.
    pub(super) fn mtu(&self, other: IpAddr) -> usize {
        let [v4, v6] = self.estate.mtu;
        if other.is_ipv4() { v4 } else { v6 }
    }

    pub(crate) fn whereabouts(&self) -> Whereabouts {
        let addresses = &self.neighbours.addresses;
        let known = addresses.ours.iter().filter(|cidr| !is_link_local(cidr.address));
        let leased = self.estate.lease.iter().flat_map(|lease| &lease.resolvers).copied().map(IpAddr::V4);
        let told = self.estate.slaac.iter().flat_map(Slaac::resolvers).map(IpAddr::V6);
        Whereabouts {
            addresses: known.copied().collect(),
            gateways: addresses.gateways.clone(),
            resolvers: leased.chain(told).collect(),
        }
    }

    pub(crate) fn take_news(&mut self) -> Option<News> {
        self.estate.news.pop_front()
    }

    pub(super) fn announce_all(&mut self) {
        for cidr in &self.neighbours.addresses.ours {
            self.neighbours.announce(cidr.address, &mut self.out);
        }
    }

    /// Does what is due for our addresses, and says when to come back.
    pub(super) fn keep_house(&mut self) -> Option<Instant> {
        for _ in 0..STEPS {
            if !self.keep_near() && !self.keep_lease() && !self.keep_homes() {
                break;
            }
        }
        let groups = self.keep_groups();
        let estate = &self.estate;
        let dhcp = estate.dhcp.as_ref().map(Dhcp::deadline);
        let slaac = estate.slaac.as_ref().map(Slaac::deadline);
        let near = estate.near.as_ref().and_then(Near::deadline);
        [dhcp, slaac, near, groups].into_iter().flatten().min()
    }

    fn keep_near(&mut self) -> bool {
        let Some(step) = self.estate.near.as_mut().and_then(|near| near.turn(self.now)) else { return false };
        match step {
            near::Step::Probe(target) => self.ask_who_has(target),
            near::Step::Take => {
                self.estate.groups.begin_again(self.now);
                self.move_house("another took its place");
            }
        }
        true
    }

    fn keep_lease(&mut self) -> bool {
        let (now, secrets, made) = (self.now, &self.secrets, &mut self.made);
        let draw = || {
            *made += 1;
            secrets.number(*made)
        };
        let Some(step) = self.estate.dhcp.as_mut().and_then(|dhcp| dhcp.turn(now, draw)) else {
            return false;
        };
        self.follow(step);
        true
    }

    fn follow(&mut self, step: dhcp::Step) {
        let now = self.now;
        match step {
            dhcp::Step::Shout(said) => self.say_dhcp(&said, Ipv4Addr::BROADCAST),
            dhcp::Step::Say(said, server) => self.say_dhcp(&said, server),
            dhcp::Step::Probe(target) => {
                let (mac, sender) = (self.neighbours.mac(), Ipv4Addr::UNSPECIFIED);
                let frame = Arp { is_reply: false, mac, sender, target }.frame(EVERYBODY);
                self.out.push(Parcel { frame, help: Help::default() });
            }
            dhcp::Step::Take(lease) => {
                let news = found(&lease, self.estate.widest);
                if self.estate.lease.as_ref().map(Lease::cidr) != Some(lease.cidr()) {
                    self.estate.tell(now, news);
                }
                self.estate.lease = Some(lease);
                self.move_house("another took its place");
            }
            dhcp::Step::Leave(why) => {
                self.estate.lease = None;
                self.move_house(match why {
                    dhcp::Why::Expired => "no server renewed its lease",
                    dhcp::Why::Refused => "its server wants it back",
                });
            }
        }
    }

    /// Sends a DHCP message, to everybody or, from our address, to one server.
    fn say_dhcp(&mut self, said: &Said, to: Ipv4Addr) {
        let from = said.has.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let ends = Ends { local: SocketAddr::from((from, CLIENT)), remote: SocketAddr::from((to, SERVER)) };
        let mut frame = self.out.start(ends.remote.ip());
        udp::write(&mut frame, &ends, &said.write());
        let mut parcel = Parcel { frame, help: Help::default() };
        if to.is_broadcast() {
            direct(&mut parcel.frame, EVERYBODY);
            self.out.push(parcel);
        } else {
            self.out.route(self.now, &mut self.neighbours, to.into(), parcel);
        }
    }

    /// True if a datagram is for the DHCP client, which hears it before it has an address.
    pub(super) fn arrive_dhcp(&mut self, packet: &Ip<'_>, checksum: Checksum) -> bool {
        let Some(dhcp) = &mut self.estate.dhcp else { return false };
        let Some((ends, payload)) = udp::read(packet, checksum) else { return false };
        if ends.local.port() != CLIENT || ends.remote.port() != SERVER || !packet.to.is_ipv4() {
            return false;
        }
        let heard = Heard::read(payload, self.neighbours.mac());
        let step = heard.and_then(|heard| dhcp.hear(self.now, &heard));
        step.into_iter().for_each(|step| self.follow(step));
        true
    }

    /// Hears who says that it has an IPv4 address, or is about to take one. Ours we keep, and say so now and then
    /// (RFC 5227 §2.4 b): whoever gives up at a word can be talked off the network.
    pub(super) fn arrive_claim(&mut self, arp: &Arp) {
        let own = self.neighbours.addresses.is_own(arp.sender.into()) && arp.mac != self.neighbours.mac();
        if own && self.estate.defended.is_none_or(|at| self.now - at >= DEFENCE) {
            self.estate.defended = Some(self.now);
            self.neighbours.announce(arp.sender.into(), &mut self.out);
            self.estate.tell(self.now, News::Claimed(arp.sender.into(), arp.mac));
        }
        let claimed = if arp.sender.is_unspecified() { arp.target } else { arp.sender };
        let Some(dhcp) = &mut self.estate.dhcp else { return };
        if let Some(step) = dhcp.hear_of(self.now, claimed, arp.mac) {
            self.figures.taken += 1;
            self.estate.tell(self.now, News::Taken(claimed.into()));
            self.follow(step);
        }
    }

    /// Hears a router.
    pub(super) fn arrive_advertisement(&mut self, packet: &Ip<'_>) {
        let (mac, secrets, stable) = (self.neighbours.mac(), &self.secrets, self.estate.stable);
        let for_us = packet.to.is_multicast() || self.neighbours.addresses.is_own(packet.to);
        let Some(slaac) = self.estate.slaac.as_mut().filter(|_| for_us) else { return };
        if let Some((from, said)) = Advertisement::read(packet) {
            slaac.hear(self.now, from, &said, |prefix, tries| secrets.interface(stable, mac, prefix, tries));
        }
    }

    /// True if a message about neighbours is about an address that is to be ours, or that somebody else is about to
    /// take.
    pub(super) fn arrive_doubt(&mut self, mac: [u8; 6], from: Ipv6Addr, ndp: &Ndp) -> bool {
        let (ours, secrets, stable) = (self.neighbours.mac(), &self.secrets, self.estate.stable);
        if mac == ours || !(ndp.is_answer || from.is_unspecified()) {
            return false;
        }
        let draw = |prefix, tries| secrets.interface(stable, ours, prefix, tries);
        let (near, slaac) = (self.estate.near.as_mut(), self.estate.slaac.as_mut());
        let near = near.and_then(|near| near.hear_of(ndp.target, draw)).map(|more| (more, ON_THIS_WIRE));
        let home = || slaac.and_then(|slaac| slaac.hear_of(self.now, ndp.target, draw));
        if let Some((more, next)) = near.or_else(|| home().map(|more| (more, UNDER_A_PREFIX))) {
            let address = ndp.target.into();
            self.figures.taken += 1;
            self.estate
                .tell(self.now, if more { News::Taken(address) } else { News::Beaten { address, next } });
            self.regroup();
            return true;
        }
        let own = self.neighbours.addresses.is_own(ndp.target.into());
        if own && !ndp.is_answer && self.answers.allows(self.now) {
            self.neighbours.announce(ndp.target.into(), &mut self.out);
        }
        own
    }

    fn keep_homes(&mut self) -> bool {
        let now = self.now;
        let Some(step) = self.estate.slaac.as_mut().and_then(|slaac| slaac.turn(now)) else { return false };
        match step {
            slaac::Step::Ask => {
                let near = self.estate.near.as_ref().and_then(Near::ours);
                let frame = routers::question(self.neighbours.mac(), near.unwrap_or(Ipv6Addr::UNSPECIFIED));
                self.out.push(Parcel { frame, help: Help::default() });
            }
            slaac::Step::Probe(target) => self.ask_who_has(target),
            slaac::Step::Changed => self.move_house("no router renewed its prefix"),
        }
        true
    }

    /// Asks if anybody has an address that is to be ours; the answer may be a question to its group.
    fn ask_who_has(&mut self, target: Ipv6Addr) {
        self.regroup();
        let (group, ndp) = (ndp::group(target), Ndp { is_answer: false, target, mac: None });
        let group_mac = ndp::group_mac(group);
        let frame = ndp.frame(self.neighbours.mac(), group_mac, Ipv6Addr::UNSPECIFIED, group);
        self.out.push(Parcel { frame, help: Help::default() });
    }

    /// Takes up what all sources say now: what is gone is left, what is new is announced.
    fn move_house(&mut self, why: &'static str) {
        let addresses = self.estate.addresses(self.now);
        let before = core::mem::replace(&mut self.neighbours.addresses, addresses);
        for cidr in &before.ours {
            if !self.neighbours.addresses.is_own(cidr.address) {
                self.leave_address(cidr.address);
                self.neighbours.forget_network(cidr);
                self.estate.tell(self.now, News::Lost { address: cidr.address, why });
            }
        }
        for cidr in self.neighbours.addresses.ours.clone() {
            if !before.is_own(cidr.address) {
                self.neighbours.announce(cidr.address, &mut self.out);
                self.tell_home(cidr);
            }
        }
        self.regroup();
        self.narrow();
    }

    fn tell_home(&mut self, cidr: Cidr) {
        if cidr.address.is_ipv6() && !is_link_local(cidr.address) {
            let slaac = self.estate.slaac.as_ref();
            let gateway = slaac.and_then(Slaac::router).map(IpAddr::V6);
            let mtu = slaac.and_then(Slaac::mtu).unwrap_or(self.estate.widest);
            self.estate.tell(self.now, News::Found { address: cidr, gateway, lease: None, mtu });
        }
    }

    /// Ends what was said from an address.
    fn leave_address(&mut self, address: IpAddr) {
        let of_it =
            |(number, flow): (usize, &crate::flow::Flow)| (flow.ends.local.ip() == address).then_some(number);
        let gone: Vec<usize> = self.flows.iter().filter_map(of_it).collect();
        for number in gone {
            self.end(number, io::ErrorKind::AddrNotAvailable);
        }
        self.office.leave(address);
    }

    /// Takes up what the networks carry; connections that say more at a time say less from now on.
    fn narrow(&mut self) {
        let estate = &self.estate;
        let v4 = estate.lease.as_ref().and_then(|lease| lease.mtu);
        let v6 = estate.slaac.as_ref().and_then(Slaac::mtu);
        let mtu = [v4, v6].map(|mtu| mtu.unwrap_or(estate.widest));
        if core::mem::replace(&mut self.estate.mtu, mtu) == mtu {
            return;
        }
        for (_, flow) in &mut self.flows {
            let [v4, v6] = mtu;
            let mtu = if flow.ends.remote.is_ipv4() { v4 } else { v6 };
            let stamps = if flow.peer.stamp.is_some() { 12 } else { 0 };
            let most = mtu.saturating_sub(flow.ends.headers() + stamps);
            flow.mss = flow.mss.min(u16::try_from(most).unwrap_or(u16::MAX));
        }
    }
}

fn found(lease: &Lease, widest: usize) -> News {
    News::Found {
        address: lease.cidr(),
        gateway: lease.gateway.map(IpAddr::V4),
        lease: Some((lease.server.into(), lease.times.map(|times| times.end.as_secs()))),
        mtu: lease.mtu.unwrap_or(widest),
    }
}
