//! The host's end: it waits for a hello, answers it, and gives what was asked for.
//!
//! The daemon gives it what arrives ([`Host::receive`]), sends what [`Host::outbox`] holds and, while the
//! outbox is empty and the guest has an [`Host::appetite`], pours entropy in. How much and when is the
//! daemon's affair, not the protocol's. The outbox is bounded: a guest that never reads cannot make it grow.

use super::frame::{End, Frame, MAGIC, Reader};
use super::outbox::Outbox;
use super::{BANNER_1, HELLO_1, LARGEST_SEED, Malformed, Starved, Version};
use crate::Moment;
use core::time::Duration;

/// A hello that has begun must be whole within this time. One that has not begun may take for ever: the guest
/// boots.
pub const HELLO_TAKES: Duration = Duration::from_secs(10);
/// A seed frame, a welcome and a few notices.
const ROOM: usize = LARGEST_SEED + 256;

/// The guest is not one that we should talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestBroke {
    /// It does not say hello in either version.
    #[error("byte {at} of the hello is wrong: this is not a guest that asks for entropy")]
    NotAHello {
        /// Where it went wrong.
        at: usize,
    },
    /// It began a hello and did not end it.
    #[error("the hello was begun and not ended within {} s", HELLO_TAKES.as_secs())]
    TooSlow,
    /// A frame is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A frame came that makes no sense now.
    #[error("the guest asked for more before it said hello")]
    Unasked,
    /// It says hello and never reads the answers.
    #[error("the guest says hello again and again and does not read the answers")]
    Deaf,
}

/// The host's end of one channel.
pub struct Host {
    state: State,
    outbox: Outbox,
    generation: u128,
    rate: u32,
    number: u32,
    want: u64,
    told_starved: Option<Starved>,
    /// The guest does not know its generation yet.
    untold: bool,
    deadline: Option<Moment>,
}

enum State {
    /// Nothing was said yet.
    Silent,
    /// So many bytes of a version 1 hello were heard.
    Greeting { matched: usize },
    /// A version 2 hello is on its way, or was heard.
    Framed { reader: Reader, greeted: bool },
    /// Version 1, answered; what the guest says is discarded.
    Granted,
    /// The guest broke the protocol.
    Broken(GuestBroke),
}

impl Host {
    /// The end for a guest that is of this generation and may have so many bytes a second.
    #[must_use]
    pub fn new(generation: u128, rate: u32) -> Self {
        Self {
            state: State::Silent,
            outbox: Outbox::default(),
            generation,
            rate,
            number: 0,
            want: 0,
            told_starved: None,
            untold: false,
            deadline: None,
        }
    }

    /// Hears the guest.
    ///
    /// # Errors
    /// When the guest breaks the protocol, now or before: close the channel.
    pub fn receive(&mut self, mut bytes: &[u8], now: Moment) -> Result<(), GuestBroke> {
        while !bytes.is_empty() {
            if let Err(broke) = self.understand(&mut bytes, now) {
                self.want = 0;
                self.deadline = None;
                self.state = State::Broken(broke);
                return Err(broke);
            }
        }
        Ok(())
    }

