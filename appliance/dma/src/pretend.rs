//! The other side of a device, for tests: it does what it is told, good or bad.
//!
//! A [`Pretend`] sees the rings that the driver installs as a device would (through addresses) and can behave, or lie
//! in every field that a device writes.

mod domain;
mod moments;

pub use domain::Domain;
pub(crate) use moments::moment;
pub use moments::{Act, Play, every_way};

use crate::ring::{available_at, passed, used_at};
use crate::{Claim, Pages, Ring, Transport};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A device that a test holds in its hand.
#[derive(Clone, Debug)]
pub struct Pretend(Rc<Device>);

/// The way to it, for the driver.
#[derive(Debug)]
pub struct WayTo(Rc<Device>);

#[derive(Debug, Default)]
struct Device {
    offered: Cell<u64>,
    accepted: Cell<u64>,
    status: Cell<u8>,
    refuses: Cell<bool>,
    lengths: Vec<u16>,
    config: RefCell<Vec<u8>>,
    memory: RefCell<Vec<Pages>>,
    queues: RefCell<Vec<Option<Queue>>>,
    kicks: RefCell<Vec<u16>>,
    budget: Cell<Option<usize>>,
}

#[derive(Clone, Debug)]
struct Queue {
    memory: Pages,
    size: u16,
    seen: u16,
    used: u16,
    announced: u16,
}

/// "Both sides say at which index they want to be told."
const EVENTS: u64 = 1 << 29;

/// A buffer that the driver lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub id: u16,
    /// Where it lies.
    pub address: u64,
    /// How long it is.
    pub len: u32,
    /// True when the device may write it.
    pub writable: bool,
}

impl Pretend {
    /// A device that offers `features`, has queues of these lengths and this configuration; and the way to it.
    #[must_use]
    pub fn new(features: u64, lengths: &[u16], config: &[u8]) -> (WayTo, Self) {
        let device = Rc::new(Device { lengths: lengths.to_vec(), ..Device::default() });
        device.offered.set(features);
        device.queues.replace(vec![None; lengths.len()]);
        device.config.replace(config.to_vec());
        (WayTo(device.clone()), Self(device))
    }

    /// Memory that this device can reach.
    #[must_use]
    pub fn pages(&self, len: usize) -> Option<Pages> {
        if let Some(budget) = self.0.budget.get() {
            self.0.budget.set(Some(budget.checked_sub(len)?));
        }
        let pages = Pages::in_process(len);
        self.0.memory.borrow_mut().push(pages.clone());
        Some(pages)
    }

    /// Lets this device reach memory that another one had before it: whoever tries many ways uses it again.
    pub fn reach(&self, pages: &Pages) {
        self.0.memory.borrow_mut().push(pages.clone());
    }

    /// Lets [`Pretend::pages`] give only so many bytes more.
    pub fn have_only(&self, bytes: usize) {
        self.0.budget.set(Some(bytes));
    }

    /// Makes it refuse whatever features the driver takes.
    pub fn refuse(&self) {
        self.0.refuses.set(true);
    }

