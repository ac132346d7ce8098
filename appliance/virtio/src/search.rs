//! Where the devices are: behind memory-mapped registers that the command line names, at the places where QEMU's
//! microvm has them, or on PCI.

use crate::bus;
use crate::words::Place;
use boot::irq::{self, Line, Source};
use dma::{Found, Mmio, Registers, Transport};

/// A device that nobody drives yet.
pub(crate) struct Device {
    /// What it is: the number that the standard gives to its kind.
    pub(crate) kind: u32,
    /// The way to it.
    pub(crate) way: Box<dyn Transport>,
    /// Its interrupt.
    pub(crate) line: Line,
}

/// What was found, and why the rest of what is there is not used.
#[derive(Default)]
pub(crate) struct Search {
    /// The devices.
    pub(crate) devices: Vec<Device>,
    /// One line each.
    pub(crate) complaints: Vec<String>,
}

/// QEMU's microvm: so many slots of so many bytes from here on.
const MICROVM: u64 = 0xfeb0_0000;
const SLOT: usize = 512;
const SLOTS: usize = 24;
/// With one I/O APIC there are this many slots, and their interrupts begin at [`FIRST_LINE`].
const FEW_SLOTS: usize = 8;
const FIRST_LINE: u32 = 16;
const FIRST_LINE_OF_SECOND: u32 = 24;

/// Looks everywhere.
pub(crate) fn search(places: &[Place]) -> Search {
    let mut search = Search::default();
    if bus::is_there() {
        bus::search(&mut search);
    } else if places.is_empty() {
        search.microvm();
    }
    for place in places {
        match boot::registers(place.at, place.len) {
            Some(registers) => search.look(registers, place.line),
            None => search.complain(format_args!("no registers can lie at {:#x}", place.at)),
        }
    }
    search
}

impl Search {
    /// Notes why something is not used.
    pub(crate) fn complain(&mut self, why: impl core::fmt::Display) {
        self.complaints.push(format!("virtio: {why}"));
    }

    /// Looks at the slots of a microvm. The command line names them only when there is no ACPI.
    fn microvm(&mut self) {
        let Some(all) = boot::registers(MICROVM, SLOTS * SLOT) else { return };
        let slots: Vec<Registers> = (0..SLOTS).filter_map(|slot| all.cut(slot * SLOT, SLOT)).collect();
        let second = slots.get(FEW_SLOTS).is_some_and(Mmio::is_slot);
        let first_line = if second { FIRST_LINE_OF_SECOND } else { FIRST_LINE };
        for (registers, line) in slots.into_iter().zip(first_line..) {
            self.look(registers, line);
        }
    }

    fn look(&mut self, registers: Registers, pin: u32) {
        match Mmio::look(registers) {
            Found::Device(kind, way) => self.found(kind, way, pin),
            Found::Legacy => self.complain(crate::Refused::Legacy),
            Found::Empty | Found::Nothing => {}
        }
    }

    fn found(&mut self, kind: u32, way: Mmio, pin: u32) {
        match irq::claim(Source::Ioapic { gsi: pin, level: true, active_low: false }) {
            Some(line) => self.devices.push(Device { kind, way: Box::new(way), line }),
            None => self.complain(format_args!(
                "interrupt {pin} cannot be had: start QEMU's microvm with ioapic2=off"
            )),
        }
    }
}
