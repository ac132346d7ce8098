//! Room for all: what connections use, and who goes when there is none.

use super::Stack;
use crate::flow::{Flow, Life, RECEIVE};
use core::cmp::Reverse;
use core::time::Duration;
use std::io;
use world::Instant;

/// So many of those at rest, and so many of all, are looked at to find who goes; and so many places at the most.
const LOOK: usize = 64;
const PLACES: usize = 1024;
/// Whose peer has taken nothing for so long of what it is owed is no longer busy.
const STALLED: Duration = Duration::from_millis(500);
/// A busy connection makes room for another only if it holds so many times what that one needs.
const TIMES: usize = 4;

/// Whether busy connections may be ended too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mercy {
    /// Only those who stall or are at rest.
    ForTheBusy,
    /// Also who holds much.
    None,
}

impl Stack {
    /// Bytes that connections use, here and above.
    pub(super) fn committed(&self) -> usize {
        self.used.saturating_add(self.above.more())
    }

    /// Bytes of the largest buffers that a connection may have now: when half of the room is taken, none grows.
    pub(super) fn largest(&self) -> (usize, usize) {
        let crowded = self.committed() > self.budget / 2;
        if crowded { (RECEIVE, RECEIVE) } else { (self.largest, self.longest) }
    }

    /// Makes `bytes` of room: whoever has held most for longest and done nothing goes first.
    pub(super) fn make_room(&mut self, bytes: usize, mercy: Mercy) -> bool {
        while self.committed().saturating_add(bytes) > self.budget {
            let spared = match mercy {
                Mercy::ForTheBusy => usize::MAX,
                Mercy::None => bytes.saturating_mul(TIMES),
            };
            let Some(number) = self.next_to_go(spared) else { return false };
            self.evict(number);
        }
        true
    }

    /// Ends connections until `bytes` have come back, or will when those above notice.
    pub(crate) fn relieve(&mut self, bytes: usize) {
        let mut left = bytes.saturating_sub(self.above.leaving());
        // What was taken from others may be long in coming: each call ends one at least.
        loop {
            let Some(number) = self.next_to_go(0) else { return };
            left = left.saturating_sub(self.evict(number));
            if left == 0 {
                return;
            }
        }
    }

    /// Who goes next, if anybody may: whoever has held most for longest without anything happening. The busy stay, unless
    /// they hold more than `spared`.
    fn next_to_go(&mut self, spared: usize) -> Option<usize> {
        let oldest: Vec<usize> = self.resting.earliest().take(LOOK).collect();
        let seen = self.look_around();
        let candidates = oldest.into_iter().chain(seen).filter_map(|number| self.price(number, spared));
        candidates.max().map(|(_, Reverse(number))| number)
    }

    /// The next few connections around the table.
    fn look_around(&mut self) -> Vec<usize> {
        let (mut seen, places) = (Vec::with_capacity(LOOK), self.flows.capacity());
        for _ in 0..PLACES.min(places) {
            self.hand = if self.hand + 1 < places { self.hand + 1 } else { 0 };
            seen.extend(self.flows.contains(self.hand).then_some(self.hand));
            if seen.len() == LOOK {
                break;
            }
        }
        seen
    }

    /// What it costs to keep a connection: bytes by milliseconds. None for one that has to stay.
    fn price(&self, number: usize, spared: usize) -> Option<(u128, Reverse<usize>)> {
        let flow = self.flows.get(number).filter(|flow| !flow.is_over())?;
        let (weight, idle) = (flow.weight(), self.now - flow.idle_since());
        let busy = flow.resting.is_none() && idle < STALLED;
        let price = (weight + self.record) as u128 * (idle.as_millis() + 1);
        (!busy || weight > spared).then_some((price, Reverse(number)))
    }

    /// Ends a connection for others' sake, and says how much that brings.
    fn evict(&mut self, number: usize) -> usize {
        let Some(flow) = self.flows.get(number) else { return 0 };
        let brings = flow.weight().saturating_add(self.record);
        if let Some(account) = &flow.account {
            account.leave();
        }
        self.figures.evicted += 1;
        self.reset(number, io::ErrorKind::ConnectionAborted);
        brings
    }
}

impl Flow {
    /// Since when nothing has happened: the peer has taken nothing of what it is owed, or owes nothing and is silent.
    fn idle_since(&self) -> Instant {
        let heard = if self.is_owed() { self.progress } else { self.progress.max(self.heard) };
        self.resting.unwrap_or(heard)
    }

    /// Bytes that end with it, here and above, beside its record.
    fn weight(&self) -> usize {
        let live = if let Life::Live(live) = &self.life { live.cost() } else { 0 };
        live + self.account.as_ref().map_or(0, |account| account.held())
    }
}
