//! What we say to a peer: bytes until they are acknowledged, which of them were lost, and when to say what.
//!
//! smoltcp hears; it does not speak. Its own sender finds one loss in a round trip, forgets that it has measured one, and
//! cannot be asked for anything but the first segment again. Here are selective acknowledgements (RFC 6675), a window that
//! is CUBIC's, and timers. Nothing here knows of frames: it says which piece comes next.

mod lost;
#[cfg(test)]
mod tests;
mod timer;

use super::heard::Ranges;
use super::pace::{Pace, Trip};
use crate::wire::Seq;
use core::time::Duration;
use lost::Again;
use std::collections::VecDeque;
use world::Instant;

/// The longest piece.
const LONGEST: u32 = 48 * 1024;

/// A part of what we have to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) from: Seq,
    pub(crate) until: Seq,
    /// The last of its numbers is our FIN.
    pub(crate) fin: bool,
}

/// What to do when a timer has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// There is something to say.
    Speech,
    /// The peer's window is shut: ask whether it still is.
    Probe,
}

/// Our half of a connection.
pub(crate) struct Sender {
    bytes: VecDeque<u8>,
    /// How many bytes may wait here.
    room: usize,
    una: Seq,
    /// Everything before it was said once.
    next: Seq,
    closed: bool,
    finished: bool,
    /// The peer says what it has beyond what it acknowledges.
    names_ranges: bool,
    heard: Ranges,
    again: Vec<Again>,
    /// What the peer does not have before it is lost.
    lost: Seq,
    /// A loss is mended when everything before it is acknowledged.
    mending: Option<Seq>,
    duplicates: u8,
    /// Since anything was acknowledged: the first was said again early; all was, so often.
    nudged: bool,
    silences: u8,
    pace: Pace,
    trip: Trip,
    /// One byte that was said once only, and when.
    timed: Option<(Seq, Instant)>,
    deadline: Option<Instant>,
}

impl Sender {
    /// With nothing to say yet: `ours` is the first number; `names_ranges` if the peer does when it misses something.
    pub(crate) fn new(ours: Seq, mss: u16, room: usize, names_ranges: bool) -> Self {
        Self {
            bytes: VecDeque::new(),
            room,
            una: ours,
            next: ours,
            closed: false,
            finished: false,
            names_ranges,
            heard: Ranges::default(),
            again: Vec::new(),
            lost: ours,
            mending: None,
            duplicates: 0,
            nudged: false,
            silences: 0,
            pace: Pace::new(u32::from(mss)),
            trip: Trip::default(),
            timed: None,
            deadline: None,
        }
    }

