//! Flows: one record for each connection, and a smoltcp socket only while it is awake.
//!
//! A connection that has nothing unread, unacknowledged or out of order sleeps as a record; the next byte of either
//! side wakes it with buffers of the right size. The record also judges what the socket never sees.

pub(crate) mod engine;
mod heard;
pub(crate) mod live;
mod pace;
pub(crate) mod send;

use crate::account::Account;
use crate::gate::verdict::View;
use crate::wire::{Ends, Options, Segment, Seq, Stamps};
use core::task::Waker;
use core::time::Duration;
use engine::Birth;
use live::{Live, State};
use std::io;
use std::rc::Rc;
use world::Instant;

/// Our window scale, for as long as a connection lives.
pub(crate) const SCALE: u8 = 7;
/// Bytes of a receive buffer to begin with, and the window that a handshake offers.
pub(crate) const RECEIVE: usize = 16 * 1024;
/// Bytes of the smallest send buffer: two segments and a bit.
pub(crate) const SEND: usize = 4 * 1024;
/// Bytes of the largest receive buffer, and of the largest for what we say.
pub(crate) const LARGEST: usize = 512 * 1024;
pub(crate) const LONGEST: usize = 4 << 20;
/// So much of what a peer said before it reset the connection is kept for whoever has called it.
const LAST_WORDS: usize = 16 * 1024;
/// After so long a timestamp of the peer says nothing about what is new (RFC 7323 §5.5).
const STAMP_LIFE: Duration = Duration::from_secs(24 * 24 * 3600);

/// A connection.
pub(crate) struct Flow {
    pub(crate) ends: Ends,
    pub(crate) life: Life,
    pub(crate) owner: Owner,
    /// Since when nobody has it, if nobody does.
    pub(crate) left: Instant,
    pub(crate) peer: Peer,
    /// Everything before it is acknowledged by the peer.
    pub(crate) una: Seq,
    /// Everything before it was sent.
    pub(crate) sent: Seq,
    /// Everything before it has arrived.
    pub(crate) expected: Seq,
    /// Something before it has arrived.
    pub(crate) high: Seq,
    /// Everything before it was acknowledged by us.
    pub(crate) acked: Seq,
    /// Everything before it may be sent by the peer.
    pub(crate) edge: Seq,
    /// What is added to our clock in our timestamps.
    pub(crate) stamp_offset: u32,
    /// Payload of the largest segment that fits the way to the peer.
    pub(crate) mss: u16,
    /// What is held above for it.
    pub(crate) account: Option<Rc<Account>>,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    pub(crate) deadline: Option<Instant>,
    /// Since when it has been at rest.
    pub(crate) resting: Option<Instant>,
    /// It stands in the queue of flows with news.
    pub(crate) has_news: bool,
    pub(crate) closing: bool,
    /// It was put to sleep after the peer's FIN, or after ours.
    pub(crate) heard_fin: bool,
    said_fin: bool,
    /// When the peer was last heard, and when it last took something or had nothing to take.
    pub(crate) heard: Instant,
    pub(crate) progress: Instant,
    /// The peer is owed something since the last turn.
    pub(crate) stirred: bool,
    pub(crate) challenged: Option<Instant>,
    /// We have called the peer.
    pub(crate) called: bool,
    /// What a peer that we have called had said when it reset the connection, and nobody had read.
    pub(crate) last_words: Option<Box<LastWords>>,
    /// Probes that were not answered.
    pub(crate) probes: u8,
    /// Bytes that came when nobody was there to read them.
    pub(crate) discarded: usize,
    /// Sizes of the buffers that it should be born with.
    pub(crate) receive: u32,
    pub(crate) send: u32,
}

/// What nobody had read of a connection that was reset.
pub(crate) struct LastWords(Vec<u8>);

/// How much of a connection there is.
pub(crate) enum Life {
    /// We have called and wait for the answer.
    Calling { tries: u8, next: Instant },
    /// Nothing is under way.
    Rest,
    /// Something is.
    Live(Box<Live>),
    /// It is over, and why.
    Over(io::ErrorKind),
    /// It is over because both sides said so.
    Done,
}

