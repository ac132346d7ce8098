//! Links and runs, and shows what the runtime gives to std: one word on the command line, one answer.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use symbols as _;

fn main() {
    runtime::panic_in_one_line();
    let word = std::env::args().nth(1).unwrap_or_default();
    match word.as_str() {
        "arguments" => println!("{:?}", std::env::args().skip(1).collect::<Vec<_>>()),
        "environment" => println!("{:?}", std::env::var_os("HOME")),
        "date" => println!("{}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
        "clock" => println!("{}", Instant::now().elapsed().as_nanos() < 1_000_000_000),
        "map" => println!("{}", map()),
        "addresses" => addresses(),
        "heap" => heap(),
        "locals" => LOCAL.with_borrow(|local| println!("{local:?}")),
        "file" => println!("{:?}", File::open("/proc/self/exe").map_err(|error| error.raw_os_error())),
        "draw" => println!("{}", HashMap::from([(1, 2)]).len()),
        "panic" => panic(),
        "exhaust" => exhaust(),
        "lock" => lock_twice(),
        "clocks" => how_long_a_look_takes(),
        _ => runtime::fault("stands: which word?"),
    }
}

/// A hundred thousand keys, half of them taken out again.
fn map() -> usize {
    runtime::draw_from(runtime::kernel_random);
    let mut map: HashMap<usize, Vec<u8>> = (0..100_000).map(|key| (key, vec![0; key % 300])).collect();
    map.retain(|key, value| key % 2 == 0 && value.iter().all(|byte| *byte == 0));
    map.len()
}

/// Where code, heap, stack and thread-locals lie this time.
fn addresses() {
    let (boxed, local) = (Box::new(1), 1);
    let code = main as *const ();
    LOCAL.with(|there| println!("{code:p} {boxed:p} {:p} {there:p}", &raw const local));
}

/// Bytes in use go up and down with a block, the peak stays.
fn heap() {
    let before = runtime::heap::in_use();
    drop(black_box(vec![1_u8; 5_000_000]));
    let after = runtime::heap::in_use();
    println!(
        "{} {} {}",
        after - before,
        runtime::heap::peak() / 5_000_000,
        runtime::heap::from_the_ground() > 5_000_000
    );
}

#[expect(clippy::panic, reason = "this is what it shows")]
fn panic() {
    panic!("first line\nsecond line");
}

fn exhaust() {
    runtime::heap::limit(10_000_000);
    println!("{:?}", Vec::<u8>::new().try_reserve(20_000_000).is_err());
    black_box(vec![1_u8; 20_000_000]);
}

fn lock_twice() {
    let lock = Mutex::new(());
    let _held = lock.lock();
    drop(lock.lock());
}

fn how_long_a_look_takes() {
    let start = Instant::now();
    for _ in 0..1_000_000 {
        black_box(Instant::now());
    }
    println!("{} ns", start.elapsed().as_nanos() / 1_000_000);
}

#[repr(align(128))]
#[derive(Debug)]
struct Aligned(#[expect(dead_code, reason = "it is printed")] [u64; 3]);

thread_local! {
    static LOCAL: std::cell::RefCell<(Aligned, Vec<u8>)> = std::cell::RefCell::new((Aligned([1, 2, 3]), vec![4]));
}
