//! The ledger as lines of which none can be taken away unseen: each ends with the hash of itself and all
//! before it, and the last hash is published.

use crate::attest::Digits;
use core::fmt;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// A hash that stands for a line and all before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head([u8; 32]);

impl fmt::Display for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Head {
    /// The hash with which the lines of the piñata begin that has this CA certificate (DER).
    #[must_use]
    pub fn start(ca: &[u8]) -> Self {
        Self(Sha256::new().chain_update("gatehouse piñata ledger 1\n").chain_update(ca).finalize().into())
    }

    /// Reads a hash as it is published.
    #[must_use]
    pub fn read(digits: &str) -> Option<Self> {
        Digits::read(digits).map(|digits| Self(digits.0))
    }

    fn then(self, words: &str) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(words).finalize().into())
    }
}

/// The lines so far, as what is needed to write the next one.
#[derive(Clone, Debug)]
pub struct Chain {
    start: Head,
    head: Head,
    lines: u64,
}

impl Chain {
    pub(crate) fn begun_by(ca: &[u8]) -> Self {
        let start = Head::start(ca);
        Self { start, head: start, lines: 0 }
    }

    /// Writes the next line.
    pub(crate) fn link(&mut self, now: u64, words: &str) -> String {
        self.lines = self.lines.saturating_add(1);
        let words = format!("piñata: {} {} {words}", self.lines, minute(now));
        self.head = self.head.then(&words);
        format!("{words} {}", self.head)
    }

    /// The hash before the first line.
    #[must_use]
    pub fn start(&self) -> Head {
        self.start
    }

    /// The hash of the last line.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// How many lines there are.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }
}

/// Where lines do not follow from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// This line, counted from 1, does not follow from the one before it.
    At(usize),
    /// The lines follow from each other, but do not lead to the head: the last ones are missing.
    CutOff,
}

/// Follows all lines, from the first one, to the published head.
///
/// # Errors
/// Where a line is missing, changed or out of place.
pub fn follow<'a>(start: Head, lines: impl IntoIterator<Item = &'a str>, head: Head) -> Result<(), Gap> {
    let mut at = start;
    for (number, line) in lines.into_iter().enumerate() {
        let (words, hash) = line.rsplit_once(' ').ok_or(Gap::At(number + 1))?;
        at = at.then(words);
        if at.to_string() != hash {
            return Err(Gap::At(number + 1));
        }
    }
    if at == head { Ok(()) } else { Err(Gap::CutOff) }
}

/// A moment to the minute, as ISO 8601 writes it; nothing when it is beyond the calendar.
pub(crate) fn minute(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    moment.map_or_else(String::new, |moment| {
        let (month, day) = (u8::from(moment.month()), moment.day());
        format!("{}-{month:02}-{day:02}T{:02}:{:02}Z", moment.year(), moment.hour(), moment.minute())
    })
}
