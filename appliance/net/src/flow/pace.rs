//! How much may be on its way to a peer, and how long it takes: CUBIC (RFC 9438) in whole numbers, and RFC 6298.

use core::time::Duration;
use world::Instant;

/// Segments that a connection may send before the first acknowledgement (RFC 6928).
const INITIAL_SEGMENTS: u32 = 10;
/// More than this is never on its way at once.
const MOST: u32 = 2 << 20;
/// The wait before the first sample, and the least that is waited beyond a round trip.
const FIRST: Duration = Duration::from_secs(1);
const MARGIN: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(60);
/// Beyond so many milliseconds from its plateau the curve is straight for us: its cube stays a number.
const FAR: i64 = 60_000;

/// Bytes that may be on their way.
pub(crate) struct Pace {
    mss: u32,
    window: u32,
    /// Below it the window doubles with each round trip.
    threshold: u32,
    /// What the window was before the last loss, and when that was.
    plateau: u32,
    since: Option<Instant>,
    /// Milliseconds from there to the plateau.
    climb: i64,
    /// What Reno would have by now.
    fair: u32,
}

impl Pace {
    pub(crate) fn new(mss: u32) -> Self {
        let window = INITIAL_SEGMENTS * mss;
        Self { mss, window, threshold: u32::MAX, plateau: window, since: None, climb: 0, fair: window }
    }

    pub(crate) fn window(&self) -> u32 {
        self.window
    }

    pub(crate) fn mss(&self) -> u32 {
        self.mss
    }

    /// True while the window doubles with each round trip.
    pub(crate) fn is_young(&self) -> bool {
        self.window < self.threshold
    }

    pub(crate) fn narrow(&mut self, mss: u32) {
        self.mss = mss;
    }

    /// So many bytes were taken while the window was in use.
    pub(crate) fn taken(&mut self, now: Instant, bytes: u32) {
        let wider = match self.is_young() {
            true => self.window.saturating_add(bytes),
            false => self.climbed(now, bytes),
        };
        self.window = wider.clamp(self.mss, MOST);
    }

    /// The window some way up the curve, or where Reno would be.
    fn climbed(&mut self, now: Instant, bytes: u32) -> u32 {
        let window = self.window.max(1);
        let since = *self.since.get_or_insert(now);
        let share = |segments: u64| {
            u32::try_from(segments * u64::from(self.mss) * u64::from(bytes) / u64::from(window))
                .unwrap_or(MOST)
        };
        // 3 (1 - β) / (1 + β) of a segment for each round trip, and a whole one once it is where it was.
        let step = if self.fair < self.plateau { share(9) / 17 } else { share(1) };
        self.fair = self.fair.saturating_add(step).min(MOST);
        let past = i64::try_from((now - since).as_millis()).unwrap_or(FAR) - self.climb;
        let past = past.clamp(-FAR, FAR);
        let curve = past * past * past / 1_000_000 * 4 * i64::from(self.mss) / 10_000;
        let target = u32::try_from((i64::from(self.plateau) + curve).max(0)).unwrap_or(MOST);
        let target = target.min(window + window / 2);
        let more = u64::from(target.saturating_sub(window)) * u64::from(bytes) / u64::from(window);
        window.saturating_add(u32::try_from(more).unwrap_or(0)).max(self.fair)
    }

    /// Something was lost while so much was on its way.
    pub(crate) fn lost(&mut self, now: Instant, flight: u32) {
        let before = self.window.min(flight).max(2 * self.mss);
        // Whoever loses below where it lost before makes room for others.
        self.plateau = if before < self.plateau { before / 20 * 17 } else { before };
        self.threshold = (before / 10 * 7).max(2 * self.mss);
        self.window = self.threshold;
        (self.fair, self.since) = (self.window, Some(now));
        self.climb = climb(self.plateau.saturating_sub(self.window), self.mss);
    }

    /// Nothing was heard for too long: one segment, and from the beginning.
    pub(crate) fn silent(&mut self, now: Instant, flight: u32) {
        self.lost(now, flight);
        (self.window, self.since, self.climb) = (self.mss, None, 0);
    }
}

/// Milliseconds in which the curve climbs so many bytes: the cube root of them over 0.4 segments.
fn climb(bytes: u32, mss: u32) -> i64 {
    let cube = i64::from(bytes) * 2_500_000_000 / i64::from(mss.max(1));
    let (mut low, mut high) = (0, FAR);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if middle * middle * middle <= cube { low = middle } else { high = middle }
    }
    low
}

/// How long it takes until something is acknowledged.
#[derive(Default)]
pub(crate) struct Trip {
    /// Smoothed, and how far it varies.
    mean: Option<(Duration, Duration)>,
    /// How often the wait was doubled.
    pub(crate) doubled: u8,
}

impl Trip {
    /// A round trip took so long. What was waited for is over.
    pub(crate) fn sample(&mut self, took: Duration) {
        self.doubled = 0;
        self.mean = Some(match self.mean {
            None => (took, took / 2),
            Some((mean, varies)) => ((mean * 7 + took) / 8, (varies * 3 + mean.abs_diff(took)) / 4),
        });
    }

    /// How long to wait for an acknowledgement before all counts as lost.
    pub(crate) fn patience(&self) -> Duration {
        let once = self.mean.map_or(FIRST, |(mean, varies)| mean + (varies * 4).max(MARGIN));
        (once * (1 << self.doubled.min(8))).min(LONGEST)
    }

    /// How long to wait before the first of what is out is said again, if more than one segment is.
    pub(crate) fn nudge(&self) -> Option<Duration> {
        self.mean.map(|(mean, varies)| (mean * 2 + varies).max(Duration::from_millis(10)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    #[test]
    fn the_window_doubles_at_first_and_keeps_seven_tenths_of_it_at_a_loss() {
        let mut pace = Pace::new(MSS);
        pace.taken(at(0), 10_000);
        assert_eq!(pace.window(), 20_000);
        pace.lost(at(0), 20_000);
        assert_eq!(pace.window(), 14_000);
        pace.silent(at(0), 14_000);
        assert_eq!(pace.window(), MSS);
    }

    #[test]
    fn the_curve_is_back_at_its_plateau_after_its_climb_and_leaves_it_afterwards() {
        let mut pace = Pace::new(MSS);
        for _ in 0..5 {
            pace.taken(at(0), pace.window());
        }
        let before = pace.window();
        pace.lost(at(0), before);
        let climb = u64::try_from(pace.climb).unwrap();
        assert!((6000..6500).contains(&climb), "the cube root of 96 / 0.4 is 6.2: {climb}");
        let ride = |pace: &mut Pace, from: u64, to: u64| {
            // A round trip of 100 ms.
            for now in (from..to).step_by(100) {
                pace.taken(at(now), pace.window());
            }
        };
        ride(&mut pace, 0, climb);
        assert!(pace.window().abs_diff(before) < before / 10, "{} of {before}", pace.window());
        ride(&mut pace, climb, 2 * climb + 2000);
        assert!(pace.window() > before * 5 / 4, "{} of {before}", pace.window());
    }

    #[test]
    fn patience_is_a_round_trip_and_a_fifth_of_a_second_and_doubles() {
        let mut trip = Trip::default();
        assert_eq!(trip.patience(), FIRST);
        (0..100).for_each(|_| trip.sample(Duration::from_millis(20)));
        assert!(trip.patience() < Duration::from_millis(230), "{:?}", trip.patience());
        trip.doubled = 200;
        assert!(trip.patience() <= LONGEST);
    }
}
