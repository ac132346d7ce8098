//! Attacks on connections of others, and on those who are on the same wire. The shipped program meets the same on a
//! real one: `tests/attacked.rs` of `tests/`.

use super::cable::{FAIR, config};
use super::raw::{MAC, PORT, Wire, ends, ends_from, frame, now, read};
use crate::house::arp::{Arp, EVERYBODY};
use crate::wire::{ACK, Ends, Ethernet, FIN, Kind, Options, RST, SYN, Segment, Seq, ip};
use crate::{Cidr, Config};
use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const LIAR: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);

fn plain(flags: u8, seq: u32, ack: u32) -> Segment<'static> {
    let (seq, ack, options) = (Seq(seq), Seq(ack), Options::default());
    Segment { flags, seq, ack, window: 1000, options, payload: &[] }
}

/// Resets that a stranger gets for segments to where nobody listens, after `forged` was said in the name of `of` often.
fn resets_left(wire: &mut Wire, of: &Ends, forged: &Segment<'_>) -> usize {
    wire.pass(Duration::from_secs(2));
    for _ in 0..150 {
        wire.say(of, forged);
    }
    let stranger = ends_from(Ipv4Addr::new(10, 0, 0, 3), 9);
    let stranger = Ends { local: (stranger.local.ip(), 7).into(), ..stranger };
    (0..300).map(|_| wire.say(&stranger, &plain(SYN, 1, 0)).len()).sum()
}

/// CVE-2016-5696: what is limited for all at once tells each about the others.
#[test]
fn nobody_sees_from_outside_which_connections_others_have() {
    let mut wire = Wire::new();
    let listener = wire.handle().listen(PORT).unwrap();
    let hand = wire.connect(Options::default());
    let mut stream = now(listener.accept()).unwrap();
    let over = wire.connect_as(ends(50_000), Options::default());
    let mut gone = now(listener.accept()).unwrap();
    assert!(now(super::talk::close(&mut gone)).unwrap().is_ok());
    drop(gone);
    let fin = wire.turn();
    assert_eq!(fin[0].flags, FIN | ACK);
    wire.say(&over.ends, &Segment { ack: over.ack + 1, ..over.segment(FIN | ACK, b"") });
    assert_eq!(wire.handle().figures().waiting, 1);
    let half = ends(50_001);
    let guesses = [
        plain(ACK, 0x7000_0000, 0x7100_0000),
        Segment { payload: b"guess", ..plain(ACK, 0x7000_0000, 0x7100_0000) },
        plain(SYN | ACK, 0x7000_0000, 0x7100_0000),
        plain(FIN | ACK, 0x7000_0000, 0x7100_0000),
        plain(SYN, 0x7000_0000, 0),
        plain(RST, 0x7000_0000, 0),
    ];
    for guess in guesses {
        wire.say(&half, &plain(SYN, 5, 0));
        let nothing = resets_left(&mut wire, &ends(60_001), &guess);
        for there in [hand.ends, over.ends, half] {
            assert_eq!(resets_left(&mut wire, &there, &guess), nothing, "{there:?} {guess:?}");
        }
        wire.say(&ends(60_001), &plain(RST, 0x7000_0001, 0));
    }
    assert!(read(&mut stream).is_none(), "it lives");
}

#[test]
fn a_guess_at_a_handshake_does_not_undo_it_and_is_told_little() {
    let mut wire = Wire::new();
    let listener = wire.handle().listen(PORT).unwrap();
    let ends = ends(1234);
    let answer = wire.say(&ends, &plain(SYN, 999, 0)).remove(0);
    let said: Vec<_> = (0..1000).flat_map(|guess| wire.say(&ends, &plain(SYN, 5000 + guess, 0))).collect();
    assert_eq!(said.iter().map(|said| (said.flags, said.ack)).collect::<Vec<_>>(), [(ACK, Seq(1000))]);
    wire.say(&ends, &Segment { ack: answer.seq + 1, ..plain(ACK, 1000, 0) });
    assert!(now(listener.accept()).is_some());
    // Whoever has really begun anew says so when it hears that.
    let again = super::raw::ends(1235);
    wire.say(&again, &plain(SYN, 999, 0));
    let told = wire.say(&again, &plain(SYN, 77, 0)).remove(0);
    assert!(wire.say(&again, &plain(RST, told.ack.0, 0)).is_empty());
    assert_eq!(wire.say(&again, &plain(SYN, 77, 0))[0].ack, Seq(78));
}