    /// When [`Host::turn`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    /// Looks at the clock.
    ///
    /// # Errors
    /// When the guest is too slow: close the channel.
    pub fn turn(&mut self, now: Moment) -> Result<(), GuestBroke> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        self.deadline = None;
        self.state = State::Broken(GuestBroke::TooSlow);
        Err(GuestBroke::TooSlow)
    }

    /// Bytes that the guest would take now; version 1 never has enough.
    #[must_use]
    pub fn appetite(&self) -> u64 {
        self.want
    }

    /// The version that the guest speaks, once it has said hello.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match self.state {
            State::Granted => Some(Version::One),
            State::Framed { greeted: true, .. } => Some(Version::Two),
            _ => None,
        }
    }

    /// Puts at most [`LARGEST_SEED`] bytes of entropy into the outbox and says how many it took. Only while
    /// the outbox is empty, so that no more than that ever waits for a slow guest.
    pub fn pour(&mut self, entropy: &[u8]) -> usize {
        let most = usize::try_from(self.want).unwrap_or(usize::MAX).min(LARGEST_SEED);
        let piece = entropy.get(..most).unwrap_or(entropy);
        if piece.is_empty() || !self.outbox.waiting().is_empty() {
            return 0;
        }
        match self.state {
            State::Granted => self.outbox.push(piece),
            _ => self.say(&Frame::Seed(piece)),
        }
        self.told_starved = None;
        if self.want != u64::MAX {
            self.want -= piece.len() as u64;
        }
        piece.len()
    }

    /// Says once that there is nothing to give; version 1 has no word for it.
    pub fn starve(&mut self, why: Starved) {
        let new = self.told_starved != Some(why);
        if new && self.version() == Some(Version::Two) && self.has_room() {
            self.told_starved = Some(why);
            self.say(&Frame::Starved(why));
        }
    }

    /// The machine was copied or put back in time. Version 1 has no word for it.
    pub fn renew(&mut self, generation: u128) {
        self.untold |= self.generation != generation;
        self.generation = generation;
        self.tell_generation();
    }

    /// What is to be sent; the channel may take any part of it.
    #[must_use]
    pub fn outbox(&self) -> &[u8] {
        self.outbox.waiting()
    }

    /// The channel took so many bytes of [`Host::outbox`].
    pub fn sent(&mut self, count: usize) {
        self.outbox.sent(count);
        self.tell_generation();
    }

    fn understand(&mut self, bytes: &mut &[u8], now: Moment) -> Result<(), GuestBroke> {
        match &mut self.state {
            State::Silent => self.begin(bytes, now),
            State::Greeting { .. } => self.hear_hello(bytes),
            State::Framed { .. } => self.hear_frame(bytes),
            State::Broken(broke) => Err(*broke),
            State::Granted => {
                *bytes = &[];
                Ok(())
            }
        }
    }

    /// The first byte tells the version.
    fn begin(&mut self, bytes: &[u8], now: Moment) -> Result<(), GuestBroke> {
        self.state = match bytes.first() {
            Some(&MAGIC) => State::Framed { reader: Reader::new(End::Guest), greeted: false },
            first if first == HELLO_1.first() => State::Greeting { matched: 0 },
            _ => return Err(GuestBroke::NotAHello { at: 0 }),
        };
        self.outbox = Outbox::with_room(ROOM);
        self.deadline = Some(now + HELLO_TAKES);
        Ok(())
    }

    fn hear_hello(&mut self, bytes: &mut &[u8]) -> Result<(), GuestBroke> {
        let State::Greeting { matched } = &mut self.state else { return Ok(()) };
        while let (Some((byte, rest)), Some(due)) = (bytes.split_first(), HELLO_1.get(*matched)) {
            if byte != due {
                return Err(GuestBroke::NotAHello { at: *matched });
            }
            (*bytes, *matched) = (rest, *matched + 1);
        }
        if *matched == HELLO_1.len() {
            self.state = State::Granted;
            self.deadline = None;
            self.want = u64::MAX;
            self.outbox.push(BANNER_1);
        }
        Ok(())
    }

    fn hear_frame(&mut self, bytes: &mut &[u8]) -> Result<(), GuestBroke> {
        let State::Framed { reader, greeted } = &mut self.state else { return Ok(()) };
        match (reader.read(bytes)?, *greeted) {
            (None, _) => Ok(()),
            (Some(Frame::Hello { attempt, want, .. }), _) => {
                *greeted = true;
                self.welcome(attempt, want)
            }
            (Some(Frame::More { want }), true) => {
                self.want = self.want.saturating_add(u64::from(want)).min(u64::from(u32::MAX));
                Ok(())
            }
            (Some(_), _) => Err(GuestBroke::Unasked),
        }
    }

    fn welcome(&mut self, attempt: u32, want: u32) -> Result<(), GuestBroke> {
        if !self.has_room() {
            return Err(GuestBroke::Deaf);
        }
        self.deadline = None;
        self.want = u64::from(want);
        self.told_starved = None;
        self.untold = false;
        self.number = 0;
        self.say(&Frame::Welcome { attempt, generation: self.generation, rate: self.rate });
        Ok(())
    }

    fn tell_generation(&mut self) {
        if self.untold && self.version() == Some(Version::Two) && self.has_room() {
            self.untold = false;
            self.say(&Frame::Generation(self.generation));
        }
    }

    /// Room for one more short frame.
    fn has_room(&self) -> bool {
        self.outbox.held() + 32 <= ROOM
    }

    fn say(&mut self, frame: &Frame<'_>) {
        frame.write(self.number, &mut self.outbox);
        self.number = self.number.wrapping_add(1);
    }
}
