//! Frames that go out.
//!
//! They are copied into one long run of memory, one after the other and round again at its end: so a frame of 60
//! bytes takes 128 and one of 64 KiB takes 64 KiB, each is a single buffer, and nothing is ever allocated. Every byte
//! that the device is shown was written for the frame that it is shown with.

use super::header::LEN;
use crate::device::{Memory, Refused};
use dma::{HostLied, Pages, Ring, Way};
use std::collections::VecDeque;
use world::{Full, LARGEST_FRAME};

/// Frames under way at most.
pub(super) const MOST: u16 = 256;
/// Room for so many bytes of frames under way.
const ROOM: usize = 512 * 1024;
/// Frames start at multiples of this.
const LINE: usize = 64;

const _: () = assert!(ROOM > 2 * LARGEST_FRAME, "the largest frame always finds room in an empty outbox");

/// The queue of frames that go out, and the memory that they wait in.
pub(super) struct Outbox {
    pub(super) ring: Ring,
    room: Pages,
    under_way: VecDeque<Slot>,
    /// The id of the oldest frame under way.
    oldest: u16,
    /// Where the next frame starts, if it fits before the end.
    head: usize,
    starved: bool,
}

struct Slot {
    start: usize,
    done: bool,
}

impl Outbox {
    /// An outbox with nothing in it.
    pub(super) fn new(ring: Ring, memory: &Memory) -> Result<Self, Refused> {
        let room = memory(ROOM).ok_or(Refused::Memory)?;
        let under_way = VecDeque::with_capacity(usize::from(ring.size()));
        Ok(Self { ring, room, under_way, oldest: 0, head: 0, starved: false })
    }

    /// Copies a frame behind its header. The device hears of it at the next publication.
    pub(super) fn send(&mut self, header: &[u8; LEN], frame: &[u8]) -> Result<(), Full> {
        let sent = self.place(LEN + frame.len()).and_then(|start| self.put(start, header, frame));
        self.starved = sent.is_none();
        sent.ok_or(Full)
    }

    /// Takes back what the device has sent.
    pub(super) fn reclaim(&mut self) -> Result<(), HostLied> {
        while let Some(used) = self.ring.take()? {
            let age = (used.id + self.ring.size() - self.oldest) % self.ring.size();
            if let Some(slot) = self.under_way.get_mut(usize::from(age)) {
                slot.done = true;
            }
        }
        // A device may finish them in any order; room is given back in ours.
        while self.under_way.front().is_some_and(|slot| slot.done) {
            self.under_way.pop_front();
            self.oldest = (self.oldest + 1) % self.ring.size();
        }
        Ok(())
    }

    /// Waits for room, if anybody was refused any; true when some may have come already.
    pub(super) fn listen(&self) -> bool {
        self.starved && self.ring.listen()
    }

    fn put(&mut self, start: usize, header: &[u8; LEN], frame: &[u8]) -> Option<()> {
        let id = (self.oldest + self.under_way.len() as u16) % self.ring.size();
        let buffer = self.room.cut(start, LEN + frame.len())?;
        buffer.write(0, header);
        buffer.write(LEN, frame);
        self.ring.lend(id, &buffer, Way::ToDevice).ok()?;
        self.under_way.push_back(Slot { start, done: false });
        self.head = (start + buffer.len()).next_multiple_of(LINE);
        Some(())
    }

    /// Where a frame of `len` bytes can go.
    fn place(&self, len: usize) -> Option<usize> {
        if self.under_way.len() >= usize::from(self.ring.size()) {
            return None;
        }
        let Some(oldest) = self.under_way.front() else { return Some(0) };
        let (tail, len) = (oldest.start, len.next_multiple_of(LINE));
        match self.head {
            // The free room has two parts: up to the end, and from the beginning to the oldest frame.
            head if head > tail && ROOM - head >= len => Some(head),
            head if head > tail && tail > len => Some(0),
            // Head and tail never meet while something is under way, so that a full room is not an empty one.
            head if head < tail && tail - head > len => Some(head),
            _ => None,
        }
    }
}
