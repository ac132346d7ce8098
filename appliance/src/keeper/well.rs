//! The well: the one pool, and the one function that every random byte of the appliance comes out of.
//!
//! Before each draw it looks whether this machine was copied: a twin holds the same pool, so what either drew from it
//! would be known to the other. It never weakens an answer. It refuses, and a draw before the first full seed is the end
//! of the appliance: a key made of nothing is worse than none.

use core::cell::RefCell;
use core::time::Duration;
use entropy::Moment;
use entropy::health::Tested;
use entropy::pool::{Diet, Forked, NotSeeded, Pool, STALE_AFTER, Seeded, Witness};
use entropy::protocol::Version;
use runtime::Refused;
use world::Generation;
use zeroize::Zeroizing;

/// A number of the CPU's own generator, if it has one that answers.
pub type Cpu = fn() -> Option<u64>;

thread_local! {
    static WELL: RefCell<Well> = RefCell::new(Well::new());
}

struct Well {
    pool: Pool,
    cpu: Option<Cpu>,
    generation: Option<Generation>,
    /// Seen, and not yet told to the loop.
    forked: bool,
    host: Option<Version>,
    credited: u64,
    forks: u64,
    refused: u64,
    complaints: [u64; Complaint::KINDS],
}

/// Where the random bytes come from and how well: for figures and alarms. Nothing secret is among it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Provenance {
    /// How the pool is fed; [`Diet::Stale`] is the alarm.
    pub(crate) diet: Diet,
    /// Time since a seed was taken up last.
    pub(crate) age: Duration,
    /// Seeds taken up.
    pub(crate) reseeds: u64,
    /// Which version of the protocol the host spoke last.
    pub(crate) host: Option<Version>,
    /// Bits of the host that passed the tests and were counted.
    pub(crate) credited: u64,
    /// Times that this machine was seen to be copied or put back in time.
    pub(crate) forks: u64,
    /// Draws refused between such a moment and the next seed.
    pub(crate) refused: u64,
    /// What the host was complained of, in the order of [`Complaint`].
    pub(crate) complaints: [u64; Complaint::KINDS],
}

/// What there is to complain of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// It broke the protocol.
    Broke,
    /// Its bytes failed a health test.
    Unhealthy,
    /// Its source has failed.
    SourceFailed,
    /// Its source is still being tested.
    StartingUp,
}

impl Complaint {
    /// How many there are.
    pub(crate) const KINDS: usize = 4;
}

/// Fills `out` from the pool: the one source behind every random byte of the appliance.
///
/// # Errors
/// When the machine was copied and the pool has not been fed since. The loop hears of it at its next turn; until then
/// whatever asked fails, and no key is made.
pub fn draw(out: &mut [u8]) -> Result<(), Refused> {
    match WELL.with_borrow_mut(|well| well.draw(out)) {
        Ok(()) => Ok(()),
        Err(_) if WELL.with_borrow(|well| well.pool.reseeds() > 0) => Err(Refused),
        Err(early) => runtime::fault(&format!("a key was asked for too early: {early}")),
    }
}

/// Tells the well what lies beneath it. From now on every draw looks there first.
pub(crate) fn dig(cpu: Cpu, generation: Generation) {
    WELL.with_borrow_mut(|well| (well.cpu, well.generation) = (Some(cpu), Some(generation)));
}

/// True from the moment that the machine was seen to be copied until [`take_fork`].
pub(crate) fn is_forked() -> bool {
    WELL.with_borrow_mut(|well| {
        well.look();
        well.forked
    })
}

/// Whether the machine was copied since this was asked last.
pub(crate) fn take_fork() -> bool {
    let forked = is_forked();
    WELL.with_borrow_mut(|well| well.forked = false);
    forked
}

/// The host's daemon says which generation this is.
pub(crate) fn hear_generation(generation: u128) {
    WELL.with_borrow_mut(|well| well.note(Witness::Channel, generation));
}

/// Takes in what the host sent and the tests let pass, and numbers of the CPU's with it: each seed is made of both.
pub(crate) fn credit(tested: &Tested<'_>) {
    WELL.with_borrow_mut(|well| {
        let numbers = well.numbers();
        well.pool.stir(numbers.as_slice());
        well.pool.credit(tested);
        well.credited += u64::from(tested.bits());
    });
}

/// Mixes in what counts for nothing.
pub(crate) fn stir(bytes: &[u8]) {
    WELL.with_borrow_mut(|well| well.pool.stir(bytes));
}

/// Says what time it is.
pub(crate) fn turn(now: Moment) {
    WELL.with_borrow_mut(|well| well.pool.turn(now));
}

/// The proof that draws are answered.
pub(crate) fn seeded() -> Result<Seeded, NotSeeded> {
    WELL.with_borrow(|well| well.pool.seeded())
}

/// The host has answered, in this version of the protocol.
pub(crate) fn note_host(version: Version) {
    WELL.with_borrow_mut(|well| well.host = Some(version));
}

