//! Sleep: the only place where interrupts are open.

use crate::{clock, irq, plan};
use core::arch::asm;

/// Sleeps until a claimed line fires or the monotonic clock reaches `until`. Returns at once when a line has fired
/// that nobody has asked about, and in a process. It may return early for no reason.
pub fn wait(until: Option<u64>) {
    if plan::PLAN.get().is_none() {
        return;
    }
    irq::settle();
    while !irq::any_fired() {
        if until.is_some_and(|until| clock::monotonic() >= until) {
            return peek();
        }
        if let Some(until) = until {
            clock::ring_at(until);
        }
        halt();
        clock::ring_no_more();
        irq::settle();
    }
}

/// Lets what is waiting come in, without sleeping.
fn peek() {
    // SAFETY: the gates stand on stacks of their own and change no register.
    unsafe { asm!("sti", "nop", "cli") };
    irq::settle();
}

/// Sleeps until anything comes. `sti` opens the gates only after the next instruction: nothing is missed between.
fn halt() {
    // SAFETY: as in `peek`.
    unsafe { asm!("sti", "hlt", "cli") };
}
