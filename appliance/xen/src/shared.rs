//! The page that Xen shares with us: which ports are marked, and what time it is.
//!
//! Ports stay masked for ever. A mark then raises no interrupt, but it ends a sleep, which is all that it is for.

use core::cell::Cell;
use dma::Pages;

/// Whether anything is marked, and where to look for it.
const UPCALL: usize = 0;
const TIME: usize = 32;
const MARKS: usize = 2048;
const MASKS: usize = 2560;
const DATE: usize = 3072;
/// Words of marks, each of 64 ports.
const WORDS: usize = 64;

const NANOS: u64 = 1_000_000_000;

/// The shared page.
pub(crate) struct Shared {
    page: Pages,
    /// The latest moment that anybody was told.
    latest: Cell<u64>,
}

/// How Xen's clock goes: a moment on it, the counter at that moment, and the speed of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Time {
    counter: u64,
    moment: u64,
    multiplier: u32,
    shift: i8,
}

impl Shared {
    /// The page, with every port masked.
    pub(crate) fn new(page: Pages) -> Self {
        page.write(MASKS, &[0xff; WORDS * 8]);
        // What was marked before the masks stood.
        page.write(UPCALL, &[0; 16]);
        Self { page, latest: Cell::new(0) }
    }

    /// Whether a port is marked; it is not any more.
    pub(crate) fn take(&self, port: u32) -> bool {
        let word = port as usize / 64;
        word < WORDS && self.page.take64(MARKS + word * 8, 1 << (port % 64)) != 0
    }

    /// Xen's time, of which `counter` is the present: nanoseconds since the host started.
    pub(crate) fn now(&self, counter: u64) -> u64 {
        let now = self.time().map_or(0, |time| time.at(counter)).max(self.latest.get());
        self.latest.set(now);
        now
    }

    /// Nanoseconds from 1970 to the start of Xen's clock, if the host knows the date.
    pub(crate) fn began(&self) -> Option<u64> {
        let look = || {
            let [low, nanos, high] = [4, 8, 12].map(|at| u64::from(self.page.load32(DATE + at)));
            (high << 32 | low).checked_mul(NANOS)?.checked_add(nanos)
        };
        self.steady(DATE, look).flatten().filter(|began| *began != 0)
    }

    fn time(&self) -> Option<Time> {
        let look = || {
            let mut bytes = [0; 32];
            self.page.read(TIME, &mut bytes);
            let [_, counter, moment, speed] = words(bytes);
            Time { counter, moment, multiplier: speed as u32, shift: (speed >> 32) as i8 }
        };
        self.steady(TIME, look)
    }

    /// Reads what Xen writes until it holds still: its version is even and the same before and after.
    fn steady<T>(&self, version: usize, look: impl Fn() -> T) -> Option<T> {
        (0..1_000).find_map(|_| {
            let before = self.page.load32(version);
            let seen = look();
            core::sync::atomic::fence(core::sync::atomic::Ordering::Acquire);
            (before.is_multiple_of(2) && before == self.page.load32(version)).then_some(seen)
        })
    }
}

impl Time {
    fn at(self, counter: u64) -> u64 {
        let ticks = u128::from(counter.saturating_sub(self.counter));
        let ticks = match self.shift {
            left @ 0..=32 => ticks << left,
            right @ -32..=-1 => ticks >> -right,
            _ => return self.moment,
        };
        let nanos = (ticks * u128::from(self.multiplier)) >> 32;
        self.moment.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

fn words(bytes: [u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Pages {
        Pages::in_process(4096)
    }

    fn tell(page: &Pages, version: u32, counter: u64, moment: u64, multiplier: u32, shift: i8) {
        page.store32(TIME, version);
        page.write(TIME + 8, &counter.to_le_bytes());
        page.write(TIME + 16, &moment.to_le_bytes());
        page.store32(TIME + 24, multiplier);
        page.write(TIME + 28, &shift.to_le_bytes());
    }

    #[test]
    fn every_port_is_masked_and_a_mark_is_taken_once() {
        let page = page();
        let shared = Shared::new(page.clone());
        let mut masks = [0; 512];
        page.read(MASKS, &mut masks);
        assert!(masks.iter().all(|byte| *byte == 0xff));
        page.write(MARKS + 8 * 3, &(1_u64 << 7 | 1 << 9).to_le_bytes());
        assert!(shared.take(3 * 64 + 7));
        assert!(!shared.take(3 * 64 + 7));
        assert!(shared.take(3 * 64 + 9));
        assert!(!shared.take(4096) && !shared.take(u32::MAX), "no such ports");
    }

    #[test]
    fn time_is_that_of_the_counter() {
        let page = page();
        let shared = Shared::new(page.clone());
        // 2 GHz: each tick is half a nanosecond.
        tell(&page, 2, 1_000, 5_000, 1 << 31, 0);
        assert_eq!(shared.now(3_000), 6_000);
        tell(&page, 4, 1_000, 7_000, 1 << 31, -1);
        assert_eq!(shared.now(5_000), 8_000);
        tell(&page, 6, 1_000, 9_000, 1 << 31, 1);
        assert_eq!(shared.now(2_000), 10_000);
    }

    #[test]
    fn time_never_goes_back_whatever_is_written() {
        let page = page();
        let shared = Shared::new(page.clone());
        tell(&page, 2, 0, 50_000, 1 << 31, 0);
        assert_eq!(shared.now(0), 50_000);
        for (version, counter, moment, multiplier, shift) in
            [(3, 0, 1, 1, 0), (4, u64::MAX, 2, u32::MAX, 127), (6, 0, 3, u32::MAX, -128), (8, 9, 4, 0, 3)]
        {
            tell(&page, version, counter, moment, multiplier, shift);
            assert!(shared.now(5) >= 50_000);
        }
        tell(&page, 10, 0, u64::MAX, u32::MAX, 32);
        assert_eq!(shared.now(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_date_is_believed_when_it_holds_still() {
        let page = page();
        let shared = Shared::new(page.clone());
        assert_eq!(shared.began(), None, "nobody has said");
        for (at, word) in [(0, 2), (4, 1_700_000_000), (8, 5), (12, 0)] {
            page.store32(DATE + at, word);
        }
        assert_eq!(shared.began(), Some(1_700_000_000 * NANOS + 5));
        page.store32(DATE, 3);
        assert_eq!(shared.began(), None, "it is being written");
        page.store32(DATE, 4);
        page.store32(DATE + 12, u32::MAX);
        assert_eq!(shared.began(), None, "no date at all");
    }
}
