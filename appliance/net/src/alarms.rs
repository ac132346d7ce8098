//! The one heap of deadlines: each thing has at most one.

use std::collections::BTreeSet;
use world::Instant;

/// Deadlines of numbered things.
#[derive(Default)]
pub(crate) struct Alarms(BTreeSet<(Instant, usize)>);

impl Alarms {
    /// Moves the deadline of `number`, which keeps it in `slot`.
    pub(crate) fn set(&mut self, number: usize, slot: &mut Option<Instant>, at: Option<Instant>) {
        if *slot == at {
            return;
        }
        if let Some(old) = slot.take() {
            self.0.remove(&(old, number));
        }
        if let Some(new) = at {
            self.0.insert((new, number));
        }
        *slot = at;
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The earliest.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// All, the earliest first.
    pub(crate) fn earliest(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(_, number)| *number)
    }

    /// Whose deadline has come. It stays until it is moved.
    pub(crate) fn due(&self, now: Instant) -> Option<usize> {
        self.0.first().filter(|(at, _)| *at <= now).map(|(_, number)| *number)
    }
}