/// Both call at once, or somebody who guesses the ports of a call of ours says that he calls too. His first step is not
/// answered: a true one hears ours, and answers it (RFC 9293 §3.5), and that is the end of it. Nobody else gets a word, a
/// connection or a number of ours.
#[test]
fn who_calls_while_we_call_is_heard_when_he_answers_and_whoever_guesses_gets_nothing() {
    let mut wire = Wire::new();
    let mut call = Box::pin(wire.handle().connect(None, (Ipv4Addr::new(10, 0, 0, 2), 9).into()));
    assert!(now(&mut call).is_none());
    let ours = wire.turn().remove(0);
    assert_eq!(ours.flags, SYN);
    for forged in [plain(SYN, 1, 0), plain(SYN, 77, 0), Segment { payload: b"split", ..plain(SYN, 5, 0) }] {
        assert!(wire.say(&ours.ends, &forged).is_empty(), "{forged:?}");
    }
    for forged in [plain(FIN, 1, 0), plain(RST, 1, 0), plain(ACK, 1, ours.seq.0 + 1)] {
        assert!(wire.say(&ours.ends, &forged).is_empty(), "{forged:?}");
    }
    for forged in [plain(SYN | ACK, 9, ours.seq.0), plain(SYN | ACK, 9, ours.seq.0 + 2)] {
        assert_eq!(wire.say(&ours.ends, &forged)[0].flags, RST, "{forged:?}");
    }
    assert!(now(&mut call).is_none(), "it waits for its answer");
    // The other's second step has the number of its first.
    wire.say(&ours.ends, &plain(SYN, 500, 0));
    let third = wire.say(&ours.ends, &plain(SYN | ACK, 500, ours.seq.0 + 1)).remove(0);
    assert_eq!((third.flags, third.seq, third.ack), (ACK, ours.seq + 1, Seq(501)));
    let mut stream = now(&mut call).unwrap().unwrap();
    wire.say(&ours.ends, &Segment { payload: b"hello", ..plain(ACK, 501, ours.seq.0 + 1) });
    assert_eq!(read(&mut stream).unwrap().unwrap(), b"hello");
}

fn far() -> Wire {
    let addresses = vec![Cidr { address: IpAddr::V4([10, 0, 0, 1].into()), prefix: 16 }];
    Wire::with(FAIR, Config { addresses, gateways: vec![GATEWAY.into()], ..config(1) })
}

/// Turns once, and gives what left: nobody answers questions.
fn heard(wire: &mut Wire, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    wire.end.arriving.extend(frames.iter().cloned());
    for _ in 0..4 {
        wire.net.turn(wire.now, &mut wire.end);
    }
    wire.end.leaving.drain(..).collect()
}

/// Where the frames with IP went.
fn hops(frames: &[Vec<u8>]) -> Vec<[u8; 6]> {
    let packets = frames.iter().map(|frame| Ethernet::read(frame).unwrap());
    let mut hops: Vec<_> = packets.filter(|frame| frame.kind == Kind::V4).map(|frame| frame.to).collect();
    hops.dedup();
    hops
}

fn questions(frames: &[Vec<u8>]) -> Vec<([u8; 6], Ipv4Addr)> {
    let frames = frames.iter().map(|frame| Ethernet::read(frame).unwrap());
    frames.filter_map(|frame| Arp::read(&frame).map(|arp| (frame.to, arp.target))).collect()
}

fn claim(mac: [u8; 6], is_reply: bool) -> Vec<u8> {
    Arp { is_reply, mac, sender: GATEWAY, target: [10, 0, 0, 1].into() }.frame(OURS)
}

fn syn_from(host: [u8; 4], port: u16) -> Vec<u8> {
    frame(&ends_from(host.into(), port), &plain(SYN, 1, 0))
}

#[test]
fn the_way_out_stays_where_it_is_while_it_answers_whoever_claims_to_be_it() {
    let mut wire = far();
    let _listener = wire.handle().listen(PORT).unwrap();
    let outside = |port| syn_from([9, 9, 9, 9], port);
    assert_eq!(questions(&heard(&mut wire, &[outside(1)])), [(EVERYBODY, GATEWAY)]);
    assert_eq!(hops(&heard(&mut wire, &[claim(MAC, true)])), [MAC]);
    let lies = [claim(LIAR, true), claim(LIAR, false), claim(OURS, true), claim([0; 6], true)];
    for minute in 0..10 {
        wire.now = wire.now + Duration::from_secs(60);
        let asked = heard(&mut wire, &[outside(100 + minute)]);
        assert_eq!(
            (questions(&asked), hops(&asked)),
            (vec![(MAC, GATEWAY)], vec![MAC]),
            "it is asked itself"
        );
        heard(&mut wire, &lies);
        assert_eq!(hops(&heard(&mut wire, &[outside(200 + minute)])), [MAC], "who answered first has lied");
        heard(&mut wire, &[claim(MAC, true)]);
        heard(&mut wire, &lies);
        assert_eq!(hops(&heard(&mut wire, &[outside(300 + minute)])), [MAC]);
    }
    // One that took its place is found within seconds of saying so.
    wire.now = wire.now + Duration::from_secs(5);
    heard(&mut wire, &[claim(LIAR, true)]);
    let mut tries = 0;
    while !questions(&heard(&mut wire, &[outside(1000 + tries)])).contains(&(EVERYBODY, GATEWAY)) {
        (wire.now, tries) = (wire.now + Duration::from_secs(1), tries + 1);
        assert!(tries < 8);
    }
    heard(&mut wire, &[claim(LIAR, true)]);
    heard(&mut wire, &[outside(2000)]);
    heard(&mut wire, &[claim(LIAR, true)]);
    assert_eq!(hops(&heard(&mut wire, &[outside(2001)])), [LIAR]);
}

