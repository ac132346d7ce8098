//! Addresses that come and go, and those who lie about them.

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

#[test]
fn a_server_gives_an_address_and_all_that_belongs_to_it() {
    let mut wire = nowhere(true, false);
    assert_eq!(wire.handle().post(None).unwrap().send((SERVER, 53).into(), b""), Err(PostError::NoAddress));
    lease(&mut wire, |_| {});
    let place = wire.handle().whereabouts();
    assert_eq!((place.addresses[0].address, place.addresses[0].prefix), (GIVEN.into(), 24));
    assert_eq!((place.gateways, place.resolvers), (vec![SERVER.into()], vec![[9, 9, 9, 9].into()]));
    let line = news(&mut wire)[0].to_string();
    assert_eq!(line, "address: 10.0.0.1/24 from 10.0.0.254 for 3600 s, gateway 10.0.0.254, MTU 1400");
    let _listener = wire.handle().listen(PORT).unwrap();
    let ends = super::raw::ends(5);
    let options = Options { mss: Some(1460), ..Options::default() };
    let syn = Segment { flags: SYN, seq: Seq(1), ack: Seq(0), window: 9, options, payload: &[] };
    let answer = wire.say(&ends, &syn);
    assert_eq!(answer[0].options.mss, Some(1360), "the network's MTU, not the interface's");
}

/// Whoever is on the wire can answer; what a guess is worth is what this says.
#[test]
fn an_answer_that_was_not_asked_for_gives_nothing() {
    let mut wire = nowhere(true, false);
    wire.pass(Duration::from_secs(2));
    let (xid, ..) = *asked(&mut wire).last().unwrap();
    let good = || offer(Message::Offer, xid);
    for bad in [
        offer(Message::Ack, xid),
        offer(Message::Nak, xid),
        Heard { xid: xid ^ 1, ..good() },
        Heard { yours: [127, 0, 0, 1].into(), ..good() },
        Heard { mask: None, ..good() },
        Heard { lease: None, ..good() },
    ] {
        wire.frame(told(&bad));
        assert!(asked(&mut wire).iter().all(|(_, kind, _)| *kind == 1), "{bad:?}");
    }
    let mut other = told(&good());
    other[14 + 28 + 28] ^= 1;
    wire.frame(other);
    wire.frame(told(&good()));
    assert_eq!(asked(&mut wire).iter().filter(|(_, kind, _)| *kind == 3).count(), 1);
    let rogue = Ipv4Addr::new(10, 0, 0, 66);
    for bad in [
        Heard { server: rogue, ..offer(Message::Ack, xid) },
        Heard { server: rogue, ..offer(Message::Nak, xid) },
        Heard { yours: [10, 0, 0, 77].into(), ..offer(Message::Ack, xid) },
    ] {
        wire.frame(told(&bad));
        wire.pass(Duration::from_millis(800));
        assert_eq!(ours(&wire), Vec::<IpAddr>::new(), "{bad:?}");
    }
    wire.frame(told(&offer(Message::Ack, xid)));
    wire.pass(Duration::from_secs(1));
    assert_eq!(ours(&wire), [IpAddr::V4(GIVEN)]);
}

#[test]
fn numbers_of_questions_are_drawn_anew_and_questions_become_rare() {
    let mut wire = nowhere(true, false);
    wire.pass(Duration::from_secs(3600));
    let asked = asked(&mut wire);
    let xids: std::collections::BTreeSet<u32> = asked.iter().map(|(xid, ..)| *xid).collect();
    assert!(xids.len() == asked.len() && (50..70).contains(&asked.len()), "{}", asked.len());
    assert!(xids.last().unwrap() - xids.first().unwrap() > 1 << 30);
}

