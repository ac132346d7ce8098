//! Both ends, alone and against each other.

use crate::frame::{End, Frame, greeting};
use crate::outbox::Outbox;
use crate::*;
use proptest::prelude::*;

fn frames(list: &[Frame<'_>]) -> Vec<u8> {
    let mut out = Outbox::default();
    list.iter().for_each(|frame| frame.write(&mut out));
    out.waiting().to_vec()
}

const HELLO: Frame<'_> = Frame::Hello { version: VERSION, nonce: 7 };
const WELCOME: Frame<'_> = Frame::Welcome { version: VERSION, nonce: 7, who: Who::Appliance };

/// Everything that an operator can say.
fn operator_says() -> Vec<u8> {
    frames(&[
        HELLO,
        Frame::Ask { line: 1, verb: Verb::Stop, words: "für 10" },
        Frame::Offer { line: 2, index: 300, secret: 5 },
        Frame::Data { line: 2, bytes: &[3; 300] },
        Frame::Data { line: 2, bytes: b"12345" },
        Frame::Leave { line: 1 },
        Frame::Ask { line: 1, verb: Verb::Status, words: "" },
    ])
}

/// Everything that a steward can say.
fn steward_says() -> Vec<u8> {
    frames(&[
        WELCOME,
        Frame::Text { line: 1, bytes: &[b'x'; 400] },
        Frame::Done { line: 1 },
        Frame::Want { line: 2, spans: &[0, 0, 0, 1, 0, 0, 0, 2] },
        Frame::Want { line: 2, spans: &[] },
        Frame::Refused { line: 2, why: "nämlich" },
    ])
}

/// What was asked, data and text in one piece.
fn asked(steward: &mut Steward, mut bytes: &[u8]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        match steward.receive(&mut bytes) {
            Ok(None) if bytes.is_empty() => return all,
            Ok(None) => {}
            Ok(Some(Asked::Data { line, bytes })) => match all.last_mut() {
                Some(last) if last.starts_with("data") => last.push_str(&format!("{bytes:?}")),
                _ => all.push(format!("data {line}{bytes:?}")),
            },
            Ok(Some(other)) => all.push(format!("{other:?}")),
            Err(malformed) => all.push(format!("{malformed}")),
        }
    }
}

fn told(operator: &mut Operator, mut bytes: &[u8]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        match operator.receive(&mut bytes) {
            Ok(None) if bytes.is_empty() => return all,
            Ok(None) => {}
            Ok(Some(Told::Text { line, bytes })) => match all.last_mut() {
                Some(last) if last.starts_with("text") => last.push_str(&format!("{bytes:?}")),
                _ => all.push(format!("text {line}{bytes:?}")),
            },
            Ok(Some(Told::Wants { spans, .. })) => all.push(format!("{:?}", spans.collect::<Vec<_>>())),
            Ok(Some(other)) => all.push(format!("{other:?}")),
            Err(malformed) => {
                all.push(format!("{malformed}"));
                return all;
            }
        }
    }
}

/// Pieces of bytes joined as if there had been no cut.
fn joined(all: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for one in all {
        match joined.last_mut() {
            Some(last) if one.starts_with("data 2") && last.starts_with("data 2") => {
                last.push_str(one.trim_start_matches("data 2"));
            }
            Some(last) if one.starts_with("text 1") && last.starts_with("text 1") => {
                last.push_str(one.trim_start_matches("text 1"));
            }
            _ => joined.push(one),
        }
    }
    joined.iter().map(|one| one.replace("][", ", ")).collect()
}

#[test]
fn every_way_to_cut_the_operators_stream_means_the_same() {
    let bytes = operator_says();
    let whole = joined(asked(&mut Steward::new(Who::Appliance), &bytes));
    assert_eq!(whole.len(), 6, "{whole:?}");
    for first in 0..bytes.len() {
        for second in [first, first + 1, first + 7, bytes.len()].map(|at| at.min(bytes.len())) {
            let mut steward = Steward::new(Who::Appliance);
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let all = pieces.iter().flat_map(|piece| asked(&mut steward, piece)).collect();
            assert_eq!(joined(all), whole, "cut at {first} and {second}");
        }
    }
}

#[test]
fn every_way_to_cut_the_stewards_stream_means_the_same() {
    let bytes = steward_says();
    let whole = joined(told(&mut Operator::new(7), &bytes));
    assert_eq!(whole.len(), 6, "{whole:?}");
    for first in 0..bytes.len() {
        for second in [first, first + 1, first + 7, bytes.len()].map(|at| at.min(bytes.len())) {
            let mut operator = Operator::new(7);
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let all = pieces.iter().flat_map(|piece| told(&mut operator, piece)).collect();
            assert_eq!(joined(all), whole, "cut at {first} and {second}");
        }
    }
}

#[test]
fn what_was_under_way_for_somebody_before_is_not_heard() {
    let before = &steward_says()[20..];
    let others = frames(&[Frame::Welcome { version: VERSION, nonce: 8, who: Who::Appliance }]);
    let mine = frames(&[WELCOME, Frame::Done { line: 3 }]);
    let mut operator = Operator::new(7);
    let all = told(&mut operator, &[before, &others, &mine].concat());
    assert_eq!(all, ["Welcome(Appliance)", "Done { line: 3 }"]);
    let half = &operator_says()[5..];
    let mut steward = Steward::new(Who::Appliance);
    let all = asked(&mut steward, &[half, &frames(&[HELLO])].concat());
    assert_eq!(all, ["Greeted"]);
}