/// Who holds on to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It waits to be accepted.
    Queue,
    /// Somebody has its stream.
    Stream,
    /// Nobody: it ends as soon as its bytes are delivered.
    Nobody,
}

/// What the handshake told about the peer, and its window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) scale: Option<u8>,
    pub(crate) sack: bool,
    /// The latest timestamp and when it came.
    pub(crate) stamp: Option<(u32, Instant)>,
    pub(crate) window: u32,
    /// Where that window was told: the segment's numbers.
    told: (Seq, Seq),
}

impl Peer {
    /// What a SYN says. Its window is not scaled.
    pub(crate) fn new(options: &Options, window: u16, now: Instant) -> Self {
        let stamp = options.stamps.map(|stamps| (stamps.value, now));
        Self {
            scale: options.scale,
            sack: options.sack_ok,
            stamp,
            window: u32::from(window),
            told: (Seq(0), Seq(0)),
        }
    }

    /// The first byte that it does not take.
    pub(crate) fn edge(&self) -> Seq {
        self.told.1 + self.window
    }

    /// Takes the window of a segment, unless a later one has told it already: of two that say the same, one of which
    /// was overtaken, the wider is the later one, since nobody takes back what was given (RFC 9293 §3.8.6).
    fn widen(&mut self, segment: &Segment<'_>) {
        let window = u32::from(segment.window) << self.scale.unwrap_or(0);
        let (seq, ack) = self.told;
        let later = segment.ack.is_after(ack) || (segment.ack == ack && segment.seq.is_after(seq));
        if later || (self.told == (segment.seq, segment.ack) && window > self.window) {
            (self.window, self.told) = (window, (segment.seq, segment.ack));
        }
    }
}

impl Flow {
    /// A connection whose handshake is done, or of which we have sent the first step.
    pub(crate) fn new(ends: Ends, ours: Seq, theirs: Seq, mut peer: Peer, now: Instant) -> Self {
        peer.told = (theirs - 1, ours);
        Self {
            ends,
            life: Life::Rest,
            owner: Owner::Queue,
            left: now,
            peer,
            una: ours,
            sent: ours,
            expected: theirs,
            high: theirs,
            acked: theirs,
            edge: theirs + u32::try_from(RECEIVE).unwrap_or(0),
            stamp_offset: 0,
            mss: 536,
            account: None,
            reader: None,
            writer: None,
            deadline: None,
            resting: None,
            has_news: false,
            closing: false,
            heard_fin: false,
            said_fin: false,
            heard: now,
            progress: now,
            stirred: false,
            challenged: None,
            called: false,
            last_words: None,
            probes: 0,
            discarded: 0,
            receive: u32::try_from(RECEIVE).unwrap_or(0),
            send: u32::try_from(SEND).unwrap_or(0),
        }
    }

    pub(crate) fn live(&mut self) -> Option<&mut Live> {
        match &mut self.life {
            Life::Live(live) => Some(live),
            _ => None,
        }
    }

    /// Keeps what was said before a reset, if it answers a call of ours: a server that does not want all of a question
    /// answers and resets. Who has called us wants nothing more.
    pub(crate) fn keep_last_words(&mut self) {
        if !self.called || self.owner != Owner::Stream {
            return;
        }
        let Some(live) = self.live().filter(|live| live.unread() > 0) else { return };
        let mut words = vec![0; live.unread().min(LAST_WORDS)];
        let read = live.read(&mut words);
        words.truncate(read);
        self.last_words = Some(Box::new(LastWords(words)));
    }

    /// Reads what was kept of a peer's last words.
    pub(crate) fn read_last_words(&mut self, into: &mut [u8]) -> Option<usize> {
        let LastWords(words) = &mut **self.last_words.as_mut()?;
        let count = words.len().min(into.len());
        let (taken, room) = (words.drain(..count), into.get_mut(..count)?);
        room.iter_mut().zip(taken).for_each(|(to, byte)| *to = byte);
        if words.is_empty() {
            self.last_words = None;
        }
        Some(count)
    }

