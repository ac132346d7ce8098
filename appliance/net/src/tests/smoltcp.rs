//! What is known of smoltcp 0.14, without our remedy and with it.
//!
//! When one of the first kind fails, smoltcp has got better: take the remedy out.

use super::cable::{Cable, FAIR};
use super::raw::{Hand, PORT, Wire, now, read, write};
use super::talk::{close, noise, read_to_end, serve, write_all};
use crate::Stream;
use crate::flow::engine::{Birth, Engine};
use crate::flow::live::{Live, State};
use crate::wire::{ACK, Options, Segment, Seq};
use core::cell::Cell;
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use world::Instant;

const BIRTH: Birth = Birth {
    ours: Seq(u32::MAX - 10_000),
    theirs: Seq(u32::MAX - 5),
    mss: 1460,
    scale: 7,
    sack: true,
    heard_fin: false,
    said_fin: false,
    receive: 128 * 1024,
    send: 64 * 1024,
};

fn born(birth: &Birth) -> (Engine, Live) {
    let mut engine = Engine::new(1, Instant::START);
    let live = engine.birth(Instant::START, birth).unwrap();
    (engine, live)
}

/// Shows `bytes` of data in order, from the first that is expected.
fn burst(engine: &mut Engine, live: &mut Live, birth: &Birth, bytes: usize) {
    for at in (0..bytes).step_by(1000) {
        let seq = birth.theirs + at as u32;
        let payload = &[7; 1000];
        let segment =
            Segment { flags: ACK, seq, ack: birth.ours, window: 512, options: Options::default(), payload };
        engine.feed(Instant::START, live, &segment);
    }
}

#[test]
fn a_burst_past_a_large_buffer_is_a_panic_in_smoltcp_and_nothing_here() {
    let (mut engine, mut live) = born(&BIRTH);
    burst(&mut engine, &mut live, &BIRTH, 300_000);
    assert!(live.unread() <= 128 * 1024);

    let mut engine = Engine::new(1, Instant::START);
    let mut live = engine.birth_without_remedy(Instant::START, &BIRTH).unwrap();
    let bare = catch_unwind(AssertUnwindSafe(|| burst(&mut engine, &mut live, &BIRTH, 300_000)));
    assert!(bare.is_err(), "smoltcp has got better");
}

/// Bytes that leave before the first acknowledgement.
fn first_flight(live: &mut Live) -> usize {
    let (mut sent, bytes) = (0, vec![1; 60_000]);
    live.sender.write(&bytes);
    while let Some(piece) = live.sender.piece(BIRTH.ours + 65_536) {
        sent += live.sender.part(&piece).len();
        live.sender.said(Instant::START, &piece);
    }
    sent
}

#[test]
fn the_first_flight_has_ten_segments() {
    let (_, mut live) = born(&BIRTH);
    assert_eq!(first_flight(&mut live), 14_600);
}

#[test]
fn a_birth_leaves_nothing_to_say_and_nothing_to_read() {
    for mss in [88, 536, 1460, 8960] {
        for send in [4096, 65_536] {
            let (mut engine, mut live) = born(&Birth { mss, send: send.max(2 * usize::from(mss)), ..BIRTH });
            assert!(!engine.ask(Instant::START, &mut live), "{mss} {send}");
            assert_eq!((live.unread(), live.sender.waiting(), live.state()), (0, 0, State::Established));
            assert_eq!((live.expected(), live.sender.una()), (BIRTH.theirs, BIRTH.ours));
            assert_eq!(engine.deadline(Instant::START, &live), None);
        }
    }
}

#[test]
fn a_half_closed_connection_is_born_half_closed() {
    for (heard_fin, said_fin, state) in [(true, false, State::CloseWait), (false, true, State::FinWait2)] {
        let (mut engine, mut live) = born(&Birth { heard_fin, said_fin, ..BIRTH });
        assert!(!engine.ask(Instant::START, &mut live));
        assert_eq!((live.state(), engine.deadline(Instant::START, &live)), (state, None));
        assert_eq!(live.expected(), BIRTH.theirs + u32::from(heard_fin));
        assert_eq!((live.sender.una(), live.sender.is_finished()), (BIRTH.ours, said_fin));
    }
}

