//! The groups that we hear, as routers and switches are told of them.

use super::address::{ROUTER, advert, objection, prefix, probed};
use super::cable::{FAIR, config};
use super::raw::{MAC, Wire};
use crate::house::ndp::{self, ICMPV6};
use crate::house::places::{ALL_NODES, link_local};
use crate::wire::{Ethernet, Ip, Kind, ip, sum::Sum};
use crate::{Cidr, Config};
use core::time::Duration;
use std::net::{IpAddr, Ipv6Addr};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Kinds of records, and of messages of old.
const HERE: u8 = 2;
const LEFT: u8 = 3;
const JOINED: u8 = 4;
const OLD_REPORT: u8 = 131;
const OLD_DONE: u8 = 132;

/// From whom, to whom, and of which groups it says what.
type Told = (Ipv6Addr, Ipv6Addr, Vec<(u8, Ipv6Addr)>);

/// A report; everything that must be the same in all of them is looked at here.
fn told(frame: &[u8]) -> Option<Told> {
    let ethernet = Ethernet::read(frame).unwrap();
    let packet = Ip::read(ethernet.kind, ethernet.payload).unwrap();
    let (IpAddr::V6(from), IpAddr::V6(to)) = (packet.from, packet.to) else { return None };
    if packet.protocol != ip::HOP_BY_HOP {
        return None;
    }
    assert_eq!((packet.hops, &packet.payload[..6]), (1, &[ICMPV6, 0, 5, 2, 0, 0][..]));
    assert_eq!(ethernet.to, ndp::group_mac(to));
    let message = &packet.payload[8..];
    assert_eq!(Sum::pseudo(packet.from, packet.to, ICMPV6, message.len()).add(message).checksum(), 0);
    let group = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&message[at..at + 16]).unwrap());
    let said = match message[0] {
        143 => (0..usize::from(message[7])).map(|n| (message[8 + 20 * n], group(12 + 20 * n))).collect(),
        old => vec![(old, group(8))],
    };
    Some((from, to, said))
}

fn reports(wire: &mut Wire) -> Vec<Told> {
    core::mem::take(&mut wire.others).iter().filter_map(|frame| told(frame)).collect()
}

/// With an address whose group is not that of our address on this wire.
fn fixed() -> Config {
    let cidr = Cidr { address: "fd00::7:7".parse().unwrap(), prefix: 64 };
    Config { addresses: vec![cidr], slaac: true, ..config(1) }
}

/// A stack that has said all of its own.
fn settled() -> Wire {
    let mut wire = Wire::with(FAIR, fixed());
    wire.pass(Duration::from_secs(5));
    wire.others.clear();
    wire
}

fn query(code: u16, group: Ipv6Addr, more: &[u8]) -> Vec<u8> {
    let (from, to) = ("fe80::9".parse().unwrap(), if group.is_unspecified() { ALL_NODES } else { group });
    let [a, b] = code.to_be_bytes();
    let mut body = [&[130, 0, 0, 0, a, b, 0, 0], &group.octets()[..], more].concat();
    let sum = Sum::pseudo(IpAddr::V6(from), to.into(), ICMPV6, body.len()).add(&body).checksum();
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = Kind::V6.header(ndp::group_mac(to), MAC).to_vec();
    ip::write(&mut frame, IpAddr::V6(from), to.into(), ip::HOP_BY_HOP, 8 + body.len(), 1);
    [frame, vec![ICMPV6, 0, 5, 2, 0, 0, 0, 0], body].concat()
}

const NEW: [u8; 4] = [2, 125, 0, 0];

fn group(address: &str) -> Ipv6Addr {
    ndp::group(address.parse().unwrap())
}

#[test]
fn a_switch_hears_of_a_group_before_anybody_is_asked_in_it_and_again_from_an_address() {
    let mut wire = Wire::with(FAIR, fixed());
    let (near, all) = (link_local(OURS), "ff02::16".parse().unwrap());
    let both = vec![(JOINED, group("fd00::7:7")), (JOINED, ndp::group(near))];
    let first = wire.others.iter().position(|frame| told(frame).is_some());
    let probe = wire.others.iter().position(|frame| probed(frame) == Some(near));
    assert!(first.unwrap() < probe.unwrap());
    assert_eq!(reports(&mut wire), [(Ipv6Addr::UNSPECIFIED, all, both.clone())]);
    wire.pass(Duration::from_secs(5));
    let again = reports(&mut wire);
    assert_eq!(again.last().unwrap(), &(near, all, both));
    assert!((2..=3).contains(&again.len()), "{again:?}");
    wire.pass(Duration::from_secs(1000));
    assert_eq!(reports(&mut wire), [], "and is not told again unless somebody asks");
}

