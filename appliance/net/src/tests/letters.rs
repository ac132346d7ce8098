//! Datagrams: who is heard, who is not, and what comes back.

use super::cable::{Cable, FAIR};
use super::raw::{MAC, Wire, now};
use crate::wire::{Ends, Ethernet, Ip, Kind, ip, sum::Sum, udp};
use crate::{Bounce, Letter, PostError, Postbox, Why};
use core::time::Duration;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use world::Checksum;

const SERVER: ([u8; 4], u16) = ([10, 0, 0, 2], 53);

/// A stack whose postbox has asked a question, and the frame of the question.
fn asked(wire: &mut Wire) -> (Postbox, Vec<u8>) {
    let post = wire.handle().post(None).unwrap();
    post.send(SERVER.into(), b"question").unwrap();
    wire.turn();
    let frame = wire.others.pop().expect("the question leaves");
    wire.others.clear();
    (post, frame)
}

fn ends(post: &Postbox, from: impl Into<SocketAddr>) -> Ends {
    Ends { local: SocketAddr::from(([10, 0, 0, 1], post.port())), remote: from.into() }
}

/// A frame from the other end.
fn frame(ends: &Ends, payload: &[u8]) -> Vec<u8> {
    let mut frame = Kind::of(ends.local.ip()).header([2, 0, 0, 0, 0, 1], MAC).to_vec();
    udp::write(&mut frame, &Ends { local: ends.remote, remote: ends.local }, payload);
    frame
}

/// An ICMP message about `quoted`.
fn report(kind: u8, code: u8, rest: [u8; 4], quoted: &[u8], from: [u8; 4]) -> Vec<u8> {
    let mut body = [&[kind, code, 0, 0], &rest[..], &quoted[14..42]].concat();
    let sum = Sum::default().add(&body).checksum();
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = Kind::V4.header([2, 0, 0, 0, 0, 1], MAC).to_vec();
    let ours = Ipv4Addr::new(10, 0, 0, 1);
    ip::write(&mut frame, Ipv4Addr::from(from).into(), ours.into(), 1, body.len(), 64);
    [frame, body].concat()
}

#[test]
fn a_question_waits_for_its_neighbour_and_hears_its_answer_only() {
    let mut wire = Wire::new();
    let (post, question) = asked(&mut wire);
    let packet = Ip::read(Kind::V4, Ethernet::read(&question).unwrap().payload).unwrap();
    let (seen, payload) = udp::read(&packet, Checksum::Unknown).unwrap();
    assert_eq!((seen.local, seen.remote.port(), payload), (SERVER.into(), post.port(), &b"question"[..]));
    let strangers: [([u8; 4], u16); 3] = [([10, 0, 0, 3], 53), (SERVER.0, 54), ([10, 0, 0, 255], 53)];
    for stranger in strangers {
        wire.frame(frame(&ends(&post, stranger), b"spoofed"));
    }
    wire.frame(frame(
        &Ends { local: ([10, 0, 0, 255], post.port()).into(), ..ends(&post, SERVER) },
        b"to all",
    ));
    assert_eq!(post.try_receive(), None);
    wire.frame(frame(&ends(&post, SERVER), b"answer"));
    let letter = Letter { from: SERVER.into(), bytes: (*b"answer").into() };
    assert_eq!(now(post.receive()), Some(Ok(letter)));
    assert!(wire.others.is_empty(), "nobody was answered");
    let figures = wire.handle().figures();
    assert_eq!((figures.letters_lost, figures.malformed), (2, 1));
}

#[test]
fn malformed_datagrams_and_those_for_nobody_are_counted_and_never_answered() {
    let mut wire = Wire::new();
    let (post, _) = asked(&mut wire);
    let good = frame(&ends(&post, SERVER), b"answer");
    let changed = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        bad
    };
    let bad = [changed(38, &[0, 7]), changed(38, &[0, 13]), changed(38, &[0xff; 2]), changed(38, &[0, 15])];
    let bad = bad.into_iter().chain([changed(40, &[1, 2]), changed(47, b"!")]);
    for frame in bad {
        wire.frame(frame);
    }
    assert_eq!(wire.handle().figures().malformed, 6);
    let nobody = post.port() ^ 1;
    for port in [0, 68, nobody] {
        let local = SocketAddr::from(([10, 0, 0, 1], port));
        wire.frame(frame(&Ends { local, remote: SERVER.into() }, b"answer"));
    }
    assert_eq!((post.try_receive(), wire.others.len()), (None, 0));
    let port = post.port();
    drop(post);
    wire.frame(frame(&Ends { local: ([10, 0, 0, 1], port).into(), remote: SERVER.into() }, b"late"));
    assert_eq!(wire.handle().figures().letters_lost, 4);
}

