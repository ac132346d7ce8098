//! The console's last resort, and the ways to leave.
//!
//! It works from the first instruction of Rust on, without memory, interrupts or time; it may lose bytes, and it never
//! waits for ever.

use crate::cpu;
use crate::lone::Lone;
use core::arch::asm;
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const ROOM: u8 = 0x20;
/// Where Xen and QEMU listen for a byte to print.
const DEBUG: u16 = 0xe9;
/// QEMU's isa-debug-exit, where the launcher asks for it.
const EXIT: u16 = 0xf4;
const KEYBOARD: u16 = 0x64;
const RESET: u8 = 0xfe;
/// Xen's hypercall about scheduling, its operation, and two reasons.
const SCHEDULE: u64 = 29;
const SHUTDOWN: u64 = 2;
const POWER_OFF: u32 = 0;
const REBOOT: u32 = 1;
const CRASH: u32 = 3;
/// What `leave` says when the appliance cannot start.
const REFUSED: i32 = 66;
/// How often a full line is asked for room before a byte is lost.
const PATIENCE: u32 = 20_000;

/// A console of the world's own: it takes bytes, or says that it cannot.
type Mouth = fn(&[u8]) -> bool;

static MOUTH: Lone<Cell<Option<Mouth>>> = Lone::new(Cell::new(None));
static AGAIN: AtomicBool = AtomicBool::new(false);

/// From now on everything is said through `mouth`, and only what that does not take goes the old way.
pub fn speak_through(mouth: Mouth) {
    if crate::on_bare_metal() {
        MOUTH.set(Some(mouth));
    }
}

/// When it ends without a fault, the host is asked to start the machine again. Only Xen can be asked.
pub fn reboot_at_the_end() {
    AGAIN.store(true, Relaxed);
}

/// Writes bytes to the world's console, else to the serial line, or to the debug port where the hypervisor is Xen.
pub(crate) fn say(bytes: &[u8]) {
    if !MOUTH.get().is_some_and(|mouth| mouth(bytes)) {
        say_by_port(bytes);
    }
}

/// Writes bytes without memory, interrupts or time.
fn say_by_port(bytes: &[u8]) {
    let xen = crate::hypervisor() == crate::Hypervisor::Xen;
    for byte in bytes {
        if xen {
            // SAFETY: the port prints a byte and has no other effect.
            unsafe { cpu::out8(DEBUG, *byte) };
        } else if has_room() {
            // SAFETY: the transmit register of the serial line; DMA is not involved.
            unsafe { cpu::out8(COM1, *byte) };
        }
    }
}

/// A line that nobody empties is asked once for each byte from then on: its patience was used up by the first.
fn has_room() -> bool {
    static STUCK: AtomicBool = AtomicBool::new(false);
    let patience = if STUCK.load(Relaxed) { 1 } else { PATIENCE };
    // SAFETY: reading the line status only clears error bits.
    let room = (0..patience).any(|_| unsafe { cpu::in8(LINE_STATUS) } & ROOM != 0);
    STUCK.store(!room, Relaxed);
    room
}

/// One sentence, and the end.
pub(crate) fn refuse(why: &str) -> ! {
    say(b"gatehouse cannot start: ");
    say(why.as_bytes());
    say(b"\n");
    leave(REFUSED)
}

/// Ends the machine: by Xen's own call, else by the launcher's exit port, else by a reset, else by a triple fault.
pub(crate) fn leave(code: i32) -> ! {
    if crate::hypervisor() == crate::Hypervisor::Xen {
        let well = if AGAIN.load(Relaxed) { REBOOT } else { POWER_OFF };
        shut_down(if code == 0 { well } else { CRASH });
    }
    // SAFETY: where the port exists the machine ends here; where it does not, nothing listens.
    unsafe { cpu::out32(EXIT, code.cast_unsigned()) };
    // SAFETY: the keyboard controller pulls the reset line.
    unsafe { cpu::out8(KEYBOARD, RESET) };
    fall()
}

/// Tells Xen why this domain ends. It comes back only when Xen refuses.
fn shut_down(why: u32) {
    let vendor = cpu::cpuid(0, 0).ecx;
    // The last letters of AuthenticAMD and HygonGenuine: their CPUs have another instruction for it.
    let amd = vendor == u32::from_le_bytes(*b"cAMD") || vendor == u32::from_le_bytes(*b"uine");
    let (call, operation, reason) = (SCHEDULE, SHUTDOWN, &raw const why);
    if amd {
        // SAFETY: Xen reads the reason and ends the domain; the registers are those of its calling convention.
        unsafe {
            asm!("vmmcall", inout("rax") call => _, inout("rdi") operation => _, inout("rsi") reason => _)
        }
    } else {
        // SAFETY: as above.
        unsafe {
            asm!("vmcall", inout("rax") call => _, inout("rdi") operation => _, inout("rsi") reason => _)
        }
    }
}

/// A fault with no gate to catch it resets every machine.
fn fall() -> ! {
    let none = [0_u16; 5];
    // SAFETY: nothing may run after this, and nothing does: without gates `ud2` ends the machine.
    unsafe { asm!("cli", "lidt [{}]", "ud2", "2: hlt", "jmp 2b", in(reg) &raw const none, options(noreturn)) }
}
