//! Hypercalls: the one file of this world that needs `unsafe`.
//!
//! They are made by the instruction itself, `vmcall` or `vmmcall` by the maker of the CPU, and not through Xen's page of
//! them: that page would have to be executable and is written by somebody else.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, _rdtsc};
use dma::Pages;

const MEMORY: u64 = 12;
const SCHEDULE: u64 = 29;
const EVENTS: u64 = 32;
const MACHINE: u64 = 34;

const ADD_TO_PHYSMAP: u64 = 7;
const POLL: u64 = 3;
const CLOSE: u64 = 3;
const SEND: u64 = 4;
const ALLOCATE: u64 = 6;
const SET_PARAMETER: u64 = 0;
const PARAMETER: u64 = 1;
const OURSELVES: u16 = 0x7ff0;

/// What the tools ask before they count on a guest that obeys `control/shutdown`.
const CALLBACK: u32 = 0;
/// An upcall by a vector of the CPU's. It never comes: every port is masked, and interrupts stay closed.
const BY_VECTOR: u64 = 2 << 56;

/// What lies where in the machine's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    /// The page frame of the ring to xenstore.
    StorePage = 1,
    /// The port of that ring.
    StorePort = 2,
    /// The page frame of the console's ring.
    ConsolePage = 17,
    /// The port of that ring.
    ConsolePort = 18,
}

/// What Xen puts in the place of a page of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// Events and clocks.
    SharedInfo = 0,
    /// The grant table.
    Grants = 1,
}

/// Puts a page of Xen's in the place of each page of ours; what was there is gone. False when Xen refuses.
pub(crate) fn place(what: Special, pages: &Pages) -> bool {
    (0..pages.len() / 4096).all(|index| {
        let Some(frame) = pages.cut(index * 4096, 4096).and_then(|page| page.frame()) else { return false };
        let space = u64::from(OURSELVES) | (what as u64) << 32;
        // SAFETY: Xen swaps a whole page that nothing refers to but `Pages`, which expects its contents to change.
        unsafe { call(MEMORY, ADD_TO_PHYSMAP, &mut [space, index as u64, frame]) == 0 }
    })
}

/// A parameter of this machine; `None` where there is no such thing.
pub(crate) fn parameter(which: Parameter) -> Option<u64> {
    let mut words = [u64::from(OURSELVES) | (which as u64) << 32, 0];
    // SAFETY: Xen reads both words and writes the second.
    let done = unsafe { call(MACHINE, PARAMETER, &mut words) } == 0;
    let [_, value] = words;
    (done && value != 0).then_some(value)
}

/// Lets the tools see that this guest has drivers, so that they ask it to shut down and do not pull the plug.
pub(crate) fn show_drivers(vector: u32) {
    let words = [u64::from(OURSELVES) | u64::from(CALLBACK) << 32, BY_VECTOR | u64::from(vector)];
    // SAFETY: Xen reads both words; the vector is one of our own lines, and its stub only writes down that it came.
    let _ = unsafe { call(MACHINE, SET_PARAMETER, &mut { words }) };
}

/// A new port for that domain to bind to.
pub(crate) fn allocate(domain: u16) -> Option<u32> {
    let mut words = [u64::from(OURSELVES) | u64::from(domain) << 16];
    // SAFETY: Xen reads the lower half of the word and writes the upper.
    let done = unsafe { call(EVENTS, ALLOCATE, &mut words) } == 0;
    let [word] = words;
    done.then_some((word >> 32) as u32)
}

/// Closes a port.
pub(crate) fn close(port: u32) {
    // SAFETY: Xen reads a number.
    let _ = unsafe { call(EVENTS, CLOSE, &mut [u64::from(port)]) };
}

/// Tells whoever is at the other end of a port to look.
pub(crate) fn send(port: u32) {
    // SAFETY: Xen reads a number.
    let _ = unsafe { call(EVENTS, SEND, &mut [u64::from(port)]) };
}

/// Sleeps until one of the ports is marked or Xen's clock reaches `until` (0: never). The ports are masked.
pub(crate) fn poll(ports: &[u32], until: u64) {
    let mut words = [ports.as_ptr().expose_provenance() as u64, ports.len() as u64, until];
    // SAFETY: Xen reads the three words, and as many ports as the slice has.
    let _ = unsafe { call(SCHEDULE, POLL, &mut words) };
}

/// The time stamp counter.
pub(crate) fn counter() -> u64 {
    // SAFETY: it only reads a register, and ring 0 always may.
    unsafe { _rdtsc() }
}

/// Makes a hypercall about `words`.
///
/// # Safety
/// The operation must read and write nothing but `words` and what they are known to point to.
unsafe fn call(number: u64, operation: u64, words: &mut [u64]) -> i64 {
    let at = words.as_mut_ptr().expose_provenance();
    let answer: i64;
    if has_vmmcall() {
        // SAFETY: the caller's promise; Xen changes no register but those of the call.
        unsafe {
            asm!("vmmcall", inout("rax") number => answer, inout("rdi") operation => _, inout("rsi") at => _,
                 lateout("rdx") _, lateout("r10") _, lateout("r8") _)
        }
    } else {
        // SAFETY: as above.
        unsafe {
            asm!("vmcall", inout("rax") number => answer, inout("rdi") operation => _, inout("rsi") at => _,
                 lateout("rdx") _, lateout("r10") _, lateout("r8") _)
        }
    }
    answer
}

/// The CPUs of AMD and Hygon have another instruction for it.
fn has_vmmcall() -> bool {
    static KNOWN: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);
    use core::sync::atomic::Ordering::Relaxed;
    if KNOWN.load(Relaxed) == 0 {
        let last = __cpuid(0).ecx.to_le_bytes();
        KNOWN.store(1 + u8::from(last == *b"cAMD" || last == *b"uine"), Relaxed);
    }
    KNOWN.load(Relaxed) == 2
}
