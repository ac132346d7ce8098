//! A client that has done its handshake and then says noise in records that are authentic.
//!
//! The input is a row of pieces, as in `tls_server`: a byte that says what happens, the length in two bytes, and so many
//! bytes. The first byte says whether it is TLS 1.3.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::{LazyCell, RefCell};
use std::rc::Rc;
use tls::Front;
use tls_bench::forger::{ALERT, CCS, DATA, Forger, HANDSHAKE};
use tls_bench::{Bench, close, read_some, run};

thread_local! {
    static HOUSE: LazyCell<(Bench, Rc<Front>)> = LazyCell::new(|| {
        let bench = Bench::default();
        let front = Front::new(vec![bench.site(&["example.org"])], Some(0), bench.calendar.clone()).unwrap();
        (bench, Rc::new(front))
    });
}

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    HOUSE.with(|house| talk(&house.0, &house.1, first & 1 == 1, pieces(rest)));
});

fn talk(bench: &Bench, front: &Rc<Front>, new: bool, pieces: Vec<(u8, Vec<u8>)>) {
    let (mut session, mut forger) = Forger::meet(bench, front, "example.org", new);
    let (said, heard) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
    let (told, kept) = (said.clone(), heard.clone());
    let serve = async move {
        while let Ok(some) = read_some(&mut session).await {
            if some.is_empty() {
                break;
            }
            kept.borrow_mut().extend(some);
        }
        let _ = close(&mut session).await;
    };
    let shout = async move {
        for (what, bytes) in pieces {
            match what & 7 {
                0..=2 => {
                    told.borrow_mut().extend(&bytes);
                    forger.send(DATA, &bytes).await
                }
                3 => forger.send(HANDSHAKE, &bytes).await,
                4 => forger.send(ALERT, &bytes).await,
                5 if new => forger.update().await,
                6 => {
                    if what >> 3 == DATA {
                        told.borrow_mut().extend(&bytes);
                    }
                    let record = forger.record(what >> 3, &bytes, usize::from(what) * 64);
                    forger.say(&record).await
                }
                _ => forger.send(CCS, &bytes).await,
            };
        }
        drop(forger);
    };
    run(&bench.tasks, serve, shout);
    assert!(said.borrow().starts_with(&heard.borrow()), "it heard what nobody said");
}

fn pieces(mut rest: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut pieces = Vec::new();
    while let [what, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([high & 31, *low])).min(more.len());
        let (bytes, more) = more.split_at(length);
        pieces.push((*what, bytes.to_vec()));
        rest = more;
    }
    pieces
}
