//! The one source of randomness behind `getrandom`, `syscall(318)` and every crate that asks either of them.

use crate::fault;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

static SOURCE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// A source: it fills the slice, or leaves it as it is and says so.
pub type Source = fn(&mut [u8]) -> Result<(), Refused>;

/// The source gives nothing now: whatever the bytes were wanted for must not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Makes `source` the one that every draw of this program comes from. A second call is a fault: nothing may replace
/// the source behind the back of whoever set it.
pub fn draw_from(source: Source) {
    if !SOURCE.load(Relaxed).is_null() {
        fault("draw_from: the source of randomness is already set");
    }
    SOURCE.store(source as *mut (), Relaxed);
}

/// Fills `into` from the source. Before there is one, nobody may draw: that is a fault, never a weaker source.
///
/// # Errors
/// When the source refuses.
pub fn draw(into: &mut [u8]) -> Result<(), Refused> {
    let source = SOURCE.load(Relaxed);
    if source.is_null() {
        fault("a draw before the first full seed: no key is made without entropy");
    }
    // SAFETY: only `draw_from` writes SOURCE, and always a `Source`.
    let source = unsafe { mem::transmute::<*mut (), Source>(source) };
    source(into)
}
