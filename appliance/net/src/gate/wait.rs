//! TIME-WAIT: connections that are over but may still hear echoes. A record each, in a bounded number.

use super::limit;
use crate::secrets::Places;
use crate::wire::{Ends, Seq};
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use world::Instant;

/// Twice the longest life of a segment, as the rest of the world has it.
const FOR: Duration = Duration::from_secs(60);

/// A connection that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    pub(crate) next: Seq,
    pub(crate) expected: Seq,
    pub(crate) stamp_offset: u32,
    pub(crate) heard: Option<u32>,
    /// When the peer was last told where we are.
    told: Option<Instant>,
    until: Instant,
}

/// All that are over.
pub(crate) struct Waiting {
    over: HashMap<Ends, Over, Places>,
    order: VecDeque<(Instant, Ends)>,
    room: usize,
}

impl Over {
    pub(crate) fn new(next: Seq, expected: Seq, stamp_offset: u32, heard: Option<u32>) -> Self {
        Self { next, expected, stamp_offset, heard, told: None, until: Instant::START }
    }

    /// True if a SYN is so much later than this connection that nothing old can be mistaken for new (RFC 6191).
    pub(crate) fn may_be_followed_by(&self, theirs: Seq, stamp: Option<u32>) -> bool {
        match (self.heard, stamp) {
            (Some(old), Some(new)) if old != new => new.wrapping_sub(old) < 1 << 31,
            _ => theirs.is_after(self.expected),
        }
    }
}

impl Waiting {
    pub(crate) fn new(room: usize, places: Places) -> Self {
        Self { over: HashMap::with_hasher(places), order: VecDeque::new(), room }
    }

    /// Finds its places by another hash from now on.
    pub(crate) fn rekey(&mut self, places: Places) {
        let mut moved = HashMap::with_hasher(places);
        moved.extend(self.over.drain());
        self.over = moved;
    }

    pub(crate) fn len(&self) -> usize {
        self.over.len()
    }

    /// Remembers what is over; the oldest goes when there is no room.
    pub(crate) fn keep(&mut self, ends: Ends, over: Over, now: Instant) {
        self.expire(now);
        while self.order.len() >= self.room.max(1) {
            self.drop_first();
        }
        let until = now + FOR;
        self.over.insert(ends, Over { until, ..over });
        self.order.push_back((until, ends));
    }

    pub(crate) fn find(&self, ends: &Ends, now: Instant) -> Option<&Over> {
        self.over.get(ends).filter(|over| over.until > now)
    }

    /// True if the peer may be told where we are, which it is not often.
    pub(crate) fn may_tell(&mut self, ends: &Ends, now: Instant) -> bool {
        self.over.get_mut(ends).is_some_and(|over| limit::once(&mut over.told, now))
    }

    /// Forgets one before its time; its place in the order stays until then.
    pub(crate) fn forget(&mut self, ends: &Ends) {
        self.over.remove(ends);
    }

    /// Forgets whatever has waited long enough.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some((until, ends)) = self.order.pop_front()
            && self.over.get(&ends).is_some_and(|over| over.until == until)
        {
            self.over.remove(&ends);
        }
    }
}
