//! The heap beside glibc's: nanoseconds for a block that comes and goes among ten thousand others.
//!
//! Ours wipes what is freed; glibc's does not. `cargo bench --package runtime`
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a bench may stop")]

use runtime::heap::OneThread;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::time::Instant;

/// Blocks that stay while others come and go.
const OTHERS: usize = 10_000;
const TURNS: usize = 200_000;

fn main() {
    // SAFETY: this program has one thread.
    let ours = unsafe { OneThread::promise() };
    println!("{:>16} {:>8} {:>8}", "bytes", "ours", "libc");
    for (least, most) in [(16, 16), (16, 200), (16, 2_000), (1_500, 17_000), (65_536, 65_536)] {
        let [ours, theirs] = [&ours as &dyn GlobalAlloc, &System].map(|heap| time(heap, least, most));
        println!("{:>16} {ours:>8.0} {theirs:>8.0}", format!("{least} to {most}"));
    }
}

/// The best of five rounds.
fn time(heap: &dyn GlobalAlloc, least: usize, most: usize) -> f64 {
    let mut dice = 1_u64;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    let others = if most > 10_000 { OTHERS / 50 } else { OTHERS };
    let size = |roll: &mut dyn FnMut(usize) -> usize| least + roll(most - least + 1);
    let mut blocks: Vec<_> = (0..others).map(|_| take(heap, size(&mut roll))).collect();
    let mut round = || {
        let start = Instant::now();
        for _ in 0..TURNS {
            let fresh = take(heap, size(&mut roll));
            let old = std::mem::replace(&mut blocks[roll(others)], fresh);
            give_back(heap, old);
        }
        start.elapsed().as_nanos() as f64 / TURNS as f64
    };
    let best = (0..5).map(|_| round()).fold(f64::INFINITY, f64::min);
    blocks.into_iter().for_each(|block| give_back(heap, block));
    best
}

fn take(heap: &dyn GlobalAlloc, size: usize) -> (*mut u8, Layout) {
    let layout = Layout::from_size_align(size, 8).unwrap();
    // SAFETY: the layout is not empty.
    let block = unsafe { heap.alloc(layout) };
    assert!(!block.is_null());
    (black_box(block), layout)
}

fn give_back(heap: &dyn GlobalAlloc, (block, layout): (*mut u8, Layout)) {
    // SAFETY: `take` made it with that layout.
    unsafe { heap.dealloc(block, layout) };
}
