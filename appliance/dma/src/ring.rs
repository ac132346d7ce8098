//! A split virtqueue, seen by the driver (virtio 1.2, section 2.7).
//!
//! Every buffer is one descriptor, named by whoever lends it. What the device may read of the ring it may also
//! scribble on, so nothing that we wrote is ever read back: who has lent what is kept in our own memory. The device
//! gives back an id and a length; both are claims.

use crate::{Claim, HostLied, Pages};
use core::sync::atomic::{Ordering, fence};

/// The driver's side of one queue.
#[derive(Debug)]
pub struct Ring {
    memory: Pages,
    size: u16,
    events: bool,
    lent: Vec<Option<u32>>,
    out: u16,
    next: u16,
    published: u16,
    used: u16,
}

/// Who writes a lent buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// We wrote it; the device reads.
    ToDevice,
    /// The device writes it.
    FromDevice,
}

/// The buffer of that id is lent already, or there is no such id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lent;

/// A buffer that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The id that it was lent under.
    pub id: u16,
    /// How many bytes the device wrote; at most the buffer's length, and 0 for one that it only read.
    pub len: usize,
}

const DESCRIPTOR: usize = 16;
const ELEMENT: usize = 8;
const LONGEST: u16 = 1 << 15;
/// "The device writes here."
const WRITE: u16 = 2;
/// "Do not interrupt" on our side, "do not kick" on the device's.
const QUIET: u16 = 1;

impl Ring {
    /// The memory that a ring of `size` takes.
    #[must_use]
    pub const fn bytes(size: u16) -> usize {
        used_at(size) + 6 + ELEMENT * size as usize
    }

    /// A ring of `size`, which is a power of two, in `memory`. With `events` both sides say at which index they want
    /// to be told; without, whether they want to be told at all. None when the memory is too small.
    #[must_use]
    pub fn new(memory: Pages, size: u16, events: bool) -> Option<Self> {
        if !size.is_power_of_two() || size > LONGEST || memory.len() < Self::bytes(size) {
            return None;
        }
        memory.wipe();
        let lent = vec![None; usize::from(size)];
        Some(Self { memory, size, events, lent, out: 0, next: 0, published: 0, used: 0 })
    }

    /// Begins anew, for a device that was reset: it has none of the buffers any more.
    pub fn begin_again(&mut self) {
        self.memory.wipe();
        self.lent.fill(None);
        [self.out, self.next, self.published, self.used] = [0; 4];
    }

    /// How many buffers it can lend at once.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// How many buffers the device has.
    #[must_use]
    pub fn out(&self) -> u16 {
        self.out
    }

    /// Whether the device has the buffer of that id.
    #[must_use]
    pub fn is_out(&self, id: u16) -> bool {
        self.lent.get(usize::from(id)).is_some_and(Option::is_some)
    }

    /// Lends a buffer under `id`. The device hears of it at the next [`Ring::publish`].
    ///
    /// # Errors
    /// When that id is out already.
    pub fn lend(&mut self, id: u16, buffer: &Pages, way: Way) -> Result<(), Lent> {
        let len = u32::try_from(buffer.len()).map_err(|_| Lent)?;
        let slot = self.lent.get_mut(usize::from(id)).filter(|slot| slot.is_none()).ok_or(Lent)?;
        *slot = Some(if way == Way::FromDevice { len } else { 0 });
        self.describe(id, buffer.device(), len, way);
        self.memory.store16(available_at(self.size) + 4 + 2 * usize::from(self.next % self.size), id);
        self.next = self.next.wrapping_add(1);
        self.out += 1;
        Ok(())
    }

