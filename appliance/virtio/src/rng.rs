//! The host's random device.
//!
//! A request is made only when somebody asks, and its bytes come at some later call: nothing waits, and no bytes lie
//! around that a copy of this machine would have too. What was handed out is wiped, and so is what nobody took.

use crate::device::{Buffers, Device, EVENTS, Memory, Refused};
use dma::{HostLied, Ring, Transport};

/// Bytes asked for at once.
const REQUEST: usize = 64;
const QUEUE: u16 = 0;

/// A driver for virtio-rng.
pub struct Rng<T> {
    device: Device<T>,
    ring: Ring,
    buffers: Buffers,
}

impl<T: Transport> Rng<T> {
    /// Takes the device into use.
    ///
    /// # Errors
    /// When it is not fit for use.
    pub fn new(way: T, memory: &Memory) -> Result<Self, Refused> {
        let mut device = Device::meet(way, |_| EVENTS)?;
        let ring = device.ring(QUEUE, 1, memory)?;
        let buffers = Buffers::new(1, REQUEST, memory)?;
        device.run();
        Ok(Self { device, ring, buffers })
    }

    /// Copies random bytes, if any have come, and otherwise asks for some. Never waits.
    pub fn draw(&mut self, into: &mut [u8]) -> usize {
        if !self.device.runs() || into.is_empty() {
            return 0;
        }
        let taken = self.ring.take();
        match self.device.judge(taken).flatten() {
            Some(used) => self.hand_out(used.len, into),
            None => self.ask(),
        }
    }

    /// True when bytes have come for which there may be no interrupt.
    pub fn listen(&self) -> bool {
        self.device.runs() && self.ring.out() > 0 && self.ring.listen()
    }

    /// Takes back the device's interrupt.
    pub fn acknowledge(&mut self) {
        self.device.acknowledge();
    }

    /// The lie that shut the device, told once.
    pub fn lie(&mut self) -> Option<HostLied> {
        self.device.lie()
    }

    fn hand_out(&mut self, len: usize, into: &mut [u8]) -> usize {
        let Some(buffer) = self.buffers.at(0) else { return 0 };
        let count = len.min(into.len());
        let count = buffer.read(0, into.get_mut(..count).unwrap_or_default());
        buffer.wipe();
        count
    }

    fn ask(&mut self) -> usize {
        self.buffers.lend(&mut self.ring, 0);
        self.device.publish(QUEUE, &mut self.ring);
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::MODERN;
    use dma::pretend::{Pretend, WayTo};
    use std::rc::Rc;

    fn rng() -> (Rng<WayTo>, Pretend) {
        let (way, device) = Pretend::new(MODERN | EVENTS, &[8], &[]);
        let giver = device.clone();
        let memory: Memory = Rc::new(move |bytes| giver.pages(bytes));
        (Rng::new(way, &memory).unwrap(), device)
    }

    #[test]
    fn bytes_come_when_they_come_and_are_wiped_behind_us() {
        let (mut rng, device) = rng();
        let mut bytes = [0; 40];
        assert_eq!(rng.draw(&mut bytes), 0);
        assert_eq!(device.kicks(), [0]);
        assert_eq!(rng.draw(&mut bytes), 0, "still in flight");
        assert_eq!(device.kicks(), [0; 0], "one request at a time");
        assert!(!rng.listen());
        let offer = device.next(0).unwrap();
        assert!(offer.writable && offer.len == 64);
        device.fill(&offer, &[9; 64]);
        device.give_back(0, 0, 64);
        assert!(rng.listen());
        assert_eq!(rng.draw(&mut bytes), 40);
        assert_eq!(bytes, [9; 40]);
        assert_eq!(device.look(&offer), Some(vec![0; 64]), "nothing is left to find");
        device.wake_at(0, 1);
        assert_eq!(rng.draw(&mut bytes), 0, "what was not taken is gone: it could be old by now");
        assert_eq!(device.kicks(), [0]);
    }

    #[test]
    fn a_device_that_gives_too_much_is_shut() {
        let (mut rng, device) = rng();
        rng.draw(&mut [0; 8]);
        device.give_back(0, 0, 65);
        assert_eq!(rng.draw(&mut [0; 8]), 0);
        assert!(rng.lie().is_some());
        assert_eq!(device.status(), 0);
        assert_eq!(rng.draw(&mut [0; 8]), 0);
        assert!(!rng.listen());
    }

    #[test]
    fn a_device_that_gives_nothing_is_asked_again() {
        let (mut rng, device) = rng();
        rng.draw(&mut [0; 8]);
        device.next(0).unwrap();
        device.give_back(0, 0, 0);
        assert_eq!(rng.draw(&mut [0; 8]), 0);
        assert_eq!(rng.draw(&mut [0; 8]), 0);
        assert!(device.next(0).is_some());
    }
}
