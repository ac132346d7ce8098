//! The CPU's own interrupt controller and its timer: x2APIC and the TSC deadline where the CPU has them.

use crate::cpu::{self, bit, cpuid};
use crate::irq::TIMER;
use crate::lone::Lone;
use crate::{device, serial};
use core::cell::Cell;
use core::ptr::NonNull;

const BASE: u64 = 0xfee0_0000;
const APIC_BASE: u32 = 0x1b;
const X2: u32 = 0x800;
const TSC_DEADLINE: u32 = 0x6e0;

const ID: u32 = 0x20;
const PRIORITY: u32 = 0x80;
const END: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const FIRST_COUNT: u32 = 0x380;
const COUNT: u32 = 0x390;
const DIVIDE: u32 = 0x3e0;

const MASKED: u32 = 1 << 16;
const BY_DEADLINE: u32 = 2 << 17;
const BY_ONE: u32 = 0xb;

/// How the registers are reached.
#[derive(Clone, Copy)]
enum Way {
    None,
    Memory(NonNull<u32>),
    Registers,
}

static WAY: Lone<Cell<Way>> = Lone::new(Cell::new(Way::None));
static DEADLINE: Lone<Cell<bool>> = Lone::new(Cell::new(false));

/// Turns the controller on, with every local line closed but the timer's.
pub(crate) fn start() {
    let features = cpuid(1, 0);
    if !bit(features.edx, 9) {
        serial::refuse("this CPU has no local interrupt controller");
    }
    WAY.set(if bit(features.ecx, 21) { registers() } else { memory() });
    write(SPURIOUS, 0x1ff);
    for line in [LVT_LINT0, LVT_LINT1, LVT_ERROR] {
        write(line, MASKED);
    }
    write(PRIORITY, 0);
    write(DIVIDE, BY_ONE);
    DEADLINE.set(bit(features.ecx, 24));
    write(LVT_TIMER, u32::from(TIMER) | if DEADLINE.get() { BY_DEADLINE } else { 0 });
    (0..8).for_each(|_| acknowledge());
}

fn registers() -> Way {
    let on = cpu::msr(APIC_BASE).unwrap_or(BASE) | 3 << 10;
    // SAFETY: CPUID says that the CPU has an x2APIC; turning it on takes its page away, which is not mapped.
    if unsafe { cpu::set_msr(APIC_BASE, on) } { Way::Registers } else { memory() }
}

fn memory() -> Way {
    match device::map(BASE, 4096) {
        Some(base) => Way::Memory(base.cast()),
        None => serial::refuse("no room for the local interrupt controller"),
    }
}

/// This CPU's number, as a device writes it.
pub(crate) fn id() -> u32 {
    match WAY.get() {
        Way::Registers => read(ID) & 0xff,
        _ => read(ID) >> 24,
    }
}

/// Says that an interrupt has been seen to.
pub(crate) fn acknowledge() {
    write(END, 0);
}

/// Raises a vector of this CPU, as a device's message would.
#[cfg(feature = "probes")]
pub(crate) fn send_to_self(vector: u32) {
    write(0x300, 1 << 18 | vector);
}

/// True when the timer takes a time, false when it takes a count.
pub(crate) fn has_deadline() -> bool {
    DEADLINE.get()
}

/// Rings when the time stamp counter reaches `tsc`; 0 is never.
pub(crate) fn ring_at(tsc: u64) {
    // SAFETY: the register only arms the timer, whose vector has a gate. In memory mode the fence orders it behind
    // the write of the timer's mode.
    unsafe {
        core::arch::asm!("mfence", "wrmsr", in("ecx") TSC_DEADLINE, in("eax") tsc as u32, in("edx") (tsc >> 32) as u32,
                         options(nostack));
    }
}

/// Rings after so many ticks of the timer; 0 is never.
pub(crate) fn ring_after(ticks: u32) {
    write(FIRST_COUNT, ticks);
}

/// Counts down from the top without ringing: only for measuring.
pub(crate) fn count_down() {
    write(LVT_TIMER, u32::from(TIMER) | MASKED);
    write(FIRST_COUNT, u32::MAX);
}

/// The count now.
pub(crate) fn count() -> u32 {
    read(COUNT)
}

/// Ends a measurement.
pub(crate) fn count_no_more() {
    write(FIRST_COUNT, 0);
    write(LVT_TIMER, u32::from(TIMER) | if DEADLINE.get() { BY_DEADLINE } else { 0 });
}

fn read(register: u32) -> u32 {
    match WAY.get() {
        Way::None => 0,
        // SAFETY: the page was mapped for ever, and all registers lie in it.
        Way::Memory(base) => unsafe { place(base, register).read_volatile() },
        Way::Registers => cpu::msr(X2 + (register >> 4)).unwrap_or(0) as u32,
    }
}

fn place(base: NonNull<u32>, register: u32) -> NonNull<u32> {
    // SAFETY: the constants of this file, the only registers, are below the 4096 bytes of the page.
    unsafe { base.byte_add(register as usize) }
}

fn write(register: u32, value: u32) {
    match WAY.get() {
        Way::None => {}
        // SAFETY: as in `read`. Vectors written here lead to our own stubs.
        Way::Memory(base) => unsafe { place(base, register).write_volatile(value) },
        Way::Registers => {
            // SAFETY: the registers of the x2APIC touch no memory; one that is missing is left alone.
            unsafe { cpu::set_msr(X2 + (register >> 4), u64::from(value)) };
        }
    }
}
