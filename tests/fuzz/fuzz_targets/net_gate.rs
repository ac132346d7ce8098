//! Segments whose numbers are near the right ones: what passes parsers and is the gate's to judge.
#![no_main]

mod bench;

use bench::{Bench, pieces};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut bench = Bench::new();
    pieces(input)
        .for_each(|(what, bytes)| if what & 3 == 3 { bench.live(0, bytes) } else { bench.segment(bytes) });
});
