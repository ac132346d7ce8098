//! What an attacker must not guess: first sequence numbers, timestamps, cookies, places in tables, ports.
//!
//! Everything is SipHash under a key of its own; the keys come from [`Keys`] and can be replaced while connections live.

use crate::config::Keys;
use crate::wire::{Ends, Seq};
use core::hash::{BuildHasher, Hash, Hasher};
use siphasher::sip::{SipHasher13, SipHasher24};
use world::Instant;

/// The keys, by what they are for.
pub(crate) struct Secrets {
    keys: Keys,
}

/// What a hash is made for: one purpose learns nothing about another.
#[derive(Clone, Copy, Hash)]
enum For {
    Sequence,
    Stamps,
    Cookie,
    Port,
}

impl Secrets {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys }
    }

    fn hash(&self, purpose: For, of: impl Hash) -> u64 {
        let first = 2 * purpose as usize;
        let mut hasher = SipHasher24::new_with_keys(self.keys.word(first), self.keys.word(first + 1));
        of.hash(&mut hasher);
        hasher.finish()
    }

    /// Our first sequence number of a connection (RFC 6528): a clock of 4 microseconds and a keyed hash of its ends.
    pub(crate) fn sequence(&self, ends: &Ends, now: Instant) -> Seq {
        Seq(low(now.nanos() / 4096)) + low(self.hash(For::Sequence, ends))
    }

    /// How far a connection's timestamps are from our clock: nobody learns how long we have been up.
    pub(crate) fn stamp_offset(&self, ends: &Ends) -> u32 {
        low(self.hash(For::Stamps, ends))
    }

    /// The part of a cookie that nobody else can make.
    pub(crate) fn cookie(&self, ends: &Ends, theirs: Seq, period: u64) -> u32 {
        low(self.hash(For::Cookie, (ends, theirs, period)))
    }

    /// Where to start to look for a free port (RFC 6056, algorithm 3).
    pub(crate) fn port(&self, ends: &Ends, made: u64) -> u16 {
        let spread = self.hash(For::Port, ends).wrapping_add(made);
        49152 | u16::try_from(spread & 0x3fff).unwrap_or(0)
    }

    /// A UDP port that nobody can foresee: of all that are free to take (RFC 6056, algorithm 1).
    pub(crate) fn post(&self, made: u64) -> u16 {
        let drawn = self.hash(For::Port, ("post", made)) % 64_512;
        1024 + u16::try_from(drawn).unwrap_or(0)
    }

    /// A number that nobody can foresee.
    pub(crate) fn number(&self, made: u64) -> u32 {
        low(self.hash(For::Port, ("number", made)))
    }

    /// The second half of an address under a prefix (RFC 7217): the same for as long as `stable` is the same, or else
    /// for as long as these keys live.
    pub(crate) fn interface(&self, stable: Option<[u8; 16]>, mac: [u8; 6], prefix: u64, tries: u8) -> u64 {
        let of = ("interface", mac, prefix, tries);
        let Some(key) = stable else { return self.hash(For::Port, of) };
        let mut hasher = SipHasher24::new_with_key(&key);
        of.hash(&mut hasher);
        hasher.finish()
    }

    /// What smoltcp starts its own numbers with; nothing of them reaches a wire.
    pub(crate) fn seed(&self) -> u64 {
        self.hash(For::Sequence, "seed")
    }

    /// How a table finds its places.
    pub(crate) fn places(&self) -> Places {
        let pair = |purpose: For| self.hash(purpose, "places");
        Places(pair(For::Port), pair(For::Stamps))
    }
}

fn low(hash: u64) -> u32 {
    u32::try_from(hash & u64::from(u32::MAX)).unwrap_or(0)
}

/// A keyed hash for tables: nobody can choose addresses that fall into one place.
#[derive(Clone, Copy)]
pub(crate) struct Places(u64, u64);

impl BuildHasher for Places {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}
