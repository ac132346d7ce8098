//! Does one forbidden thing with memory, or its allowed twin, as a Linux process: `tests/faults.rs` watches it die.
//!
//! An example and not a mode of the appliance, so that what ships can never hold it. With nothing beneath, the boot
//! path has probes of its own.

use core::arch::asm;
use core::hint::black_box;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};
use core::sync::atomic::AtomicUsize;
use symbols as _;

/// A name, what is forbidden, and what is allowed.
type Probe = (&'static str, fn(), fn());

const PROBES: [Probe; 10] = [
    ("read-null", || peek(0), || peek(local())),
    ("write-text", || poke(text()), || peek(text())),
    ("write-rodata", || poke(constant()), || peek(constant())),
    ("write-relro", || poke(sealed()), || peek(sealed())),
    ("execute-heap", || run(filled(heap())), || peek(heap())),
    ("execute-data", || run(filled(data())), || poke(data())),
    ("execute-stack", || run(filled(local())), || poke(local())),
    ("execute-rodata", || run(constant()), || run(text())),
    ("execute-locals", || run(filled(thread_local())), || poke(thread_local())),
    ("overflow-stack", || deeper(usize::MAX), || deeper(20)),
];

fn main() {
    runtime::panic_in_one_line();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, how] = words.as_slice() else { runtime::fault("dies: NAME dies|lives") };
    let Some((_, dies, lives)) = PROBES.iter().find(|probe| probe.0 == name) else {
        runtime::fault("dies: there is no such probe")
    };
    if how == "dies" {
        dies()
    } else {
        lives()
    }
    println!("lived");
}

fn peek(at: usize) {
    // SAFETY: none: that is the point. A twin reads what it may.
    unsafe { with_exposed_provenance::<u8>(at).read_volatile() };
}

fn poke(at: usize) {
    // SAFETY: none: that is the point. A twin writes to what is its own.
    unsafe { asm!("mov byte ptr [{at}], 0x5a", at = in(reg) at, options(nostack)) }
}

fn run(at: usize) {
    // SAFETY: none: that is the point. A twin calls a function that only returns.
    unsafe { asm!("call {at}", at = in(reg) at, clobber_abi("C")) }
}

#[inline(never)]
fn deeper(left: usize) {
    let room = black_box([left; 64]);
    if left > 0 {
        deeper(left - 1);
    }
    black_box(room);
}

/// A `ret` where it may be written.
fn filled(at: usize) -> usize {
    // SAFETY: every caller passes memory of its own.
    unsafe { with_exposed_provenance_mut::<u8>(at).write_volatile(0xc3) };
    at
}

extern "C" fn nothing() {}

fn text() -> usize {
    (nothing as extern "C" fn()) as usize
}

fn constant() -> usize {
    static CONSTANT: [u8; 64] = [0xc3; 64];
    CONSTANT.as_ptr().expose_provenance()
}

fn sealed() -> usize {
    static SEALED: [fn(); 2] = [|| {}, main];
    black_box(&SEALED).as_ptr().expose_provenance()
}

fn data() -> usize {
    static DATA: AtomicUsize = AtomicUsize::new(7);
    DATA.as_ptr().expose_provenance()
}

fn heap() -> usize {
    Box::leak(Box::new([0_u8; 64])).as_mut_ptr().expose_provenance()
}

fn local() -> usize {
    let place = black_box(0_usize);
    (&raw const place).expose_provenance()
}

fn thread_local() -> usize {
    thread_local! { static PLACE: AtomicUsize = const { AtomicUsize::new(7) }; }
    PLACE.with(|place| place.as_ptr().expose_provenance())
}