#[test]
fn an_address_that_somebody_has_is_declined_and_another_is_sought_later() {
    let mut wire = nowhere(true, false);
    wire.pass(Duration::from_secs(2));
    let (xid, ..) = *asked(&mut wire).last().unwrap();
    wire.frame(told(&offer(Message::Offer, xid)));
    wire.frame(told(&offer(Message::Ack, xid)));
    asked(&mut wire);
    let other = Arp { is_reply: true, mac: MAC, sender: GIVEN, target: Ipv4Addr::UNSPECIFIED };
    wire.frame(other.frame(OURS));
    assert_eq!(asked(&mut wire).iter().map(|(_, kind, _)| *kind).collect::<Vec<_>>(), [4]);
    wire.pass(Duration::from_secs(9));
    assert!(asked(&mut wire).is_empty() && ours(&wire).is_empty());
    assert_eq!(news(&mut wire), [News::Taken(GIVEN.into())]);
    lease(&mut wire, |_| {});
    assert_eq!(ours(&wire), [IpAddr::V4(GIVEN)]);
    news(&mut wire);
    let claim = Arp { is_reply: true, mac: MAC, sender: GIVEN, target: GIVEN };
    let claims: usize = (0..1000)
        .map(|_| {
            wire.end.arriving.push_back(claim.frame(OURS));
            wire.net.turn(wire.now, &mut wire.end);
            wire.end.leaving.drain(..).count()
        })
        .sum();
    assert_eq!((claims, ours(&wire)), (1, vec![IpAddr::V4(GIVEN)]), "what is in use is defended, once");
    let line = news(&mut wire)[0].to_string();
    assert!(line.starts_with("address: 10.0.0.1 is claimed by 02:00:00:00:00:02: we keep it"), "{line}");
}

#[test]
fn a_lease_is_renewed_by_its_server_then_by_anybody_and_then_it_ends() {
    let mut wire = nowhere(true, false);
    lease(&mut wire, |_| {});
    wire.others.clear();
    wire.pass(Duration::from_secs(1795));
    assert!(asked(&mut wire).is_empty());
    wire.pass(Duration::from_secs(60));
    let (xid, kind, to) = asked(&mut wire)[0];
    assert_eq!((kind, to), (3, SERVER));
    let rogue = Ipv4Addr::new(10, 0, 0, 66);
    for bad in [
        Heard { server: rogue, ..offer(Message::Nak, xid) },
        Heard { server: rogue, ..offer(Message::Ack, xid) },
        Heard { xid: xid ^ 1, ..offer(Message::Nak, xid) },
        Heard { yours: [10, 0, 0, 8].into(), ..offer(Message::Ack, xid) },
    ] {
        wire.frame(told(&bad));
    }
    wire.frame(told(&Heard { router: None, ..offer(Message::Ack, xid) }));
    assert_eq!((ours(&wire), wire.handle().whereabouts().gateways), (vec![GIVEN.into()], vec![]));
    wire.pass(Duration::from_secs(1795));
    asked(&mut wire);
    wire.pass(Duration::from_secs(1400));
    let (xid, kind, to) = *asked(&mut wire).last().unwrap();
    assert_eq!((kind, to), (3, Ipv4Addr::BROADCAST));
    wire.frame(told(&Heard { server: rogue, ..offer(Message::Nak, xid) }));
    assert_eq!(ours(&wire), [IpAddr::V4(GIVEN)], "who did not give it cannot take it");
    wire.pass(Duration::from_secs(400));
    assert_eq!(ours(&wire), Vec::<IpAddr>::new());
    assert!(matches!(news(&mut wire).last(), Some(News::Lost { address, .. }) if *address == GIVEN));
    assert_eq!(asked(&mut wire).last().unwrap().1, 1, "and a server is sought again");
}

