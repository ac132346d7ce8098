//! The one source of randomness behind `getrandom`, `syscall(318)` and every crate that asks either of them.

use crate::fault;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

static SOURCE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Makes `source` the one that every draw of this program comes from. A second call is a fault: nothing may replace
/// the source behind the back of whoever set it.
pub fn draw_from(source: fn(&mut [u8])) {
    if !SOURCE.load(Relaxed).is_null() {
        fault("draw_from: the source of randomness is already set");
    }
    SOURCE.store(source as *mut (), Relaxed);
}

/// Fills `into` from the source. Before there is one, nobody may draw: that is a fault, never a weaker source.
pub fn draw(into: &mut [u8]) {
    let source = SOURCE.load(Relaxed);
    if source.is_null() {
        fault("a draw before the first full seed: no key is made without entropy");
    }
    // SAFETY: only `draw_from` writes SOURCE, and always a `fn(&mut [u8])`.
    let source = unsafe { mem::transmute::<*mut (), fn(&mut [u8])>(source) };
    source(into);
}
