//! The guest's end: it asks, waits, asks again, and knows entropy from anything else.
//!
//! The loop that owns a channel tells it [`Guest::opened`] when a host sits down at the other end, sends what
//! [`Guest::outbox`] holds, gives it what arrives ([`Guest::receive`]) and calls [`Guest::turn`] at
//! [`Guest::deadline`]. A host that breaks the protocol is not listened to again until the channel is opened
//! anew.

use super::frame::{End, Frame, Reader, welcome_begins};
use super::outbox::Outbox;
use super::{BANNER_1, HELLO_1, Malformed, Starved, Version};
use crate::Moment;
use crate::health::START_UP;
use core::time::Duration;

/// What a guest asks for when a channel opens: the start-up test's bytes and 4,096 counted bits.
pub const FIRST_PORTION: u32 = START_UP + 1024;
/// What it asks for later.
pub const PORTION: u32 = 256;
/// How often it asks once it is fed.
pub const REFRESH: Duration = Duration::from_secs(60);
/// It asks again after so long a silence, and doubles its patience each time up to [`REFRESH`].
const PATIENCE: Duration = Duration::from_secs(5);
/// So many bytes may come between a hello and its answer. They were sent before it: to this machine before it
/// started again, or in answer to an earlier hello. A host sends only what was asked for, so they are few.
const UNDER_WAY: usize = 64 * 1024;

/// What the host meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The host answered and will feed us. Version 1 says no more than that.
    Granted {
        /// Bytes a second.
        rate: Option<u32>,
        /// Which generation of the machine this is, as far as the host knows.
        generation: Option<u128>,
    },
    /// Entropy. It counts for nothing before the health tests have seen it.
    Entropy(&'a [u8]),
    /// The machine was copied or put back in time: this is its new generation.
    Generation(u128),
    /// The host has nothing to give.
    Starved(Starved),
}

/// The host is not one that we should listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostBroke {
    /// Version 1: something else is at the other end of this channel.
    #[error(
        "byte {at} of the answer is not what xentropyd says: something else is connected to this channel"
    )]
    NotTheBanner {
        /// Where it went wrong.
        at: usize,
    },
    /// Version 2: the answer to our hello never came, only other bytes.
    #[error("more than {UNDER_WAY} bytes came and none of them was the answer to our hello")]
    Babble,
    /// A frame is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A frame came that was not asked for.
    #[error("the host sent a welcome that nobody asked for")]
    Unasked,
}

/// The guest's end of one channel.
pub struct Guest {
    version: Version,
    state: State,
    outbox: Outbox,
    attempt: u32,
    number: u32,
    generation: u128,
    /// Bytes asked for that have not come. Version 1 cannot ask: always 0.
    owed: u32,
    patience: Duration,
    deadline: Option<Moment>,
}

enum State {
    /// Nobody is at the other end.
    Closed,
    /// We said hello; `matched` bytes of the answer have come; so many others may be skipped.
    Asked { matched: usize, skip: usize, reader: Reader },
    /// Version 1: everything is entropy.
    Granted,
    /// Version 1, after a silence and another hello: a new host answers with the banner, an old one with
    /// entropy.
    Hushed { matched: usize },
    /// Version 2: frames.
    Framed(Reader),
    /// The host broke the protocol.
    Broken(HostBroke),
}

