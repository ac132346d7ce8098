//! The power button of QEMU's PCs: how `system_powerdown` and `virsh shutdown` reach us.
//!
//! `pc` and `q35` keep ACPI's event register at an address that the firmware chooses and the chip set knows. `microvm` has
//! a device for events in its place, which ACPI's tables name.

use crate::acpi;
use boot::irq::{self, Line, Source};
use boot::pci::{Function, read32};
use boot::port;
use dma::Registers;

/// A chip that has the register: its name on PCI, and where it sits.
struct Chip {
    name: u32,
    device: u8,
    function: u8,
}

/// What `pc` and `q35` have.
const CHIPS: [Chip; 2] =
    [Chip { name: 0x7113_8086, device: 1, function: 3 }, Chip { name: 0x2918_8086, device: 31, function: 0 }];

/// Where firmware puts the register: SeaBIOS of today, and of old.
const USUAL: [u16; 2] = [0x600, 0xb000];
const PLACE: u16 = 0x40;
const PRESSED: u16 = 1 << 8;
/// From the status to what may interrupt.
const WANTED: u16 = 2;
/// The interrupt of ACPI on all three.
const PIN: u32 = 9;
/// What the device for events tells: so many bytes, and the bit of the button. To read them is to clear them.
const EVENTS: usize = 4;
const POWER_DOWN: u8 = 1 << 1;

/// The power button.
pub(crate) struct Button {
    sign: Sign,
    line: Line,
}

/// Where it is told that the button was pressed.
enum Sign {
    Status(u16),
    Events(Registers),
}

impl Button {
    /// The button of this board, if it has one that we know.
    pub(crate) fn find() -> Option<Self> {
        let status = CHIPS.iter().find_map(Chip::place);
        let sign = status.map(Sign::Status).or_else(Sign::events)?;
        let line = irq::claim(Source::Ioapic { gsi: PIN, level: status.is_some(), active_low: false })?;
        if let Some(status) = status {
            port::out16(status, PRESSED);
            port::out16(status + WANTED, PRESSED);
        }
        Some(Self { sign, line })
    }

    /// Whether it was pressed. Its mark is taken off, and so the line falls, before the line is opened again. Only
    /// when the line has fired: to look at a port is to leave the guest for a moment.
    pub(crate) fn pressed(&self) -> bool {
        if !self.line.fired() {
            return false;
        }
        let pressed = self.sign.take();
        self.line.done();
        pressed
    }
}

impl Sign {
    fn events() -> Option<Self> {
        let at = acpi::events(boot::rsdp()?, &boot::firmware)?;
        boot::registers(at, EVENTS).map(Self::Events)
    }

    /// Whether it is there; it is taken off.
    fn take(&self) -> bool {
        match self {
            Self::Status(status) => {
                let pressed = port::in16(*status) & PRESSED != 0;
                port::out16(*status, PRESSED);
                pressed
            }
            Self::Events(registers) => {
                let mut events = [0; EVENTS];
                registers.look(&mut events);
                let [events, ..] = events;
                events & POWER_DOWN != 0
            }
        }
    }
}

impl Chip {
    /// Where the register is, if this board has the chip and the firmware has put the register at a usual place:
    /// nothing else may be read there.
    fn place(&self) -> Option<u16> {
        let chip = Function { bus: 0, device: self.device, function: self.function };
        let place = (read32(chip, PLACE) & 0xffc0) as u16;
        (read32(chip, 0) == self.name && USUAL.contains(&place)).then_some(place)
    }
}