/// With a connection, a half-done handshake, a call and a question under way.
#[test]
fn when_the_address_changes_all_that_was_old_ends_without_a_word_and_ports_open_on_the_new() {
    let mut wire = nowhere(true, false);
    lease(&mut wire, |heard| heard.lease = Some(40));
    let listener = wire.handle().listen(PORT).unwrap();
    let hand = wire.connect(Options::default());
    let mut stream = now(listener.accept()).unwrap();
    wire.pass(Duration::from_secs(18));
    let half = super::raw::ends(7);
    let syn = Segment { flags: SYN, ..hand.segment(SYN, b"") };
    assert_eq!(wire.say(&half, &syn).len(), 1);
    let post = wire.handle().post(None).unwrap();
    post.send((SERVER, 53).into(), b"question").unwrap();
    let call = wire.handle().connect(None, SocketAddr::from((SERVER, 9)));
    wire.pass(Duration::from_secs(3));
    let (xid, ..) = *asked(&mut wire).last().unwrap();
    wire.frame(told(&offer(Message::Nak, xid)));
    assert_eq!(ours(&wire), Vec::<IpAddr>::new());
    let said = wire.pass(Duration::from_secs(8));
    assert!(said.is_empty(), "nothing is said from an address that we have lost: {said:?}");
    let gone = read(&mut stream).unwrap().unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::AddrNotAvailable);
    assert!(matches!(post.try_receive(), Some(Err(bounce)) if bounce.why == Why::Unreachable));
    assert!(matches!(now(call), Some(Err(_))));
    lease(&mut wire, |heard| heard.yours = [10, 0, 0, 42].into());
    assert!(wire.pass(Duration::from_secs(15)).is_empty(), "old handshakes are forgotten");
    assert_eq!(wire.handle().figures().open, 0);
    for old in [hand.ends, half] {
        assert!(wire.say(&old, &syn).is_empty() && wire.say(&old, &hand.segment(ACK, b"data")).is_empty());
    }
    let new = Ends { local: ([10, 0, 0, 42], PORT).into(), ..hand.ends };
    wire.connect_as(new, Options::default());
    assert_eq!(now(listener.accept()).unwrap().local(), new.local);
}

