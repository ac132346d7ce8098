//! Handshakes that are half done, in a fixed amount of memory.
//!
//! A SYN leaves an entry here and nothing else anywhere. The cache never grows: when it is full, cookies take over.

use super::limit;
use super::sources::Sources;
use crate::alarms::Alarms;
use crate::secrets::Places;
use crate::wire::{Ends, Options, Seq};
use core::time::Duration;
use slab::Slab;
use std::collections::HashMap;
use std::net::IpAddr;
use world::Instant;

/// The first wait for the last step of a handshake; it doubles.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a SYN-ACK is sent again.
const REPEATS: u8 = 4;

/// A handshake that waits for its last step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    pub(crate) ends: Ends,
    pub(crate) theirs: Seq,
    pub(crate) ours: Seq,
    pub(crate) window: u16,
    pub(crate) options: Options,
    repeats: u8,
    challenged: Option<Instant>,
    deadline: Option<Instant>,
}

/// The half-done handshakes.
pub(crate) struct Cache {
    entries: Slab<Half>,
    places: HashMap<Ends, usize, Places>,
    alarms: Alarms,
    sources: Sources,
    room: usize,
    share: usize,
}

impl Half {
    pub(crate) fn new(ends: Ends, theirs: Seq, ours: Seq, window: u16, options: Options) -> Self {
        Self { ends, theirs, ours, window, options, repeats: 0, challenged: None, deadline: None }
    }
}

impl Cache {
    /// Room for so many handshakes; one source has no more than `share` of them once half of the room is taken.
    pub(crate) fn new(room: usize, share: usize, places: Places) -> Self {
        let entries = Slab::with_capacity(room);
        Self {
            entries,
            places: HashMap::with_capacity_and_hasher(room, places),
            alarms: Alarms::default(),
            sources: Sources::new(places),
            room,
            share,
        }
    }

    /// An empty one of the same size.
    pub(crate) fn emptied(&self, places: Places) -> Self {
        Self::new(self.room, self.share, places)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is no room for one more.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.room
    }

    /// True when whoever this is has its share and others need the rest: a cookie must do.
    pub(crate) fn is_spent(&self, source: IpAddr) -> bool {
        self.entries.len() > self.room / 2 && self.sources.count(source) >= self.share
    }

    pub(crate) fn find(&self, ends: &Ends) -> Option<&Half> {
        self.places.get(ends).and_then(|number| self.entries.get(*number))
    }

    /// Keeps a handshake, in place of an older one of the same ends. The caller has seen that there is room.
    pub(crate) fn keep(&mut self, half: Half, now: Instant) {
        self.forget(&half.ends);
        let number = self.entries.insert(half);
        self.places.insert(half.ends, number);
        self.sources.add(half.ends.remote.ip());
        if let Some(half) = self.entries.get_mut(number) {
            self.alarms.set(number, &mut half.deadline, Some(now + PATIENCE));
        }
    }

    /// True if whoever doubts this handshake may be told where we are, which is not often.
    pub(crate) fn may_tell(&mut self, ends: &Ends, now: Instant) -> bool {
        let half = self.places.get(ends).and_then(|number| self.entries.get_mut(*number));
        half.is_some_and(|half| limit::once(&mut half.challenged, now))
    }

    pub(crate) fn forget(&mut self, ends: &Ends) -> Option<Half> {
        let number = self.places.remove(ends)?;
        let mut half = self.entries.try_remove(number)?;
        self.sources.remove(ends.remote.ip());
        self.alarms.set(number, &mut half.deadline, None);
        Some(half)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.alarms.next()
    }

    /// The next handshake whose SYN-ACK is to be sent again. Those that waited too long are forgotten on the way, and
    /// so are all that are late while the cache is more than half full: under a flood nothing is said twice.
    pub(crate) fn late(&mut self, now: Instant) -> Option<Half> {
        while let Some(number) = self.alarms.due(now) {
            let crowded = self.entries.len() > self.room / 2;
            let half = self.entries.get_mut(number)?;
            if crowded || half.repeats >= REPEATS {
                let ends = half.ends;
                self.forget(&ends)?;
                continue;
            }
            half.repeats += 1;
            self.alarms.set(number, &mut half.deadline, Some(now + PATIENCE * (1 << half.repeats)));
            return Some(*half);
        }
        None
    }
}