#[test]
fn a_storm_of_neighbours_that_are_not_there_does_not_hide_the_way_out() {
    let mut wire = far();
    let _listener = wire.handle().listen(PORT).unwrap();
    for number in 0..20_000_u16 {
        let [a, b] = number.to_be_bytes();
        heard(&mut wire, &[syn_from([10, 0, 1 + a, b], 5)]);
    }
    assert_eq!(questions(&heard(&mut wire, &[syn_from([9, 9, 9, 9], 5)])), [(EVERYBODY, GATEWAY)]);
    assert_eq!(hops(&heard(&mut wire, &[claim(MAC, true)])), [MAC]);
    // Nor does a storm of questions keep our answer from it.
    let question = |sender: [u8; 4]| Arp {
        is_reply: false,
        mac: MAC,
        sender: sender.into(),
        target: [10, 0, 0, 1].into(),
    };
    let storm = vec![question([10, 0, 9, 9]).frame(OURS); 3000];
    for part in storm.chunks(100) {
        heard(&mut wire, part);
    }
    assert!(heard(&mut wire, &[question([10, 0, 9, 9]).frame(OURS)]).is_empty());
    assert_eq!(heard(&mut wire, &[question(GATEWAY.octets()).frame(OURS)]).len(), 1);
}

/// Neighbours that somebody beyond the router makes up take all questions; who is here, and has looked for us, is found.
#[test]
fn a_storm_of_neighbours_that_are_not_there_does_not_hide_one_that_looks_for_us() {
    let mut wire = far();
    let _listener = wire.handle().listen(PORT).unwrap();
    let here = Ipv4Addr::new(10, 0, 0, 77);
    let looks = |sender| Arp { is_reply: false, mac: MAC, sender, target: [10, 0, 0, 1].into() }.frame(OURS);
    for number in 0..20_000_u16 {
        let [a, b] = number.to_be_bytes();
        heard(&mut wire, &[syn_from([10, 0, 1 + a, b], 5)]);
    }
    assert_eq!(questions(&heard(&mut wire, &[syn_from(here.octets(), 5)])), [], "the storm has it all");
    heard(&mut wire, &[looks(here)]);
    assert_eq!(questions(&heard(&mut wire, &[syn_from(here.octets(), 6)])), [(EVERYBODY, here)]);
    // Somebody on this wire can look for us in many names; what it costs has a bound.
    for number in 0..2000_u16 {
        let [a, b] = number.to_be_bytes();
        let name = Ipv4Addr::new(10, 0, 100 + a, b);
        heard(&mut wire, &[looks(name)]);
        wire.now = wire.now + Duration::from_millis(1);
    }
    let all = (0..2000_u16).map(|number| {
        let [a, b] = number.to_be_bytes();
        questions(&heard(&mut wire, &[syn_from([10, 0, 100 + a, b], 7)])).len()
    });
    assert!(all.sum::<usize>() <= 64 + 500);
}

#[test]
fn nobody_who_cannot_be_one_other_host_is_answered_a_ping() {
    let mut wire = Wire::new();
    wire.others.clear();
    let ping = |from: [u8; 4]| {
        let mut echo = vec![8, 0, 0, 0, 0, 1, 0, 1];
        let sum = crate::wire::sum::Sum::default().add(&echo).checksum();
        echo[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut frame = Kind::V4.header(OURS, MAC).to_vec();
        ip::write(&mut frame, IpAddr::from(from), IpAddr::from([10, 0, 0, 1]), 1, echo.len(), 64);
        [frame, echo].concat()
    };
    for from in
        [[10, 0, 0, 1], [127, 0, 0, 1], [10, 0, 0, 255], [255; 4], [0; 4], [224, 0, 0, 1], [240, 0, 0, 1]]
    {
        wire.frame(ping(from));
        assert!(wire.others.is_empty(), "{from:?}");
    }
    let mut ours = ping([10, 0, 0, 2]);
    ours[6..12].copy_from_slice(&OURS);
    wire.frame(ours);
    assert!(wire.others.is_empty(), "a frame of our own");
    wire.frame(ping([10, 0, 0, 2]));
    assert_eq!(wire.others.len(), 1);
}