    /// What the gate has to know to judge a segment.
    pub(crate) fn view(&self, now: Instant) -> View {
        let (expected, una) = match &self.life {
            Life::Live(live) => (live.expected(), live.sender.una()),
            _ => (self.expected, self.una),
        };
        let fresh = |(stamp, at): (u32, Instant)| (now - at < STAMP_LIFE).then_some(stamp);
        let stamp = self.peer.stamp.and_then(fresh);
        View { expected, edge: self.edge, una, sent: self.sent, stamp }
    }

    /// How it would be born now, with room to write `bytes`.
    pub(crate) fn birth(&self) -> Birth {
        let promised = self.edge.past(self.expected).next_power_of_two();
        let size = |bytes: u32| usize::try_from(bytes).unwrap_or(0).min(LARGEST);
        Birth {
            ours: self.sent,
            theirs: self.expected - u32::from(self.heard_fin),
            mss: self.mss,
            scale: self.peer.scale.unwrap_or(0),
            sack: self.peer.sack,
            heard_fin: self.heard_fin,
            said_fin: self.said_fin,
            receive: size(self.receive.max(promised)),
            send: size(self.send).max(2 * usize::from(self.mss)),
        }
    }

    /// Takes what every acceptable segment tells.
    pub(crate) fn note(&mut self, segment: &Segment<'_>, now: Instant) {
        self.heard = now;
        self.probes = 0;
        self.peer.widen(segment);
        if segment.len() > 0 {
            self.high = self.high.later(segment.end());
        }
        if let (Some((stamp, at)), Some(stamps)) = (&mut self.peer.stamp, segment.options.stamps)
            && !segment.seq.is_after(self.acked)
        {
            (*stamp, *at) = (stamps.value, now);
        }
    }

    /// The window field of a segment that acknowledges `ack` and gives `window` bytes; it never takes back what was
    /// given, except for the bytes that do not fit the scale.
    pub(crate) fn give(&mut self, ack: Seq, window: u32) -> u16 {
        let scale = if self.peer.scale.is_some() { SCALE } else { 0 };
        let field = engine::field(window, scale);
        self.acked = self.acked.later(ack);
        self.edge = self.edge.later(ack + (u32::from(field) << scale));
        field
    }

    /// Our timestamp for this connection and the peer's last.
    pub(crate) fn stamps(&self, now: Instant) -> Option<Stamps> {
        let (echo, _) = self.peer.stamp?;
        Some(Stamps { value: clock(now).wrapping_add(self.stamp_offset), echo })
    }

    /// True if it could sleep: nothing is unread, unacknowledged, out of order or still to be acknowledged.
    pub(crate) fn is_quiet(&self) -> bool {
        let Life::Live(live) = &self.life else { return false };
        let expected = live.expected();
        matches!(live.state(), State::Established | State::CloseWait | State::FinWait2)
            && live.unread() == 0
            && !live.sender.is_owed()
            && self.acked == expected
            && !self.high.is_after(expected)
            && live.sender.una() == self.sent
    }

    /// Puts it to sleep: the socket is thrown away.
    pub(crate) fn rest(&mut self) {
        if let Life::Live(live) = &self.life {
            (self.expected, self.una) = (live.expected(), live.sender.una());
            (self.heard_fin, self.said_fin) = (live.heard_all(), live.state() == State::FinWait2);
            self.life = Life::Rest;
        }
    }

    /// True if the peer has something of ours that it has not acknowledged, or should have.
    pub(crate) fn is_owed(&self) -> bool {
        match &self.life {
            Life::Live(live) => live.sender.is_owed(),
            _ => false,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.life, Life::Over(_) | Life::Done)
    }

    pub(crate) fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

/// Our timestamp clock: milliseconds.
pub(crate) fn clock(now: Instant) -> u32 {
    u32::try_from(now.millis() & u64::from(u32::MAX)).unwrap_or(0)
}
