//! Both ends, alone and against each other.

use super::frame::{End, Frame, Reader};
use super::outbox::Outbox;
use super::*;
use crate::Moment;
use core::time::Duration;
use proptest::prelude::*;

const T0: Moment = Duration::from_secs(100);

/// What was said on a channel, entropy in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    entropy: Vec<u8>,
    events: Vec<String>,
    broke: Option<HostBroke>,
}

impl Told {
    fn hear(&mut self, guest: &mut Guest, mut bytes: &[u8], now: Moment) {
        loop {
            match guest.receive(&mut bytes, now) {
                Ok(Some(Meaning::Entropy(piece))) => self.entropy.extend_from_slice(piece),
                Ok(Some(other)) => self.events.push(format!("{other:?} after {}", self.entropy.len())),
                Ok(None) if bytes.is_empty() => return,
                Ok(None) => {}
                Err(broke) => return self.broke = Some(broke),
            }
        }
    }
}

fn opened(version: Version) -> Guest {
    let mut guest = Guest::new(version);
    guest.opened(T0);
    guest
}

fn said(guest: &mut Guest) -> Vec<u8> {
    let bytes = guest.outbox().to_vec();
    guest.sent(bytes.len());
    bytes
}

fn drain(host: &mut Host) -> Vec<u8> {
    let bytes = host.outbox().to_vec();
    host.sent(bytes.len());
    bytes
}