#[test]
fn questions_of_both_versions_are_answered_in_their_language_and_time() {
    let mut wire = settled();
    let near = link_local(OURS);
    let both = [group("fd00::7:7"), ndp::group(near)];
    wire.frame(query(1000, Ipv6Addr::UNSPECIFIED, &NEW));
    wire.pass(Duration::from_secs(1));
    let here = both.map(|group| (HERE, group)).to_vec();
    assert_eq!(reports(&mut wire), [(near, "ff02::16".parse().unwrap(), here.clone())]);
    wire.frame(query(1000, both[0], &NEW));
    wire.frame(query(1000, group("fd00::9"), &NEW));
    wire.pass(Duration::from_secs(2));
    assert_eq!(reports(&mut wire).len(), 1);
    wire.frame(query(1000, both[0], &[]));
    wire.pass(Duration::from_secs(2));
    assert_eq!(reports(&mut wire), both.map(|group| (near, group, vec![(OLD_REPORT, group)])));
    wire.pass(Duration::from_secs(260));
    wire.frame(query(0, Ipv6Addr::UNSPECIFIED, &NEW));
    assert_eq!(reports(&mut wire)[0].2, here, "the old one is gone");
}

#[test]
fn an_address_that_goes_or_is_somebody_elses_takes_its_group_along() {
    for old in [false, true] {
        let mut wire = settled();
        if old {
            wire.frame(query(0, Ipv6Addr::UNSPECIFIED, &[]));
            reports(&mut wire);
        }
        let short = [prefix("2001:db8:1::", 64, 0xc0, 30, 30)];
        wire.frame(advert(ROUTER, 1800, &short));
        let first = wire.others.iter().filter_map(|frame| probed(frame)).next().unwrap();
        wire.frame(objection(first, true));
        let second = wire.others.iter().filter_map(|frame| probed(frame)).next_back().unwrap();
        let said: Vec<_> = reports(&mut wire).into_iter().flat_map(|(_, _, said)| said).collect();
        let [joined, left] = if old { [OLD_REPORT, OLD_DONE] } else { [JOINED, LEFT] };
        for told in [(joined, first), (joined, second), (left, first)] {
            assert!(said.contains(&(told.0, ndp::group(told.1))), "{told:?} {said:?}");
        }
        wire.pass(Duration::from_secs(20));
        reports(&mut wire);
        wire.pass(Duration::from_secs(20));
        let gone = reports(&mut wire);
        assert_eq!(gone.len(), 2, "it is said twice that it has gone");
        let to = if old { "ff02::2" } else { "ff02::16" }.parse().unwrap();
        assert!(gone.iter().all(|told| told == &(link_local(OURS), to, vec![(left, ndp::group(second))])));
    }
}

#[test]
fn whoever_asks_without_end_or_far_ahead_gets_little_and_keeps_nobody_from_an_answer() {
    let mut wire = settled();
    for round in 0..10_000_u32 {
        let (version, code) = (if round % 2 == 0 { &NEW[..] } else { &[] }, (round % 3 * 0x7fff) as u16);
        wire.frame(query(code, [Ipv6Addr::UNSPECIFIED, group("fd00::7:7")][round as usize % 2], version));
        wire.pass(Duration::from_millis(1));
    }
    let said = reports(&mut wire).len();
    assert!((20..=82).contains(&said), "{said} frames in ten seconds: two for each answer");
    let mut wire = settled();
    wire.frame(query(0xffff, Ipv6Addr::UNSPECIFIED, &NEW));
    wire.frame(query(1000, Ipv6Addr::UNSPECIFIED, &NEW));
    wire.frame(query(0xffff, Ipv6Addr::UNSPECIFIED, &NEW));
    wire.pass(Duration::from_secs(1));
    assert_eq!(reports(&mut wire).len(), 1);
}

#[test]
fn who_speaks_no_ipv6_hears_no_group() {
    let addresses = config(1).addresses.into_iter().filter(|cidr| cidr.address.is_ipv4()).collect();
    let mut wire = Wire::with(FAIR, Config { addresses, ..config(1) });
    wire.frame(query(0, Ipv6Addr::UNSPECIFIED, &NEW));
    wire.pass(Duration::from_secs(10));
    assert_eq!(reports(&mut wire), []);
}