/// The host was complained of.
pub(crate) fn note_complaint(of: Complaint) {
    WELL.with_borrow_mut(|well| {
        well.complaints.get_mut(of as usize).into_iter().for_each(|count| *count += 1)
    });
}

/// How all stands.
pub(crate) fn provenance() -> Provenance {
    WELL.with_borrow(|well| Provenance {
        diet: well.pool.diet(),
        age: well.pool.age(),
        reseeds: well.pool.reseeds(),
        host: well.host,
        credited: well.credited,
        forks: well.forks,
        refused: well.refused,
        complaints: well.complaints,
    })
}

/// True when the host should be asked for more.
pub(crate) fn is_hungry() -> bool {
    WELL.with_borrow(|well| well.pool.is_hungry())
}

/// How long the pool may go on without being fed before somebody should be told.
pub(crate) fn patience() -> Option<Duration> {
    WELL.with_borrow(|well| STALE_AFTER.checked_sub(well.pool.age()).filter(|left| !left.is_zero()))
}

/// How the pool is fed.
pub(crate) fn diet() -> Diet {
    WELL.with_borrow(|well| well.pool.diet())
}

impl Well {
    fn new() -> Self {
        let (pool, complaints) = (Pool::new(), [0; Complaint::KINDS]);
        let (cpu, generation, host) = (None, None, None);
        Self { pool, cpu, generation, forked: false, host, credited: 0, forks: 0, refused: 0, complaints }
    }

    fn draw(&mut self, out: &mut [u8]) -> Result<(), NotSeeded> {
        self.look();
        let numbers = self.numbers();
        self.pool.twist(numbers.as_slice());
        let drawn = self.pool.draw(out);
        self.refused += u64::from(drawn.is_err());
        drawn
    }

    fn look(&mut self) {
        let generation = self.generation.as_ref().and_then(|generation| generation());
        if let Some(generation) = generation {
            self.note(Witness::Machine, generation);
        }
    }

    fn note(&mut self, witness: Witness, generation: u128) {
        let forked = self.pool.generation(witness, generation) == Some(Forked);
        self.forked |= forked;
        self.forks += u64::from(forked);
    }

    /// Four numbers of the CPU's own; zeros where there are none.
    fn numbers(&self) -> Zeroizing<[u8; 32]> {
        let mut numbers = Zeroizing::new([0; 32]);
        let Some(cpu) = self.cpu else { return numbers };
        for place in numbers.as_chunks_mut::<8>().0 {
            *place = cpu().unwrap_or(0).to_le_bytes();
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use entropy::health::{Health, START_UP};
    use entropy::stream::Stream;
    use std::rc::Rc;

    /// Feeds the pool of this thread.
    fn feed(name: u8) {
        let (mut health, mut bytes) = (Health::new(), vec![0; START_UP as usize + 64]);
        Stream::new(&[name; 32]).draw(&mut bytes);
        credit(&health.judge(&bytes).unwrap());
    }

    fn dug() -> Rc<Cell<u128>> {
        let number = Rc::new(Cell::new(1));
        let look = number.clone();
        dig(|| None, Rc::new(move || Some(look.get())));
        let _ = take_fork();
        number
    }

    #[test]
    fn each_draw_looks_first_and_refuses_after_a_copy_until_it_is_fed() {
        let number = dug();
        feed(1);
        assert_eq!(draw(&mut [0; 8]), Ok(()));
        number.set(2);
        let mut out = [7; 8];
        assert_eq!((draw(&mut out), out), (Err(Refused), [7; 8]));
        feed(2);
        assert_eq!(draw(&mut out), Ok(()), "fed apart from its twin");
        assert!(take_fork(), "the loop hears of what a draw has seen");
        assert!(!take_fork(), "once");
    }

    #[test]
    fn a_look_without_a_draw_is_told_too() {
        let number = dug();
        feed(1);
        assert!(!is_forked());
        number.set(0);
        assert!(is_forked() && is_forked() && take_fork() && !is_forked());
        hear_generation(1);
        assert!(!is_forked(), "the first word of a witness is no change");
        hear_generation(2);
        assert!(take_fork());
    }

    /// Each thread has a pool of its own: two that are fed alike draw alike, unless their CPUs differ.
    fn drawn(cpu: Cpu) -> [u8; 16] {
        let twin = move || {
            feed(1);
            // After the seed, so that only the draw can tell.
            dig(cpu, Rc::new(|| None));
            let mut out = [0; 16];
            draw(&mut out).unwrap();
            out
        };
        std::thread::spawn(twin).join().unwrap()
    }

    #[test]
    fn the_cpus_numbers_are_in_every_draw() {
        assert_eq!(drawn(|| None), drawn(|| None));
        assert_eq!(drawn(|| Some(1)), drawn(|| Some(1)));
        assert_ne!(drawn(|| Some(1)), drawn(|| Some(2)));
        assert_ne!(drawn(|| Some(1)), drawn(|| None));
    }
}