    /// Shows the device everything lent since the last call, and says whether it must be kicked.
    #[must_use]
    pub fn publish(&mut self) -> bool {
        let before = self.published;
        if before == self.next {
            return false;
        }
        self.memory.store16(available_at(self.size) + 2, self.next);
        self.published = self.next;
        // Our index must be seen before we look whether the device waits for it, or both sides wait.
        fence(Ordering::SeqCst);
        if self.events {
            passed(
                self.memory.load16(used_at(self.size) + 4 + ELEMENT * usize::from(self.size)),
                before,
                self.next,
            )
        } else {
            self.memory.load16(used_at(self.size)) & QUIET == 0
        }
    }

    /// The next buffer that the device has done with.
    ///
    /// # Errors
    /// When the device gives back what it was not lent, or says that it wrote more than fits.
    pub fn take(&mut self) -> Result<Option<Used>, HostLied> {
        if self.waiting()? == 0 {
            return Ok(None);
        }
        let [id, len] = self.element(self.used);
        let id = Claim::new("buffer id", id).at_most(usize::from(self.size) - 1)?;
        let room = self.lent.get_mut(id).and_then(Option::take);
        let room = room.ok_or(Claim::new("buffer id, which it was not lent", id as u32).lie())?;
        // What a device says that it wrote to a buffer that it may only read is of no use to anybody.
        let len = if room == 0 { 0 } else { Claim::new("written length", len).at_most(room as usize)? };
        self.used = self.used.wrapping_add(1);
        self.out -= 1;
        Ok(Some(Used { id: id as u16, len }))
    }

    /// How many buffers have come back and were not taken yet.
    ///
    /// # Errors
    /// When the device says that more came back than were lent.
    pub fn waiting(&self) -> Result<u16, HostLied> {
        let said = self.memory.load16(used_at(self.size) + 2);
        let ahead = said.wrapping_sub(self.used);
        Claim::new("used index", u32::from(ahead)).at_most(usize::from(self.out)).map(|count| count as u16)
    }

    /// Asks for an interrupt at the next buffer that comes back, and says whether one is back already: then there
    /// may never be an interrupt for it. A lie counts as one: whoever takes it will find out.
    #[must_use]
    pub fn listen(&self) -> bool {
        if self.events {
            self.memory.store16(available_at(self.size) + 4 + 2 * usize::from(self.size), self.used);
        } else {
            self.memory.store16(available_at(self.size), 0);
        }
        // Our wish must be seen before we look whether it is fulfilled.
        fence(Ordering::SeqCst);
        self.waiting() != Ok(0)
    }

    /// Asks for no interrupts; the device may send some all the same.
    pub fn hush(&self) {
        // With events the index that we asked for lies behind, and the device will not pass it again soon.
        if !self.events {
            self.memory.store16(available_at(self.size), QUIET);
        }
    }

    /// Where the device finds the descriptors, what we lend and what it gives back.
    pub(crate) fn addresses(&self) -> [u64; 3] {
        [0, available_at(self.size), used_at(self.size)].map(|at| self.memory.device() + at as u64)
    }

    /// The ring's memory, for the other side of it in tests.
    #[cfg(any(test, feature = "pretend"))]
    pub(crate) fn memory(&self) -> &Pages {
        &self.memory
    }

    fn describe(&self, id: u16, address: u64, len: u32, way: Way) {
        let flags = if way == Way::FromDevice { WRITE } else { 0 };
        let (address, rest) = (address.to_le_bytes(), u64::from(len) | u64::from(flags) << 32);
        let mut descriptor = [0; DESCRIPTOR];
        let (first, second) = descriptor.split_at_mut(address.len());
        first.copy_from_slice(&address);
        second.copy_from_slice(&rest.to_le_bytes());
        self.memory.write(usize::from(id) * DESCRIPTOR, &descriptor);
    }

    fn element(&self, index: u16) -> [u32; 2] {
        let at = used_at(self.size) + 4 + ELEMENT * usize::from(index % self.size);
        let mut bytes = [0; ELEMENT];
        self.memory.read(at, &mut bytes);
        let both = u64::from_le_bytes(bytes);
        [both as u32, (both >> 32) as u32]
    }
}

