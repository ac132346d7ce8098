//! Links and runs: everybody who asks for random bytes comes to the one source. Here the source is a stream that can be
//! recognised: it counts. Each line is a name, how often the source was asked, and what the asker got.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use symbols as _;

static DRAWS: AtomicUsize = AtomicUsize::new(0);
static NEXT: AtomicU8 = AtomicU8::new(0);

fn counting(into: &mut [u8]) -> Result<(), runtime::Refused> {
    if !into.is_empty() {
        DRAWS.fetch_add(1, Relaxed);
    }
    into.iter_mut().for_each(|byte| *byte = NEXT.fetch_add(1, Relaxed));
    Ok(())
}

fn main() {
    runtime::panic_in_one_line();
    runtime::draw_from(counting);
    shown("ring", |into| SystemRandom::new().fill(into).is_ok());
    shown("getrandom 0.2", |into| getrandom_2::getrandom(into).is_ok());
    shown("getrandom 0.3", |into| getrandom_3::fill(into).is_ok());
    shown("getrandom 0.4", |into| getrandom_4::fill(into).is_ok());
    shown("HashMap", |into| {
        into.fill(0);
        HashMap::from([(1, 2)]).len() == 1
    });
}

fn shown(name: &str, ask: impl FnOnce(&mut [u8]) -> bool) {
    let (before, mut bytes) = (DRAWS.load(Relaxed), [0; 4]);
    let given = ask(&mut bytes);
    println!("{name} {given} {} {bytes:?} {}", DRAWS.load(Relaxed) - before, NEXT.load(Relaxed));
}
