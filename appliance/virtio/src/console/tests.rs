//! The driver against a host that behaves and one that does not.

mod moments;

use super::*;
use crate::device::MODERN;
use dma::pretend::{Pretend, WayTo};
use proptest::prelude::*;
use std::rc::Rc;

const CONTROL: &str = "gatehouse.control";

fn try_console(features: u64, ports: u32) -> (Result<Console<WayTo>, Refused>, Pretend) {
    let config = [&[0; 4][..], &ports.to_le_bytes()].concat();
    let (way, device) = Pretend::new(features, &[64; 40], &config);
    let giver = device.clone();
    let memory: Memory = Rc::new(move |bytes| giver.pages(bytes));
    (Console::new(way, &memory), device)
}

fn console() -> (Console<WayTo>, Pretend) {
    let (console, device) = try_console(MODERN | MULTIPORT, 31);
    (console.unwrap(), device)
}

fn message(port: u32, event: u16, value: u16, name: &str) -> Vec<u8> {
    [&port.to_le_bytes()[..], &event.to_le_bytes(), &value.to_le_bytes(), name.as_bytes()].concat()
}

fn say(device: &Pretend, port: u32, event: u16, value: u16, name: &str) {
    assert!(device.answer(CONTROL_IN, &message(port, event, value, name)));
}

/// A console with port 1 named and in use, and its channel.
fn with_control() -> (Console<WayTo>, Pretend, ChannelId) {
    let (console, device) = console();
    introduced(console, device)
}

/// The console when the host has told it of port 1, which is in use.
fn introduced(mut console: Console<WayTo>, device: Pretend) -> (Console<WayTo>, Pretend, ChannelId) {
    assert_eq!(device.receive(CONTROL_OUT), Some(message(0, 0, 1, "")), "the device may tell");
    say(&device, 1, 1, 1, "");
    assert_eq!(console.channel(CONTROL), None, "it has no name yet");
    assert_eq!(device.receive(CONTROL_OUT), Some(message(1, 3, 1, "")), "the port may be used");
    assert!(!console.is_settled());
    say(&device, 1, 7, 1, "gatehouse.control\0");
    let channel = console.channel(CONTROL).unwrap();
    assert_eq!(device.receive(CONTROL_OUT), Some(message(1, 6, 1, "")), "we are there");
    assert!(console.is_settled());
    assert_eq!(console.channel(CONTROL), Some(channel));
    assert_eq!(device.receive(CONTROL_OUT), None, "said once");
    (console, device, channel)
}

fn hear(console: &mut Console<WayTo>, channel: ChannelId) -> (Heard, Vec<u8>) {
    let mut bytes = vec![0; 100_000];
    let heard = console.hear(channel, &mut bytes);
    bytes.truncate(if let Heard::Bytes(count) = heard { count } else { 0 });
    (heard, bytes)
}

fn open(device: &Pretend, is: bool) {
    say(device, 1, 6, u16::from(is), "");
}

#[test]
fn a_port_is_found_by_name_and_opens_with_its_peer() {
    let (mut console, device, channel) = with_control();
    assert_eq!(console.channel("gatehouse"), None);
    assert_eq!(console.hear(channel, &mut [0; 9]), Heard::Nothing);
    assert_eq!(console.tell(channel, b"too early"), 0);
    assert!(!console.listen());
    open(&device, true);
    assert!(console.listen());
    assert_eq!(console.hear(channel, &mut [0; 9]), Heard::Opened);
    assert_eq!(console.hear(channel, &mut [0; 9]), Heard::Nothing);
    assert_eq!(console.tell(channel, b"hello"), 5);
    assert_eq!(device.receive(5).as_deref(), Some(&b"hello"[..]));
    assert!(device.answer(4, b"and to you"));
    assert!(console.listen());
    assert_eq!(hear(&mut console, channel), (Heard::Bytes(10), b"and to you".to_vec()));
}

#[test]
fn a_stream_read_in_any_pieces_is_the_same_stream() {
    for step in [1, 7, 4096, 5000, 50_000] {
        let (mut console, device, channel) = with_control();
        open(&device, true);
        assert_eq!(console.hear(channel, &mut [0; 1]), Heard::Opened);
        let sent: Vec<u8> = (0..30_000_u32).map(|at| (at / 3) as u8).collect();
        sent.chunks(3000).for_each(|piece| assert!(device.answer(4, piece)));
        let mut got = Vec::new();
        let mut into = vec![0; step];
        while let Heard::Bytes(count) = console.hear(channel, &mut into) {
            got.extend_from_slice(&into[..count]);
        }
        assert!(got == sent, "in steps of {step}");
    }
}

