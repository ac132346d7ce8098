//! The Linux ground: a dozen system calls, made with the instruction itself.
//!
//! Only what std and the allocator need. What a Linux *world* needs (TAP, polling, the sandbox) is another crate's.

use crate::fault;
use crate::vdso::{self, ClockGettime};
use core::arch::asm;
use core::mem;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

pub(crate) const CLOCK_REALTIME: usize = 0;
pub(crate) const CLOCK_MONOTONIC: usize = 1;

const WRITE: usize = 1;
const CLOSE: usize = 3;
const POLL: usize = 7;
const MMAP: usize = 9;
const MPROTECT: usize = 10;
const RT_SIGACTION: usize = 13;
const ARCH_PRCTL: usize = 158;
const CLOCK_GETTIME: usize = 228;
const EXIT_GROUP: usize = 231;
const GETRANDOM: usize = 318;

const PROT_READ: usize = 1;
const PROT_WRITE: usize = 2;
const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
const ARCH_SET_FS: usize = 0x1002;
const EINTR: i32 = 4;

/// Makes a system call.
///
/// # Safety
/// Whatever that system call does to memory must be sound.
unsafe fn call(number: usize, arguments: [usize; 6]) -> Result<usize, i32> {
    let [a, b, c, d, e, f] = arguments;
    let answer: isize;
    // SAFETY: the kernel keeps all registers but rax, rcx and r11; the rest is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => answer, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    usize::try_from(answer).map_err(|_| -(answer as i32))
}

pub(crate) fn write(fd: i32, bytes: &[u8]) -> Result<usize, i32> {
    // SAFETY: the kernel only reads, and only `bytes`.
    unsafe { call(WRITE, [fd as usize, bytes.as_ptr().addr(), bytes.len(), 0, 0, 0]) }
}

/// Gives a descriptor back.
///
/// # Errors
/// When it is not open.
pub(crate) fn close(fd: i32) -> Result<(), i32> {
    // SAFETY: it touches no memory; who owns the descriptor is std's to know.
    unsafe { call(CLOSE, [fd as usize, 0, 0, 0, 0, 0]) }.map(|_| ())
}

/// Writes all of it, unless the descriptor refuses: then the rest is lost, as a console may.
pub(crate) fn write_all(fd: i32, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(taken) => bytes = bytes.get(taken.max(1)..).unwrap_or_default(),
            Err(EINTR) => {}
            Err(_) => return,
        }
    }
}

pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: it touches no memory and does not return.
        let _ = unsafe { call(EXIT_GROUP, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

/// The kernel's own `clock_gettime`, once it was found in the process.
static CLOCK: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Takes the time from the kernel's shared object from now on.
///
/// # Safety
/// `start` must be what the kernel says in AT_SYSINFO_EHDR.
pub(crate) unsafe fn find_clock(start: usize) {
    // SAFETY: the caller's promise.
    if let Some(function) = unsafe { vdso::clock_gettime(start) } {
        CLOCK.store(function as *mut (), Relaxed);
    }
}

/// Nanoseconds on one of the kernel's clocks.
pub(crate) fn clock(which: usize) -> u64 {
    let mut time = [0; 2];
    if !look(which, &mut time) {
        fault("the host's clock does not answer clock_gettime");
    }
    let [seconds, nanoseconds] = time;
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}

fn look(which: usize, time: &mut [u64; 2]) -> bool {
    let function = CLOCK.load(Relaxed);
    if function.is_null() {
        // SAFETY: `time` is the 16 bytes of a timespec.
        return unsafe { call(CLOCK_GETTIME, [which, time.as_mut_ptr().addr(), 0, 0, 0, 0]) }.is_ok();
    }
    // SAFETY: only `find_clock` writes CLOCK, and always a `ClockGettime`.
    let function = unsafe { mem::transmute::<*mut (), ClockGettime>(function) };
    // SAFETY: `time` is the 16 bytes of a timespec.
    unsafe { function(which, time) == 0 }
}

/// Fresh pages, near `hint` if the kernel likes it.
pub(crate) fn map(size: usize, hint: usize) -> Option<NonNull<[u8]>> {
    let size = size.checked_next_multiple_of(4096)?;
    let how = [hint, size, PROT_READ | PROT_WRITE, MAP_PRIVATE_ANONYMOUS, usize::MAX, 0];
    // SAFETY: without MAP_FIXED it only adds pages that nobody has.
    let start = unsafe { call(MMAP, how) }.ok()?;
    let start = NonNull::new(ptr::with_exposed_provenance_mut(start))?;
    Some(NonNull::slice_from_raw_parts(start, size))
}

/// Takes the right to write away from whole pages.
///
/// # Safety
/// Nothing may write there any more.
pub(crate) unsafe fn protect_read(start: usize, len: usize) {
    // SAFETY: the caller promises that nobody writes there.
    if unsafe { call(MPROTECT, [start, len, PROT_READ, 0, 0, 0]) }.is_err() {
        fault("mprotect refuses to make relocated constants read-only");
    }
}

/// Sets the base of FS.
///
/// # Safety
/// `block` must be a thread block that stays for ever.
pub(crate) unsafe fn set_fs(block: usize) {
    // SAFETY: the caller promises a thread block.
    if unsafe { call(ARCH_PRCTL, [ARCH_SET_FS, block, 0, 0, 0, 0]) }.is_err() {
        fault("arch_prctl refuses to set the thread pointer");
    }
}

/// Ignores a signal, or gives it back to the kernel's default.
///
/// # Errors
/// When the kernel does not know the signal.
pub fn ignore_signal(signal: i32, ignore: bool) -> Result<(), i32> {
    let action = [usize::from(ignore), 0, 0, 0];
    // SAFETY: a kernel sigaction is these 32 bytes; SIG_IGN (1) and SIG_DFL (0) run no code of ours.
    unsafe { call(RT_SIGACTION, [signal as usize, action.as_ptr().addr(), 0, 8, 0, 0]) }.map(|_| ())
}

/// What [`standard_descriptors_are_open`] asks `poll` about: `struct pollfd`.
#[repr(C)]
struct Asked {
    fd: i32,
    events: i16,
    revents: i16,
}

/// Whether descriptors 0, 1 and 2 are all open: if not, the first file opened would become the console.
#[must_use]
pub fn standard_descriptors_are_open() -> bool {
    const POLLNVAL: i16 = 0x20;
    let mut asked = [0, 1, 2].map(|fd| Asked { fd, events: 0, revents: 0 });
    // SAFETY: three pollfd structures, written by the kernel; a timeout of 0 returns at once.
    let _ = unsafe { call(POLL, [asked.as_mut_ptr().addr(), asked.len(), 0, 0, 0, 0]) };
    asked.iter().all(|one| one.revents & POLLNVAL == 0)
}

/// Fills `into` from the kernel's random source, once that is seeded: `draw_from(runtime::kernel_random)` makes it the
/// source of a Linux process. With no kernel beneath it is a fault.
///
/// # Errors
/// Never: a kernel that gives nothing is a fault.
pub fn kernel_random(into: &mut [u8]) -> Result<(), crate::Refused> {
    if !crate::ground::is_linux() {
        fault("kernel_random: there is no kernel beneath");
    }
    let mut rest = into;
    while !rest.is_empty() {
        // SAFETY: the kernel writes at most `rest.len()` bytes, to `rest`.
        match unsafe { call(GETRANDOM, [rest.as_mut_ptr().addr(), rest.len(), 0, 0, 0, 0]) } {
            Ok(filled) => rest = rest.get_mut(filled..).unwrap_or_default(),
            Err(EINTR) => {}
            Err(_) => fault("getrandom(2) gives nothing: no key is made without it"),
        }
    }
    Ok(())
}
