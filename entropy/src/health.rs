//! The health tests of NIST SP 800-90B, §4.4, and one of our own. They decide whether bytes may count.
//!
//! A sample is a byte. We claim **H = 4** bits of min-entropy for each, half of what a whole source gives,
//! and allow a false alarm with probability **α = 2⁻⁴⁰** per test, the strictest that the standard
//! recommends:
//!
//! * *Repetition count* (§4.4.1): C = 1 + ⌈−log₂ α / H⌉ = 1 + ⌈40 / 4⌉ = **11** equal bytes in a row fail.
//! * *Adaptive proportion* (§4.4.2): over windows of W = 512 bytes the first byte of the window may come
//!   again until it has been seen C = 1 + critbinom(512, 2⁻⁴, 1 − 2⁻⁴⁰) = **78** times (the mean would be 32;
//!   a test below computes it from the binomial distribution).
//! * *Start-up* (§4.3): nothing of the first **1,024** bytes counts, and they must pass.
//!
//! For a whole source (8 bits a byte) the first fails once in 2⁸⁰ bytes and the second practically never, so
//! one alarm is proof of a broken source and stays raised. What the two cannot see is a source that repeats
//! something longer than a byte, which is just how a stuck daemon or a restored machine fails. Hence the
//! third:
//!
//! * *Echo*: 16 bytes of the stream are remembered and must not come again, at any offset: the first 16 bytes
//!   after each opening for ever, and three marks that move every 256 bytes, 4 KiB and 64 KiB. A period of up
//!   to 64 KiB is caught whenever it begins, a short one soon, and so is a replay from the start after a
//!   reconnection. False alarm: 4 × 2⁻¹²⁸ per byte.
//!
//! What these tests say over the output of a cipher, such as `getrandom(2)` or a daemon's stream, is little:
//! they catch a source that is stuck, zero, repeating or badly wired, and never one that is predictable but
//! looks well.

use core::fmt;

/// The bits that a tested byte counts for: the claim H.
pub const BITS_PER_BYTE: u32 = 4;
/// So many equal bytes in a row are a failure.
pub const REPETITION_CUTOFF: u32 = 11;
/// The window of the proportion test, in bytes.
pub const PROPORTION_WINDOW: u32 = 512;
/// So many times the same byte in one window is a failure.
pub const PROPORTION_CUTOFF: u32 = 78;
/// Bytes that must pass before any counts.
pub const START_UP: u32 = 1024;
/// The echo test's marks move after so many bytes.
const MARKS: [u32; 3] = [256, 4 * 1024, 64 * 1024];
/// How long an echo is, in bytes.
const ECHO: u32 = 16;

/// The tests and what they remember. One stands behind each source.
#[derive(Clone, Debug, Default)]
pub struct Health {
    repetition: Repetition,
    proportion: Proportion,
    echo: Echo,
    passed: u32,
    failed: Option<Unhealthy>,
}

impl Health {
    /// Tests that have seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tests more of the source and says what may count. The first failure stays until
    /// [`Health::start_over`].
    ///
    /// # Errors
    /// When a test fails or has failed before: nothing of `bytes` may be used.
    pub fn judge<'a>(&mut self, bytes: &'a [u8]) -> Result<Tested<'a>, Unhealthy> {
        let before = self.passed;
        for byte in bytes {
            self.one(*byte)?;
        }
        let counted = bytes.len().saturating_sub(START_UP.saturating_sub(before) as usize);
        let bits = u32::try_from(counted).unwrap_or(u32::MAX).saturating_mul(BITS_PER_BYTE);
        Ok(Tested { bytes, bits })
    }

    /// True once the start-up test is passed and nothing has failed.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.passed >= START_UP && self.failed.is_none()
    }

    /// The failure that stands, if one does.
    #[must_use]
    pub fn failure(&self) -> Option<Unhealthy> {
        self.failed
    }

    /// The source is opened anew: all is forgiven and the start-up test begins again, but what was heard at
    /// the last opening is remembered.
    pub fn start_over(&mut self) {
        *self = Self { echo: self.echo.reopened(), ..Self::default() };
    }

    fn one(&mut self, byte: u8) -> Result<(), Unhealthy> {
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        let first = self.repetition.one(byte).or(self.proportion.one(byte)).or(self.echo.one(byte));
        self.failed = first;
        self.passed = self.passed.saturating_add(1);
        first.map_or(Ok(()), Err)
    }
}

