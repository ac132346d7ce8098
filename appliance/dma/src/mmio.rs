//! virtio over memory-mapped registers (virtio 1.2, section 4.2).

use crate::transport::steady;
use crate::{Claim, Registers, Ring, Transport};

const MAGIC: usize = 0x000;
const VERSION: usize = 0x004;
const DEVICE: usize = 0x008;
const OFFERED: usize = 0x010;
const OFFERED_HALF: usize = 0x014;
const ACCEPTED: usize = 0x020;
const ACCEPTED_HALF: usize = 0x024;
const QUEUE: usize = 0x030;
const QUEUE_LONGEST: usize = 0x034;
const QUEUE_LENGTH: usize = 0x038;
const QUEUE_READY: usize = 0x044;
const KICK: usize = 0x050;
const INTERRUPT: usize = 0x060;
const INTERRUPT_TAKEN: usize = 0x064;
const STATUS: usize = 0x070;
const DESCRIPTORS: usize = 0x080;
const AVAILABLE: usize = 0x090;
const USED: usize = 0x0a0;
const GENERATION: usize = 0x0fc;
const CONFIG: usize = 0x100;

/// "virt".
const MAGIC_WORD: u32 = 0x7472_6976;

/// A device behind memory-mapped registers.
#[derive(Debug)]
pub struct Mmio {
    registers: Registers,
}

/// What lies at a place where a device could be.
#[derive(Debug)]
pub enum Found {
    /// A device of that kind.
    Device(u32, Mmio),
    /// A slot that nothing is plugged into.
    Empty,
    /// A device that speaks only the interface from before virtio 1.0.
    Legacy,
    /// Something else, or nothing at all.
    Nothing,
}

impl Mmio {
    /// Looks at a place where a device could be.
    #[must_use]
    pub fn look(registers: Registers) -> Found {
        let [magic, version, kind] = [MAGIC, VERSION, DEVICE].map(|at| registers.read::<u32>(at));
        match (magic, version, kind) {
            (MAGIC_WORD, 1 | 2, 0) => Found::Empty,
            (MAGIC_WORD, 1, _) => Found::Legacy,
            (MAGIC_WORD, 2, _) => Found::Device(kind, Self { registers }),
            _ => Found::Nothing,
        }
    }

    /// Whether a device could be plugged in there.
    #[must_use]
    pub fn is_slot(registers: &Registers) -> bool {
        registers.read::<u32>(MAGIC) == MAGIC_WORD
    }

    fn write_address(&self, at: usize, address: u64) {
        self.registers.write(at, address as u32);
        self.registers.write(at + 4, (address >> 32) as u32);
    }
}

impl Transport for Mmio {
    fn offered(&self) -> u64 {
        self.registers.write(OFFERED_HALF, 1_u32);
        let high = self.registers.read::<u32>(OFFERED);
        self.registers.write(OFFERED_HALF, 0_u32);
        u64::from(high) << 32 | u64::from(self.registers.read::<u32>(OFFERED))
    }

    fn accept(&mut self, features: u64) {
        for (half, bits) in [(0_u32, features as u32), (1, (features >> 32) as u32)] {
            self.registers.write(ACCEPTED_HALF, half);
            self.registers.write(ACCEPTED, bits);
        }
    }

    fn status(&self) -> u8 {
        self.registers.read::<u32>(STATUS) as u8
    }

    fn set_status(&mut self, status: u8) {
        self.registers.write(STATUS, u32::from(status));
    }

    fn longest(&mut self, queue: u16) -> Claim {
        self.registers.write(QUEUE, u32::from(queue));
        Claim::new("queue length", self.registers.read(QUEUE_LONGEST))
    }

    fn install(&mut self, queue: u16, ring: &Ring) {
        self.registers.write(QUEUE, u32::from(queue));
        self.registers.write(QUEUE_LENGTH, u32::from(ring.size()));
        let [descriptors, available, used] = ring.addresses();
        self.write_address(DESCRIPTORS, descriptors);
        self.write_address(AVAILABLE, available);
        self.write_address(USED, used);
        self.registers.write(QUEUE_READY, 1_u32);
    }

    fn kick(&mut self, queue: u16) {
        self.registers.write(KICK, u32::from(queue));
    }

    fn config(&self, at: usize, into: &mut [u8]) {
        steady(
            || self.registers.read(GENERATION),
            || {
                for (index, byte) in into.iter_mut().enumerate() {
                    *byte = self.registers.read(CONFIG.saturating_add(at).saturating_add(index));
                }
            },
        );
    }

    fn acknowledge(&mut self) {
        let causes = self.registers.read::<u32>(INTERRUPT);
        self.registers.write(INTERRUPT_TAKEN, causes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pages;
    use crate::registers::tests::dumb;

    fn words(version: u32, kind: u32) -> Vec<u32> {
        let mut words = vec![0; 0x200 / 4];
        words[..3].copy_from_slice(&[MAGIC_WORD, version, kind]);
        words
    }

    #[test]
    fn only_a_modern_device_is_taken() {
        assert!(matches!(Mmio::look(dumb(&words(2, 1))), Found::Device(1, _)));
        assert!(matches!(Mmio::look(dumb(&words(1, 1))), Found::Legacy));
        assert!(matches!(Mmio::look(dumb(&words(2, 0))), Found::Empty));
        assert!(matches!(Mmio::look(dumb(&words(3, 1))), Found::Nothing));
        assert!(matches!(Mmio::look(dumb(&[u32::MAX; 4])), Found::Nothing));
        assert!(matches!(Mmio::look(dumb(&[])), Found::Nothing));
    }

    #[test]
    fn a_queue_is_told_where_its_ring_lies() {
        let Found::Device(_, mut mmio) = Mmio::look(dumb(&words(2, 1))) else { panic!("no device") };
        let ring = Ring::new(Pages::in_process(Ring::bytes(4)), 4, false).unwrap();
        mmio.install(0, &ring);
        let low = mmio.registers.read::<u32>(DESCRIPTORS);
        let high = mmio.registers.read::<u32>(DESCRIPTORS + 4);
        assert_eq!(u64::from(high) << 32 | u64::from(low), ring.addresses()[0]);
        assert_eq!(mmio.registers.read::<u32>(QUEUE_LENGTH), 4);
    }

    #[test]
    fn configuration_past_the_window_is_ones() {
        let Found::Device(_, mmio) = Mmio::look(dumb(&words(2, 1))) else { panic!("no device") };
        let mut bytes = [0; 4];
        mmio.config(0xfe, &mut bytes);
        assert_eq!(bytes, [0, 0, 0xff, 0xff]);
    }
}