fn connected() -> (Wire, Hand, Stream, crate::Listener) {
    let mut wire = Wire::new();
    let listener = wire.handle().listen(PORT).unwrap();
    let hand = wire.connect(Options { mss: Some(1460), scale: Some(2), ..Options::default() });
    let stream = now(listener.accept()).expect("the handshake is done");
    (wire, hand, stream, listener)
}

#[test]
fn a_connection_that_sleeps_and_wakes_loses_no_byte() {
    let (mut wire, mut hand, mut stream, _listener) = connected();
    for round in 0..50_u8 {
        let asleep = wire.handle().figures().awake == 0;
        assert!(asleep, "round {round}");
        wire.say(&hand.ends, &hand.segment(ACK, &[round; 100]));
        hand.seq = hand.seq + 100;
        assert_eq!(read(&mut stream).unwrap().unwrap(), [round; 100]);
        assert_eq!(write(&mut stream, &[round; 200]), 200);
        let said = wire.turn();
        assert_eq!(said[0].payload, [round; 200]);
        assert_eq!(said[0].seq, hand.ack);
        hand.ack = hand.ack + 200;
        wire.say(&hand.ends, &hand.segment(ACK, b""));
        wire.pass(Duration::from_secs(1));
    }
}

#[test]
fn a_peer_that_keeps_its_window_shut_is_given_up_however_often_it_answers() {
    let (mut wire, mut hand, mut stream, _listener) = connected();
    write(&mut stream, &[1; 1000]);
    wire.turn();
    hand.ack = hand.ack + 500;
    let shut = Segment { window: 0, ..hand.segment(ACK, b"") };
    for _ in 0..200 {
        wire.say(&hand.ends, &shut);
        wire.pass(Duration::from_secs(1));
    }
    assert_eq!(read(&mut stream).unwrap().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(wire.handle().figures().vanished, 1);
}

#[test]
fn a_peer_that_vanished_is_found() {
    let (mut wire, _hand, mut stream, _listener) = connected();
    let probes = wire.pass(Duration::from_secs(600));
    assert_eq!(probes.len(), 7, "six questions and a reset");
    assert_eq!(read(&mut stream).unwrap().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn a_peer_that_never_closes_its_half_does_not_keep_a_dropped_stream() {
    let (mut wire, mut hand, stream, _listener) = connected();
    drop(stream);
    wire.turn();
    hand.ack = hand.ack + 1;
    wire.say(&hand.ends, &hand.segment(ACK, b""));
    wire.pass(Duration::from_secs(120));
    assert_eq!(wire.handle().figures().open, 0);
}

#[test]
fn whoever_sips_does_not_keep_a_dropped_stream() {
    let (mut wire, mut hand, mut stream, _listener) = connected();
    let written = write(&mut stream, &[1; 4000]);
    drop(stream);
    wire.turn();
    let last = hand.ack + u32::try_from(written).unwrap();
    for second in 0..200 {
        hand.ack = hand.ack + 1;
        assert!(hand.ack.is_before(last), "it had taken all");
        wire.say(&hand.ends, &Segment { window: 1, ..hand.segment(ACK, b"") });
        wire.pass(Duration::from_secs(1));
        assert!(
            second > 110 || wire.handle().figures().open == 1,
            "an honest one is given up after {second} s"
        );
    }
    assert_eq!(wire.handle().figures().open, 0);
}

#[test]
fn both_fins_leave_a_record_that_answers_echoes_and_goes() {
    let (mut wire, mut hand, stream, _listener) = connected();
    drop(stream);
    wire.turn();
    hand.ack = hand.ack + 1;
    let fin = hand.segment(ACK | crate::wire::FIN, b"");
    wire.say(&hand.ends, &fin);
    assert_eq!((wire.handle().figures().open, wire.handle().figures().waiting), (0, 1));
    assert_eq!(wire.say(&hand.ends, &fin).len(), 1, "an echo of the FIN is answered");
    wire.say(&hand.ends, &hand.segment(crate::wire::RST, b""));
    assert_eq!(wire.handle().figures().waiting, 1, "RFC 1337");
    wire.pass(Duration::from_secs(61));
    wire.turn();
    assert_eq!(wire.handle().figures().waiting, 0);
}

#[test]
fn the_connection_that_slept_longest_makes_room_and_those_that_talk_stay() {
    let budget = 2 << 20;
    let mut wire = Wire::with(
        FAIR,
        crate::Config {
            share: crate::Share { connections: usize::MAX, half_open: 64 },
            budget,
            ..super::cable::config(1)
        },
    );
    let listener = wire.handle().listen(PORT).unwrap();
    let mut streams = Vec::new();
    for number in 0..8000_u16 {
        wire.connect_as(super::raw::ends(number + 1), Options { mss: Some(1460), ..Options::default() });
        streams.push(now(listener.accept()).unwrap());
    }
    let figures = wire.handle().figures();
    assert!(figures.evicted > 1000 && figures.bytes as usize <= budget, "{figures:?}");
    assert!(read(&mut streams[0]).unwrap().is_err(), "the first is gone");
    assert!(read(streams.last_mut().unwrap()).is_none(), "the last is alive");
}

#[test]
fn what_a_connection_costs_above_counts_against_the_same_budget() {
    let (above, budget) = (12 * 1024, 4 << 20);
    let mut wire = Wire::with(FAIR, crate::Config { budget, above, ..super::cable::config(1) });
    let listener = wire.handle().listen(PORT).unwrap();
    let mut streams = Vec::new();
    for number in 0..1000_u16 {
        wire.connect_as(super::raw::ends(number + 1), Options { mss: Some(1460), ..Options::default() });
        streams.push(now(listener.accept()).unwrap());
    }
    let figures = wire.handle().figures();
    assert!(figures.open as usize <= budget / above && figures.evicted > 600, "{figures:?}");
}

#[test]
fn a_connection_at_rest_costs_half_a_kilobyte() {
    let record = crate::stack::RECORD;
    assert!(record <= 512, "{record}");
}

#[test]
fn only_connections_with_news_are_asked() {
    let mut wire = Wire::with(FAIR, crate::Config { budget: 256 << 20, ..super::cable::config(1) });
    let listener = wire.handle().listen(PORT).unwrap();
    let open = |count: usize, wire: &mut Wire, held: &mut Vec<(Hand, Stream)>| {
        while held.len() < count {
            let number = held.len() as u32;
            let [_, a, b, c] = number.to_be_bytes();
            let address = std::net::Ipv4Addr::new(10, 0, 0, 2 + a * 4 + b / 64);
            let port = 1 + u16::from_be_bytes([b % 64, c]);
            let options = Options { mss: Some(1460), ..Options::default() };
            let hand = wire.connect_as(super::raw::ends_from(address, port), options);
            held.push((hand, now(listener.accept()).unwrap()));
        }
    };
    let mut held = Vec::new();
    let mut polls = Vec::new();
    for count in [1000, 100_000] {
        open(count, &mut wire, &mut held);
        let before = wire.handle().figures().polls;
        for (hand, stream) in held.iter_mut().take(1000) {
            wire.say(&hand.ends, &hand.segment(ACK, b"ping"));
            hand.seq = hand.seq + 4;
            assert_eq!(read(stream).unwrap().unwrap(), b"ping");
        }
        wire.turn();
        polls.push(wire.handle().figures().polls - before);
        wire.pass(Duration::from_secs(1));
    }
    assert!(polls[1] <= polls[0], "{polls:?}");
}

#[test]
fn a_narrow_way_that_is_reported_is_used_and_a_report_about_nothing_is_not() {
    let (mut wire, hand, mut stream, _listener) = connected();
    write(&mut stream, &[1; 3000]);
    let said = wire.turn();
    assert_eq!(said[0].payload.len(), 1460);
    let report = |seq: Seq, mtu: u16| {
        let ours = crate::wire::Ends { local: hand.ends.local, remote: hand.ends.remote };
        let mut quoted = Vec::new();
        ours.write(&mut quoted, &Segment { seq, ..hand.segment(ACK, b"") }, false);
        let [a, b] = mtu.to_be_bytes();
        let mut body = vec![3, 4, 0, 0, 0, 0, a, b];
        body.extend_from_slice(&quoted[..28]);
        let sum = crate::wire::sum::Sum::default().add(&body).checksum();
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        let (from, to) = ("10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let mut frame = crate::wire::Kind::V4.header([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).to_vec();
        crate::wire::ip::write(&mut frame, from, to, 1, body.len(), 64);
        frame.extend_from_slice(&body);
        frame
    };
    assert!(wire.frame(report(hand.ack + 50_000, 1000)).is_empty(), "no such byte is on its way");
    let again = wire.frame(report(hand.ack, 1000));
    assert!(!again.is_empty() && again.iter().all(|said| said.payload.len() <= 960), "{again:?}");
    let again = wire.frame(report(hand.ack, 68));
    assert!(again.iter().all(|said| said.payload.len() <= 512), "never below what every way carries");
    assert_eq!(wire.net.stack.borrow().flow(&hand.ends).unwrap().mss, 512);
}

#[test]
fn a_large_download_grows_its_buffers_and_gives_them_back() {
    let mut cable = Cable::new(super::cable::Weather { delay: 10, ..FAIR });
    let said = noise(9, 4_000_000);
    let told = said.clone();
    serve(&cable, PORT, move |mut stream| {
        let said = told.clone();
        async move {
            write_all(&mut stream, &said).await.unwrap();
            close(&mut stream).await.unwrap();
            assert!(read_to_end(&mut stream).await.unwrap().is_empty());
        }
    });
    let (handle, done) = (cable.nets[1].handle(), Rc::new(Cell::new(false)));
    let told = done.clone();
    cable.tasks.spawn(async move {
        let mut stream = handle.connect(None, ([10, 0, 0, 1], PORT).into()).await.unwrap();
        close(&mut stream).await.unwrap();
        assert!(read_to_end(&mut stream).await.unwrap() == said);
        told.set(true);
    });
    let started = cable.now;
    cable.run(|| done.get());
    let took = cable.now - started;
    assert!(took < Duration::from_secs(2), "{took:?}");
    cable.run_for(Duration::from_secs(5), || false);
    assert_eq!(cable.nets[0].handle().figures().bytes, 0);
}

#[test]
fn a_fin_behind_data_that_does_not_fit_ends_nothing() {
    let (mut wire, mut hand, mut stream, _listener) = connected();
    let said = noise(5, 16_484);
    for piece in said[..16_284].chunks(1460) {
        wire.say(&hand.ends, &hand.segment(ACK, piece));
        hand.seq = hand.seq + piece.len() as u32;
    }
    wire.say(&hand.ends, &hand.segment(ACK | crate::wire::FIN, &said[16_284..]));
    let mut heard = read(&mut stream).unwrap().unwrap();
    assert!(read(&mut stream).is_none(), "{} of {} bytes and an end", heard.len(), said.len());
    wire.turn();
    wire.say(&hand.ends, &hand.segment(ACK | crate::wire::FIN, &said[16_284..]));
    while let Some(Ok(more)) = read(&mut stream)
        && !more.is_empty()
    {
        heard.extend_from_slice(&more);
    }
    assert_eq!(read(&mut stream).unwrap().unwrap(), b"", "now it ends");
    assert!(heard == said);
}
