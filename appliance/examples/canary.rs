//! Links and runs, and shows what C code would compare in its frames: the canary of this run.

use core::arch::asm;
use symbols as _;

fn main() {
    let canary: u64;
    // SAFETY: FS points to the thread block, whose canary lies there.
    unsafe { asm!("mov {}, fs:[0x28]", out(reg) canary, options(nostack, pure, readonly)) };
    println!("{canary:x}");
}