impl Guest {
    /// An end that speaks this version; the channel is still closed.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self {
            version,
            state: State::Closed,
            outbox: Outbox::default(),
            attempt: 0,
            number: 0,
            generation: 0,
            owed: 0,
            patience: PATIENCE,
            deadline: None,
        }
    }

    /// A host sits down at the other end: everything starts afresh.
    pub fn opened(&mut self, now: Moment) {
        self.outbox.wipe();
        self.patience = PATIENCE;
        self.say_hello(now, 0);
    }

    /// The machine was copied: what is under way was meant for its twin too. Nothing that comes has a meaning
    /// before the host has answered a hello that is said now, so no byte that both twins hold is ever taken
    /// for a new one.
    pub fn start_over(&mut self, now: Moment) {
        if !matches!(self.state, State::Closed) {
            self.outbox.wipe();
            self.patience = PATIENCE;
            self.say_hello(now, self.attempt.wrapping_add(1).max(1));
        }
    }

    /// The host is gone.
    pub fn closed(&mut self) {
        self.outbox.wipe();
        self.state = State::Closed;
        self.deadline = None;
    }

    /// Takes bytes off the front until one meaning is found: call it until it says `None`.
    ///
    /// # Errors
    /// When the host breaks the protocol, now or before; the bytes are gone.
    pub fn receive<'a>(
        &mut self,
        bytes: &mut &'a [u8],
        now: Moment,
    ) -> Result<Option<Meaning<'a>>, HostBroke> {
        if bytes.is_empty() {
            return Ok(None);
        }
        self.heard(now);
        let meaning = self.understand(bytes);
        if let Err(broke) = meaning {
            self.state = State::Broken(broke);
            self.deadline = None;
            *bytes = &[];
        }
        self.settle(now);
        meaning
    }

    /// What is to be sent; the channel may take any part of it.
    #[must_use]
    pub fn outbox(&self) -> &[u8] {
        self.outbox.waiting()
    }

    /// The channel took so many bytes of [`Guest::outbox`].
    pub fn sent(&mut self, count: usize) {
        self.outbox.sent(count);
    }

    /// When [`Guest::turn`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    /// Asks again, if it is time to.
    pub fn turn(&mut self, now: Moment) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.state {
            State::Framed(_) if self.owed == 0 => self.say_more(now),
            State::Closed | State::Broken(_) => self.deadline = None,
            _ => self.say_hello_again(now),
        }
    }

    /// Asks for a portion at once, unless one is owed already: for a pool that is hungry.
    pub fn ask(&mut self, now: Moment) {
        if self.owed == 0 && matches!(self.state, State::Framed(_)) {
            self.say_more(now);
        }
    }

    fn understand<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Meaning<'a>>, HostBroke> {
        match &mut self.state {
            State::Closed => {
                *bytes = &[];
                Ok(None)
            }
            State::Broken(broke) => Err(*broke),
            State::Granted => Ok(Some(Meaning::Entropy(core::mem::take(bytes)))),
            State::Hushed { .. } => Ok(self.hear_in_the_hush(bytes)),
            State::Asked { .. } if self.version == Version::One => self.hear_banner(bytes),
            State::Asked { .. } => self.hear_welcome(bytes),
            State::Framed(_) => self.hear_frame(bytes),
        }
    }

    fn hear_banner<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Meaning<'a>>, HostBroke> {
        let State::Asked { matched, skip, .. } = &mut self.state else { return Ok(None) };
        if !seek(BANNER_1, bytes, matched, skip).map_err(|at| HostBroke::NotTheBanner { at })? {
            return Ok(None);
        }
        self.state = State::Granted;
        Ok(Some(Meaning::Granted { rate: None, generation: None }))
    }

    /// The banner is swallowed; so is a beginning of it that turns out to be entropy, which costs a byte now
    /// and then.
    fn hear_in_the_hush<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Meaning<'a>> {
        let State::Hushed { matched } = &mut self.state else { return None };
        let same = common(bytes, BANNER_1, *matched);
        *matched += same;
        *bytes = bytes.get(same..).unwrap_or_default();
        if *matched < BANNER_1.len() && bytes.is_empty() {
            return None;
        }
        self.state = State::Granted;
        Some(Meaning::Granted { rate: None, generation: None })
    }

    /// Slides over what was under way until the welcome to our last hello is found.
    fn hear_welcome<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Meaning<'a>>, HostBroke> {
        let wanted = welcome_begins(self.attempt);
        let State::Asked { matched, skip, reader } = &mut self.state else { return Ok(None) };
        if *matched < wanted.len() {
            if !seek(&wanted, bytes, matched, skip).map_err(|_at| HostBroke::Babble)? {
                return Ok(None);
            }
            reader.read(&mut wanted.as_slice())?;
        }
        let Some(Frame::Welcome { generation, rate, .. }) = reader.read(bytes)? else { return Ok(None) };
        self.state = State::Framed(reader.clone());
        self.generation = generation;
        Ok(Some(Meaning::Granted { rate: Some(rate), generation: Some(generation) }))
    }

    fn hear_frame<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Meaning<'a>>, HostBroke> {
        let State::Framed(reader) = &mut self.state else { return Ok(None) };
        Ok(match reader.read(bytes)? {
            None => None,
            Some(Frame::Seed(piece)) => {
                self.owed = self.owed.saturating_sub(u32::try_from(piece.len()).unwrap_or(u32::MAX));
                Some(Meaning::Entropy(piece))
            }
            Some(Frame::Starved(why)) => {
                self.patience = REFRESH;
                Some(Meaning::Starved(why))
            }
            Some(Frame::Generation(generation)) => {
                self.generation = generation;
                Some(Meaning::Generation(generation))
            }
            Some(Frame::Hello { .. } | Frame::More { .. } | Frame::Welcome { .. }) => {
                return Err(HostBroke::Unasked);
            }
        })
    }

    fn say_hello(&mut self, now: Moment, attempt: u32) {
        self.attempt = attempt;
        self.number = 0;
        self.owed = self.owed.clamp(FIRST_PORTION, u32::MAX);
        match self.version {
            Version::One => self.outbox.push(HELLO_1),
            Version::Two => {
                let hello = Frame::Hello { attempt, knew: self.generation, want: self.owed };
                self.say(&hello);
            }
        }
        // An old host answers the first hello at once, or it is none.
        let skip = if (self.version, attempt) == (Version::One, 0) { 0 } else { UNDER_WAY };
        self.state = State::Asked { matched: 0, skip, reader: Reader::new(End::Host) };
        self.deadline = Some(now + self.patience);
    }

    /// Nothing came for too long. A hello that has not even left is not said twice.
    fn say_hello_again(&mut self, now: Moment) {
        self.patience = self.patience.saturating_mul(2).min(REFRESH);
        self.deadline = Some(now + self.patience);
        if !self.outbox.waiting().is_empty() {
            return;
        }
        match (&self.state, self.version) {
            (State::Granted, _) => {
                self.outbox.push(HELLO_1);
                self.state = State::Hushed { matched: 0 };
            }
            (_, Version::One) => self.outbox.push(HELLO_1),
            (_, Version::Two) => self.say_hello(now, self.attempt.wrapping_add(1).max(1)),
        }
    }

    fn say_more(&mut self, now: Moment) {
        self.owed = PORTION;
        self.deadline = Some(now + self.patience);
        self.say(&Frame::More { want: PORTION });
    }

    fn say(&mut self, frame: &Frame<'_>) {
        frame.write(self.number, &mut self.outbox);
        self.number = self.number.wrapping_add(1);
    }

    /// Something came: the host is alive.
    fn heard(&mut self, now: Moment) {
        if self.deadline.is_some() {
            self.patience = PATIENCE;
            self.deadline = Some(now + self.patience);
        }
    }

    /// After all was understood: a guest that is owed nothing rests, and one that was told to wait waits.
    fn settle(&mut self, now: Moment) {
        let rests = match self.state {
            State::Framed(_) => self.owed == 0 || self.patience == REFRESH,
            State::Granted => true,
            _ => false,
        };
        if rests {
            self.deadline = Some(now + REFRESH);
        }
    }
}