#[test]
fn time_may_jump_by_years_without_a_loop_and_a_lease_that_is_over_is_over() {
    let mut wire = nowhere(true, true);
    lease(&mut wire, |_| {});
    for years in [1, 10, 100] {
        wire.now = wire.now + Duration::from_secs(years * 365 * 24 * 3600);
        for _ in 0..1000 {
            wire.turn();
        }
        assert_eq!(ours(&wire), Vec::<IpAddr>::new());
        lease(&mut wire, |heard| heard.lease = Some(u32::MAX));
        wire.pass(Duration::from_secs(3600));
        assert_eq!(ours(&wire), [IpAddr::V4(GIVEN)], "for ever is for ever");
        wire = nowhere(true, true);
        lease(&mut wire, |_| {});
    }
}

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);
const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// An option that tells a prefix.
fn prefix(text: &str, len: u8, flags: u8, valid: u32, preferred: u32) -> Vec<u8> {
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
fn advert(from: Ipv6Addr, lifetime: u16, options: &[Vec<u8>]) -> Vec<u8> {
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

#[test]
fn a_router_tells_a_prefix_and_an_address_is_made_that_nobody_has() {
    let mut wire = nowhere(false, true);
    assert_eq!(ours(&wire), Vec::<IpAddr>::new());
    wire.frame(advert(ROUTER, 1800, &[good_prefix("2001:db8:1::"), vec![5, 1, 0, 0, 0, 0, 5, 0]]));
    assert!(ours(&wire).is_empty(), "not before others were asked");
    let probe = wire.others.iter().filter_map(|frame| probed(frame)).next().unwrap();
    wire.pass(Duration::from_secs(2));
    assert_eq!(ours(&wire), [IpAddr::V6(probe)]);
    assert!(probe.to_string().starts_with("2001:db8:1:"));
    assert!(!probe.to_string().ends_with("ff:fe00:1"), "it does not tell the hardware address");
    assert_eq!(wire.handle().whereabouts().gateways, [IpAddr::V6(ROUTER)]);
    let line = news(&mut wire)[0].to_string();
    assert_eq!(line, format!("address: {probe}/64, gateway fe80::fe, MTU 1280"));
    let mut other = nowhere(false, true);
    settled(&mut other, advert(ROUTER, 1800, &[good_prefix("2001:db8:2::")]));
    assert_ne!(ours(&other)[0].to_string().rsplit("::").next(), probe.to_string().rsplit("::").next());
}

/// The target of a question that nobody asks who has an address already.
fn probed(frame: &[u8]) -> Option<Ipv6Addr> {
    let ethernet = Ethernet::read(frame)?;
    let packet = Ip::read(ethernet.kind, ethernet.payload).ok()?;
    let ndp = Ndp::read(&packet)?;
    (!ndp.is_answer && packet.from.is_unspecified() && ndp.mac.is_none()).then_some(ndp.target)
}

#[test]
fn what_a_router_cannot_say_is_not_believed() {
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let mut crossed = advert(ROUTER, 1800, &[good_prefix("2001:db8:1::")]);
    crossed[21] = 254;
    let mut broken = advert(ROUTER, 1800, &[good_prefix("2001:db8:1::")]);
    broken[80] ^= 1;
    let zero = [good_prefix("2001:db8:1::"), vec![1, 0, 0, 0, 0, 0, 0, 0]];
    let cases = [
        ("from afar", advert(far, 1800, &[good_prefix("2001:db8:1::")])),
        ("through a router", crossed),
        ("with a wrong checksum", broken),
        ("an option of no length", advert(ROUTER, 1800, &zero)),
        ("an option past the end", advert(ROUTER, 1800, &[good_prefix("2001:db8:1::"), vec![1, 9]])),
        ("a prefix of 48 bits", advert(ROUTER, 0, &[prefix("2001:db8:1::", 48, 0xc0, 9000, 9000)])),
        ("not for addresses", advert(ROUTER, 0, &[prefix("2001:db8:1::", 64, 0x80, 9000, 9000)])),
        ("preferred longer than valid", advert(ROUTER, 0, &[prefix("2001:db8:1::", 64, 0xc0, 10, 9000)])),
        ("valid no longer", advert(ROUTER, 0, &[prefix("2001:db8:1::", 64, 0xc0, 0, 0)])),
        ("link-local", advert(ROUTER, 0, &[good_prefix("fe80::")])),
        ("multicast", advert(ROUTER, 0, &[good_prefix("ff02::")])),
        ("loopback", advert(ROUTER, 0, &[good_prefix("::")])),
    ];
    for (name, lie) in cases {
        let mut wire = nowhere(false, true);
        assert_eq!(settled(&mut wire, lie), Vec::<IpAddr>::new(), "{name}");
        assert!(wire.handle().whereabouts().gateways.is_empty(), "{name}");
    }
    for mtu in [0_u32, 68, 1279, 1501, u32::MAX] {
        let mut wire = nowhere(false, true);
        let option = [vec![5, 1, 0, 0], mtu.to_be_bytes().to_vec()].concat();
        settled(&mut wire, advert(ROUTER, 1800, &[good_prefix("2001:db8:1::"), option]));
        assert!(news(&mut wire)[0].to_string().ends_with("MTU 1500"), "{mtu}");
    }
}

#[test]
fn a_storm_of_routers_and_prefixes_is_bounded_and_does_not_drive_out_who_was_first() {
    let mut wire = nowhere(false, true);
    let resolver = |last: u16| {
        let mut option = vec![25, 3, 0, 0, 0, 0, 0xff, 0xff];
        option.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets());
        option
    };
    let first = settled(&mut wire, advert(ROUTER, 1800, &[good_prefix("2001:db8:1::"), resolver(1)]));
    for rogue in 0..20_000_u16 {
        let prefixes: Vec<_> = (0..3)
            .map(|n| good_prefix(&format!("2001:db8:{rogue:x}:{n}::")))
            .chain([resolver(rogue)])
            .collect();
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, rogue);
        wire.frame(advert(router, 9000, &prefixes));
    }
    wire.pass(Duration::from_secs(5));
    let place = wire.handle().whereabouts();
    assert_eq!((place.addresses.len(), place.resolvers.len()), (4, 3));
    assert_eq!((place.addresses[0].address, &place.gateways[..]), (first[0], &[IpAddr::V6(ROUTER)][..]));
    assert!(wire.handle().whereabouts().addresses.iter().all(|cidr| cidr.prefix == 64));
    assert!(news(&mut wire).len() <= 16);
}