/// Bytes that passed the health tests, and what they count for. Only [`Health::judge`] makes it.
pub struct Tested<'a> {
    bytes: &'a [u8],
    bits: u32,
}

impl Tested<'_> {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Bits that they count for; none during the start-up test.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.bits
    }
}

impl fmt::Debug for Tested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tested({} bytes, {} bits)", self.bytes.len(), self.bits)
    }
}

/// Why a source is not to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    /// The repetition count test failed.
    #[error("the source is stuck: it gave the byte {0:#04x} {REPETITION_CUTOFF} times in a row")]
    Stuck(u8),
    /// The adaptive proportion test failed.
    #[error("the source is biased: {PROPORTION_CUTOFF} of {PROPORTION_WINDOW} bytes were {0:#04x}")]
    Biased(u8),
    /// The echo test failed.
    #[error("the source repeats itself: {ECHO} of its bytes came again")]
    Repeating,
}

impl Unhealthy {
    /// The test that failed, in one word.
    #[must_use]
    pub fn test(self) -> &'static str {
        match self {
            Self::Stuck(_) => "repetition",
            Self::Biased(_) => "proportion",
            Self::Repeating => "echo",
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Repetition {
    last: u8,
    run: u32,
}

impl Repetition {
    fn one(&mut self, byte: u8) -> Option<Unhealthy> {
        self.run = if self.run > 0 && self.last == byte { self.run + 1 } else { 1 };
        self.last = byte;
        (self.run >= REPETITION_CUTOFF).then_some(Unhealthy::Stuck(byte))
    }
}

#[derive(Clone, Debug, Default)]
struct Proportion {
    sample: u8,
    seen: u32,
    left: u32,
}

impl Proportion {
    fn one(&mut self, byte: u8) -> Option<Unhealthy> {
        if self.left == 0 {
            *self = Self { sample: byte, seen: 0, left: PROPORTION_WINDOW };
        }
        self.left -= 1;
        self.seen += u32::from(byte == self.sample);
        (self.seen >= PROPORTION_CUTOFF).then_some(Unhealthy::Biased(byte))
    }
}

#[derive(Clone, Debug, Default)]
struct Echo {
    /// The last 16 bytes.
    recent: u128,
    /// Bytes since the opening, as far as it matters.
    heard: u32,
    head: Option<u128>,
    marks: [Mark; MARKS.len()],
}

/// 16 bytes of the stream, and how long ago they came.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    bytes: Option<u128>,
    age: u32,
}

impl Echo {
    fn one(&mut self, byte: u8) -> Option<Unhealthy> {
        self.recent = self.recent << 8 | u128::from(byte);
        self.heard = self.heard.saturating_add(1);
        if self.heard < ECHO {
            return None;
        }
        let recent = Some(self.recent);
        let echo = self.head == recent || self.marks.iter().any(|mark| mark.bytes == recent);
        self.remember();
        echo.then_some(Unhealthy::Repeating)
    }

    fn remember(&mut self) {
        if self.heard == ECHO {
            self.head = Some(self.recent);
        }
        for (mark, lives) in self.marks.iter_mut().zip(MARKS) {
            mark.age = mark.age.saturating_add(1);
            if mark.bytes.is_none() || mark.age > lives {
                *mark = Mark { bytes: Some(self.recent), age: 0 };
            }
        }
    }

