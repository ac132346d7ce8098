//! The ground: what lies beneath the runtime, Linux or nothing at all.
//!
//! On Linux it is the `syscall` instruction. With nothing beneath, the boot path describes its own services in a
//! [`Bare`] before it jumps to `_start`. Nothing here allocates, and nothing above this file asks which ground it is.

use crate::linux;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// What the runtime stands on when there is no Linux beneath.
pub struct Bare {
    /// Writes bytes to the console. It may lose them and never blocks for ever.
    pub say: fn(&[u8]),
    /// Ends the program with this code.
    pub leave: fn(i32) -> !,
    /// Nanoseconds from an arbitrary start; never goes back.
    pub monotonic: fn() -> u64,
    /// Nanoseconds since 1970.
    pub since_1970: fn() -> u64,
    /// At least so many fresh, zeroed, writable pages that cannot be executed; adjacent to the last ones or not.
    pub more_heap: fn(usize) -> Option<NonNull<[u8]>>,
    /// Sets the base of FS.
    ///
    /// Its contract: the address is that of a thread block which stays for ever.
    pub set_thread_pointer: unsafe fn(usize),
}

static GROUND: AtomicPtr<Bare> = AtomicPtr::new(ptr::null_mut());

/// Says that there is no Linux beneath. The boot path calls it once, before it jumps to `_start`.
///
/// # Safety
/// `more_heap` must give memory that nothing else uses, and the program must run in ring 0 on that ground from now on.
pub unsafe fn stand_on(ground: &'static Bare) {
    GROUND.store(ptr::from_ref(ground).cast_mut(), Relaxed);
}

fn bare() -> Option<&'static Bare> {
    let ground = GROUND.load(Relaxed);
    // SAFETY: the pointer is null or came from a `&'static Bare` in `stand_on`.
    unsafe { ground.as_ref() }
}

/// True when Linux is beneath.
#[must_use]
pub fn is_linux() -> bool {
    GROUND.load(Relaxed).is_null()
}

/// Writes to the console, whole if the console takes it.
pub fn say(bytes: &[u8]) {
    match bare() {
        Some(ground) => (ground.say)(bytes),
        None => linux::write_all(2, bytes),
    }
}

/// Writes to standard output (1) or error (2) and says how many bytes were taken, or which error came.
///
/// # Errors
/// Whatever Linux answers; with nothing beneath there are none.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, i32> {
    match bare() {
        Some(ground) => {
            (ground.say)(bytes);
            Ok(bytes.len())
        }
        None => linux::write(fd, bytes),
    }
}

/// Gives a descriptor back.
///
/// # Errors
/// Whatever Linux answers; with nothing beneath there is none that could be open.
pub fn close(fd: i32) -> Result<(), i32> {
    const EBADF: i32 = 9;
    if is_linux() { linux::close(fd) } else { Err(EBADF) }
}

/// Ends the program.
pub fn leave(code: i32) -> ! {
    match bare() {
        Some(ground) => (ground.leave)(code),
        None => linux::exit(code),
    }
}

/// Nanoseconds on the monotonic clock.
#[must_use]
pub fn monotonic() -> u64 {
    bare().map_or_else(|| linux::clock(linux::CLOCK_MONOTONIC), |ground| (ground.monotonic)())
}

/// Nanoseconds since 1970.
#[must_use]
pub fn since_1970() -> u64 {
    bare().map_or_else(|| linux::clock(linux::CLOCK_REALTIME), |ground| (ground.since_1970)())
}

/// At least `size` bytes of fresh zeroed pages; on Linux near `hint`, if that is free.
pub(crate) fn pages(size: usize, hint: usize) -> Option<NonNull<[u8]>> {
    match bare() {
        Some(ground) => (ground.more_heap)(size),
        None => linux::map(size, hint),
    }
}

/// Points FS at the thread block.
///
/// # Safety
/// `block` must be the address of a thread block that stays for ever.
pub(crate) unsafe fn set_thread_pointer(block: usize) {
    match bare() {
        // SAFETY: the caller's promise is the one that `Bare` asks for.
        Some(ground) => unsafe { (ground.set_thread_pointer)(block) },
        // SAFETY: the caller promises a thread block that stays.
        None => unsafe { linux::set_fs(block) },
    }
}

/// Makes the relocated constants read-only. With nothing beneath, the boot path's page tables already do.
///
/// # Safety
/// Nothing may write to these pages any more.
pub(crate) unsafe fn seal(start: usize, len: usize) {
    if is_linux() {
        // SAFETY: the caller promises that nobody writes there.
        unsafe { linux::protect_read(start, len) }
    }
}
