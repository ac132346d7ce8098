//! The pool: everything a guest hears is mixed here, and every key comes out of here.
//!
//! **In**: bytes of the host's channel that passed the health tests count ([`Pool::credit`]); the CPU's own
//! generator, the host's random device and the timing of events are mixed in and count for nothing
//! ([`Pool::stir`]). All of it runs into one SHA-512, so a source that is bad, or hostile, can add nothing
//! but also spoil nothing.
//!
//! **Over**: what was mixed becomes part of the key only in lumps of at least 256 counted bits, so that
//! someone who once knew the state cannot follow it by guessing little additions. A reseeding mixes the old
//! key in; it never replaces it.
//!
//! **Apart**: two copies of one machine hold one key until somebody tells them. What [`Pool::twist`] takes
//! goes into the key at once and counts for nothing: where a CPU has a generator, copies draw apart from the
//! first draw on.
//!
//! **Out**: [`Pool::draw`] refuses until the first 256 bits of the host's channel were counted, and again
//! after every change of a generation, until 256 *new* bits were: what was mixed before a machine was copied
//! is known to its twin. There is no fallback of any kind.

use crate::Moment;
use crate::health::Tested;
use crate::stream::{self, Stream};
use core::fmt;
use core::time::Duration;
use sha2::{Digest, Sha512};
use zeroize::Zeroize;

/// A seed: fewer counted bits never touch the key.
pub const SEED_BITS: u32 = 256;
/// The pool takes up what has been counted when the last seed is that old.
pub const RESEED_AFTER: Duration = Duration::from_secs(60);
/// Or when so many bytes were drawn since.
pub const RESEED_BYTES: u64 = 1 << 20;
/// A pool that was not fed for so long is [`Diet::Stale`]: it serves, and somebody should be told.
pub const STALE_AFTER: Duration = Duration::from_secs(600);

/// What every draw of the guest is made of. One per guest.
pub struct Pool {
    mix: Sha512,
    stream: Stream,
    /// Counted bits in `mix` that are not yet in the key.
    waiting: u32,
    seeded: bool,
    generations: [Option<u128>; 2],
    now: Moment,
    seeded_at: Moment,
    drawn: u64,
    reseeds: u64,
}

/// Who says which generation of the machine this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The machine itself: vmgenid.
    Machine,
    /// The host's daemon, on the entropy channel.
    Channel,
}

/// How the pool is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diet {
    /// Nothing can be drawn: [`Pool::draw`] refuses.
    Starving,
    /// It was seeded not long ago.
    Fed,
    /// It serves, but was not fed for [`STALE_AFTER`]: raise the alarm.
    Stale,
}

/// Proof that the pool holds a full seed. Only [`Pool::seeded`] makes it; ask for one before a port is
/// opened.
#[derive(Debug)]
pub struct Seeded(());

/// Not one byte can be drawn yet: `missing` bits must come from the host first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pool is not seeded: {missing} more bits must come over the entropy channel (is xentropyd feeding this guest?)"
)]
pub struct NotSeeded {
    /// Bits still missing.
    pub missing: u32,
}