/// How many bytes go on where `matched` bytes of `expected` have been heard.
fn common(bytes: &[u8], expected: &[u8], matched: usize) -> usize {
    bytes.iter().zip(expected.iter().skip(matched)).take_while(|(heard, due)| heard == due).count()
}

/// Slides over what was under way until all of `wanted` has come: true when it has.
///
/// # Errors
/// When more came than may be skipped: how much of `wanted` was there then.
fn seek(wanted: &[u8], bytes: &mut &[u8], matched: &mut usize, skip: &mut usize) -> Result<bool, usize> {
    while *matched < wanted.len() {
        let Some((byte, rest)) = bytes.split_first() else { return Ok(false) };
        *bytes = rest;
        let kept = slide(wanted, *matched, *byte);
        *skip = skip.checked_sub(*matched + 1 - kept).ok_or(*matched)?;
        *matched = kept;
    }
    Ok(true)
}

/// Of `wanted`'s first `matched` bytes and then `byte`: the longest end of it that is a beginning of
/// `wanted`.
fn slide(wanted: &[u8], matched: usize, byte: u8) -> usize {
    let heard = || wanted.iter().take(matched).copied().chain([byte]);
    let fits = |length: &usize| heard().skip(matched + 1 - length).eq(wanted.iter().take(*length).copied());
    (1..=matched + 1).rev().find(fits).unwrap_or(0)
}
