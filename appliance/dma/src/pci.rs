//! virtio over PCI (virtio 1.2, section 4.1): the register windows that the capabilities point at, and MSI-X.

use crate::transport::steady;
use crate::{Claim, Registers, Ring, Transport};

const OFFERED_HALF: usize = 0x00;
const OFFERED: usize = 0x04;
const ACCEPTED_HALF: usize = 0x08;
const ACCEPTED: usize = 0x0c;
const CONFIG_VECTOR: usize = 0x10;
const STATUS: usize = 0x14;
const GENERATION: usize = 0x15;
const QUEUE: usize = 0x16;
const QUEUE_LENGTH: usize = 0x18;
const QUEUE_VECTOR: usize = 0x1a;
const QUEUE_ENABLE: usize = 0x1c;
const QUEUE_BELL: usize = 0x1e;
const DESCRIPTORS: usize = 0x20;
const AVAILABLE: usize = 0x28;
const USED: usize = 0x30;

/// Every queue of a device rings the same message: the loop looks at all its rings anyway.
const VECTOR: u16 = 0;

/// A device behind PCI.
#[derive(Debug)]
pub struct Pci {
    common: Registers,
    bells: Registers,
    stride: u32,
    config: Option<Registers>,
    places: Vec<(u16, usize)>,
}

impl Pci {
    /// The device whose common, notification and (where it has any) own configuration lie in these windows; the
    /// bells of its queues are `stride` bytes apart.
    #[must_use]
    pub fn new(common: Registers, bells: Registers, stride: u32, config: Option<Registers>) -> Self {
        Self { common, bells, stride, config, places: Vec::new() }
    }

    fn write_address(&self, at: usize, address: u64) {
        self.common.write(at, address as u32);
        self.common.write(at + 4, (address >> 32) as u32);
    }

    /// Where the bell of the selected queue hangs.
    fn bell(&self) -> usize {
        let step = self.common.read::<u16>(QUEUE_BELL);
        usize::from(step).saturating_mul(self.stride as usize)
    }
}

impl Transport for Pci {
    fn offered(&self) -> u64 {
        self.common.write(OFFERED_HALF, 1_u32);
        let high = self.common.read::<u32>(OFFERED);
        self.common.write(OFFERED_HALF, 0_u32);
        u64::from(high) << 32 | u64::from(self.common.read::<u32>(OFFERED))
    }

    fn accept(&mut self, features: u64) {
        for (half, bits) in [(0_u32, features as u32), (1, (features >> 32) as u32)] {
            self.common.write(ACCEPTED_HALF, half);
            self.common.write(ACCEPTED, bits);
        }
    }

    fn status(&self) -> u8 {
        self.common.read(STATUS)
    }

    fn set_status(&mut self, status: u8) {
        self.common.write(STATUS, status);
    }

    fn longest(&mut self, queue: u16) -> Claim {
        self.common.write(QUEUE, queue);
        Claim::new("queue length", u32::from(self.common.read::<u16>(QUEUE_LENGTH)))
    }

    fn install(&mut self, queue: u16, ring: &Ring) {
        self.common.write(CONFIG_VECTOR, VECTOR);
        self.common.write(QUEUE, queue);
        self.common.write(QUEUE_LENGTH, ring.size());
        self.common.write(QUEUE_VECTOR, VECTOR);
        let [descriptors, available, used] = ring.addresses();
        self.write_address(DESCRIPTORS, descriptors);
        self.write_address(AVAILABLE, available);
        self.write_address(USED, used);
        // A device that was reset gets its rings again.
        self.places.retain(|(number, _)| *number != queue);
        self.places.push((queue, self.bell()));
        self.common.write(QUEUE_ENABLE, 1_u16);
    }

    fn kick(&mut self, queue: u16) {
        if let Some((_, place)) = self.places.iter().find(|(number, _)| *number == queue) {
            self.bells.write(*place, queue);
        }
    }

    fn config(&self, at: usize, into: &mut [u8]) {
        let Some(config) = &self.config else { return into.fill(u8::MAX) };
        steady(
            || u32::from(self.common.read::<u8>(GENERATION)),
            || {
                for (index, byte) in into.iter_mut().enumerate() {
                    *byte = config.read(at.saturating_add(index));
                }
            },
        );
    }

    /// A message needs no answer.
    fn acknowledge(&mut self) {}
}

/// The MSI-X table of a device: where its messages go.
#[derive(Debug)]
pub struct Messages(Registers);

/// The only addresses that a message may go to: the interrupt controllers of the processors.
const CONTROLLERS: core::ops::Range<u64> = 0xfee0_0000..0xfef0_0000;

const ENTRY: usize = 16;
const MASKED: u32 = 1;

impl Messages {
    /// The table in this window.
    #[must_use]
    pub fn new(table: Registers) -> Self {
        Self(table)
    }

    /// Lets the one message that our devices use go to `address`, and masks all others. False when that is not an
    /// interrupt controller: a message is a write, and elsewhere it would be a write to memory.
    #[must_use]
    pub fn aim(&self, address: u64, data: u32) -> bool {
        if !CONTROLLERS.contains(&address) || self.0.len() < ENTRY {
            return false;
        }
        (0..self.0.len() / ENTRY).for_each(|entry| self.0.write(entry * ENTRY + 12, MASKED));
        let at = usize::from(VECTOR) * ENTRY;
        self.0.write(at, address as u32);
        self.0.write(at + 4, (address >> 32) as u32);
        self.0.write(at + 8, data);
        self.0.write(at + 12, 0_u32);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pages;
    use crate::registers::tests::dumb;

    #[test]
    fn a_message_never_goes_to_memory() {
        let table = Messages::new(dumb(&[0; 8]));
        assert!(!table.aim(0x10_0000, 0x41));
        assert_eq!(table.0.read::<u32>(0), 0);
        assert!(table.aim(0xfee0_0000, 0x41));
        assert_eq!(table.0.read::<u32>(8), 0x41);
        assert_eq!(table.0.read::<u32>(12), 0, "ours is unmasked");
        assert_eq!(table.0.read::<u32>(28), MASKED, "the other is not");
        assert!(!Messages::new(dumb(&[0; 3])).aim(0xfee0_0000, 0x41), "a table of no entry");
    }

    #[test]
    fn a_bell_outside_its_window_rings_nowhere() {
        let mut common = [0_u32; 16];
        common[QUEUE_BELL / 4] = 0xffff_0000;
        let mut pci = Pci::new(dumb(&common), dumb(&[0; 4]), u32::MAX, None);
        let ring = Ring::new(Pages::in_process(Ring::bytes(4)), 4, false).unwrap();
        pci.install(3, &ring);
        pci.kick(3);
        pci.kick(9);
        assert!((0..4).all(|word| pci.bells.read::<u32>(word * 4) == 0));
        let mut config = [0; 2];
        pci.config(0, &mut config);
        assert_eq!(config, [0xff; 2]);
    }
}
