//! What the two ways to a virtio device have in common.

use crate::{Claim, Ring};

/// Bits of a device's status.
pub mod status {
    /// We saw the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// We know how to drive it.
    pub const DRIVER: u8 = 2;
    /// It may run.
    pub const DRIVER_OK: u8 = 4;
    /// We agree on its features.
    pub const FEATURES_OK: u8 = 8;
}

/// The way to one device. It carries; it decides nothing.
///
/// Nothing here takes an address: where a device may read and write is said by handing over a [`Ring`].
pub trait Transport {
    /// The features on offer.
    fn offered(&self) -> u64;

    /// Says which features we take.
    fn accept(&mut self, features: u64);

    /// The device's status.
    fn status(&self) -> u8;

    /// Changes the status; 0 resets the device.
    fn set_status(&mut self, status: u8);

    /// The longest ring that a queue takes; 0 when there is no such queue.
    fn longest(&mut self, queue: u16) -> Claim;

    /// Gives a queue its ring.
    fn install(&mut self, queue: u16, ring: &Ring);

    /// Tells the device to look at a queue.
    fn kick(&mut self, queue: u16);

    /// Copies from the device's own configuration space, all of it from one moment.
    fn config(&self, at: usize, into: &mut [u8]);

    /// Takes back the device's interrupt, where the way needs it.
    fn acknowledge(&mut self);
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn offered(&self) -> u64 {
        (**self).offered()
    }

    fn accept(&mut self, features: u64) {
        (**self).accept(features);
    }

    fn status(&self) -> u8 {
        (**self).status()
    }

    fn set_status(&mut self, status: u8) {
        (**self).set_status(status);
    }

    fn longest(&mut self, queue: u16) -> Claim {
        (**self).longest(queue)
    }

    fn install(&mut self, queue: u16, ring: &Ring) {
        (**self).install(queue, ring);
    }

    fn kick(&mut self, queue: u16) {
        (**self).kick(queue);
    }

    fn config(&self, at: usize, into: &mut [u8]) {
        (**self).config(at, into);
    }

    fn acknowledge(&mut self) {
        (**self).acknowledge();
    }
}

/// Reads until two looks at the generation agree; a device that never stops changing gets its last word.
pub(crate) fn steady(generation: impl Fn() -> u32, mut read: impl FnMut()) {
    for _ in 0..16 {
        let before = generation();
        read();
        if generation() == before {
            return;
        }
    }
}
