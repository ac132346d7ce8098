//! Addresses that come and go, and those who lie about them.

mod lease;
mod noise;
mod routers;

pub(super) use noise::{lies, repaired};

use super::cable::{FAIR, config};
use super::raw::{MAC, PORT, Wire, now, read};
use crate::house::arp::Arp;
use crate::house::ndp::{self, Ndp};
use crate::wire::dhcp::{Heard, Kind as Message};
use crate::wire::{ACK, Ends, Ethernet, Ip, Kind, Options, SYN, Segment, Seq, udp};
use crate::{Config, News, PostError, Why};
use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use world::Checksum;

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const GIVEN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);
const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A stack that has to find out where it is.
fn nowhere(dhcp: bool, slaac: bool) -> Wire {
    let mut wire = Wire::with(FAIR, Config { addresses: Vec::new(), dhcp, slaac, ..config(1) });
    wire.others.clear();
    wire
}

/// What was asked of DHCP servers since the last time: its number, its kind, and the packet's target.
fn asked(wire: &mut Wire) -> Vec<(u32, u8, Ipv4Addr)> {
    let frames = core::mem::take(&mut wire.others);
    frames.iter().filter_map(|frame| question(frame)).collect()
}

fn question(frame: &[u8]) -> Option<(u32, u8, Ipv4Addr)> {
    let ethernet = Ethernet::read(frame)?;
    let packet = Ip::read(ethernet.kind, ethernet.payload).ok()?;
    let IpAddr::V4(to) = packet.to else { return None };
    let (ends, said) = udp::read(&packet, Checksum::Unknown)?;
    if (ends.local.port(), ends.remote.port()) != (67, 68) {
        return None;
    }
    assert_eq!(said[28..34], OURS);
    Some((u32::from_be_bytes(said[4..8].try_into().unwrap()), said[242], to))
}

fn offer(kind: Message, xid: u32) -> Heard {
    Heard {
        kind,
        xid,
        yours: GIVEN,
        server: SERVER,
        mask: Some([255, 255, 255, 0].into()),
        router: Some(SERVER),
        resolvers: vec![[9, 9, 9, 9].into()],
        mtu: Some(1400),
        lease: Some(3600),
        renew: None,
        rebind: None,
    }
}

/// A server's message in a frame to us.
fn told(heard: &Heard) -> Vec<u8> {
    let ends = Ends { local: (heard.server, 67).into(), remote: (heard.yours, 68).into() };
    let mut frame = Kind::V4.header(OURS, MAC).to_vec();
    udp::write(&mut frame, &ends, &heard.write(OURS));
    frame
}

/// Looks, is offered, asks, is given, probes; says the number of the question.
fn lease(wire: &mut Wire, change: impl Fn(&mut Heard)) -> u32 {
    let found = |wire: &mut Wire| {
        let said = wire.pass(Duration::from_secs(1));
        assert!(said.is_empty(), "while it looks it says nothing else: {said:?}");
        asked(wire).last().filter(|(_, kind, _)| *kind == 1).copied()
    };
    let (xid, ..) = (0..90).find_map(|_| found(wire)).expect("it looks for a server");
    for (kind, then) in [(Message::Offer, 3), (Message::Ack, 0)] {
        let mut heard = offer(kind, xid);
        change(&mut heard);
        wire.frame(told(&heard));
        let asked = asked(wire);
        assert!(then == 0 || asked.iter().any(|(again, kind, _)| (*again, *kind) == (xid, then)));
    }
    assert!(wire.pass(Duration::from_secs(1)).is_empty());
    xid
}

fn news(wire: &mut Wire) -> Vec<News> {
    core::iter::from_fn(|| wire.net.news()).collect()
}

fn ours(wire: &Wire) -> Vec<IpAddr> {
    wire.handle().whereabouts().addresses.iter().map(|cidr| cidr.address).collect()
}

/// An option that tells a prefix.
pub(super) fn prefix(text: &str, len: u8, flags: u8, valid: u32, preferred: u32) -> Vec<u8> {
    let mut option = vec![3, 4, len, flags];
    option.extend(valid.to_be_bytes());
    option.extend(preferred.to_be_bytes());
    option.extend([0; 4]);
    option.extend(text.parse::<Ipv6Addr>().unwrap().octets());
    option
}

fn good_prefix(text: &str) -> Vec<u8> {
    prefix(text, 64, 0xc0, 86_400, 14_400)
}

/// What a router says, in a frame.
pub(super) fn advert(from: Ipv6Addr, lifetime: u16, options: &[Vec<u8>]) -> Vec<u8> {
    let [high, low] = lifetime.to_be_bytes();
    let mut body = vec![134, 0, 0, 0, 1, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
    options.iter().for_each(|option| body.extend(option));
    ndp::message((MAC, [0x33, 0x33, 0, 0, 0, 1]), from, ALL, body)
}

fn settled(wire: &mut Wire, frame: Vec<u8>) -> Vec<IpAddr> {
    wire.frame(frame);
    wire.pass(Duration::from_secs(2));
    ours(wire)
}

/// The target of a question that nobody asks who has an address already.
pub(super) fn probed(frame: &[u8]) -> Option<Ipv6Addr> {
    let ethernet = Ethernet::read(frame)?;
    let packet = Ip::read(ethernet.kind, ethernet.payload).ok()?;
    let ndp = Ndp::read(&packet)?;
    (!ndp.is_answer && packet.from.is_unspecified() && ndp.mac.is_none()).then_some(ndp.target)
}

fn probes(wire: &mut Wire) -> Vec<Ipv6Addr> {
    core::mem::take(&mut wire.others).iter().filter_map(|frame| probed(frame)).collect()
}

/// A question who has `target`, or the answer that somebody has it, from somebody else.
pub(super) fn objection(target: Ipv6Addr, is_answer: bool) -> Vec<u8> {
    let (ndp, group) = (Ndp { is_answer, target, mac: None }, ndp::group(target));
    match is_answer {
        true => ndp.frame(MAC, [0x33, 0x33, 0, 0, 0, 1], target, ALL),
        false => ndp.frame(MAC, ndp::group_mac(group), Ipv6Addr::UNSPECIFIED, group),
    }
}