/// RFC 4862 §5.5.3 e: one lie must not take an address away at once.
#[test]
fn a_prefix_in_use_stays_two_hours_whoever_takes_it_back() {
    let mut wire = nowhere(false, true);
    let told = |valid| advert(ROUTER, 65_535, &[prefix("2001:db8:1::", 64, 0xc0, valid, valid.min(60))]);
    let first = settled(&mut wire, told(86_400));
    wire.frame(told(0));
    wire.pass(Duration::from_secs(7100));
    assert_eq!(ours(&wire), first);
    wire.frame(told(10));
    wire.pass(Duration::from_secs(90));
    assert_eq!(ours(&wire), first, "what is left of the two hours stays");
    wire.pass(Duration::from_secs(60));
    assert_eq!(ours(&wire), Vec::<IpAddr>::new());
}

#[test]
fn a_router_that_goes_takes_its_route_and_is_asked_whether_it_went() {
    let mut wire = nowhere(false, true);
    settled(&mut wire, advert(ROUTER, 1800, &[good_prefix("2001:db8:1::")]));
    let second = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfd);
    wire.frame(advert(second, 1800, &[]));
    assert_eq!(wire.handle().whereabouts().gateways, [IpAddr::V6(ROUTER)]);
    wire.frame(advert(ROUTER, 0, &[]));
    assert_eq!(wire.handle().whereabouts().gateways, [IpAddr::V6(second)]);
    wire.others.clear();
    wire.frame(advert(second, 0, &[]));
    assert_eq!(wire.handle().whereabouts().gateways, Vec::<IpAddr>::new());
    wire.pass(Duration::from_secs(2));
    let asks = wire.others.iter().filter(|frame| frame.get(54) == Some(&133)).count();
    assert!(asks > 0 && ours(&wire).len() == 1);
    wire.frame(advert(second, 10, &[]));
    assert_eq!(wire.handle().whereabouts().gateways, [IpAddr::V6(second)]);
    wire.pass(Duration::from_secs(11));
    assert_eq!(wire.handle().whereabouts().gateways, Vec::<IpAddr>::new());
}

#[test]
fn an_address_that_somebody_has_is_drawn_again_and_one_of_ours_is_defended() {
    let mut wire = nowhere(false, true);
    wire.frame(advert(ROUTER, 1800, &[good_prefix("2001:db8:1::")]));
    let mut tried = Vec::new();
    for _ in 0..2 {
        let probe = wire.others.iter().filter_map(|frame| probed(frame)).next_back().unwrap();
        tried.push(probe);
        let objection = Ndp { is_answer: true, target: probe, mac: None };
        wire.frame(objection.frame(MAC, [0x33, 0x33, 0, 0, 0, 1], ROUTER, ALL));
    }
    wire.pass(Duration::from_secs(3));
    let [IpAddr::V6(at)] = ours(&wire)[..] else { panic!("{:?}", ours(&wire)) };
    assert!(!tried.contains(&at) && tried[0] != tried[1]);
    wire.others.clear();
    let wanted = Ndp { is_answer: false, target: at, mac: None };
    let group = ndp::group(at);
    wire.frame(wanted.frame(MAC, ndp::group_mac(group), Ipv6Addr::UNSPECIFIED, group));
    assert!(wire.others.iter().any(|frame| frame.get(54) == Some(&136)), "we say that it is ours");
    let claim = Ndp { is_answer: true, target: at, mac: None };
    wire.frame(claim.frame(MAC, OURS, ROUTER, at));
    wire.pass(Duration::from_secs(3));
    assert_eq!(ours(&wire), [IpAddr::V6(at)]);
}