    fn reopened(&self) -> Self {
        Self { recent: 0, heard: 0, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Stream;

    fn good(length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        Stream::new(&[3; 32]).draw(&mut out);
        out
    }

    fn first_failure(bytes: impl IntoIterator<Item = u8>) -> (usize, Option<Unhealthy>) {
        let mut health = Health::new();
        for (at, byte) in bytes.into_iter().enumerate() {
            if let Err(failure) = health.judge(&[byte]) {
                return (at + 1, Some(failure));
            }
        }
        (0, None)
    }

    #[test]
    fn a_good_source_passes_a_megabyte() {
        assert_eq!(first_failure(good(1 << 20)), (0, None));
    }

    #[test]
    fn an_all_zero_source_fails_at_the_eleventh_byte() {
        assert_eq!(first_failure(vec![0; 100]), (11, Some(Unhealthy::Stuck(0))));
    }

    #[test]
    fn ten_equal_bytes_pass() {
        let mut bytes = good(2000);
        bytes[700..710].fill(0x55);
        bytes[710] = 0x54;
        assert_eq!(first_failure(bytes), (0, None));
    }

    #[test]
    fn a_source_of_three_bits_a_byte_is_biased() {
        let poor = good(1 << 14).into_iter().map(|byte| byte & 3);
        assert!(matches!(first_failure(poor), (_, Some(Unhealthy::Biased(_)))));
    }

    #[test]
    fn every_period_from_a_few_bytes_to_the_marks_life_is_caught_within_two_periods() {
        for period in [17, 64, 100, 512, 4096, 65_000, MARKS[2] as usize] {
            let (at, failure) = first_failure(good(period).into_iter().cycle().take(3 * period));
            assert!(failure.is_some() && at <= 2 * period + 16, "period {period}: {failure:?} at {at}");
        }
    }

    #[test]
    fn a_source_that_falls_into_a_cycle_late_is_caught_within_a_few_periods() {
        let fine = good(300_000);
        for (period, mark) in [(64, MARKS[0]), (1000, MARKS[1]), (5000, MARKS[2])] {
            let cycle = fine[300_000 - period..].iter().copied().cycle().take(200_000);
            let (at, failure) = first_failure(fine.iter().copied().chain(cycle));
            assert_eq!(failure, Some(Unhealthy::Repeating), "period {period}");
            assert!(at <= 300_000 + mark as usize + 2 * period, "period {period} at {at}");
        }
    }

    #[test]
    fn a_stream_replayed_after_a_reopening_is_caught() {
        let mut health = Health::new();
        let bytes = good(200_000);
        health.judge(&bytes).unwrap();
        health.start_over();
        assert_eq!(health.judge(&bytes).unwrap_err(), Unhealthy::Repeating);
    }

    #[test]
    fn nothing_of_the_start_up_test_counts() {
        let bytes = good(3000);
        for cut in [1, 7, 1023, 1024, 1025, 2999] {
            let mut health = Health::new();
            let first = health.judge(&bytes[..cut]).unwrap().bits();
            let second = health.judge(&bytes[cut..]).unwrap().bits();
            assert_eq!(first + second, (3000 - START_UP) * BITS_PER_BYTE, "cut at {cut}");
        }
    }

    #[test]
    fn a_failure_stays_until_the_source_is_opened_anew() {
        let mut health = Health::new();
        health.judge(&[0; 20]).unwrap_err();
        assert_eq!(health.judge(&good(5000)).unwrap_err(), Unhealthy::Stuck(0));
        health.start_over();
        assert!(health.judge(&good(5000)).is_ok() && health.is_proven());
    }

    #[test]
    fn the_cut_offs_are_those_of_the_standard() {
        assert_eq!(REPETITION_CUTOFF, 1 + 40_u32.div_ceil(BITS_PER_BYTE));
        assert_eq!(PROPORTION_CUTOFF, 1 + critical(PROPORTION_WINDOW, 0.0625, 2f64.powi(-40)));
    }

    /// The smallest k with P(X ≤ k) ≥ 1 − α for X ~ Binomial(n, p), summed from the far end, where the terms
    /// are small.
    fn critical(n: u32, p: f64, alpha: f64) -> u32 {
        let mut term = f64::from(n) * p.ln();
        let mut tail = 0.0;
        for k in (1..=n).rev() {
            if tail + term.exp() > alpha {
                return k;
            }
            tail += term.exp();
            term += (f64::from(k) / f64::from(n - k + 1) * (1.0 - p) / p).ln();
        }
        0
    }
}