    /// The features that the driver took.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.0.accepted.get()
    }

    /// Its status, as the driver set it.
    #[must_use]
    pub fn status(&self) -> u8 {
        self.0.status.get()
    }

    /// The kicks since the last call, by queue.
    #[must_use]
    pub fn kicks(&self) -> Vec<u16> {
        self.0.kicks.take()
    }

    /// The next buffer lent to a queue.
    #[must_use]
    pub fn next(&self, queue: u16) -> Option<Offer> {
        let mut queues = self.0.queues.borrow_mut();
        let queue = queues.get_mut(usize::from(queue))?.as_mut()?;
        if queue.memory.load16(available_at(queue.size) + 2) == queue.seen {
            return None;
        }
        let id = queue.memory.load16(available_at(queue.size) + 4 + 2 * usize::from(queue.seen % queue.size));
        queue.seen = queue.seen.wrapping_add(1);
        let [mut address, mut len, mut flags] = [[0; 8]; 3];
        queue.memory.read(16 * usize::from(id), &mut address);
        queue.memory.read(16 * usize::from(id) + 8, len.get_mut(..4)?);
        queue.memory.read(16 * usize::from(id) + 12, flags.get_mut(..2)?);
        let [address, len, flags] = [address, len, flags].map(u64::from_le_bytes);
        Some(Offer { id, address, len: len as u32, writable: flags & 2 != 0 })
    }

    /// What a buffer holds; None when it does not lie in memory that the device was given.
    #[must_use]
    pub fn look(&self, offer: &Offer) -> Option<Vec<u8>> {
        let mut bytes = vec![0; offer.len as usize];
        self.find(offer)?.read(0, &mut bytes);
        Some(bytes)
    }

    /// Writes to the beginning of a buffer and says whether it could.
    pub fn fill(&self, offer: &Offer, bytes: &[u8]) -> bool {
        offer.writable && self.find(offer).is_some_and(|buffer| buffer.write(0, bytes) == bytes.len())
    }

    /// Gives a buffer back, or says so.
    pub fn give_back(&self, queue: u16, id: u32, len: u32) {
        self.with(queue, |queue| {
            let at = used_at(queue.size) + 4 + 8 * usize::from(queue.used % queue.size);
            queue.memory.write(at, &(u64::from(len) << 32 | u64::from(id)).to_le_bytes());
            queue.used = queue.used.wrapping_add(1);
            queue.memory.store16(used_at(queue.size) + 2, queue.used);
        });
    }

    /// Fills the next buffer of a queue with bytes and gives it back; false when none was lent.
    pub fn answer(&self, queue: u16, bytes: &[u8]) -> bool {
        let Some(offer) = self.next(queue) else { return false };
        let done = self.fill(&offer, bytes);
        self.give_back(queue, u32::from(offer.id), bytes.len() as u32);
        done
    }

    /// Takes the next buffer of a queue, reads it and gives it back.
    #[must_use]
    pub fn receive(&self, queue: u16) -> Option<Vec<u8>> {
        let offer = self.next(queue)?;
        let bytes = self.look(&offer);
        self.give_back(queue, u32::from(offer.id), 0);
        bytes
    }

    /// Says that the used index is `index`, whatever it is.
    pub fn say_used(&self, queue: u16, index: u16) {
        self.with(queue, |queue| queue.memory.store16(used_at(queue.size) + 2, index));
    }

    /// Asks to be kicked when the driver passes `index`.
    pub fn wake_at(&self, queue: u16, index: u16) {
        self.with(queue, |queue| {
            queue.memory.store16(used_at(queue.size) + 4 + 8 * usize::from(queue.size), index);
        });
    }

    /// Whether the driver is to be interrupted for what was given back since the last call: what a device asks itself
    /// after each batch.
    #[must_use]
    pub fn announces(&self, queue: u16) -> bool {
        let events = self.accepted() & EVENTS != 0;
        self.with(queue, |queue| {
            let before = core::mem::replace(&mut queue.announced, queue.used);
            let event = queue.memory.load16(available_at(queue.size) + 4 + 2 * usize::from(queue.size));
            let quiet = queue.memory.load16(available_at(queue.size)) & 1 != 0;
            if events { passed(event, before, queue.used) } else { !quiet && before != queue.used }
        })
        .unwrap_or(false)
    }

    /// Whether the driver would be interrupted for the used entry number `before` (the last one given back).
    #[must_use]
    pub fn wants_to_be_told(&self, queue: u16, events: bool, before: u16) -> bool {
        self.with(queue, |queue| {
            if events {
                let event = queue.memory.load16(available_at(queue.size) + 4 + 2 * usize::from(queue.size));
                event == before.wrapping_add(1)
            } else {
                queue.memory.load16(available_at(queue.size)) & 1 == 0
            }
        })
        .unwrap_or(false)
    }

    /// Writes one byte anywhere into the memory that it was given, rings and all.
    pub fn scribble(&self, region: usize, at: usize, byte: u8) {
        let memory = self.0.memory.borrow();
        if let Some(pages) = memory.get(region % memory.len().max(1)) {
            pages.write(at % pages.len().max(1), &[byte]);
        }
    }

    fn with<T>(&self, queue: u16, work: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        self.0.queues.borrow_mut().get_mut(usize::from(queue))?.as_mut().map(work)
    }

    fn find(&self, offer: &Offer) -> Option<Pages> {
        self.0.memory.borrow().iter().find_map(|pages| {
            let at = offer.address.checked_sub(pages.device())?;
            pages.cut(usize::try_from(at).ok()?, offer.len as usize)
        })
    }
}

impl Transport for WayTo {
    fn offered(&self) -> u64 {
        self.0.offered.get()
    }

    fn accept(&mut self, features: u64) {
        self.0.accepted.set(features);
    }

    fn status(&self) -> u8 {
        self.0.status.get()
    }

    fn set_status(&mut self, status: u8) {
        let agreed = if self.0.refuses.get() { status & !crate::status::FEATURES_OK } else { status };
        self.0.status.set(agreed);
        if status == 0 {
            self.0.queues.borrow_mut().fill(None);
        }
    }

    fn longest(&mut self, queue: u16) -> Claim {
        let length = self.0.lengths.get(usize::from(queue)).copied().unwrap_or(0);
        Claim::new("queue length", u32::from(length))
    }

    fn install(&mut self, queue: u16, ring: &Ring) {
        if let Some(place) = self.0.queues.borrow_mut().get_mut(usize::from(queue)) {
            let memory = ring.memory().clone();
            *place = Some(Queue { memory, size: ring.size(), seen: 0, used: 0, announced: 0 });
        }
    }

    fn kick(&mut self, queue: u16) {
        self.0.kicks.borrow_mut().push(queue);
    }

    fn config(&self, at: usize, into: &mut [u8]) {
        let config = self.0.config.borrow();
        into.iter_mut().enumerate().for_each(|(index, byte)| {
            *byte = config.get(at + index).copied().unwrap_or(0xff);
        });
    }

    fn acknowledge(&mut self) {}
}
