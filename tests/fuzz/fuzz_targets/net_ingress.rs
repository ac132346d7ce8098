//! The whole way in: frames of all kinds, segments in place, time, and streams that are read, written, closed, dropped.
#![no_main]

mod bench;

use bench::{Bench, pieces};
use libfuzzer_sys::fuzz_target;
use world::Checksum;

fuzz_target!(|input: &[u8]| {
    let mut bench = Bench::new();
    for (what, bytes) in pieces(input) {
        match what & 15 {
            8 => bench.server(bytes),
            0 => bench.frame(bytes, Checksum::Unknown),
            1 => bench.frame(bytes, Checksum::Verified),
            2 | 3 => bench.segment(bytes),
            _ => bench.live(what, bytes),
        }
    }
});
