//! PCI's configuration space: by the old pair of ports, or by the window in memory that ACPI tells of.

use crate::lone::Lone;
use crate::{device, on_bare_metal, port};
use core::cell::Cell;
use core::ptr::NonNull;

/// One function of one device on one bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The bus.
    pub bus: u8,
    /// The device, below 32.
    pub device: u8,
    /// The function, below 8.
    pub function: u8,
}

/// The window of bus 0, if a world has opened one.
static WINDOW: Lone<Cell<Option<NonNull<u32>>>> = Lone::new(Cell::new(None));
const BUS: usize = 1 << 20;

/// Reaches bus 0 through the window at `base` from now on (ACPI's MCFG says where). False when it cannot be mapped.
pub fn use_window(base: u64) -> bool {
    let window = device::map_device(base, BUS).map(NonNull::cast);
    WINDOW.set(window.or(WINDOW.get()));
    window.is_some()
}

/// Reads 32 bits of a function's configuration; all ones when there is no such function or register.
#[must_use]
pub fn read32(function: Function, register: u16) -> u32 {
    match place(function, register) {
        // SAFETY: `place` answers with an address in the window, which is mapped for ever.
        Some(Place::Memory(at)) => unsafe { at.read_volatile() },
        Some(Place::Ports(address)) => {
            port::out32(0xcf8, address);
            port::in32(0xcfc)
        }
        None => u32::MAX,
    }
}

/// Writes 32 bits of a function's configuration.
pub fn write32(function: Function, register: u16, value: u32) {
    match place(function, register) {
        // SAFETY: as in `read32`.
        Some(Place::Memory(at)) => unsafe { at.write_volatile(value) },
        Some(Place::Ports(address)) => {
            port::out32(0xcf8, address);
            port::out32(0xcfc, value);
        }
        None => {}
    }
}

enum Place {
    Memory(NonNull<u32>),
    Ports(u32),
}

fn place(of: Function, register: u16) -> Option<Place> {
    let sound = of.device < 32 && of.function < 8 && register.is_multiple_of(4) && on_bare_metal();
    let function = u32::from(of.bus) << 8 | u32::from(of.device) << 3 | u32::from(of.function);
    match WINDOW.get() {
        _ if !sound => None,
        Some(window) if of.bus == 0 && register < 4096 => {
            // SAFETY: bus 0 has 256 functions of 4096 bytes, which is the length of the window.
            Some(Place::Memory(unsafe { window.byte_add((function << 12) as usize + usize::from(register)) }))
        }
        None if register < 256 => Some(Place::Ports(1 << 31 | function << 8 | u32::from(register))),
        _ => None,
    }
}