    pub(crate) fn una(&self) -> Seq {
        self.una
    }

    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.room
    }

    pub(crate) fn room(&self) -> usize {
        self.room.saturating_sub(self.bytes.len())
    }

    /// How much room is of use: what may be on its way, twice.
    pub(crate) fn wanted(&self) -> usize {
        usize::try_from(self.pace.window()).unwrap_or(0).saturating_mul(2).next_power_of_two()
    }

    pub(crate) fn widen(&mut self, room: usize) {
        self.room = self.room.max(room);
    }

    pub(crate) fn write(&mut self, from: &[u8]) -> usize {
        let taken = from.get(..self.room().min(from.len())).unwrap_or_default();
        let all = self.bytes.len() + taken.len();
        if all > self.bytes.capacity() {
            self.bytes.reserve_exact(all.next_power_of_two().min(self.room).saturating_sub(self.bytes.len()));
        }
        self.bytes.extend(taken);
        taken.len()
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Our FIN was said and acknowledged before this was made.
    pub(crate) fn finish(&mut self) {
        (self.closed, self.finished) = (true, true);
    }

    /// True once the peer has acknowledged our FIN.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// True if the peer has not acknowledged all, or was not told all.
    pub(crate) fn is_owed(&self) -> bool {
        !self.bytes.is_empty() || (self.closed && !self.finished)
    }

    /// The number behind the last byte: our FIN's.
    fn end(&self) -> Seq {
        self.una + u32::try_from(self.bytes.len()).unwrap_or(0)
    }

    fn flight(&self) -> u32 {
        self.next - self.una
    }

    /// True if nothing is left to say behind this piece.
    pub(crate) fn is_last(&self, piece: &Piece) -> bool {
        !piece.until.is_before(self.end())
    }

    /// The bytes of a piece.
    pub(crate) fn part(&self, piece: &Piece) -> &[u8] {
        let at = |seq: Seq| usize::try_from(seq - self.una).unwrap_or(0);
        let (front, back) = self.bytes.as_slices();
        let (from, until) = (at(piece.from), at(piece.until - u32::from(piece.fin)));
        let part = match from.checked_sub(front.len()) {
            None => front.get(from..until.min(front.len())),
            Some(from) => back.get(from..until - front.len()),
        };
        part.unwrap_or_default()
    }

    /// Takes an acknowledgement, and ranges that the peer has beyond it; `again` if it says nothing else; and how long ago
    /// what it answers was said, if it tells. True if it brings anything forward. Who names ranges counts as missing
    /// something only by them (RFC 6675), and an acknowledgement of old counts for nothing: whoever repeats one, in a
    /// peer's name too, slows nothing down.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        ack: Seq,
        ranges: impl Iterator<Item = (Seq, Seq)>,
        again: bool,
        echoed: Option<Duration>,
    ) -> bool {
        let moved = ack.is_after(self.una);
        let (used, before) = (self.flight() >= self.pace.window() / 2, self.heard.is_empty());
        let bytes = if moved { self.take(now, ack, echoed) } else { 0 };
        for (from, until) in ranges {
            let inside = from.is_before(until) && !from.is_before(self.una) && !until.is_after(self.next);
            if inside && until.is_after(self.una) {
                self.heard.add(from, until);
            }
        }
        let blind = before && self.heard.is_empty();
        if again && ack == self.una && !moved && blind && !self.names_ranges && self.flight() > 0 {
            self.duplicates = self.duplicates.saturating_add(1);
        }
        self.mend(now, moved && blind);
        if bytes > 0 && used && (self.mending.is_none() || self.pace.is_young()) {
            self.pace.taken(now, bytes);
        }
        moved
    }

    /// Forgets what is acknowledged, and says how many bytes that were.
    fn take(&mut self, now: Instant, ack: Seq, echoed: Option<Duration>) -> u32 {
        let (end, numbers) = (self.end(), ack - self.una);
        let bytes = if ack.is_after(end) { end - self.una } else { numbers };
        self.bytes.drain(..self.bytes.len().min(usize::try_from(bytes).unwrap_or(0)));
        self.finished |= numbers > bytes;
        self.una = ack;
        self.next = self.next.later(ack);
        self.lost = self.lost.later(ack);
        self.heard.cut(ack);
        self.again.retain(|again| again.until.is_after(ack));
        let timed = self.timed.take_if(|(seq, _)| !ack.is_before(*seq)).map(|(_, at)| now - at);
        if let Some(took) = echoed.or(timed) {
            self.trip.sample(took);
        }
        (self.duplicates, self.nudged, self.silences) = (0, false, 0);
        self.deadline = None;
        bytes
    }

    /// What to say next, if anything: the peer takes everything before `edge`.
    pub(crate) fn piece(&self, edge: Seq) -> Option<Piece> {
        let under_way = self.under_way();
        let room = self.pace.window().saturating_sub(under_way);
        if let Some((from, until)) = self.hole() {
            let may = from == self.una || under_way == 0 || room >= until - from;
            return may.then(|| self.whole(from, until));
        }
        let (mss, end) = (self.pace.mss(), self.end());
        let unsaid = end.past(self.next);
        let may = room.min(edge.past(self.next)).min(unsaid);
        if unsaid == 0 {
            let fin = self.closed && self.next == end && !self.finished;
            return fin.then(|| self.whole(end, end + 1));
        }
        if may == 0 || (may < unsaid && may < mss && self.flight() > 0) {
            return None;
        }
        let len = if may < unsaid && may > mss { may - may % mss } else { may };
        let long = LONGEST - LONGEST % mss.min(LONGEST);
        let until = self.next + len.min(long);
        Some(self.whole(self.next, until + u32::from(self.closed && until == end)))
    }

    /// The piece from `from` on, which ends at the latest where our ring of bytes begins anew.
    fn whole(&self, from: Seq, until: Seq) -> Piece {
        let (front, _) = self.bytes.as_slices();
        let seam = self.una + u32::try_from(front.len()).unwrap_or(0);
        let split = from.is_before(seam) && until.is_after(seam) && seam.is_before(self.end());
        let until = if split { seam } else { until };
        Piece { from, until, fin: until.is_after(self.end()) }
    }

    /// A piece was said.
    pub(crate) fn said(&mut self, now: Instant, piece: &Piece) {
        if piece.from.is_before(self.next) {
            self.repeated(piece);
        } else {
            self.timed.get_or_insert((piece.until, now));
            self.next = piece.until;
        }
        self.arm(now);
    }
}