/// True when an index went past `event` on its way from `before` to `now`: then whoever asked wants to be told.
pub(crate) const fn passed(event: u16, before: u16, now: u16) -> bool {
    now.wrapping_sub(event).wrapping_sub(1) < now.wrapping_sub(before)
}

pub(crate) const fn available_at(size: u16) -> usize {
    DESCRIPTOR * size as usize
}

pub(crate) const fn used_at(size: u16) -> usize {
    (available_at(size) + 6 + 2 * size as usize).next_multiple_of(4)
}

#[cfg(test)]
mod moments;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretend::Pretend;
    use proptest::prelude::*;

    /// A ring of `size`, the device that has it, and one page of 64-byte buffers.
    fn ring(size: u16, events: bool) -> (Ring, Pretend, Vec<Pages>) {
        let (mut way, device) = Pretend::new(0, &[size], &[]);
        let ring = Ring::new(device.pages(Ring::bytes(size)).unwrap(), size, events).unwrap();
        crate::Transport::install(&mut way, 0, &ring);
        let memory = device.pages(64 * usize::from(size)).unwrap();
        let buffers = (0..usize::from(size)).map(|index| memory.cut(index * 64, 64).unwrap()).collect();
        (ring, device, buffers)
    }

    #[test]
    fn a_batch_across_the_wrap_still_kicks() {
        assert!(passed(65_534, 65_530, 3), "asked for 65534 and we went from 65530 to 3");
        assert!(passed(1, 65_530, 3));
        assert!(passed(65_530, 65_530, 3), "the first of the batch is the one that it waits for");
        assert!(!passed(3, 65_530, 3), "not reached yet");
        assert!(!passed(65_529, 65_530, 3), "long gone");
    }

    #[test]
    fn a_real_ring_kicks_once_for_each_batch_at_every_index() {
        let (mut ring, device, buffers) = ring(8, true);
        let mut index = 0_u16;
        for round in 0..30_000_u32 {
            device.wake_at(0, index);
            let batch = (round % 7 + 1) as u16;
            (0..batch).for_each(|id| ring.lend(id, &buffers[usize::from(id)], Way::ToDevice).unwrap());
            assert!(ring.publish(), "round {round}, index {index}");
            assert!(!ring.publish(), "one kick a batch");
            (0..batch).for_each(|id| device.give_back(0, u32::from(id), 0));
            (0..batch).for_each(|id| assert_eq!(ring.take(), Ok(Some(Used { id, len: 0 }))));
            index = index.wrapping_add(batch);
        }
    }

    #[test]
    fn who_listens_hears_of_what_came_before() {
        for events in [false, true] {
            let (mut ring, device, buffers) = ring(4, events);
            ring.lend(0, &buffers[0], Way::FromDevice).unwrap();
            assert!(ring.publish());
            ring.hush();
            assert!(!ring.listen());
            device.give_back(0, 0, 5);
            assert!(ring.listen(), "the interrupt for it may be gone");
            assert_eq!(ring.take(), Ok(Some(Used { id: 0, len: 5 })));
            assert!(!ring.listen());
            assert!(device.wants_to_be_told(0, events, 0));
        }
    }

    #[test]
    fn a_buffer_is_lent_once() {
        let (mut ring, _device, buffers) = ring(2, false);
        assert_eq!(ring.lend(2, &buffers[0], Way::ToDevice), Err(Lent));
        ring.lend(1, &buffers[1], Way::ToDevice).unwrap();
        assert_eq!(ring.lend(1, &buffers[1], Way::ToDevice), Err(Lent));
    }

    #[test]
    fn each_lie_is_found_out() {
        type Lie = fn(&Pretend);
        let lies: [(&str, Lie); 6] = [
            ("buffer id", |device| device.give_back(0, 4, 0)),
            ("buffer id", |device| device.give_back(0, u32::MAX, 0)),
            ("buffer id", |device| device.give_back(0, 65_536 + 1, 0)),
            ("buffer id, which it was not lent", |device| device.give_back(0, 3, 0)),
            ("written length", |device| device.give_back(0, 0, 65)),
            ("used index", |device| device.say_used(0, 3)),
        ];
        for (what, lie) in lies {
            let (mut ring, device, buffers) = ring(4, false);
            (0..2).for_each(|id| ring.lend(id, &buffers[usize::from(id)], Way::FromDevice).unwrap());
            let _ = ring.publish();
            lie(&device);
            assert_eq!(ring.take().unwrap_err().what, what);
        }
    }

    #[test]
    fn the_same_buffer_never_comes_back_twice() {
        let (mut ring, device, buffers) = ring(4, false);
        (0..2).for_each(|id| ring.lend(id, &buffers[usize::from(id)], Way::FromDevice).unwrap());
        device.give_back(0, 0, 1);
        device.give_back(0, 0, 1);
        assert!(ring.take().is_ok());
        assert_eq!(ring.take().unwrap_err().what, "buffer id, which it was not lent");
    }

    #[test]
    fn the_index_may_not_go_back() {
        let (mut ring, device, buffers) = ring(4, false);
        ring.lend(0, &buffers[0], Way::FromDevice).unwrap();
        device.say_used(0, u16::MAX);
        assert_eq!(ring.take().unwrap_err().what, "used index");
        assert!(ring.listen(), "a lie must not be slept on");
    }

    #[test]
    fn a_ring_of_no_sensible_size_is_no_ring() {
        for size in [0, 3, 40_000] {
            assert!(Ring::new(Pages::in_process(1 << 20), size, false).is_none());
        }
        assert!(Ring::new(Pages::in_process(Ring::bytes(8) - 1), 8, false).is_none());
        assert!(Ring::new(Pages::in_process(Ring::bytes(8)), 8, false).is_some());
    }

    proptest! {
        #[test]
        fn whatever_the_device_scribbles_ends_in_a_buffer_or_a_verdict(
            scribbles in proptest::collection::vec((0_usize..Ring::bytes(8), any::<u8>()), 0..60),
            events in any::<bool>(),
        ) {
            let (mut ring, _device, buffers) = ring(8, events);
            let mut scribbles = scribbles.chunks(3);
            for round in 0..20_u16 {
                let _ = ring.lend(round % 8, &buffers[usize::from(round % 8)], Way::FromDevice);
                let _ = ring.publish();
                for (at, byte) in scribbles.next().unwrap_or_default() {
                    ring.memory.write(*at, &[*byte]);
                }
                let before = ring.out();
                match ring.take() {
                    Ok(Some(used)) => {
                        prop_assert!(used.id < 8 && used.len <= 64);
                        prop_assert_eq!(ring.out(), before - 1);
                    }
                    Ok(None) => prop_assert_eq!(ring.out(), before),
                    Err(_) => return Ok(()),
                }
                prop_assert!(ring.out() <= 8);
            }
        }

        #[test]
        fn an_honest_device_gets_every_buffer_and_gives_back_every_byte(
            steps in proptest::collection::vec((0_u16..16, 0_u32..64), 1..200),
        ) {
            let (mut ring, device, buffers) = ring(16, true);
            for (id, len) in steps {
                let lent = ring.lend(id, &buffers[usize::from(id)], Way::FromDevice);
                let _ = ring.publish();
                if let Some(offer) = device.next(0) {
                    prop_assert!(lent.is_ok());
                    prop_assert_eq!(offer.id, id);
                    device.fill(&offer, &vec![id as u8; len as usize]);
                    device.give_back(0, u32::from(id), len);
                    prop_assert_eq!(ring.take(), Ok(Some(Used { id, len: len as usize })));
                    let mut bytes = vec![0; len as usize];
                    buffers[usize::from(id)].read(0, &mut bytes);
                    prop_assert!(bytes.iter().all(|byte| *byte == id as u8));
                }
            }
        }
    }
}
