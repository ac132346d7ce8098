//! What DHCP servers give, and take back.

use super::*;

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
    let ends = crate::tests::raw::ends(5);
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
    let half = crate::tests::raw::ends(7);
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
