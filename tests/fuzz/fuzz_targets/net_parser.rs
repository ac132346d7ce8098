//! Any frames at all, with or without a device that says that their checksums are right.
#![no_main]

mod bench;

use bench::{Bench, pieces};
use libfuzzer_sys::fuzz_target;
use world::Checksum;

fuzz_target!(|input: &[u8]| {
    let mut bench = Bench::new();
    for (what, bytes) in pieces(input) {
        bench.frame(bytes, if what & 1 == 0 { Checksum::Unknown } else { Checksum::Verified });
        if what & 2 != 0 {
            bench.live(0, bytes);
        }
    }
});
