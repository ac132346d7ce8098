//! The PVH door: from the first instruction in 32-bit mode to `_start`, and what stays beneath it afterwards.
//!
//! The way up: `door.s` (32 to 64 bits) → `plan` (where everything will lie, and the page tables) → the crossing to a
//! random address → `gates`, `rise` (protections, controllers, clocks) → `_start` of the runtime.
//!
//! What stays: `wait` (sleep), `irq` (lines), `ram` (pages), `device` (registers, page by page), clocks, the serial
//! line, and a fault's one line. It never allocates (but for [`take_secret`]'s answer), never runs an interrupt while
//! Rust runs, and never believes what the loader says of memory without looking.
//!
//! In a Linux process nothing here does anything: [`on_bare_metal`] is false and every answer is empty.

mod bytes;
mod cargo;
mod clock;
mod cmos;
mod cpu;
mod device;
mod dice;
mod door;
mod fault;
mod first;
mod gates;
mod grant;
mod hypervisor;
mod image;
mod info;
pub mod irq;
mod lapic;
mod lone;
pub mod pci;
mod pit;
mod plan;
pub mod port;
#[cfg(feature = "probes")]
mod probes;
mod ram;
mod rise;
mod serial;
mod sleep;
mod spans;
mod stacks;
mod tables;

pub use clock::{correct as correct_date, monotonic, since_1970};
pub use cpu::rdrand;
pub use device::{firmware, map_device};
pub use grant::{pages, registers, shared_page};
pub use hypervisor::{Hypervisor, hypervisor, xen_leaf};
pub use ram::{dma_pages, memory, module, physical, take_secret};
pub use serial::{reboot_at_the_end, speak_through};
pub use sleep::wait;

use plan::{Origin, PLAN};

/// True with nothing beneath, false in a Linux process.
#[must_use]
pub fn on_bare_metal() -> bool {
    PLAN.get().is_some()
}

/// Where the randomness of the memory layout came from.
#[must_use]
pub fn layout() -> &'static str {
    match PLAN.get().map(|plan| plan.origin) {
        Some(Origin::Launcher) => "launcher",
        Some(Origin::Rdrand) => "rdrand",
        Some(Origin::Tsc) => "tsc",
        None => "linux",
    }
}

/// Where ACPI's tables start, if the loader says so.
#[must_use]
pub fn rsdp() -> Option<u64> {
    PLAN.get()?.info.rsdp
}

/// Writes to the console; it may lose bytes and never waits for ever.
pub fn say(bytes: &[u8]) {
    if on_bare_metal() {
        serial::say(bytes);
    }
}

/// Ends the program with this code: the machine, or in a process the process.
pub fn leave(code: i32) -> ! {
    if on_bare_metal() { serial::leave(code) } else { runtime::leave(code) }
}
