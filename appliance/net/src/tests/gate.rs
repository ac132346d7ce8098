//! The gate against those who do not play by the rules.

use super::cable::{FAIR, config};
use super::raw::{Hand, PORT, Said, Wire, ends, ends_from, frame, now, read, write};
use crate::wire::{ACK, Ends, FIN, Options, RST, SYN, Segment, Seq, Stamps};
use crate::{Config, Stream};
use core::time::Duration;
use std::net::Ipv4Addr;

const SYN_OPTIONS: Options = Options {
    mss: Some(1460),
    scale: Some(7),
    sack_ok: true,
    stamps: Some(Stamps { value: 1, echo: 0 }),
    sack: [None; 3],
};

/// A SYN from somewhere.
fn syn() -> Segment<'static> {
    Segment { flags: SYN, seq: Seq(7), ack: Seq(0), window: 1000, options: SYN_OPTIONS, payload: &[] }
}

/// A stack with one connection, and the stream of it.
fn connected() -> (Wire, Hand, Stream, crate::Listener) {
    let mut wire = Wire::new();
    let listener = wire.handle().listen(PORT).unwrap();
    let hand = wire.connect(Options { mss: Some(1460), ..Options::default() });
    let stream = now(listener.accept()).expect("the handshake is done");
    (wire, hand, stream, listener)
}

fn flags(said: &[Said]) -> Vec<u8> {
    said.iter().map(|said| said.flags).collect()
}

