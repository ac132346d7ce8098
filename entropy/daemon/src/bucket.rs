//! How much a guest may have: so many bytes a period, and a burst.
//!
//! A bucket is one moment, the one at which it will be full again (the generic cell rate algorithm). It needs
//! no timer and no filling, and a full bucket is the same as no bucket.

use entropy::Moment;
use std::time::Duration;

/// The rate that every guest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) bytes: u32,
    pub(crate) period: Duration,
    /// At least one; it may be taken at once.
    pub(crate) burst: u32,
}

impl Limit {
    /// Bytes a second, rounded.
    pub(crate) fn rate(&self) -> u32 {
        let rate = u128::from(self.bytes) * 1_000_000_000 / self.period.as_nanos().max(1);
        u32::try_from(rate).unwrap_or(u32::MAX)
    }

    /// The time that so many bytes cost.
    fn cost(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * self.period.as_nanos() / u128::from(self.bytes.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn worth(&self, span: Duration) -> u64 {
        let bytes = span.as_nanos() * u128::from(self.bytes) / self.period.as_nanos().max(1);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// What one guest has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    full_at: Moment,
}

impl Bucket {
    /// Bytes that may be taken now.
    pub(crate) fn holds(&self, limit: &Limit, now: Moment) -> u64 {
        let missing = self.full_at.saturating_sub(now);
        limit.worth(limit.cost(u64::from(limit.burst)).saturating_sub(missing))
    }

    /// Takes bytes that it [`Bucket::holds`].
    pub(crate) fn take(&mut self, bytes: u64, limit: &Limit, now: Moment) {
        self.full_at = self.full_at.max(now).saturating_add(limit.cost(bytes));
    }

    /// When it will hold so many bytes; a bucket never holds more than the burst.
    pub(crate) fn when(&self, bytes: u64, limit: &Limit) -> Moment {
        let rest = u64::from(limit.burst).saturating_sub(bytes);
        // One nanosecond more than the division lost.
        self.full_at.saturating_sub(limit.cost(rest)).saturating_add(Duration::from_nanos(1))
    }

    /// A full bucket need not be remembered.
    pub(crate) fn is_full(&self, now: Moment) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { bytes: 1000, period: Duration::from_secs(1), burst: 500 };

    #[test]
    fn a_full_bucket_gives_the_burst_and_then_the_rate() {
        let (mut bucket, start) = (Bucket::default(), Duration::from_secs(1000));
        assert_eq!(bucket.holds(&LIMIT, start), 500);
        bucket.take(500, &LIMIT, start);
        assert_eq!(bucket.holds(&LIMIT, start), 0);
        assert_eq!(bucket.holds(&LIMIT, start + Duration::from_millis(100)), 100);
        assert_eq!(bucket.holds(&LIMIT, start + Duration::from_secs(100)), 500, "never more than the burst");
    }

    #[test]
    fn when_it_says_that_it_will_hold_them_it_does() {
        for limit in [LIMIT, Limit { bytes: 7, period: Duration::from_secs(3), burst: 11 }] {
            let (mut bucket, mut now) = (Bucket::default(), Duration::from_secs(5));
            for bytes in 1..u64::from(limit.burst) {
                bucket.take(bucket.holds(&limit, now), &limit, now);
                let when = bucket.when(bytes, &limit);
                assert!(bucket.holds(&limit, when) >= bytes, "{bytes} of {limit:?}");
                assert!(bucket.holds(&limit, when - Duration::from_micros(1)) < bytes);
                now = when;
            }
        }
    }

    #[test]
    fn over_a_long_time_the_rate_is_exact() {
        let limit = Limit { bytes: 1021, period: Duration::from_secs(1), burst: 4096 };
        let (mut bucket, mut now, mut taken) = (Bucket::default(), Duration::ZERO, 0);
        while now < Duration::from_secs(1000) {
            bucket.take(64, &limit, now);
            taken += 64;
            now = now.max(bucket.when(64, &limit));
        }
        assert!((1_021_000..1_021_000 + 4096 + 64).contains(&taken), "{taken}");
    }
}
