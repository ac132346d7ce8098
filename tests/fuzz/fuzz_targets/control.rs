//! Noise against both ends of the control channel. Each piece of input is a turn: a byte that says what happens, and
//! what is heard.
#![no_main]

use control::{Asked, Operator, PIECE, Steward, WAITING, Who};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (mut steward, mut operator) = (Steward::new(Who::Appliance), Operator::new(7));
    let mut rest = input;
    while let Some((what, more)) = rest.split_first() {
        let (heard, more) = more.split_at(more.len().min(usize::from(what >> 2)));
        rest = more;
        match what & 3 {
            0 => steward.start_over(),
            1 => steward.sent(usize::from(*what)),
            2 => operator = Operator::new(7),
            _ => drop(steward.tell(u16::from(*what), &[b'x'; 100])),
        }
        hear(&mut steward, heard);
        let mut bytes = heard;
        while !bytes.is_empty() && operator.receive(&mut bytes).is_ok() {}
        assert!(steward.outbox().len() <= 5 * PIECE, "the outbox grows");
    }
});

fn hear(steward: &mut Steward, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let answer = match steward.receive(&mut bytes) {
            Ok(Some(Asked::For { line, words, .. })) => {
                assert!(words.len() < 1024);
                Some((line, words.len()))
            }
            Ok(Some(Asked::Data { bytes, .. })) => {
                assert!(bytes.len() <= PIECE);
                None
            }
            _ => None,
        };
        match answer {
            Some((line, 0)) => steward.answer(line, "fine"),
            Some((line, 1)) => steward.refuse(line, "no"),
            Some((line, 2)) => steward.want(line, [(0, 1), (5, 1000)]),
            Some((line, _)) => drop(steward.tell(line, &[b'x'; WAITING])),
            None => {}
        }
    }
}