/// The machine was copied or put back in time: whatever it held, its twin holds too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "connections, tickets and hash keys of the old generation must die"]
pub struct Forked;

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    /// An empty pool, which refuses every draw.
    #[must_use]
    pub fn new() -> Self {
        Self {
            mix: Sha512::new_with_prefix(b"gatehouse pool 1"),
            stream: Stream::new(&[0; 32]),
            waiting: 0,
            seeded: false,
            generations: [None; 2],
            now: Moment::ZERO,
            seeded_at: Moment::ZERO,
            drawn: 0,
            reseeds: 0,
        }
    }

    /// Mixes bytes of the host's channel in and counts them.
    pub fn credit(&mut self, tested: &Tested<'_>) {
        self.absorb(b'c', tested.bytes());
        self.waiting = self.waiting.saturating_add(tested.bits());
        self.reseed_if_due();
    }

    /// Mixes anything else in. It counts for nothing.
    pub fn stir(&mut self, bytes: &[u8]) {
        self.absorb(b's', bytes);
    }

    /// Mixes into the key at once what a copy of this machine would not have: the CPU's own numbers. It
    /// counts for nothing, and nothing that waits in the mixture is spent on it.
    pub fn twist(&mut self, bytes: &[u8]) {
        self.stream.rekey(|old| stream::hash(b"gatehouse twist 1", old, bytes));
    }

    /// Fills `out`, or leaves it as it is.
    ///
    /// # Errors
    /// Until the pool is seeded, and after a change of generation until it is seeded again.
    pub fn draw(&mut self, out: &mut [u8]) -> Result<(), NotSeeded> {
        self.seeded()?;
        self.stream.draw(out);
        self.drawn = self.drawn.saturating_add(out.len() as u64);
        self.reseed_if_due();
        Ok(())
    }

    /// The proof that draws will be answered.
    ///
    /// # Errors
    /// While they will not.
    pub fn seeded(&self) -> Result<Seeded, NotSeeded> {
        let missing = SEED_BITS.saturating_sub(self.waiting);
        if self.seeded { Ok(Seeded(())) } else { Err(NotSeeded { missing }) }
    }

    /// Hears which generation of the machine this is; to be asked before every draw and every send. From a
    /// change on the pool refuses until it is reseeded. The first word of a witness is no change.
    pub fn generation(&mut self, witness: Witness, generation: u128) -> Option<Forked> {
        let [machine, channel] = &mut self.generations;
        let known = match witness {
            Witness::Machine => machine,
            Witness::Channel => channel,
        };
        let before = known.replace(generation);
        if before == Some(generation) {
            return None;
        }
        self.absorb(b'g', &generation.to_le_bytes());
        before?;
        self.seeded = false;
        self.waiting = 0;
        Some(Forked)
    }

    /// Says what time it is.
    pub fn turn(&mut self, now: Moment) {
        self.now = now.max(self.now);
        self.reseed_if_due();
    }

    /// True when the pool would take a seed up at once: ask the host for more.
    #[must_use]
    pub fn is_hungry(&self) -> bool {
        self.is_due() && self.waiting < SEED_BITS
    }

    /// How the pool is fed.
    #[must_use]
    pub fn diet(&self) -> Diet {
        match self.seeded {
            false => Diet::Starving,
            true if self.age() >= STALE_AFTER => Diet::Stale,
            true => Diet::Fed,
        }
    }

    /// Time since the last seed was taken up; for metrics.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.now.saturating_sub(self.seeded_at)
    }

    /// Seeds taken up so far; for metrics.
    #[must_use]
    pub fn reseeds(&self) -> u64 {
        self.reseeds
    }

    fn is_due(&self) -> bool {
        !self.seeded || self.age() >= RESEED_AFTER || self.drawn >= RESEED_BYTES
    }

    fn reseed_if_due(&mut self) {
        if self.is_due() && self.waiting >= SEED_BITS {
            self.reseed();
        }
    }

    /// The old key and all that was mixed make a new key and a new beginning of the mixture.
    fn reseed(&mut self) {
        let mut mixed = self.mix.finalize_reset();
        self.stream.rekey(|old| stream::hash(b"gatehouse key 1", old, &mixed));
        self.mix.update(b"gatehouse chain 1");
        self.mix.update(mixed);
        mixed.as_mut_slice().zeroize();
        self.waiting = 0;
        self.drawn = 0;
        self.seeded = true;
        self.seeded_at = self.now;
        self.reseeds += 1;
    }

    /// Tag and length keep two inputs from ever reading as one.
    fn absorb(&mut self, tag: u8, bytes: &[u8]) {
        self.mix.update([tag]);
        self.mix.update((bytes.len() as u64).to_le_bytes());
        self.mix.update(bytes);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({:?}, {} bits waiting, {} reseeds)", self.diet(), self.waiting, self.reseeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Health, START_UP};

    /// A source that is proven and gives bytes that are as good as `name`.
    struct Source(Health, Stream);

    impl Source {
        fn new(name: u8) -> Self {
            let mut source = Self(Health::new(), Stream::new(&[name; 32]));
            source.feed(&mut Pool::new(), START_UP as usize);
            source
        }

        fn feed(&mut self, pool: &mut Pool, length: usize) {
            let mut bytes = vec![0; length];
            self.1.draw(&mut bytes);
            pool.credit(&self.0.judge(&bytes).unwrap());
        }
    }

    fn seeded(name: u8) -> Pool {
        let mut pool = Pool::new();
        Source::new(name).feed(&mut pool, 64);
        pool
    }

    fn draw(pool: &mut Pool) -> [u8; 32] {
        let mut out = [0; 32];
        pool.draw(&mut out).unwrap();
        out
    }

    #[test]
    fn no_byte_is_drawn_before_256_bits_of_the_host_were_counted() {
        let (mut pool, mut source) = (Pool::new(), Source::new(1));
        (0..10_000_u64).for_each(|sample| pool.stir(&sample.to_le_bytes()));
        source.feed(&mut pool, 63);
        let mut out = [7; 16];
        assert_eq!(pool.draw(&mut out), Err(NotSeeded { missing: 4 }));
        assert_eq!((out, pool.diet()), ([7; 16], Diet::Starving));
        source.feed(&mut pool, 1);
        assert!(pool.draw(&mut out).is_ok() && pool.seeded().is_ok());
    }

    #[test]
    fn the_bytes_of_the_start_up_test_do_not_seed() {
        let (mut pool, mut fresh) = (Pool::new(), Source(Health::new(), Stream::new(&[1; 32])));
        fresh.feed(&mut pool, START_UP as usize);
        assert_eq!(pool.seeded().unwrap_err().missing, SEED_BITS);
    }

    #[test]
    fn the_same_inputs_make_the_same_stream_and_one_other_bit_another() {
        assert_eq!(draw(&mut seeded(1)), draw(&mut seeded(1)));
        assert_ne!(draw(&mut seeded(1)), draw(&mut seeded(2)));
        let mut stirred = Pool::new();
        stirred.stir(&[1]);
        Source::new(1).feed(&mut stirred, 64);
        assert_ne!(draw(&mut stirred), draw(&mut seeded(1)));
    }

    #[test]
    fn two_inputs_never_read_as_one() {
        let mix = |pieces: &[&[u8]]| {
            let mut pool = Pool::new();
            pieces.iter().for_each(|piece| pool.stir(piece));
            Source::new(1).feed(&mut pool, 64);
            draw(&mut pool)
        };
        assert_ne!(mix(&[b"asb"]), mix(&[b"a", b"b"]));
        assert_ne!(mix(&[b"ab", b""]), mix(&[b"ab"]));
    }

    #[test]
    fn a_reseeding_mixes_and_does_not_replace() {
        let reseeded = |first: u8| {
            let mut pool = seeded(first);
            pool.turn(RESEED_AFTER);
            Source::new(9).feed(&mut pool, 64);
            assert_eq!(pool.reseeds(), 2);
            draw(&mut pool)
        };
        assert_ne!(reseeded(1), reseeded(2), "the old key was lost");
        let drawn = |before: bool| {
            let mut pool = seeded(1);
            pool.draw(&mut [0; 1][usize::from(!before)..]).unwrap();
            pool.turn(RESEED_AFTER);
            Source::new(9).feed(&mut pool, 64);
            draw(&mut pool)
        };
        assert_ne!(drawn(true), drawn(false), "the key that a draw left behind was lost");
        let mut alone = seeded(1);
        assert_ne!(reseeded(1), draw(&mut alone), "the new seed was lost");
    }

    #[test]
    fn the_pool_reseeds_by_time_and_by_bytes_and_not_otherwise() {
        let (mut pool, mut source) = (seeded(1), Source::new(2));
        source.feed(&mut pool, 64);
        pool.turn(RESEED_AFTER - Duration::from_nanos(1));
        assert_eq!((pool.reseeds(), pool.is_hungry()), (1, false));
        pool.turn(RESEED_AFTER);
        assert_eq!((pool.reseeds(), pool.age()), (2, Duration::ZERO));
        pool.draw(&mut vec![0; RESEED_BYTES as usize]).unwrap();
        assert_eq!((pool.reseeds(), pool.is_hungry()), (2, true), "nothing is waiting");
        source.feed(&mut pool, 63);
        assert_eq!(pool.reseeds(), 2, "less than a seed never touches the key");
        source.feed(&mut pool, 1);
        assert_eq!(pool.reseeds(), 3);
    }

    #[test]
    fn a_pool_that_nobody_feeds_serves_and_says_so() {
        let mut pool = seeded(1);
        assert_eq!(pool.diet(), Diet::Fed);
        pool.turn(STALE_AFTER);
        assert_eq!(pool.diet(), Diet::Stale);
        draw(&mut pool);
        Source::new(2).feed(&mut pool, 64);
        assert_eq!(pool.diet(), Diet::Fed);
    }

    #[test]
    fn after_a_fork_nothing_is_drawn_before_the_twins_are_fed_apart() {
        for witness in [Witness::Machine, Witness::Channel] {
            let mut pool = seeded(1);
            assert_eq!(pool.generation(witness, 1), None, "the first word is no change");
            assert_eq!(pool.generation(witness, 1), None);
            Source::new(2).feed(&mut pool, 640);
            assert_eq!(pool.generation(witness, 2), Some(Forked));
            assert_eq!(
                pool.draw(&mut [0]),
                Err(NotSeeded { missing: SEED_BITS }),
                "the twin knows what was waiting"
            );
            Source::new(3).feed(&mut pool, 64);
            assert!(pool.draw(&mut [0]).is_ok());
            assert_eq!(pool.generation(witness, 1), Some(Forked), "back in time is a fork too");
        }
    }

    #[test]
    fn twins_that_are_fed_apart_draw_apart() {
        let twin = |food: u8| {
            let mut pool = seeded(1);
            let _ = pool.generation(Witness::Machine, 1);
            assert_eq!(pool.generation(Witness::Machine, 2), Some(Forked));
            Source::new(food).feed(&mut pool, 64);
            draw(&mut pool)
        };
        assert_ne!(twin(2), twin(3));
    }

    #[test]
    fn twins_that_nobody_told_draw_apart_where_the_cpu_has_a_generator() {
        let twin = |number: &[u8]| {
            let mut pool = seeded(1);
            pool.twist(number);
            draw(&mut pool)
        };
        assert_ne!(twin(&[1]), twin(&[2]));
        assert_eq!(twin(&[1]), twin(&[1]), "and it takes nothing else in");
        let mut starving = Pool::new();
        (0..1000_u64).for_each(|number| starving.twist(&number.to_le_bytes()));
        assert_eq!(starving.seeded().unwrap_err().missing, SEED_BITS, "it counts for nothing");
    }

    #[test]
    fn the_two_witnesses_number_for_themselves() {
        let mut pool = seeded(1);
        assert_eq!(pool.generation(Witness::Machine, 1), None);
        assert_eq!(pool.generation(Witness::Channel, 5), None);
        assert_eq!(pool.generation(Witness::Machine, 1), None);
        draw(&mut pool);
    }
}
