//! The few I/O ports that a world may use. Every other one reads as nothing and swallows what is written.

use crate::cpu;
use crate::on_bare_metal;
use core::ops::RangeInclusive;

/// The serial line, Xen's and QEMU's debug port, PCI configuration and reset, and the power management of QEMU's PCs.
const ALLOWED: [RangeInclusive<u16>; 5] =
    [0x3f8..=0x3ff, 0xe9..=0xe9, 0xcf8..=0xcff, 0x600..=0x63f, 0xb000..=0xb03f];

fn allowed(port: u16, width: u16) -> bool {
    let last = port.checked_add(width - 1);
    on_bare_metal()
        && last.is_some_and(|last| ALLOWED.iter().any(|some| some.contains(&port) && some.contains(&last)))
}

macro_rules! port {
    ($read:ident, $write:ident, $type:ty, $width:literal) => {
        /// Reads a port; all ones where nobody may.
        #[must_use]
        pub fn $read(port: u16) -> $type {
            // SAFETY: none of the allowed ports starts a transfer to memory when it is read.
            if allowed(port, $width) { unsafe { cpu::$read(port) } } else { <$type>::MAX }
        }

        /// Writes a port, where one may.
        pub fn $write(port: u16, value: $type) {
            if allowed(port, $width) {
                // SAFETY: what these ports change is the console, a device's configuration, or the end of the machine.
                unsafe { cpu::$write(port, value) }
            }
        }
    };
}

port!(in8, out8, u8, 1);
port!(in16, out16, u16, 2);
port!(in32, out32, u32, 4);

/// Moves the two old interrupt controllers away from the CPU's faults, and masks them.
pub(crate) fn silence_old_controllers() {
    let words =
        [(0x20, 0x11), (0xa0, 0x11), (0x21, 0xf0), (0xa1, 0xf8), (0x21, 4), (0xa1, 2), (0x21, 1), (0xa1, 1)];
    for (port, value) in words.into_iter().chain([(0x21, 0xff), (0xa1, 0xff)]) {
        // SAFETY: the old controllers' own ports; where they are absent nothing listens.
        unsafe { cpu::out8(port, value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_reaches_no_port() {
        assert_eq!((in8(0x3f8), in16(0x3f8), in32(0xcf8)), (u8::MAX, u16::MAX, u32::MAX));
        out8(0x64, 0xfe);
    }
}