#[test]
fn only_the_exact_number_resets_a_connection() {
    let (mut wire, hand, mut stream, _listener) = connected();
    for (seq, answer) in [(1, vec![ACK]), (10_000, vec![ACK]), (u32::MAX, vec![]), (20_000, vec![])] {
        wire.now = wire.now + Duration::from_secs(1);
        let said = wire.say(&hand.ends, &Segment { seq: hand.seq + seq, ..hand.segment(RST, b"") });
        assert_eq!(flags(&said), answer, "{seq}");
    }
    assert!(read(&mut stream).is_none());
    assert!(wire.say(&hand.ends, &hand.segment(RST, b"")).is_empty());
    assert_eq!(read(&mut stream).unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn challenges_are_few_however_many_are_provoked() {
    let (mut wire, hand, _stream, _listener) = connected();
    let said: usize = (0..10_000).map(|_| wire.say(&hand.ends, &hand.segment(SYN, b"")).len()).sum();
    assert_eq!(said, 1);
}

#[test]
fn data_that_acknowledges_what_was_acknowledged_before_is_read() {
    let (mut wire, mut hand, mut stream, _listener) = connected();
    assert_eq!(write(&mut stream, b"question"), 8);
    let old = hand.ack;
    assert_eq!(wire.turn()[0].payload, b"question");
    hand.ack = old + 8;
    wire.say(&hand.ends, &hand.segment(ACK, b""));
    wire.say(&hand.ends, &Segment { ack: old, ..hand.segment(ACK, b"answer") });
    assert_eq!(read(&mut stream).unwrap().unwrap(), b"answer");
}

#[test]
fn a_fin_that_answers_ours_is_acknowledged_at_once_and_once() {
    for together in [false, true] {
        let (mut wire, mut hand, mut stream, _listener) = connected();
        assert!(now(super::talk::close(&mut stream)).expect("there is nothing to wait for").is_ok());
        drop(stream);
        let fin = wire.turn();
        assert_eq!(flags(&fin), [FIN | ACK]);
        if !together {
            hand.ack = hand.ack + 1;
        }
        let said = wire.say(&hand.ends, &hand.segment(FIN | ACK, b""));
        assert_eq!((flags(&said), said[0].ack), (vec![ACK], hand.seq + 1), "at the same time: {together}");
        let again = wire.pass(Duration::from_millis(100));
        assert!(flags(&again).iter().all(|flags| flags & FIN != 0), "{again:?}");
    }
}

#[test]
fn nobody_is_answered_who_cannot_be_one_honest_host() {
    let mut wire = Wire::new();
    let _listener = wire.handle().listen(PORT).unwrap();
    let good = ends(1234);
    let from = |last: [u8; 4]| ends_from(Ipv4Addr::from(last), 1234);
    let mut sources = vec![from([0; 4]), from([255; 4]), from([10, 0, 0, 255]), from([224, 0, 0, 1])];
    sources.extend([from([127, 0, 0, 1]), from([240, 0, 0, 1]), from([10, 0, 0, 1]), ends(0)]);
    sources.push(Ends { remote: good.local, ..good });
    for ends in sources {
        assert!(wire.say(&ends, &syn()).is_empty(), "{ends:?}");
    }
    for target in [[10, 0, 0, 255], [255; 4], [224, 0, 0, 1], [10, 0, 0, 3]] {
        let ends = Ends { local: (target, PORT).into(), ..good };
        assert!(wire.say(&ends, &syn()).is_empty(), "{ends:?}");
    }
    for flags in [0, FIN, SYN | FIN, SYN | RST, SYN | FIN | RST | ACK, FIN | RST] {
        assert!(wire.say(&good, &Segment { flags, ..syn() }).is_empty(), "{flags:x}");
    }
    for (at, value) in [(0, 3), (5, 9), (6, 3)] {
        let mut odd = frame(&good, &syn());
        odd[at] = value;
        assert!(wire.frame(odd).is_empty(), "the hardware address at {at}");
    }
    assert_eq!(wire.handle().figures().open, 0);
}

/// Each killer of stacks of this class, as a frame: none is answered, none is remembered.
#[test]
fn the_known_killers_die_at_the_gate() {
    let mut wire = Wire::new();
    let _listener = wire.handle().listen(PORT).unwrap();
    let good = frame(&ends(1234), &syn());
    let patched = |patches: &[(usize, &[u8])], sum: bool| {
        let mut frame = good.clone();
        for (at, bytes) in patches {
            frame[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        if sum {
            frame[24..26].fill(0);
            let sum = crate::wire::sum::Sum::default().add(&frame[14..34]).checksum();
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        frame
    };
    let killers = [
        ("IHL < 5", patched(&[(14, &[0x44])], true)),
        ("IHL past the end", patched(&[(14, &[0x4f])], true)),
        ("version 6 in an IPv4 frame", patched(&[(14, &[0x65])], true)),
        ("total length 0", patched(&[(16, &[0, 0])], true)),
        ("total length past the end", patched(&[(16, &[0xff, 0xff])], true)),
        ("a first fragment", patched(&[(20, &[0x20, 0])], true)),
        ("a later fragment", patched(&[(20, &[0, 1])], true)),
        ("a wrong IP checksum", patched(&[(24, &[1, 2])], false)),
        ("a wrong TCP checksum", patched(&[(50, &[1, 2])], false)),
        ("data offset < 5", patched(&[(46, &[0x40])], false)),
        ("data offset past the end", patched(&[(46, &[0xf0])], false)),
        ("a cut frame", good[..30].to_vec()),
        ("an empty frame", Vec::new()),
        ("an unknown ethertype", patched(&[(12, &[0x88, 0xcc])], false)),
    ];
    for (name, killer) in killers {
        assert!(wire.frame(killer).is_empty(), "{name}");
    }
    assert_eq!(wire.handle().figures().half_open, 0);
    assert_eq!(wire.handle().figures().fragments, 2);
}

#[test]
fn options_of_every_length_are_read_or_refused_but_never_believed_past_their_end() {
    let mut wire = Wire::new();
    let _listener = wire.handle().listen(PORT).unwrap();
    for kind in 0..=20_u8 {
        for len in 0..=255_u8 {
            let mut packet = frame(&ends(1234), &Segment { options: Options::default(), ..syn() });
            packet.truncate(54);
            packet.extend_from_slice(&[kind, len, 0xff, 0xff]);
            packet[46] = 0x60;
            packet[16..18].copy_from_slice(&44_u16.to_be_bytes());
            packet[24..26].fill(0);
            let sum = crate::wire::sum::Sum::default().add(&packet[14..34]).checksum();
            packet[24..26].copy_from_slice(&sum.to_be_bytes());
            packet[50..52].fill(0);
            let (from, to) = ("10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap());
            let sum = crate::wire::sum::Sum::pseudo(from, to, 6, 24).add(&packet[34..]).checksum();
            packet[50..52].copy_from_slice(&sum.to_be_bytes());
            wire.frame(packet);
        }
    }
}

#[test]
fn a_closed_port_refuses_at_a_limited_rate() {
    let mut wire = Wire::new();
    let refused: usize = (0..10_000).map(|port| wire.say(&ends(port + 1), &syn()).len()).sum();
    assert_eq!(refused, 200);
    assert_eq!(wire.handle().figures().resets, 200);
}

#[test]
fn when_the_cache_is_full_a_cookie_still_makes_a_connection_with_all_options() {
    let mut wire = Wire::with(FAIR, Config { budget: 1 << 20, ..config(1) });
    let listener = wire.handle().listen(PORT).unwrap();
    for number in 0..5000_u16 {
        let ends = ends(number + 1);
        assert_eq!(wire.say(&ends, &syn()).len(), 1, "{number}");
    }
    assert!(wire.handle().figures().cookies > 4000);
    let hand = wire.connect_as(ends(60_000), SYN_OPTIONS);
    let mut stream = now(listener.accept()).expect("the cookie came back");
    assert_eq!(wire.handle().figures().cookies_good, 1);
    let echo = wire.turn().len();
    assert_eq!(echo, 0);
    assert!(write(&mut stream, &[7; 4000]) > 0);
    let said = wire.turn();
    assert_eq!(said[0].payload.len(), 1448, "the peer's segment size came back");
    assert!(said[0].options.stamps.is_some());
    let stack = wire.net.stack.borrow();
    let peer = stack.flow(&hand.ends).unwrap().peer;
    assert_eq!((peer.scale, peer.sack), (Some(7), true));
}

#[test]
fn a_forged_cookie_makes_nothing() {
    let mut wire = Wire::with(FAIR, Config { budget: 1 << 20, ..config(1) });
    let listener = wire.handle().listen(PORT).unwrap();
    for number in 0..1000_u16 {
        wire.say(&ends(number + 1), &syn());
    }
    let hand =
        |guess: u32| Hand { ends: ends(50_000), seq: Seq(8), ack: Seq(guess.wrapping_mul(0x9e37_79b9)) };
    for guess in 0..50_000 {
        wire.say(&hand(guess).ends, &hand(guess).segment(ACK, b"GET"));
    }
    assert!(now(listener.accept()).is_none());
}

#[test]
fn a_million_handshakes_that_stop_half_way_leave_nothing_behind() {
    let mut wire = Wire::with(FAIR, Config { budget: 4 << 20, ..config(1) });
    let _listener = wire.handle().listen(PORT).unwrap();
    for number in 0..1_000_000_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let ends = ends_from(Ipv4Addr::new(10, 0, 0, 2), u16::from_be_bytes([b, c]).max(1));
        let ends = Ends { local: ends.local, ..ends };
        wire.end.arriving.push_back(frame(&ends, &Segment { seq: Seq(u32::from(a)), ..syn() }));
        if number % 64 == 63 {
            wire.turn();
        }
        let figures = wire.handle().figures();
        assert!(figures.half_open <= 2048 && figures.open == 0, "{figures:?}");
    }
    wire.pass(Duration::from_secs(120));
    let figures = wire.handle().figures();
    assert_eq!((figures.half_open, figures.open, figures.bytes), (0, 0, 0), "{figures:?}");
}

#[test]
fn first_numbers_follow_the_clock_for_one_pair_of_ends_and_nothing_for_others() {
    let mut wire = Wire::new();
    let _listener = wire.handle().listen(PORT).unwrap();
    let mut isn = |port: u16| {
        let said = wire.say(&ends(port), &syn());
        wire.say(&ends(port), &Segment { flags: RST, seq: Seq(8), ..syn() });
        wire.now = wire.now + Duration::from_micros(4096);
        said[0].seq
    };
    let (first, again) = (isn(5000), isn(5000));
    assert_eq!(again - first, 1000, "RFC 6528: a clock of four microseconds");
    let gaps: Vec<u32> = (5001..5100).map(|port| isn(port + 1) - isn(port)).collect();
    let distinct: std::collections::BTreeSet<_> = gaps.iter().map(|gap| gap >> 8).collect();
    assert!(distinct.len() > 95, "neighbouring ports tell nothing about each other");
}

#[test]
fn a_syn_is_answered_again_and_then_forgotten() {
    let mut wire = Wire::new();
    let _listener = wire.handle().listen(PORT).unwrap();
    assert_eq!(wire.say(&ends(99), &syn()).len(), 1);
    let again = wire.pass(Duration::from_secs(120));
    assert_eq!(again.len(), 4);
    assert_eq!(wire.handle().figures().half_open, 0);
}