fn frames(list: &[(u32, Frame<'_>)]) -> Vec<u8> {
    let mut out = Outbox::default();
    list.iter().for_each(|(number, frame)| frame.write(*number, &mut out));
    out.waiting().to_vec()
}

fn welcome(attempt: u32) -> (u32, Frame<'static>) {
    (0, Frame::Welcome { attempt, generation: 7, rate: 1000 })
}

/// A conversation of each version that has everything in it.
fn host_says(version: Version) -> Vec<u8> {
    let pattern: Vec<u8> = (0..=255).collect();
    match version {
        Version::One => [BANNER_1, &pattern, b"You may treat"].concat(),
        Version::Two => frames(&[
            welcome(0),
            (1, Frame::Seed(&pattern)),
            (2, Frame::Starved(Starved::SourceFailed)),
            (3, Frame::Seed(&[9])),
            (4, Frame::Generation(8)),
            (5, Frame::Seed(&pattern)),
        ]),
    }
}

#[test]
fn every_way_to_cut_the_hosts_stream_means_the_same() {
    for version in [Version::One, Version::Two] {
        let stream = host_says(version);
        let mut whole = Told::default();
        whole.hear(&mut opened(version), &stream, T0);
        assert!(whole.broke.is_none() && whole.entropy.len() > 256, "{whole:?}");
        for first in 0..=stream.len() {
            for second in [first, first + 1, first + 9, stream.len()] {
                let (mut told, mut guest) = (Told::default(), opened(version));
                let second = second.min(stream.len());
                for piece in [&stream[..first], &stream[first..second], &stream[second..]] {
                    told.hear(&mut guest, piece, T0);
                }
                assert_eq!(told, whole, "{version:?} cut at {first} and {second}");
            }
        }
    }
}

#[test]
fn every_way_to_cut_the_guests_stream_means_the_same() {
    for version in [Version::One, Version::Two] {
        let mut stream = said(&mut opened(version));
        stream.extend(match version {
            Version::One => b"anything at all".to_vec(),
            Version::Two => frames(&[(1, Frame::More { want: 5 }), (2, Frame::More { want: 6 })]),
        });
        let hear = |pieces: &[&[u8]]| {
            let mut host = Host::new(7, 1000);
            pieces.iter().for_each(|piece| host.receive(piece, T0).unwrap());
            (host.version(), host.appetite(), drain(&mut host))
        };
        let whole = hear(&[&stream]);
        assert_eq!(whole.0, Some(version));
        for cut in 0..=stream.len() {
            assert_eq!(hear(&[&stream[..cut], &stream[cut..]]), whole, "{version:?} cut at {cut}");
        }
    }
}

#[test]
fn a_guest_of_either_version_is_fed_by_one_and_the_same_host() {
    for version in [Version::One, Version::Two] {
        let (mut guest, mut host, mut told) = (opened(version), Host::new(7, 1000), Told::default());
        host.receive(&said(&mut guest), T0).unwrap();
        told.hear(&mut guest, &drain(&mut host), T0);
        assert_eq!(host.pour(&[5; 3000]), LARGEST_SEED);
        assert_eq!(host.pour(&[5; 3000]), 0, "the outbox is not empty");
        told.hear(&mut guest, &drain(&mut host), T0);
        assert_eq!(told.entropy, [5; LARGEST_SEED]);
    }
}

#[test]
fn a_framed_guest_gets_what_it_asked_for_and_not_a_byte_more() {
    let (mut guest, mut host, mut told) = (opened(Version::Two), Host::new(7, 1000), Told::default());
    for portion in [FIRST_PORTION, PORTION, PORTION] {
        host.receive(&said(&mut guest), T0).unwrap();
        while host.pour(&[5; 1000]) > 0 || !host.outbox().is_empty() {
            told.hear(&mut guest, &drain(&mut host), T0);
        }
        assert_eq!((told.entropy.len() as u32, host.appetite()), (portion, 0));
        told.entropy.clear();
        assert_eq!(guest.deadline(), Some(T0 + REFRESH), "it rests until it wants more");
        guest.ask(T0);
    }
}

#[test]
fn one_wrong_byte_in_the_banner_closes_the_channel_for_good() {
    for at in 0..BANNER_1.len() {
        let (mut guest, mut told, mut wrong) = (opened(Version::One), Told::default(), BANNER_1.to_vec());
        wrong[at] ^= 1;
        told.hear(&mut guest, &wrong, T0);
        assert_eq!(told.broke, Some(HostBroke::NotTheBanner { at }));
        told.hear(&mut guest, &host_says(Version::One), T0);
        assert!(told.entropy.is_empty() && told.broke.is_some() && guest.deadline().is_none());
    }
}

#[test]
fn one_wrong_byte_in_the_welcome_means_that_nothing_after_it_is_entropy() {
    for at in 0..12 {
        let (mut guest, mut told, mut wrong) =
            (opened(Version::Two), Told::default(), host_says(Version::Two));
        wrong[at] ^= 1;
        told.hear(&mut guest, &wrong, T0);
        assert!(told.entropy.is_empty() && told.events.is_empty(), "byte {at}: {told:?}");
        assert!(guest.deadline().is_some(), "it will ask again");
    }
}

/// The chardev stays connected while a machine is reset: what its past life had asked for comes first.
#[test]
fn a_machine_that_was_started_again_skips_what_its_past_life_had_asked_for() {
    let (mut before, mut host, mut told) = (opened(Version::Two), Host::new(7, 1000), Told::default());
    host.receive(&said(&mut before), T0).unwrap();
    let mut under_way = drain(&mut host);
    host.pour(&[3; 1000]);
    under_way.extend(&drain(&mut host)[500..]);
    let mut after = opened(Version::Two);
    host.receive(&said(&mut after), T0).unwrap();
    told.hear(&mut after, &under_way[32..], T0);
    host.pour(&[5; 100]);
    told.hear(&mut after, &drain(&mut host), T0);
    host.pour(&[5; 100]);
    told.hear(&mut after, &drain(&mut host), T0);
    assert_eq!((told.broke, &told.entropy[..]), (None, &[5; 100][..]));
}

#[test]
fn a_new_host_is_heard_even_if_the_last_one_broke_the_protocol() {
    for (version, length) in [(Version::One, 269), (Version::Two, 513)] {
        let (mut guest, mut told) = (opened(version), Told::default());
        told.hear(&mut guest, &b"login: ".repeat(10_000), T0);
        assert!(told.broke.take().is_some());
        guest.opened(T0);
        told.hear(&mut guest, &host_says(version), T0);
        assert_eq!((told.broke, told.entropy.len()), (None, length));
    }
}

#[test]
fn wrong_frames_are_named() {
    let seed = |number, length: u16| {
        let [n, m] = [u32::to_be_bytes(number), u32::from(length).to_be_bytes()];
        [&[0xe2, 0x82], &m[2..], &n[..], &[0; 2000]].concat()
    };
    let cases = [
        (seed(2, 1), Malformed::Number { expected: 1, heard: 2 }),
        (seed(0, 1), Malformed::Number { expected: 1, heard: 0 }),
        (seed(1, 0), Malformed::Length { kind: 0x82, length: 0 }),
        (seed(1, 1025), Malformed::Length { kind: 0x82, length: 1025 }),
        (vec![0xe3], Malformed::Magic(0xe3)),
        (vec![0xe2, 0x01], Malformed::Kind(0x01)),
        (vec![0xe2, 0x99], Malformed::Kind(0x99)),
        ([0xe2, 0x83, 0, 1, 0, 0, 0, 1, 77].to_vec(), Malformed::Reason(77)),
    ];
    for (bytes, wrong) in cases {
        let (mut guest, mut told) = (opened(Version::Two), Told::default());
        told.hear(&mut guest, &frames(&[welcome(0)]), T0);
        told.hear(&mut guest, &bytes, T0);
        assert_eq!(told.broke, Some(HostBroke::Malformed(wrong)));
        assert!(told.entropy.is_empty());
    }
}

#[test]
fn a_welcome_that_nobody_asked_for_is_refused() {
    let (mut guest, mut told) = (opened(Version::Two), Told::default());
    told.hear(&mut guest, &frames(&[welcome(0), welcome(0)]), T0);
    assert_eq!(told.broke, Some(HostBroke::Unasked));
}

#[test]
fn a_silent_host_is_asked_again_ever_more_patiently() {
    for version in [Version::One, Version::Two] {
        let mut guest = opened(version);
        let first = said(&mut guest);
        let mut waits = Vec::new();
        let mut now = T0;
        for _ in 0..6 {
            let due = guest.deadline().unwrap();
            guest.turn(due - Duration::from_nanos(1));
            assert!(guest.outbox().is_empty(), "it asked before its time");
            guest.turn(due);
            assert_eq!(said(&mut guest).len(), first.len());
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60], "{version:?}");
    }
}

#[test]
fn a_hello_that_never_left_is_not_said_twice() {
    let mut guest = opened(Version::Two);
    let length = guest.outbox().len();
    guest.sent(5);
    (1..10).for_each(|turn| guest.turn(T0 + REFRESH * turn));
    assert_eq!(guest.outbox().len(), length - 5);
}

/// The machine was put back in time in the middle of a frame, and sits on a new channel without having
/// noticed.
#[test]
fn a_guest_restored_in_the_middle_of_a_frame_is_fed_again() {
    for (version, cut) in [(Version::One, 200), (Version::Two, 40), (Version::Two, 35), (Version::Two, 20)] {
        let (mut guest, mut told) = (opened(version), Told::default());
        said(&mut guest);
        told.hear(&mut guest, &host_says(version)[..cut], T0);
        told = Told::default();
        let due = guest.deadline().unwrap();
        guest.turn(due);
        let mut host = Host::new(99, 1000);
        host.receive(&said(&mut guest), due).unwrap();
        while told.entropy.len() < 500 {
            host.pour(&[5; 100]);
            told.hear(&mut guest, &drain(&mut host), due);
        }
        assert_eq!((told.broke, &told.entropy[..500]), (None, &[5; 500][..]));
        assert_eq!(told.events.len(), 1, "{:?}", told.events);
    }
}

#[test]
fn what_was_under_way_when_the_guest_asked_again_does_no_harm() {
    let (mut guest, mut told) = (opened(Version::Two), Told::default());
    let stream = host_says(Version::Two);
    said(&mut guest);
    told.hear(&mut guest, &stream[..100], T0);
    guest.turn(guest.deadline().unwrap());
    told = Told::default();
    let late = [&stream[100..], &frames(&[welcome(0), welcome(1), (1, Frame::Seed(&[1, 2]))])].concat();
    told.hear(&mut guest, &late, T0);
    assert_eq!((told.broke, &told.entropy[..]), (None, &[1, 2][..]));
}

#[test]
fn an_old_host_of_version_1_that_wakes_up_is_still_believed() {
    let (mut guest, mut told) = (opened(Version::One), Told::default());
    said(&mut guest);
    told.hear(&mut guest, BANNER_1, T0);
    guest.turn(guest.deadline().unwrap());
    told.hear(&mut guest, b"You m", T0);
    told.hear(&mut guest, &[0xff; 10], T0);
    assert_eq!((told.broke, told.entropy), (None, vec![0xff; 10]));
}

#[test]
fn endless_babble_before_the_welcome_is_given_up() {
    for again in [false, true] {
        let (mut guest, mut told) = (opened(Version::Two), Told::default());
        if again {
            guest.sent(1000);
            guest.turn(guest.deadline().unwrap());
        }
        (0..65).for_each(|_| told.hear(&mut guest, &[0xe2; 1024], T0));
        assert_eq!(told.broke, Some(HostBroke::Babble));
    }
}

#[test]
fn a_starving_guest_waits_and_is_told_once() {
    let (mut guest, mut host, mut told) = (opened(Version::Two), Host::new(7, 1000), Told::default());
    host.receive(&said(&mut guest), T0).unwrap();
    (0..100).for_each(|_| host.starve(Starved::SourceFailed));
    told.hear(&mut guest, &drain(&mut host), T0);
    assert_eq!(told.events.len(), 2, "{:?}", told.events);
    assert_eq!(guest.deadline(), Some(T0 + REFRESH));
    host.pour(&[5; 10]);
    told.hear(&mut guest, &drain(&mut host), T0);
    assert_eq!(told.entropy, [5; 10], "what was asked for comes when the source is well again");
}

#[test]
fn a_new_generation_reaches_the_guest_in_the_middle_of_the_stream() {
    let (mut guest, mut host, mut told) = (opened(Version::Two), Host::new(7, 1000), Told::default());
    host.receive(&said(&mut guest), T0).unwrap();
    told.hear(&mut guest, &drain(&mut host), T0);
    host.pour(&[5; 10]);
    host.renew(8);
    host.renew(8);
    host.pour(&[5; 10]);
    told.hear(&mut guest, &drain(&mut host), T0);
    assert_eq!(told.events[1..], ["Generation(8) after 10"]);
}

#[test]
fn whoever_is_no_guest_is_named_and_refused() {
    let hello = |bytes: &[u8]| Host::new(7, 1000).receive(bytes, T0).unwrap_err();
    assert_eq!(hello(b"GET / HTTP/1.1"), GuestBroke::NotAHello { at: 0 });
    assert_eq!(hello(b"Hello, world"), GuestBroke::NotAHello { at: 7 });
    assert_eq!(hello(&[0xe2, 0x81]), GuestBroke::Malformed(Malformed::Kind(0x81)));
    assert_eq!(hello(&frames(&[(0, Frame::More { want: 1 })])), GuestBroke::Unasked);
}

#[test]
fn a_hello_may_begin_late_but_must_end_in_time() {
    let mut host = Host::new(7, 1000);
    assert_eq!(host.deadline(), None);
    host.receive(b"Hello", T0).unwrap();
    assert_eq!(host.turn(T0 + HELLO_TAKES - Duration::from_nanos(1)), Ok(()));
    assert_eq!(host.turn(T0 + HELLO_TAKES), Err(GuestBroke::TooSlow));
    assert_eq!(host.receive(&HELLO_1[5..], T0), Err(GuestBroke::TooSlow));
}

#[test]
fn a_guest_that_never_reads_cannot_grow_the_outbox() {
    let mut host = Host::new(7, 1000);
    let hello = frames(&[(0, Frame::Hello { attempt: 0, knew: 0, want: u32::MAX })]);
    let refused = (0..10_000).find_map(|_| {
        host.pour(&[5; 4096]);
        host.starve(Starved::StartingUp);
        host.receive(&hello, T0).err()
    });
    assert_eq!(refused, Some(GuestBroke::Deaf));
    assert!(host.outbox().len() <= LARGEST_SEED + 256);
}

proptest! {
    #[test]
    fn nothing_that_a_host_sends_can_hurt_a_guest(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000), begun in 0..3, cut in 0..2000_usize,
    ) {
        for version in [Version::One, Version::Two] {
            let (mut guest, mut told) = (opened(version), Told::default());
            if begun > 0 {
                told.hear(&mut guest, &host_says(version)[..cut.min(100)], T0);
            }
            if begun > 1 {
                guest.turn(T0 + REFRESH);
            }
            let (before, after) = bytes.split_at(cut.min(bytes.len()));
            told.hear(&mut guest, before, T0);
            told.hear(&mut guest, after, T0);
            prop_assert!(told.entropy.len() <= bytes.len() + 100);
            prop_assert!(guest.outbox().len() < 200);
        }
    }

    #[test]
    fn nothing_that_a_guest_sends_can_hurt_a_host(
        noise in proptest::collection::vec(any::<u8>(), 0..500), wants in proptest::collection::vec(any::<u32>(), 0..20),
    ) {
        let mut host = Host::new(7, 1000);
        for (number, want) in wants.iter().enumerate() {
            let more = (number as u32 + 1, Frame::More { want: *want });
            let hello = (0, Frame::Hello { attempt: *want, knew: 0, want: *want });
            let _ = host.receive(&frames(&[if number == 0 { hello } else { more }]), T0);
            host.pour(&[1; 2000]);
        }
        let _ = host.receive(&noise, T0);
        prop_assert!(host.outbox().len() <= LARGEST_SEED + 256);
    }

    #[test]
    fn a_frame_that_was_written_is_read(attempt: u32, knew: u128, want: u32) {
        for (end, frame) in [
            (End::Guest, Frame::Hello { attempt, knew, want }),
            (End::Guest, Frame::More { want }),
            (End::Host, Frame::Welcome { attempt, generation: knew, rate: want }),
            (End::Host, Frame::Generation(knew)),
        ] {
            let written = frames(&[(0, frame)]);
            prop_assert_eq!(Reader::new(end).read(&mut written.as_slice()), Ok(Some(frame)));
        }
    }
}
