//! Segments, the task state and the 256 gates: written once, then read-only like the page tables.

use crate::plan::Plan;
use crate::stacks::{INTERRUPTIONS, Stacks};
use crate::tables::PAGE;
use crate::{cpu, fault, irq};
use core::ptr::with_exposed_provenance_mut;

core::arch::global_asm!(
    include_str!("gates.s"),
    fired = sym irq::FIRED,
    heard = sym irq::HEARD,
    fault = sym fault::fault,
    options(att_syntax)
);

unsafe extern "C" {
    static gatehouse_gates: u8;
    fn gatehouse_segments(segments: *const Limits, gates: *const Limits);
}

/// What LGDT and LIDT read.
#[repr(C, packed)]
struct Limits {
    limit: u16,
    base: u64,
}

/// Bytes of code that each gate has.
const STUB: u64 = 16;
const WRITE_PROTECT: u64 = 1 << 16;

/// Writes the descriptors and takes them into use; from here on read-only means read-only.
///
/// # Safety
/// In ring 0, once, right after the crossing, with write protection off.
pub(crate) unsafe fn stand(plan: &Plan) {
    let at = plan.window + plan.descriptors;
    let state = at + 256;
    let segments = segments(state);
    // SAFETY: the page was set aside for it; write protection is off.
    unsafe { write(at, &segments) };
    // SAFETY: the same page, behind the segments.
    unsafe { write(state, &task_state(plan.stacks)) };
    // SAFETY: the page after it was set aside for the gates.
    unsafe { write(at + PAGE, &gates()) };
    let segments = Limits { limit: 5 * 8 - 1, base: at };
    let gates = Limits { limit: 4095, base: at + PAGE };
    // SAFETY: both tables were written above; selector 8 is code as before, 16 data, 24 the task state.
    unsafe { gatehouse_segments(&raw const segments, &raw const gates) };
    // SAFETY: turning write protection on takes rights away and gives none.
    unsafe { cpu::set_cr0(cpu::cr0() | WRITE_PROTECT) };
}

/// # Safety
/// `at` must be mapped memory of that size that nobody else uses.
unsafe fn write<const N: usize>(at: u64, words: &[u64; N]) {
    // SAFETY: the caller's promise.
    unsafe { with_exposed_provenance_mut::<[u64; N]>(at as usize).write_volatile(*words) };
}

/// Nothing, code, data, and the task state at `state` in two parts.
const fn segments(state: u64) -> [u64; 5] {
    let low = 103 | (state & 0xff_ffff) << 16 | 0x89 << 40 | (state >> 24 & 0xff) << 56;
    [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, low, state >> 32]
}

/// The task state: seven stacks for interruptions, of which we use five, and no I/O bitmap.
fn task_state(stacks: Stacks) -> [u64; 13] {
    let mut halves = [0_u32; 26];
    for kind in 1..=INTERRUPTIONS {
        let top = stacks.interruption(kind);
        let at = 9 + 2 * kind as usize - 2;
        if let Some([low, high]) = halves.get_mut(at..at + 2) {
            (*low, *high) = (top as u32, (top >> 32) as u32);
        }
    }
    halves[25] = 104 << 16;
    let mut words = [0; 13];
    for (word, [low, high]) in words.iter_mut().zip(halves.as_chunks::<2>().0) {
        *word = u64::from(*low) | u64::from(*high) << 32;
    }
    words
}

/// A gate for every vector, closed to interrupts while it is passed.
fn gates() -> [u64; 512] {
    let first = (&raw const gatehouse_gates).expose_provenance() as u64;
    let mut gates = [0; 512];
    for (vector, gate) in (0..).zip(gates.as_chunks_mut::<2>().0) {
        let at = first + vector * STUB;
        let low = at & 0xffff | 8 << 16 | stack(vector) << 32 | 0x8e << 40 | (at >> 16 & 0xffff) << 48;
        *gate = [low, at >> 32];
    }
    gates
}

/// Which stack a vector runs on.
const fn stack(vector: u64) -> u64 {
    match vector {
        8 => 2,
        2 => 3,
        18 => 4,
        32.. => 5,
        _ => 1,
    }
}
