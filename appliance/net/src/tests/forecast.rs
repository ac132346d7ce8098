//! The attack that a stock stack loses: three first sequence numbers tell its generator's state, and so the fourth.
//!
//! smoltcp draws them from sPCG32, a linear generator of 64 bits that shows 32 of them; its top three bits say which.
//! Whoever guesses the few bits above what is shown has a point near which the next state must lie in a lattice of
//! two dimensions that is the same for all seeds; the third number tells the true state from the false ones.

use super::cable::Dice;
use super::raw::{PORT, Wire, ends};
use super::stock;
use crate::wire::{ACK, Options, RST, SYN, Segment, Seq};
use core::time::Duration;

const M: u64 = 0xbb2e_fcec_3c39_611d;
const A: u64 = 0x7590_ef39;

type Point = (i128, i128);

/// What the generator shows of a state.
fn shown(state: u64) -> u32 {
    (state >> (29 - (state >> 61))) as u32
}

fn next(state: u64) -> u64 {
    state.wrapping_mul(M).wrapping_add(A)
}

/// All states that show `number`, but for their low bits: how many these are.
fn guesses(number: u32) -> impl Iterator<Item = (u64, u64)> {
    (0..8_u64).flat_map(move |top| {
        let low = 29 - top;
        (0..1_u64 << top)
            .map(move |middle| ((top << 61) | (middle << (61 - top)) | u64::from(number) << low, low))
    })
}

/// The shortest basis of all pairs (x, M·x mod 2^64), counter-clockwise: Gauss' way.
fn basis() -> (Point, Point) {
    let dot = |a: Point, b: Point| a.0 * b.0 + a.1 * b.1;
    let (m, all) = (i128::from(M as i64), 1_i128 << 64);
    let (mut short, mut long) = ((1, m), (-(all / m), all % m));
    loop {
        if dot(short, short) > dot(long, long) {
            (short, long) = (long, short);
        }
        let (inner, norm) = (dot(short, long), dot(short, short));
        let steps = (2 * inner + norm).div_euclid(2 * norm);
        if steps == 0 {
            let turned = short.0 * long.1 < short.1 * long.0;
            return if turned { (long, short) } else { (short, long) };
        }
        long = (long.0 - steps * short.0, long.1 - steps * short.1);
    }
}

/// The states after `first` and `second` were shown that could have shown both.
fn between(first: u32, second: u32) -> impl Iterator<Item = u64> {
    let (a, b) = basis();
    let volume = a.0 * b.1 - a.1 * b.0;
    assert_eq!(volume, 1 << 64);
    let pairs = guesses(first).flat_map(move |one| guesses(second).map(move |two| (one, two)));
    pairs.flat_map(move |((one, low), (two, low_two))| {
        let away = i128::from(next(one).wrapping_sub(two) as i64);
        // The middle of where the unknown bits can be; the nearest points of the lattice are around it.
        let (x, y) = ((1 << low) / 2, (1 << low_two) / 2 - away);
        let along = (x * b.1 - y * b.0).div_euclid(volume);
        let across = (a.0 * y - a.1 * x).div_euclid(volume);
        [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().filter_map(move |(more, further)| {
            let x = (along + more) * a.0 + (across + further) * b.0;
            let low_bits = u64::try_from(x).ok().filter(|bits| bits >> low == 0)?;
            let state = next(one + low_bits);
            (shown(state) == second).then_some(state)
        })
    })
}

/// What comes after three numbers, if they are sPCG32's.
fn forecast(numbers: &[u32]) -> Option<u32> {
    let [first, second, third] = *numbers.first_chunk()?;
    let states = between(first, second).map(next);
    states.filter(|state| shown(*state) == third).map(|state| shown(next(state))).next()
}

/// The first numbers that four different strangers get.
fn of_our_gate(wire: &mut Wire, from: u16) -> Vec<u32> {
    let options = Options { mss: Some(1460), ..Options::default() };
    let syn = Segment { flags: SYN, seq: Seq(7), ack: Seq(0), window: 1000, options, payload: &[] };
    let mut ask = |port| {
        let said = wire.say(&ends(port), &syn);
        assert_eq!(said[0].flags, SYN | ACK);
        wire.say(&ends(port), &Segment { flags: RST, seq: Seq(8), ..syn });
        said[0].seq.0
    };
    (from..from + 4).map(&mut ask).collect()
}

#[test]
fn three_numbers_tell_the_fourth_of_a_stock_stack_whatever_its_seed() {
    for seed in [0, 1, 0xdead_beef, u64::MAX, Dice(5).roll(u64::MAX)] {
        let numbers = stock::first_numbers(seed, 4);
        assert_eq!(forecast(&numbers), Some(numbers[3]), "smoltcp has got better");
    }
}

#[test]
fn three_numbers_of_our_gate_tell_nothing_even_to_who_knows_its_clock() {
    let mut wire = Wire::new();
    let _listener = wire.handle().listen(PORT).unwrap();
    for from in (1000..1040).step_by(4) {
        let numbers = of_our_gate(&mut wire, from);
        assert_eq!(forecast(&numbers), None, "{numbers:?}");
        let clock = (wire.now.nanos() / 4096) as u32;
        let bare: Vec<u32> = numbers.iter().map(|number| number.wrapping_sub(clock)).collect();
        assert_eq!(forecast(&bare), None, "{bare:?}");
        wire.now = wire.now + Duration::from_millis(7);
    }
}
