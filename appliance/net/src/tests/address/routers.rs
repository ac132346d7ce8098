//! Addresses of our own making, and on this wire only.

use super::*;

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
        let lines: Vec<String> = news(&mut wire).iter().map(ToString::to_string).collect();
        let taken = lines.iter().filter(|line| line.contains("somebody else has")).count();
        let last = lines.iter().any(|line| line.contains("too, and had those before"));
        assert_eq!((taken, last), (objections, objections == 3), "{lines:?}");
        assert_eq!(answers_for(&mut wire, "fd00::1".parse().unwrap()), 1, "the rest goes on");
    }
}

/// Whoever has all of them today may be gone tomorrow; whoever objects to everything gets three questions a minute.
#[test]
fn three_addresses_that_others_have_are_enough_until_the_prefix_is_advertised_again_later() {
    let mut wire = nowhere(false, true);
    wire.pass(Duration::from_secs(2));
    let told = || advert(ROUTER, 9000, &[good_prefix("2001:db8:1::")]);
    let mut tried = Vec::new();
    for round in 1..=100 {
        wire.others.clear();
        wire.frame(told());
        for _ in 0..4 {
            let Some(probe) = probes(&mut wire).pop() else { continue };
            tried.push(probe);
            wire.frame(objection(probe, true));
        }
        assert_eq!(tried.len(), 3 * round, "three in a row");
        wire.pass(Duration::from_secs(50));
        wire.frame(told());
        assert!(probes(&mut wire).is_empty(), "not yet");
        wire.pass(Duration::from_secs(15));
        assert!(probes(&mut wire).is_empty(), "nor before it is advertised");
    }
    let all: std::collections::BTreeSet<_> = tried.iter().collect();
    assert!(all.len() > 250 && ours(&wire).is_empty());
    assert_eq!(wire.handle().figures().taken, 300);
    let lines: Vec<String> = news(&mut wire).iter().map(ToString::to_string).collect();
    assert!(lines[2].contains("others are tried when a router advertises the prefix again"), "{lines:?}");
    wire.frame(told());
    wire.pass(Duration::from_secs(2));
    assert_eq!(ours(&wire).len(), 1, "and now nobody objects");
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
