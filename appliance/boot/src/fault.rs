//! A fault is one line with its cause, and the end.

use crate::serial;
use crate::{cpu, image, plan};
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What `leave` says when a fault was the cause.
pub(crate) const FAULT: i32 = 64;
/// What `leave` says when a fault struck while one was being told.
const TWICE: i32 = 65;

/// What the gate saved, lowest address first.
#[repr(C)]
pub(crate) struct Frame {
    registers: [u64; 15],
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    flags: u64,
    rsp: u64,
    ss: u64,
}

unsafe extern "C" {
    static gatehouse_rdmsr_at: u8;
    static gatehouse_wrmsr_at: u8;
    static gatehouse_no_msr: u8;
}

static TELLING: AtomicBool = AtomicBool::new(false);

/// The gate calls it. It comes back only to say that the CPU lacks a register that was asked for.
pub(crate) extern "C" fn fault(frame: &mut Frame) {
    let address = cpu::cr2();
    if frame.vector == 13 && asks_for_a_register(frame.rip) {
        frame.rip = address_of(&raw const gatehouse_no_msr);
        return;
    }
    if TELLING.swap(true, Relaxed) {
        serial::leave(TWICE);
    }
    tell(frame, address);
    serial::leave(FAULT)
}

fn asks_for_a_register(rip: u64) -> bool {
    rip == address_of(&raw const gatehouse_rdmsr_at) || rip == address_of(&raw const gatehouse_wrmsr_at)
}

fn address_of(label: *const u8) -> u64 {
    label.expose_provenance() as u64
}

fn tell(frame: &Frame, address: u64) {
    let mut line = Line { bytes: [0; 160], len: 0 };
    let _ = write!(line, "fault: {} at ", name(frame.vector));
    let _ = match plan::PLAN.get() {
        Some(plan) if plan.image.holds(frame.rip) => write!(line, "image+{:#x}", frame.rip - image::base()),
        _ => write!(line, "{:#x}, outside the image", frame.rip),
    };
    let _ = write!(line, " (error {:#x}", frame.error);
    if frame.vector == 14 {
        let _ = write!(line, ", address {address:#x}");
    }
    let _ = writeln!(line, ", stack {:#x})", frame.rsp);
    serial::say(line.told());
}

/// From here on a fault finds that one is being told already.
#[cfg(feature = "probes")]
pub(crate) fn tell_nothing_more() {
    TELLING.store(true, Relaxed);
    // SAFETY: none: the fault is the point, and it never comes back.
    unsafe { core::arch::asm!("ud2") };
}

const fn name(vector: u64) -> &'static str {
    match vector {
        0 => "#DE",
        1 => "#DB",
        2 => "NMI",
        3 => "#BP",
        4 => "#OF",
        5 => "#BR",
        6 => "#UD",
        7 => "#NM",
        8 => "#DF",
        10 => "#TS",
        11 => "#NP",
        12 => "#SS",
        13 => "#GP",
        14 => "#PF",
        16 => "#MF",
        17 => "#AC",
        18 => "#MC",
        19 => "#XM",
        21 => "#CP",
        _ => "an exception without a name",
    }
}

/// A line on the stack of the fault: nothing is allocated, and what does not fit is cut.
struct Line {
    bytes: [u8; 160],
    len: usize,
}

impl Line {
    fn told(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            *self.bytes.get_mut(self.len).ok_or(core::fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}