#[test]
fn a_new_peer_never_hears_or_is_heard_as_the_old_one() {
    let (mut console, device, channel) = with_control();
    for round in 0..1000_u32 {
        open(&device, true);
        assert_eq!(hear(&mut console, channel).0, Heard::Opened);
        assert!(device.answer(4, &round.to_le_bytes()));
        assert!(console.listen());
        open(&device, false);
        assert_eq!(hear(&mut console, channel), (Heard::Bytes(4), round.to_le_bytes().to_vec()));
        open(&device, true);
        assert!(device.answer(4, b"new"));
        assert_eq!(hear(&mut console, channel).0, Heard::Closed);
        assert_eq!(console.tell(channel, b"to whom?"), 0);
        assert_eq!(hear(&mut console, channel).0, Heard::Opened);
        assert_eq!(hear(&mut console, channel), (Heard::Bytes(3), b"new".to_vec()));
        open(&device, false);
        assert_eq!(hear(&mut console, channel).0, Heard::Closed);
        assert_eq!(hear(&mut console, channel).0, Heard::Nothing);
    }
}

#[test]
fn what_the_peer_does_not_read_is_not_taken() {
    let (mut console, device, channel) = with_control();
    open(&device, true);
    hear(&mut console, channel);
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at / 251) as u8).collect();
    let (mut sent, mut got) = (0, Vec::new());
    while got.len() < bytes.len() {
        sent += console.tell(channel, &bytes[sent..]);
        if sent < bytes.len() {
            assert!(!console.listen(), "full, and nothing has come back");
        }
        got.extend(device.receive(5).unwrap());
        assert!(sent - got.len() <= 16 * 4096, "bounded");
        assert!(sent == bytes.len() || console.listen(), "woken by the first buffer that comes back");
    }
    assert!(got == bytes);
}

#[test]
fn what_we_do_not_read_stays_with_the_host() {
    let (mut console, device, channel) = with_control();
    open(&device, true);
    hear(&mut console, channel);
    let mut count = 0;
    while device.answer(4, &[count; 10]) {
        count += 1;
    }
    assert_eq!(count, 16);
    open(&device, false);
    let expected: Vec<u8> = (0..count).flat_map(|round| [round; 10]).collect();
    assert_eq!(
        hear(&mut console, channel),
        (Heard::Bytes(160), expected),
        "the control queue is another one"
    );
    assert!(device.answer(4, b"x"));
}

