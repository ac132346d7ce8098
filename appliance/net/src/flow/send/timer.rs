//! How long silence means nothing, and what it means then.

use super::{Due, Sender};
use core::time::Duration;
use world::Instant;

impl Sender {
    /// Sets the timer, if there is anything to wait for and it does not run yet.
    pub(super) fn arm(&mut self, now: Instant) {
        if self.deadline.is_none() && self.is_owed() {
            let nudge = self.trip.nudge().filter(|_| !self.nudged && self.mending.is_none());
            let several = self.flight() > self.pace.mss();
            let patience = self.patience();
            self.deadline =
                Some(now + nudge.filter(|_| several).map_or(patience, |nudge| nudge.min(patience)));
        }
    }

    /// How long to wait before all counts as lost: up to half as long again as it must be, by numbers that only who sees
    /// the connection knows. Whoever knew the moment could lose a little just then, each time, and starve it ("Shrew").
    fn patience(&self) -> Duration {
        let mixed = (self.una.0 ^ u32::from(self.trip.doubled) << 16).wrapping_mul(0x9e37_79b1);
        let patience = self.trip.patience();
        patience + patience * (mixed >> 24) / 512
    }

    /// When to come back, if nothing is heard before.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        self.arm(now);
        self.deadline.filter(|_| self.is_owed())
    }

    /// The time that [`Sender::deadline`] named has come.
    pub(crate) fn ring(&mut self, now: Instant) -> Option<Due> {
        self.deadline(now).filter(|at| *at <= now)?;
        self.deadline = None;
        if self.flight() == 0 {
            self.trip.doubled = self.trip.doubled.saturating_add(1);
            self.arm(now);
            return Some(Due::Probe);
        }
        let early = !self.nudged
            && self.mending.is_none()
            && self.flight() > self.pace.mss()
            && self.trip.nudge().is_some();
        if early {
            self.nudge(now)
        } else {
            self.give_up(now)
        }
        self.arm(now);
        Some(Due::Speech)
    }

    /// Says again what would tell most: what is missing before what the peer has, or the first segment.
    fn nudge(&mut self, now: Instant) {
        self.nudged = true;
        let last = self.heard.iter().next_back().map(|(from, _)| from);
        self.lost = self.lost.later(last.unwrap_or(self.first(self.pace.mss())));
        if last.is_some() {
            self.begin(now);
        }
    }

    /// Everything that was not heard of is lost. Whoever is silent twice may have thrown away what it had (RFC 2018 §8).
    fn give_up(&mut self, now: Instant) {
        if self.silences == 0 {
            self.pace.silent(now, self.flight());
        } else {
            self.heard.clear();
        }
        (self.silences, self.trip.doubled) =
            (self.silences.saturating_add(1), self.trip.doubled.saturating_add(1));
        self.lose_all();
    }

    fn lose_all(&mut self) {
        self.again.clear();
        (self.lost, self.mending) = (self.next, Some(self.next));
        (self.duplicates, self.timed) = (0, None);
    }

    /// The way is narrower than it was thought to be: what is out did not arrive.
    pub(crate) fn narrow(&mut self, mss: u16) {
        self.pace.narrow(u32::from(mss.max(1)));
        self.lose_all();
    }

    /// A window that was shut is open again: what was out was not taken.
    pub(crate) fn opened(&mut self) {
        if self.flight() > 0 {
            self.lose_all();
        }
        (self.trip.doubled, self.deadline) = (0, None);
    }
}
