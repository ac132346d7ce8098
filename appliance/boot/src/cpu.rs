//! Single instructions, each in a function that says what it does.
//!
//! `rdrand` stands here and nowhere else in the appliance; `rdseed` stands nowhere.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, CpuidResult};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// CPUID, with zeros for a leaf that the CPU does not have.
pub(crate) fn cpuid(leaf: u32, sub: u32) -> CpuidResult {
    if leaf < 0x4000_0000 && leaf > __cpuid_count(0, 0).eax {
        return CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    }
    __cpuid_count(leaf, sub)
}

/// One bit of a register of CPUID.
pub(crate) const fn bit(register: u32, at: u32) -> bool {
    register & (1 << at) != 0
}

/// A number from the CPU's own generator, if it has one that answers. Worth nothing alone: something to mix in.
#[must_use]
pub fn rdrand() -> Option<u64> {
    if !has_rdrand() {
        return None;
    }
    (0..10).find_map(|_| draw()).filter(|number| *number != 0 && *number != u64::MAX)
}

/// Asked once: CPUID leaves a virtual machine, and a pool may draw often.
fn has_rdrand() -> bool {
    static HAS: AtomicU8 = AtomicU8::new(0);
    if HAS.load(Relaxed) == 0 {
        HAS.store(1 + u8::from(bit(cpuid(1, 0).ecx, 30)), Relaxed);
    }
    HAS.load(Relaxed) == 2
}

/// The one function that holds the instruction: `tests/elf.rs` looks for a second.
#[inline(never)]
fn draw() -> Option<u64> {
    let (number, good): (u64, u8);
    // SAFETY: the caller has asked CPUID for the instruction; it only writes registers and flags.
    unsafe { asm!("rdrand {}", "setc {}", out(reg) number, out(reg_byte) good, options(nomem, nostack)) }
    (good == 1).then_some(number)
}

/// The time stamp counter, read after everything before it has finished.
pub(crate) fn tsc() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: RDTSC is allowed in ring 0 always and writes only registers.
    unsafe { asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nomem, nostack)) }
    high << 32 | low
}

macro_rules! port {
    ($read:ident, $write:ident, $type:ty, $register:tt) => {
        /// # Safety
        /// Reading the port must have no effect that memory can feel.
        pub(crate) unsafe fn $read(port: u16) -> $type {
            let value;
            // SAFETY: the caller knows the port.
            unsafe { asm!(concat!("in ", $register, ", dx"), out($register) value, in("dx") port, options(nomem, nostack)) }
            value
        }

        /// # Safety
        /// Writing the port must have no effect that memory can feel.
        pub(crate) unsafe fn $write(port: u16, value: $type) {
            // SAFETY: the caller knows the port.
            unsafe { asm!(concat!("out dx, ", $register), in("dx") port, in($register) value, options(nomem, nostack)) }
        }
    };
}

port!(in8, out8, u8, "al");
port!(in16, out16, u16, "ax");
port!(in32, out32, u32, "eax");

/// Reads a model-specific register, or says that the CPU does not have it.
pub(crate) fn msr(number: u32) -> Option<u64> {
    let (low, high, good): (u32, u32, u32);
    // SAFETY: reading a register changes nothing; one that is missing comes back through the fault handler, which
    // finds this instruction's address in `gatehouse_rdmsr` and returns with ecx = 0.
    unsafe {
        asm!("call gatehouse_rdmsr", inout("ecx") number => good, out("eax") low, out("edx") high, clobber_abi("C"))
    }
    (good != 0).then_some(u64::from(high) << 32 | u64::from(low))
}

/// Writes a model-specific register; false when the CPU does not take it.
///
/// # Safety
/// The value must leave memory as the compiler believes it to be.
pub(crate) unsafe fn set_msr(number: u32, value: u64) -> bool {
    let good: u32;
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller answers for the value; a register that is missing comes back as in `msr`.
    unsafe {
        asm!("call gatehouse_wrmsr", inout("ecx") number => good, inout("eax") low => _, inout("edx") high => _,
             clobber_abi("C"))
    }
    good != 0
}

core::arch::global_asm!(
    ".section .text.gatehouse_msr, \"ax\", @progbits",
    ".globl gatehouse_rdmsr, gatehouse_rdmsr_at, gatehouse_wrmsr, gatehouse_wrmsr_at, gatehouse_no_msr",
    ".hidden gatehouse_rdmsr, gatehouse_rdmsr_at, gatehouse_wrmsr, gatehouse_wrmsr_at, gatehouse_no_msr",
    "gatehouse_rdmsr:",
    "gatehouse_rdmsr_at: rdmsr",
    "movl $1, %ecx",
    "ret",
    "gatehouse_wrmsr:",
    "gatehouse_wrmsr_at: wrmsr",
    "movl $1, %ecx",
    "ret",
    "gatehouse_no_msr:",
    "xorl %ecx, %ecx",
    "ret",
    ".text",
    options(att_syntax)
);

macro_rules! control {
    ($read:ident, $write:ident, $register:literal) => {
        pub(crate) fn $read() -> u64 {
            let value;
            // SAFETY: reading a control register changes nothing.
            unsafe { asm!(concat!("mov {}, ", $register), out(reg) value, options(nomem, nostack)) }
            value
        }

        /// # Safety
        /// The machine must go on meaning what the compiler believes.
        pub(crate) unsafe fn $write(value: u64) {
            // SAFETY: the caller answers for the value. Memory is clobbered: this may change what is writable.
            unsafe { asm!(concat!("mov ", $register, ", {}"), in(reg) value, options(nostack)) }
        }
    };
}

control!(cr0, set_cr0, "cr0");
control!(cr4, set_cr4, "cr4");

/// The address of the last page fault.
pub(crate) fn cr2() -> u64 {
    let value;
    // SAFETY: reading a control register changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack)) }
    value
}

/// Where the top table lies.
pub(crate) fn cr3() -> u64 {
    let value;
    // SAFETY: reading a control register changes nothing.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack)) }
    value
}

/// Forgets what the CPU remembers of one page.
pub(crate) fn forget(page: u64) {
    // SAFETY: dropping a cached translation is always sound; the next access walks the tables.
    unsafe { asm!("invlpg [{}]", in(reg) page, options(nostack)) }
}

/// Turns on what keeps supervisor code in its place (SMEP, SMAP, UMIP), machine checks, and vector state.
///
/// # Safety
/// In ring 0, once, with fault handlers in place.
pub(crate) unsafe fn harden() {
    let (one, seven) = (cpuid(1, 0), cpuid(7, 0));
    let wanted = [
        (bit(one.edx, 7), 6),
        (bit(seven.ecx, 2), 11),
        (bit(one.ecx, 26), 18),
        (bit(seven.ebx, 7), 20),
        (bit(seven.ebx, 20), 21),
    ];
    let bits = wanted.iter().filter(|(has, _)| *has).fold(0, |bits, (_, at)| bits | 1 << at);
    // SAFETY: CPUID names each of these bits; none changes how our own pages, all of them supervisor's, are used.
    unsafe { set_cr4(cr4() | bits) };
    if bit(one.ecx, 26) {
        let state = u64::from(cpuid(13, 0).eax) & 0xe7;
        // SAFETY: CR4.OSXSAVE was set above, and the bits are those that CPUID says the CPU has.
        unsafe { set_xcr0(state | 3) };
    }
}

unsafe fn set_xcr0(value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller has set CR4.OSXSAVE and asked CPUID for every bit.
    unsafe { asm!("xsetbv", in("ecx") 0, in("eax") low, in("edx") high, options(nostack)) }
}