#[test]
fn a_seed_does_not_stay_in_its_buffer() {
    let (mut console, device, channel) = with_control();
    open(&device, true);
    hear(&mut console, channel);
    let offer = device.next(4).unwrap();
    device.fill(&offer, &[0x5e; 300]);
    device.give_back(4, u32::from(offer.id), 300);
    hear(&mut console, channel);
    assert!(device.look(&offer).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn a_port_that_is_taken_away_closes_and_may_come_back() {
    let (mut console, device, channel) = with_control();
    open(&device, true);
    hear(&mut console, channel);
    say(&device, 1, 2, 1, "");
    assert_eq!(hear(&mut console, channel).0, Heard::Closed);
    assert_eq!(console.channel(CONTROL), None);
    say(&device, 1, 1, 1, "");
    say(&device, 1, 7, 1, CONTROL);
    open(&device, true);
    assert_eq!(hear(&mut console, channel).0, Heard::Opened);
    assert_eq!(device.receive(CONTROL_OUT), Some(message(1, 3, 1, "")));
    assert_eq!(device.receive(CONTROL_OUT), Some(message(1, 6, 1, "")), "it must know that we are there");
}

#[test]
fn a_port_whose_buffers_the_host_forgets_is_as_new_when_nobody_is_there() {
    let (mut console, device, channel) = with_control();
    say(&device, 2, 1, 1, "");
    say(&device, 2, 7, 1, "other");
    let other = console.channel("other").unwrap();
    while device.receive(CONTROL_OUT).is_some() {}
    say(&device, 2, 6, 1, "");
    assert_eq!(hear(&mut console, other).0, Heard::Opened);
    for round in 0..40_u32 {
        open(&device, true);
        assert_eq!(hear(&mut console, channel).0, Heard::Opened, "round {round}");
        assert_eq!(console.tell(channel, b"to one who does not read"), 24, "round {round}");
        assert!(device.next(5).is_some(), "round {round}: it is taken and never comes back");
        open(&device, false);
        assert_eq!(hear(&mut console, channel).0, Heard::Closed);
        let listens = console.listen();
        assert_eq!(listens, round % 8 == 7, "round {round}: at the eighth the device begins anew");
        if listens {
            assert_eq!(hear(&mut console, other).0, Heard::Closed, "which its other ports notice");
            assert_eq!(device.receive(CONTROL_OUT), Some(message(0, 0, 1, "")));
            for (port, name) in [(1, CONTROL), (2, "other")] {
                say(&device, port, 1, 1, "");
                say(&device, port, 7, 1, name);
            }
            say(&device, 2, 6, 1, "");
            assert_eq!(hear(&mut console, other).0, Heard::Opened);
            for port in [1, 2] {
                assert_eq!(device.receive(CONTROL_OUT), Some(message(port, 3, 1, "")));
                assert_eq!(device.receive(CONTROL_OUT), Some(message(port, 6, 1, "")));
            }
            assert!(device.answer(6, b"hello again"));
            assert_eq!(hear(&mut console, other), (Heard::Bytes(11), b"hello again".to_vec()));
        }
    }
    assert_eq!(console.lie(), None);
}

#[test]
fn a_device_that_is_another_after_a_reset_is_shut() {
    let (mut console, device, channel) = with_control();
    open(&device, true);
    hear(&mut console, channel);
    assert_eq!(console.tell(channel, &[1; 8 * 4096]), 8 * 4096);
    open(&device, false);
    hear(&mut console, channel);
    device.refuse();
    assert!(!console.listen());
    assert_eq!(console.lie().map(|lie| lie.what), Some("features after a reset"));
    assert_eq!(device.status(), 0);
}

#[test]
fn ports_that_we_have_no_room_for_are_left_alone() {
    let (mut console, device) = console();
    let _ = device.receive(CONTROL_OUT);
    for port in [8, 30, 31, u32::MAX] {
        say(&device, port, 1, 1, "");
        say(&device, port, 7, 1, "x");
        say(&device, port, 6, 1, "");
    }
    assert_eq!(console.channel("x"), None);
    assert_eq!(device.receive(CONTROL_OUT), None);
    assert_eq!(console.hear(ChannelId(500), &mut [0; 4]), Heard::Nothing);
    assert_eq!(console.tell(ChannelId(500), b"x"), 0);
    assert_eq!(console.lie(), None);
}

#[test]
fn each_lie_closes_every_stream_and_shuts_the_device() {
    type Lie = fn(&Pretend);
    let lies: [(&str, Lie); 6] = [
        ("buffer id", |device| device.give_back(4, 900, 1)),
        ("written length", |device| device.give_back(4, 0, 4097)),
        ("used index", |device| device.say_used(4, 40_000)),
        ("used index", |device| device.say_used(5, 1)),
        ("used index", |device| device.say_used(CONTROL_IN, 999)),
        ("written length", |device| device.give_back(CONTROL_IN, 9, 129)),
    ];
    for (what, lie) in lies {
        let (mut console, device, channel) = with_control();
        open(&device, true);
        hear(&mut console, channel);
        lie(&device);
        let _ = console.tell(channel, b"anybody?");
        let mut heard = hear(&mut console, channel).0;
        if heard == Heard::Nothing {
            heard = hear(&mut console, channel).0;
        }
        assert_eq!(heard, Heard::Closed, "{what}");
        assert_eq!(hear(&mut console, channel).0, Heard::Nothing);
        assert_eq!(console.lie().map(|lie| lie.what), Some(what));
        assert_eq!((device.status(), console.channel(CONTROL)), (0, None));
        assert!(!console.listen());
    }
}

#[test]
fn a_host_that_sends_nothing_for_ever_holds_nobody() {
    let (mut console, device, channel) = with_control();
    open(&device, true);
    hear(&mut console, channel);
    for _ in 0..1000 {
        while device.answer(4, b"") {}
        assert_eq!(console.hear(channel, &mut [0; 9]), Heard::Nothing);
    }
    assert_eq!(console.lie(), None);
}

#[test]
fn a_host_that_does_not_read_what_it_is_told_cannot_make_us_grow() {
    let (mut console, device) = console();
    for _ in 0..1000 {
        if !device.answer(CONTROL_IN, &message(1, 1, 1, "")) {
            break;
        }
        let _ = console.channel("x");
    }
    assert_eq!(console.lie().map(|lie| lie.what), Some("control queue, which it does not read"));
}

#[test]
fn a_device_without_named_ports_or_without_ports_is_refused() {
    assert!(matches!(try_console(MODERN, 31).0, Err(Refused::Lacks("named ports"))));
    assert!(matches!(try_console(MODERN | MULTIPORT, 0).0, Err(Refused::Lied(_))));
    assert!(matches!(try_console(MODERN | MULTIPORT, 100_000).0, Err(Refused::Lied(_))));
}

proptest! {
    #[test]
    fn whatever_the_host_does_nothing_panics_and_every_stream_opens_before_it_closes(
        steps in proptest::collection::vec((0_u8..9, any::<u8>(), 0_usize..9000), 0..300),
    ) {
        let (mut console, device, channel) = with_control();
        let mut is_open = false;
        for (step, byte, at) in steps {
            match step {
                0 => device.scribble(usize::from(byte), at, byte),
                1 => drop(device.answer(CONTROL_IN, &message(1, u16::from(byte) % 9, u16::from(byte) & 1, "n"))),
                2 | 3 => drop(device.answer(CONTROL_IN, &message(1, 6, u16::from(byte) & 1, ""))),
                4 => drop(device.answer(4, &vec![byte; at % 4096])),
                5 => drop(device.receive(5)),
                6 => drop(console.tell(channel, &vec![byte; at])),
                _ => {
                    let heard = console.hear(channel, &mut vec![0; at]);
                    prop_assert!(!is_open || heard != Heard::Opened);
                    prop_assert!(is_open || !matches!(heard, Heard::Closed | Heard::Bytes(_)));
                    is_open = (is_open || heard == Heard::Opened) && heard != Heard::Closed;
                }
            }
            let _ = console.listen();
            let _ = device.receive(CONTROL_OUT);
        }
    }
}
