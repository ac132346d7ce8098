//! What was lost, and what of it was said again.

use super::{Piece, Sender};
use crate::wire::Seq;
use world::Instant;

/// Acknowledgements that say nothing new, until the first segment counts as lost.
const DUPLICATES: u8 = 3;
/// So many pieces that were said again are told apart.
const AGAIN: usize = 64;

/// A piece that was said again when everything before `then` had been said once.
#[derive(Clone, Copy)]
pub(super) struct Again {
    from: Seq,
    pub(super) until: Seq,
    then: Seq,
}

impl Sender {
    /// Finds out what was lost, and whether what was lost is there by now. Without selective acknowledgements the next
    /// segment is lost too when an acknowledgement ends in the middle (RFC 6582).
    pub(super) fn mend(&mut self, now: Instant, blind: bool) {
        let mss = self.pace.mss();
        if self.mending.is_some_and(|until| !self.una.is_before(until)) {
            self.mending = None;
        }
        if self.duplicates >= DUPLICATES || (blind && self.mending.is_some()) {
            self.lost = self.lost.later(self.first(mss));
        }
        if let Some(gone) = self.heard.gone(2 * mss) {
            self.lost = self.lost.later(gone);
        }
        let heard = &self.heard;
        // What was said again and did not arrive although so much that was said later did is lost again.
        self.again.retain(|again| {
            let there = heard.past(again.from).is_some_and(|past| !past.is_before(again.until));
            let later = heard.between(again.then, again.then + (1 << 24));
            !there && later <= 2 * mss
        });
        if self.mending.is_none() && self.hole().is_some() {
            self.begin(now);
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.pace.lost(now, self.flight());
        self.mending = Some(self.next);
    }

    /// The end of the first segment that is out.
    pub(super) fn first(&self, mss: u32) -> Seq {
        self.una + mss.min(self.flight())
    }

    /// What was lost and not said again: the first part of it, of a segment at the most.
    pub(super) fn hole(&self) -> Option<(Seq, Seq)> {
        let mut from = self.una;
        while from.is_before(self.lost) {
            let again =
                self.again.iter().find(|again| !from.is_before(again.from) && from.is_before(again.until));
            let Some(past) = self.heard.past(from).or(again.map(|again| again.until)) else {
                let next = self.again.iter().map(|again| again.from).filter(|at| at.is_after(from));
                let ends =
                    [from + self.pace.mss(), self.lost].into_iter().chain(self.heard.next(from)).chain(next);
                let until = ends.min_by_key(|end| *end - from)?;
                return Some((from, until));
            };
            from = past;
        }
        None
    }

    /// Bytes that are on their way, as far as anybody can know.
    pub(super) fn under_way(&self) -> u32 {
        let beyond = self.next.past(self.lost);
        let beyond = beyond.saturating_sub(self.heard.between(self.lost, self.next));
        let again: u32 = self.again.iter().map(|again| again.until - again.from).sum();
        (beyond + again).saturating_sub(u32::from(self.duplicates) * self.pace.mss())
    }

    pub(super) fn repeated(&mut self, piece: &Piece) {
        let (from, until, then) = (piece.from, piece.until, self.next);
        if self.timed.is_some_and(|(seq, _)| seq.is_after(from)) {
            self.timed = None;
        }
        if let Some(before) = self.again.iter_mut().find(|again| again.until == from && again.then == then) {
            before.until = until;
        } else if self.again.len() < AGAIN {
            self.again.push(Again { from, until, then });
        } else if let Some(last) = self.again.last_mut() {
            // Too many to tell apart: what lies between counts as said too, and is missed later.
            let from = if from.is_before(last.from) { from } else { last.from };
            *last = Again { from, until: until.later(last.until), then };
        }
    }
}