#[test]
fn nothing_that_servers_and_routers_say_makes_the_stack_panic() {
    let mut wire = nowhere(true, true);
    let (mut dice, mut xid, mut had) = (super::cable::Dice(5), 0, 0);
    for round in 0..40_000_u64 {
        xid = asked(&mut wire).last().map_or(xid, |(last, ..)| *last);
        let kinds = [Message::Offer, Message::Offer, Message::Ack, Message::Ack, Message::Nak];
        let kind = kinds[dice.roll(5) as usize];
        let lease = [11, 100, 4000, u32::MAX][dice.roll(4) as usize];
        let mut odd = match round % 2 {
            0 => advert(ROUTER, 1800, &[good_prefix(&format!("2001:db8:{:x}::", dice.roll(9)))]),
            _ => told(&Heard { lease: Some(lease), ..offer(kind, xid) }),
        };
        for _ in 0..dice.roll(4) {
            let at = dice.roll(odd.len() as u64) as usize;
            odd[at] = dice.roll(256) as u8;
        }
        odd.truncate(odd.len() - (dice.roll(12) / 9) as usize);
        repair(&mut odd);
        wire.frame(odd);
        had += usize::from(ours(&wire).iter().any(IpAddr::is_ipv4));
        if round % 16 == 0 {
            wire.pass(Duration::from_millis(1 << dice.roll(20)));
        }
    }
    assert!(had > 100, "there was an address now and then: {had}");
}

/// Messages of servers and routers that lie, and of those who know nothing.
pub(super) fn lies() -> Vec<Vec<u8>> {
    let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    vec![
        told(&offer(Message::Offer, 1)),
        told(&Heard { renew: Some(u32::MAX), rebind: Some(0), lease: Some(0), ..offer(Message::Ack, 2) }),
        told(&offer(Message::Nak, 3)),
        advert(ROUTER, 65_535, &[vec![1, 0, 0, 0, 0, 0, 0, 0]]),
        advert(ROUTER, 65_535, &[vec![3, 200]]),
        advert(far, 65_535, &[good_prefix("2001:db8::")]),
        advert(ROUTER, 65_535, &[prefix("::", 129, 0xff, u32::MAX, u32::MAX)]),
    ]
}

pub(super) fn repaired(mut frame: Vec<u8>) -> Vec<u8> {
    repair(&mut frame);
    frame
}

/// Sums that are right again, so that more than the sums is tried.
fn repair(frame: &mut [u8]) {
    use crate::wire::sum::Sum;
    if frame.len() < 60 {
        return;
    }
    if frame[12] == 8 {
        frame[24..26].fill(0);
        let sum = Sum::default().add(&frame[14..34]).checksum();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame[40..42].fill(0);
    } else {
        frame[56..58].fill(0);
        let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap()).into();
        let sum = Sum::pseudo(address(22), address(38), 58, frame.len() - 54).add(&frame[54..]).checksum();
        frame[56..58].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Whoever plays router for a moment must not make us forget the true one's hardware address.
#[test]
fn a_prefix_that_comes_and_goes_disturbs_nobody_else() {
    let mut wire = nowhere(false, true);
    let first = settled(&mut wire, advert(ROUTER, 1800, &[good_prefix("2001:db8:1::")]));
    let post = wire.handle().post(None).unwrap();
    let far = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9), 53));
    let sent = |wire: &mut Wire| {
        wire.others.clear();
        post.send(far, b"question").unwrap();
        wire.turn();
        wire.others.iter().filter(|frame| frame[20] == 17).count()
    };
    assert_eq!(sent(&mut wire), 0, "the router is asked for first");
    let at = Ndp { is_answer: true, target: ROUTER, mac: None };
    let IpAddr::V6(ours_v6) = first[0] else { panic!("{first:?}") };
    wire.frame(at.frame(MAC, OURS, ROUTER, ours_v6));
    assert_eq!(sent(&mut wire), 1);
    let rogue = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x66);
    wire.frame(advert(rogue, 0, &[prefix("2001:db8:66::", 64, 0xc0, 3, 3)]));
    wire.pass(Duration::from_secs(2));
    assert_eq!(ours(&wire).len(), 2);
    wire.pass(Duration::from_secs(3));
    assert_eq!((ours(&wire), sent(&mut wire)), (first, 1));
}

