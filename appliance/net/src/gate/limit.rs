//! How often the gate may answer what nobody asked for.

use core::time::Duration;
use world::Instant;

/// So many answers a second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    rate: u32,
    tokens: u32,
    filled: Instant,
}

impl Limit {
    pub(crate) fn a_second(rate: u32) -> Self {
        Self { rate, tokens: rate, filled: Instant::START }
    }

    /// True if one more is allowed now.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let passed = (now - self.filled).as_millis();
        let earned = u32::try_from(passed.saturating_mul(u128::from(self.rate)) / 1000).unwrap_or(u32::MAX);
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(self.rate);
            self.filled = now;
        }
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

/// The least time between two answers to what does not belong to a connection. Each has a time of its own: of one
/// for all a stranger could see from outside how often others were answered (CVE-2016-5696).
const CHALLENGE: Duration = Duration::from_millis(100);

/// True if enough time has passed since the last answer; then the next one is given now.
pub(crate) fn once(last: &mut Option<Instant>, now: Instant) -> bool {
    let allowed = last.is_none_or(|at| now - at >= CHALLENGE);
    if allowed {
        *last = Some(now);
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_gets_a_burst_and_then_the_rate() {
        let mut limit = Limit::a_second(10);
        let answers = |limit: &mut Limit, at: Instant| (0..1000).filter(|_| limit.allows(at)).count();
        assert_eq!(answers(&mut limit, Instant::START), 10);
        assert_eq!(answers(&mut limit, Instant::START + Duration::from_millis(500)), 5);
        assert_eq!(answers(&mut limit, Instant::START + Duration::from_secs(3600)), 10);
    }
}
