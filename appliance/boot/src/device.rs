//! Addresses for what is not RAM: registers of devices, uncached, and tables of the firmware, read-only.
//!
//! Nothing outside RAM is mapped until somebody asks for it, page by page, never executable. The page tables for these
//! addresses were made at boot and are read-only like all others: [`enter`] is the one function that turns write
//! protection off, for one entry, with interrupts closed. It decides nothing: what it writes can neither be executed
//! nor reach RAM, because [`allowed`] has looked at it before.

use crate::cpu;
use crate::lone::Lone;
use crate::plan::{DEVICES, PLAN, Plan};
use crate::spans::Span;
use crate::tables::{PAGE, Rights};
use core::cell::Cell;
use core::ptr::{NonNull, with_exposed_provenance_mut};

const WRITE_PROTECT: u64 = 1 << 16;
/// The interrupt controllers, which are ours alone.
const OURS: [Span; 2] = [Span::of(0xfec0_0000, 1 << 20), Span::of(0xfee0_0000, 1 << 20)];

/// How much of the addresses for devices is in use.
static USED: Lone<Cell<u64>> = Lone::new(Cell::new(0));

/// Maps a device's registers. `None` when they would lie in RAM or on an interrupt controller, when the CPU cannot
/// count so far, or when the addresses for devices are used up (32 MiB of them).
#[must_use]
pub fn map_device(at: u64, len: usize) -> Option<NonNull<u8>> {
    let span = Span::of(at, len as u64);
    OURS.iter().all(|ours| !ours.touches(span)).then(|| map(at, len))?
}

/// Memory that the hypervisor shares with us, where there is no RAM of ours. `None` where there is.
pub(crate) fn share(at: u64, len: usize) -> Option<NonNull<u8>> {
    let span = Span::of(at, len as u64);
    OURS.iter().all(|ours| !ours.touches(span)).then(|| show(at, len, Rights::Write))?
}

/// Shows a table of the firmware, read-only. `None` when it would lie in RAM.
#[must_use]
pub fn firmware(at: u64, len: usize) -> Option<&'static [u8]> {
    let start = show(at, len, Rights::Read)?;
    // SAFETY: the pages were mapped for ever and are nobody's to write to; any bytes make bytes.
    Some(unsafe { core::slice::from_raw_parts(start.as_ptr(), len) })
}

/// As [`map_device`], for our own controllers too.
pub(crate) fn map(at: u64, len: usize) -> Option<NonNull<u8>> {
    show(at, len, Rights::Device)
}

fn show(at: u64, len: usize, rights: Rights) -> Option<NonNull<u8>> {
    let plan = PLAN.get()?;
    let pages = Span::of(at, len as u64).outward(PAGE);
    let used = USED.get();
    let left = DEVICES.checked_sub(used)?;
    if len == 0 || !allowed(plan, pages) || pages.len() > left {
        return None;
    }
    for page in (0..pages.len()).step_by(PAGE as usize) {
        enter(plan, used + page, (pages.start + page) | rights.bits());
    }
    USED.set(used + pages.len());
    NonNull::new(with_exposed_provenance_mut((plan.devices + used + (at - pages.start)) as usize))
}

/// Only what is not RAM, below the end of what the CPU can address, and without wrapping round.
fn allowed(plan: &Plan, pages: Span) -> bool {
    let bits = match cpu::cpuid(0x8000_0008, 0).eax & 0xff {
        bits @ 32..=52 => bits,
        _ => 36,
    };
    !plan.info.ram.touch(pages) && pages.end <= 1 << bits && pages.start < pages.end
}

/// Writes one entry of the tables for devices: `offset` bytes into their addresses.
fn enter(plan: &Plan, offset: u64, entry: u64) {
    let slot = plan.window + plan.device_tables + offset / PAGE * 8;
    let protected = cpu::cr0();
    // SAFETY: interrupts are closed, so nothing but the next write happens without protection.
    unsafe { cpu::set_cr0(protected & !WRITE_PROTECT) };
    // SAFETY: `show` keeps `offset` below DEVICES, whose lowest tables lie there in a row; nothing was mapped there yet.
    unsafe { with_exposed_provenance_mut::<u64>(slot as usize).write_volatile(entry) };
    // SAFETY: gives back what was taken.
    unsafe { cpu::set_cr0(protected) };
    cpu::forget(plan.devices + offset);
}
