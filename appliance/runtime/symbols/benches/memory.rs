//! Our functions on memory beside glibc's, which this program itself runs on: nanoseconds per call.
//!
//! `cargo bench --package symbols`

use core::arch::global_asm;
use core::ffi::c_int;
use core::hint::black_box;
use std::time::Instant;

global_asm!(include_str!("../src/memory.s"));

const SIZES: [usize; 12] = [1, 8, 15, 31, 64, 127, 300, 1_460, 4_096, 16_384, 65_536, 1_048_576];

unsafe extern "C" {
    fn gatehouse_memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
    fn gatehouse_memset(to: *mut u8, byte: c_int, len: usize) -> *mut u8;
    fn gatehouse_bcmp(one: *const u8, other: *const u8, len: usize) -> c_int;
    fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
    fn memset(to: *mut u8, byte: c_int, len: usize) -> *mut u8;
    fn bcmp(one: *const u8, other: *const u8, len: usize) -> c_int;
}

type Copy = unsafe extern "C" fn(*mut u8, *const u8, usize) -> *mut u8;
type Fill = unsafe extern "C" fn(*mut u8, c_int, usize) -> *mut u8;
type Compare = unsafe extern "C" fn(*const u8, *const u8, usize) -> c_int;

fn main() {
    println!("{:>9} {:>17} {:>17} {:>17}", "bytes", "memcpy ours/libc", "memset ours/libc", "bcmp ours/libc");
    for size in SIZES {
        let copies = [gatehouse_memcpy, memcpy].map(|copy: Copy| time_copy(copy, size));
        let fills = [gatehouse_memset, memset].map(|fill: Fill| time_fill(fill, size));
        let compares = [gatehouse_bcmp, bcmp].map(|compare: Compare| time_compare(compare, size));
        println!("{size:>9} {} {} {}", pair(copies), pair(fills), pair(compares));
    }
}

fn pair([ours, theirs]: [f64; 2]) -> String {
    format!("{ours:>8.1} {theirs:>8.1}")
}

fn time_copy(copy: Copy, size: usize) -> f64 {
    let (from, mut to) = (vec![1_u8; size + 3], vec![0_u8; size]);
    time(size, || {
        // SAFETY: both hold `size` bytes; the source is off by three, as a packet behind its headers is.
        black_box(unsafe { copy(to.as_mut_ptr(), from.as_ptr().wrapping_add(3), size) });
    })
}

fn time_fill(fill: Fill, size: usize) -> f64 {
    let mut to = vec![1_u8; size];
    time(size, || {
        // SAFETY: it holds `size` bytes.
        black_box(unsafe { fill(to.as_mut_ptr(), 0, size) });
    })
}

fn time_compare(compare: Compare, size: usize) -> f64 {
    let (one, other) = (vec![1_u8; size], vec![1_u8; size]);
    time(size, || {
        // SAFETY: both hold `size` bytes.
        black_box(unsafe { compare(one.as_ptr(), other.as_ptr(), size) });
    })
}

/// The best of nine rounds, so that a busy machine disturbs little.
fn time(size: usize, mut call: impl FnMut()) -> f64 {
    let calls = (20_000_000 / (size + 100)).max(20);
    let round = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_nanos() as f64 / calls as f64
    };
    (0..9).map(round).fold(f64::INFINITY, f64::min)
}
