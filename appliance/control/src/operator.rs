//! The end that asks.

use crate::VERSION;
use crate::frame::{End, Frame, GATHERED, Malformed, PIECE, Reader, Search, Verb, Who, cut};
use crate::outbox::Outbox;

/// What a steward says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// Somebody is there and answers.
    Welcome(Who),
    /// A piece of an answer.
    Text {
        /// On which line.
        line: u16,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The answer is whole, or what was asked for is done. The line is closed.
    Done {
        /// Which.
        line: u16,
    },
    /// It is not done, and why. The line is closed.
    Refused {
        /// Which.
        line: u16,
        /// Why not.
        why: &'a str,
    },
    /// Chunks of what was offered are wanted.
    Wants {
        /// On which line.
        line: u16,
        /// Which; none: that was all, send them now.
        spans: Spans<'a>,
    },
}

/// Spans of chunks: from which on, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans<'a>(&'a [u8]);

impl Iterator for Spans<'_> {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        let (span, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        let both = u64::from_be_bytes(*span);
        Some(((both >> 32) as u32, both as u32))
    }
}

/// The end of a channel that asks.
pub struct Operator {
    reader: Reader,
    search: Option<Search>,
    outbox: Outbox,
}

impl Operator {
    /// Greets. The nonce is a number that no operator before has used: the answer is known by it.
    #[must_use]
    pub fn new(nonce: u64) -> Self {
        let mut outbox = Outbox::default();
        Frame::Hello { version: VERSION, nonce }.write(&mut outbox);
        let search = Some(Search::new(End::Steward, Some(nonce)));
        Self { reader: Reader::new(End::Steward), search, outbox }
    }

    /// Takes bytes off the front until they mean something.
    ///
    /// # Errors
    /// When the other end is no steward of this version: there is nothing more to hear.
    pub fn receive<'a, 'b: 'a>(&'a mut self, bytes: &mut &'b [u8]) -> Result<Option<Told<'a>>, Malformed> {
        if let Some(search) = &mut self.search {
            let Some(greeting) = search.look(bytes) else { return Ok(None) };
            self.search = None;
            // Its last byte, who it is, is not part of what is looked for.
            let mut rest = greeting.as_slice();
            let mut reader = Reader::new(End::Steward);
            reader.read(&mut rest)?;
            self.reader = reader;
        }
        match self.reader.read(bytes)? {
            None => Ok(None),
            Some(Frame::Welcome { version: VERSION, who, .. }) => Ok(Some(Told::Welcome(who))),
            Some(Frame::Welcome { version, .. }) => Err(Malformed::Version(version)),
            Some(Frame::Text { line, bytes }) => Ok(Some(Told::Text { line, bytes })),
            Some(Frame::Done { line }) => Ok(Some(Told::Done { line })),
            Some(Frame::Refused { line, why }) => Ok(Some(Told::Refused { line, why })),
            Some(Frame::Want { line, spans }) => Ok(Some(Told::Wants { line, spans: Spans(spans) })),
            Some(_) => Err(Malformed::Payload(0)),
        }
    }

    /// Asks for something on a line that is not open.
    pub fn ask(&mut self, line: u16, verb: Verb, words: &str) {
        Frame::Ask { line, verb, words: cut(words, GATHERED - 1) }.write(&mut self.outbox);
    }

    /// Listens no more on a line.
    pub fn leave(&mut self, line: u16) {
        Frame::Leave { line }.write(&mut self.outbox);
    }

    /// Offers a bundle whose index and secret part have so many bytes; both are sent next.
    pub fn offer(&mut self, line: u16, index: u32, secret: u32) {
        Frame::Offer { line, index, secret }.write(&mut self.outbox);
    }

    /// Sends bytes of what was offered.
    pub fn send(&mut self, line: u16, bytes: &[u8]) {
        for bytes in bytes.chunks(PIECE) {
            Frame::Data { line, bytes }.write(&mut self.outbox);
        }
    }

    /// What is to be sent.
    #[must_use]
    pub fn outbox(&self) -> &[u8] {
        self.outbox.waiting()
    }

    /// The channel took so many bytes of the outbox.
    pub fn sent(&mut self, count: usize) {
        self.outbox.sent(count);
    }
}