#[test]
fn a_flood_fills_a_box_and_no_more_and_is_counted() {
    let mut wire = Wire::new();
    let (post, _) = asked(&mut wire);
    for _ in 0..1000 {
        wire.frame(frame(&ends(&post, SERVER), &[7; 1000]));
    }
    assert_eq!(post.lost(), 1000 - 32);
    let (other, _) = asked(&mut wire);
    wire.frame(frame(&ends(&other, SERVER), b"answer"));
    assert!(other.try_receive().is_some(), "others are not crowded out");
    assert_eq!((0..100).filter(|_| post.try_receive().is_some()).count(), 32);
    wire.frame(frame(&ends(&post, SERVER), b"answer"));
    assert!(post.try_receive().is_some(), "there is room again");
}

#[test]
fn what_is_said_of_our_own_datagram_comes_back_once() {
    let mut wire = Wire::new();
    let (post, question) = asked(&mut wire);
    let bounced = |why| Some(Err(Bounce { to: SERVER.into(), why }));
    for (kind, code, rest, why) in [
        (3, 3, [0; 4], Why::Refused),
        (3, 1, [0; 4], Why::Unreachable),
        (3, 4, [0, 0, 2, 0], Why::TooBig(512)),
    ] {
        for _ in 0..100 {
            wire.frame(report(kind, code, rest, &question, SERVER.0));
        }
        assert_eq!(post.try_receive(), bounced(why));
        assert_eq!(post.try_receive(), None);
    }
    let mut forged = question.clone();
    forged[34] ^= 1;
    wire.frame(report(3, 3, [0; 4], &forged, SERVER.0));
    forged = question.clone();
    forged[33] ^= 1;
    wire.frame(report(3, 3, [0; 4], &forged, SERVER.0));
    assert_eq!(post.try_receive(), None, "nobody asked that");
}

#[test]
fn ports_are_drawn_and_tell_nothing_of_the_next() {
    let wire = Wire::new();
    let boxes: Vec<Postbox> = (0..200).map(|_| wire.handle().post(None).unwrap()).collect();
    let ports: BTreeSet<u16> = boxes.iter().map(Postbox::port).collect();
    assert!(ports.len() == 200 && *ports.first().unwrap() >= 1024);
    assert!(*ports.last().unwrap() - *ports.first().unwrap() > 50_000, "spread over all ports");
    let steps: BTreeSet<u16> =
        boxes.windows(2).map(|two| two[1].port().wrapping_sub(two[0].port())).collect();
    assert!(steps.len() > 190, "the steps between them do not repeat");
    assert_eq!(wire.handle().post(Some(boxes[0].port())).err(), Some(PostError::Taken(boxes[0].port())));
    assert_eq!(wire.handle().post(Some(68)).err(), Some(PostError::Taken(68)));
    let more: Vec<_> = (0..100).map(|_| wire.handle().post(None)).collect();
    assert_eq!(more.iter().filter(|post| post.is_ok()).count(), 56);
}

#[test]
fn what_cannot_be_sent_is_refused_with_its_reason() {
    let wire = Wire::new();
    let post = wire.handle().post(None).unwrap();
    let to = |text: &str| text.parse::<SocketAddr>().unwrap();
    for victim in ["10.0.0.255:53", "10.0.0.1:53", "10.0.0.2:0"] {
        assert_eq!(post.send(to(victim), b""), Err(PostError::NotAHost(to(victim))));
    }
    for far in ["8.8.8.8:53", "255.255.255.255:67", "[2001:db8::1]:53", "224.0.0.1:1"] {
        assert_eq!(post.send(to(far), b""), Err(PostError::NoAddress), "{far}");
    }
    assert_eq!(post.send(to("10.0.0.2:53"), &[0; 1473]), Err(PostError::TooLong(1472)));
    assert_eq!(post.send(to("10.0.0.2:53"), &[0; 1472]), Ok(()));
    assert_eq!(post.send(to("[fd00::2]:53"), &[0; 1453]), Err(PostError::TooLong(1452)));
}

#[test]
fn two_stacks_write_to_each_other_over_both_families() {
    for v6 in [false, true] {
        let mut cable = Cable::new(FAIR);
        let posts =
            [5000, 5001].map(|port| cable.nets[usize::from(port == 5001)].handle().post(Some(port)).unwrap());
        let address = |last: u8| -> IpAddr {
            if v6 { format!("fd00::{last}").parse().unwrap() } else { [10, 0, 0, last].into() }
        };
        let ends = [SocketAddr::new(address(1), 5000), SocketAddr::new(address(2), 5001)];
        for _ in 0..2 {
            posts[0].send(ends[1], b"from one").unwrap();
            posts[1].send(ends[0], b"from two").unwrap();
            cable.run_for(Duration::from_secs(1), || false);
        }
        let heard = posts.each_ref().map(|post| post.try_receive().unwrap().unwrap());
        assert_eq!((heard[0].from, &*heard[0].bytes), (ends[1], &b"from two"[..]));
        assert_eq!((heard[1].from, &*heard[1].bytes), (ends[0], &b"from one"[..]));
    }
}