/// A question who has `target`, or the answer that somebody has it, from somebody else.
fn objection(target: Ipv6Addr, is_answer: bool) -> Vec<u8> {
    let (ndp, group) = (Ndp { is_answer, target, mac: None }, ndp::group(target));
    match is_answer {
        true => ndp.frame(MAC, [0x33, 0x33, 0, 0, 0, 1], target, ALL),
        false => ndp.frame(MAC, ndp::group_mac(group), Ipv6Addr::UNSPECIFIED, group),
    }
}

fn probes(wire: &mut Wire) -> Vec<Ipv6Addr> {
    core::mem::take(&mut wire.others).iter().filter_map(|frame| probed(frame)).collect()
}

/// What somebody hears who asks for `target`.
fn answers_for(wire: &mut Wire, target: Ipv6Addr) -> usize {
    wire.others.clear();
    let from = "fe80::2".parse().unwrap();
    let question = Ndp { is_answer: false, target, mac: None };
    wire.frame(question.frame(MAC, ndp::group_mac(ndp::group(target)), from, ndp::group(target)));
    wire.others.iter().filter(|frame| frame[54] == 136).count()
}

#[test]
fn the_address_on_this_wire_is_ours_when_nobody_has_objected_for_a_second() {
    let mut wire = Wire::with(FAIR, config(1));
    let first = [crate::house::places::link_local(OURS)];
    assert_eq!(probes(&mut wire), first);
    assert_eq!(answers_for(&mut wire, first[0]), 0, "it is not ours yet");
    wire.pass(Duration::from_millis(1100));
    assert!(
        wire.others.iter().any(|frame| frame[54] == 136 && frame[62..78] == first[0].octets()),
        "it is announced"
    );
    assert_eq!(answers_for(&mut wire, first[0]), 1);
    wire.frame(objection(first[0], true));
    assert_eq!(answers_for(&mut wire, first[0]), 1, "an address in use is kept");
}

#[test]
fn an_address_on_this_wire_that_others_have_is_not_taken_and_after_three_there_is_none() {
    for (objections, is_answer) in [(1, true), (2, false), (3, true)] {
        let mut wire = Wire::with(FAIR, config(1));
        let mut tried = probes(&mut wire);
        for _ in 0..objections {
            wire.frame(objection(*tried.last().unwrap(), is_answer));
            tried.extend(probes(&mut wire));
        }
        wire.pass(Duration::from_secs(2));
        let last = *tried.last().unwrap();
        assert!(tried.iter().all(|address| address.is_unicast_link_local()), "{tried:?}");
        assert_eq!(
            (tried.len(), answers_for(&mut wire, last)),
            (3.min(objections + 1), usize::from(objections < 3))
        );
        assert_eq!(answers_for(&mut wire, tried[0]), 0);
        let taken = news(&mut wire).iter().filter(|news| matches!(news, News::Taken(_))).count();
        assert_eq!(taken, objections);
        assert_eq!(answers_for(&mut wire, "fd00::1".parse().unwrap()), 1, "the rest goes on");
    }
}

#[test]
fn an_address_of_our_own_making_follows_from_its_secret_and_from_nothing_that_is_drawn() {
    let made = |stable: Option<[u8; 16]>, key: u8, prefix: &str| {
        let mut wire = Wire::keyed(Config { addresses: Vec::new(), slaac: true, stable, ..config(1) }, key);
        settled(&mut wire, advert(ROUTER, 1800, &[good_prefix(prefix)]))[0]
    };
    let (one, other) = ("2001:db8:1::", "2001:db8:2::");
    assert_eq!(made(Some([3; 16]), 1, one), made(Some([3; 16]), 2, one), "it outlives us");
    assert_ne!(made(Some([3; 16]), 1, one), made(Some([4; 16]), 1, one));
    assert_ne!(made(None, 1, one), made(None, 2, one));
    let half = |address: IpAddr| match address {
        IpAddr::V6(address) => address.to_bits() as u64,
        IpAddr::V4(_) => unreachable!(),
    };
    assert_ne!(half(made(Some([3; 16]), 1, other)), half(made(Some([3; 16]), 1, one)));
}
