//! A client of noise against the shell's side of a server: what comes in, in which pieces, and how long it waits.
//!
//! The input is a row of pieces: a byte that says what happens, the length in two bytes, and so many bytes. With the
//! first bit of its first byte, it begins with a ClientHello that is fit, so that the noise comes behind an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::LazyCell;
use std::rc::Rc;
use tls::{ClientPolicy, Front, Kind};
use tls_bench::{Bench, PATIENCE, close, pipe, read_all, run, write_all};

thread_local! {
    static HOUSE: LazyCell<(Bench, Rc<Front>)> = LazyCell::new(|| {
        let bench = Bench::default();
        let (plain, mut asking) = (bench.site(&["example.org"]), bench.site(&["example.net"]));
        asking.clients = ClientPolicy::Required(bench.trust());
        let front = Front::new(vec![plain, asking], Some(0), bench.calendar.clone()).unwrap();
        (bench, Rc::new(front))
    });
}

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    HOUSE.with(|house| meet(&house.0, &house.1, usize::from(first >> 1) + 1, first & 1 == 1, pieces(rest)));
});

fn meet(bench: &Bench, front: &Rc<Front>, piece: usize, fit: bool, pieces: Vec<(bool, Vec<u8>)>) {
    let (mut near, far) = pipe(piece);
    let (sent, front, timers) = (far.sent(), front.clone(), bench.tasks.timers().clone());
    let serve = async move {
        let mut session = match front.accept(far, 443, &timers, PATIENCE).await {
            Ok((session, _)) => session,
            Err(refused) => {
                assert!(refused.kind != Kind::Ours, "{refused}");
                return false;
            }
        };
        let _ = read_all(&mut session).await;
        let _ = close(&mut session).await;
        true
    };
    let shout = async move {
        if fit {
            let _ = write_all(&mut near, HELLO).await;
        }
        for (whole, bytes) in pieces {
            let length = (bytes.len() as u16).to_be_bytes();
            let record = [&[20 + (length[1] & 3), 3, 3][..], &length, &bytes].concat();
            let _ = write_all(&mut near, if whole { &record } else { &bytes }).await;
        }
        let _ = close(&mut near).await;
        let _ = read_all(&mut near).await;
    };
    let (came_in, ()) = run(&bench.tasks, serve, shout);
    assert!(!came_in, "noise shook hands");
    assert!(sent.borrow().seen.len() < 1 << 16, "it says more than it heard");
}

fn pieces(mut rest: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut pieces = Vec::new();
    while let [what, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([high & 63, *low])).min(more.len());
        let (bytes, more) = more.split_at(length);
        pieces.push((what & 1 == 1, bytes.to_vec()));
        rest = more;
    }
    pieces
}

/// A ClientHello of TLS 1.2: x25519, P-256, AES-128, extended master secret.
const HELLO: &[u8] = b"\x16\x03\x01\x00\x4e\x01\x00\x00\x4a\x03\x03AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00\x00\x02\xc0\x2b\x01\x00\
    \x00\x1f\x00\x0a\x00\x04\x00\x02\x00\x1d\x00\x0d\x00\x04\x00\x02\x04\x03\x00\x0b\x00\x02\x01\x00\x00\x17\x00\x00\
    \xff\x01\x00\x01\x00";