#[test]
fn nonsense_is_told_once_and_the_next_greeting_is_heard() {
    let mut steward = Steward::new(Who::Appliance);
    let nonsense = [&frames(&[HELLO])[..], b"GET / HTTP/1.1\r\n\r\n", &frames(&[HELLO])].concat();
    let all = asked(&mut steward, &nonsense);
    assert_eq!(all, ["Greeted", "a frame begins with 0x47", "Greeted"]);
    let old = frames(&[Frame::Hello { version: 2, nonce: 7 }]);
    let all = asked(&mut steward, &old);
    assert!(all[0].contains("version 2") && all[0].contains("same release"), "{all:?}");
    assert_eq!(told(&mut Operator::new(7), steward.outbox()).len(), 1, "it is told which version we speak");
}

/// Carries all that both have to say, in pieces of that size; gives what the operator was told.
fn talk(steward: &mut Steward, operator: &mut Operator, size: usize) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let piece: Vec<u8> = steward.outbox().iter().copied().take(size).collect();
        steward.sent(piece.len());
        all.extend(told(operator, &piece));
        let piece: Vec<u8> = operator.outbox().iter().copied().take(size).collect();
        operator.sent(piece.len());
        assert!(asked(steward, &piece).iter().all(|word| !word.contains("frame")));
        if piece.is_empty() && steward.outbox().is_empty() {
            return joined(all);
        }
    }
}

#[test]
fn a_long_answer_arrives_whole_and_does_not_hold_a_short_one() {
    let (mut steward, mut operator) = (Steward::new(Who::Launcher), Operator::new(7));
    operator.ask(1, Verb::Metrics, "");
    operator.ask(2, Verb::Status, "");
    assert_eq!(talk(&mut steward, &mut operator, 5), ["Welcome(Launcher)"]);
    steward.answer(1, &"long ".repeat(40_000));
    steward.answer(2, "short");
    let all = talk(&mut steward, &mut operator, 1000);
    let place = |word: &str| all.iter().position(|one| one.contains(word)).unwrap();
    assert!(place("Done { line: 2 }") < place("Done { line: 1 }"));
    let letters = all.iter().filter(|one| one.contains("text 1")).flat_map(|one| one.matches("108,"));
    assert!(letters.count() >= 39_990, "most of each piece's commas are there");
}

#[test]
fn an_operator_that_does_not_read_loses_lines_and_nothing_grows() {
    let (mut steward, mut operator) = (Steward::new(Who::Appliance), Operator::new(7));
    operator.ask(1, Verb::Log, "");
    talk(&mut steward, &mut operator, 1000);
    let lost = (0..10_000).filter(|_| steward.tell(1, &[b'x'; 100]) == Err(Full)).count();
    assert!((8_000..10_000).contains(&lost), "{lost}");
    assert!(steward.outbox().len() < 3 * PIECE);
    for line in 0..5_000 {
        operator.ask(line, Verb::Status, "");
    }
    let all = asked(&mut steward, operator.outbox());
    assert_eq!(all.len(), LINES - 1);
    assert!(steward.outbox().len() < 10 * PIECE, "{}", steward.outbox().len());
    assert_eq!(steward.tell(9_999, b"x"), Err(Full), "a line that nobody opened");
}

#[test]
fn what_is_wanted_is_asked_for_in_frames_that_fit() {
    let (mut steward, mut operator) = (Steward::new(Who::Appliance), Operator::new(7));
    operator.offer(1, 5, 5);
    talk(&mut steward, &mut operator, 1000);
    steward.want(1, (0..1000).map(|at| (at, 1)));
    let all = talk(&mut steward, &mut operator, 1000);
    assert_eq!(all.len(), 1000_usize.div_ceil(128) + 1);
    assert_eq!((all[0].matches("(").count(), all.last().map(String::as_str)), (128, Some("[]")));
    steward.refuse(1, &"ü".repeat(5_000));
    let all = talk(&mut steward, &mut operator, 1000);
    assert!(all[0].starts_with("Refused") && all[0].len() < 1100, "{all:?}");
}

#[test]
fn a_greeting_is_what_is_looked_for() {
    let said = frames(&[HELLO]);
    assert_eq!(said[..6], greeting(End::Operator, 7)[..6]);
}

proptest! {
    #[test]
    fn noise_never_panics_hangs_or_grows(
        greeted in any::<bool>(),
        noise in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xc7), Just(2), Just(0)], 0..3000),
    ) {
        let mut steward = Steward::new(Who::Appliance);
        let mut operator = Operator::new(7);
        if greeted {
            asked(&mut steward, &frames(&[HELLO]));
            told(&mut operator, &frames(&[WELCOME]));
        }
        asked(&mut steward, &noise);
        told(&mut operator, &noise);
        prop_assert!(steward.outbox().len() <= 5 * PIECE);
    }
}
