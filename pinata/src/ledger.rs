//! Who tried, by kind, door and hour. It holds numbers only: no address, no name, no certificate.

use crate::attest::Digits;
use crate::chain::Chain;
use crate::doors::{DOORS, Door};
use std::collections::VecDeque;
use tls::Kind;

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The secret was told.
    Given,
    /// The piñata told itself: somebody stood between two of its doors.
    Itself,
    /// The peer was admitted, and was gone before it had the secret.
    Lost,
    /// Too many were at the doors at once.
    Crowded,
    /// Nobody may be called back at that address.
    Forbidden,
    /// That source was called back a moment ago.
    TooSoon,
    /// Too many were called back a moment ago.
    TooMany,
    /// Nobody answered the call.
    Unanswered,
    /// The handshake failed.
    Refused(Kind),
}

/// What has nothing to do with a handshake.
const PLAIN: [Outcome; 8] = [
    Outcome::Given,
    Outcome::Itself,
    Outcome::Lost,
    Outcome::Crowded,
    Outcome::Forbidden,
    Outcome::TooSoon,
    Outcome::TooMany,
    Outcome::Unanswered,
];

/// How many outcomes there are.
const OUTCOMES: usize = PLAIN.len() + Kind::ALL.len();

impl Outcome {
    /// Every outcome, in the order of the ledger.
    pub fn all() -> impl Iterator<Item = Self> {
        PLAIN.into_iter().chain(Kind::ALL.map(Self::Refused))
    }

    /// The outcome as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Itself => "itself",
            Self::Lost => "lost",
            Self::Crowded => "crowded",
            Self::Forbidden => "forbidden_address",
            Self::TooSoon => "called_too_soon",
            Self::TooMany => "too_many_calls",
            Self::Unanswered => "unanswered",
            Self::Refused(kind) => kind.word(),
        }
    }
}

/// The attempts at each door, by outcome.
#[derive(Clone, Default)]
pub(crate) struct Counts([[u64; OUTCOMES]; DOORS.len()]);

impl Counts {
    fn add(&mut self, door: Door, outcome: Outcome) {
        let place = Outcome::all().position(|known| known == outcome);
        let row = self.0.get_mut(door.place());
        if let Some(count) = row.zip(place).and_then(|(row, place)| row.get_mut(place)) {
            *count = count.saturating_add(1);
        }
    }

    /// What happened at `door`, without what never happened.
    pub(crate) fn at(&self, door: Door) -> impl Iterator<Item = (Outcome, u64)> {
        let row = self.0.get(door.place()).into_iter().flatten().copied();
        Outcome::all().zip(row).filter(|(_, count)| *count > 0)
    }

    pub(crate) fn of(&self, door: Door, outcome: Outcome) -> u64 {
        self.at(door).find(|(known, _)| *known == outcome).map_or(0, |(_, count)| count)
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().flatten().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn clear(&mut self, door: Door) {
        if let Some(row) = self.0.get_mut(door.place()) {
            row.fill(0);
        }
    }
}

/// So many hours are kept, those without an attempt not counted.
const HOURS: usize = 48;

/// Seconds of an hour.
const HOUR: u64 = 3_600;

/// Seconds between two lines of one door.
const PACE: u64 = 60;

/// The ledger. Its memory is the same after one attempt and after a thousand million.
pub struct Ledger {
    since: u64,
    total: Counts,
    hours: VecDeque<(u64, Counts)>,
    untold: Counts,
    told: [Option<u64>; DOORS.len()],
    chain: Chain,
    rehung: Option<Digits>,
    refilled: bool,
}

impl Ledger {
    /// An empty ledger, opened `since` seconds after the start of 1970, by whoever has this CA certificate.
    #[must_use]
    pub fn new(since: u64, ca: &[u8]) -> Self {
        let (total, hours, untold) = (Counts::default(), VecDeque::new(), Counts::default());
        let (told, chain) = ([None; DOORS.len()], Chain::begun_by(ca));
        Self { since, total, hours, untold, told, chain, rehung: None, refilled: false }
    }

    /// Writes down one attempt.
    pub fn note(&mut self, door: Door, outcome: Outcome, now: u64) {
        self.total.add(door, outcome);
        self.untold.add(door, outcome);
        let hour = now / HOUR;
        if self.hours.back().is_none_or(|(last, _)| *last < hour) {
            self.hours.push_back((hour, Counts::default()));
        }
        while self.hours.len() > HOURS {
            self.hours.pop_front();
        }
        if let Some((_, counts)) = self.hours.back_mut() {
            counts.add(door, outcome);
        }
    }

    /// The next line for the console, if one is due: at most one each minute for each door. Ask until there
    /// is none.
    pub fn line(&mut self, now: u64) -> Option<String> {
        if let Some(ca) = self.rehung.take() {
            return Some(self.chain.link(now, &format!("rehung ca={ca}")));
        }
        if core::mem::take(&mut self.refilled) {
            return Some(self.chain.link(now, "refilled"));
        }
        let due = |door: Door| {
            let told = self.told.get(door.place()).copied().flatten();
            told.is_none_or(|told| now >= told.saturating_add(PACE)) && self.untold.at(door).next().is_some()
        };
        let door = DOORS.into_iter().find(|door| due(*door))?;
        let words: Vec<String> =
            self.untold.at(door).map(|(outcome, count)| format!("{}={count}", outcome.word())).collect();
        let line = self.chain.link(now, &format!("{} {}", door.port(), words.join(" ")));
        self.untold.clear(door);
        if let Some(told) = self.told.get_mut(door.place()) {
            *told = Some(now);
        }
        Some(line)
    }

    /// In how many seconds a line will be due; none while there is nothing to tell.
    #[must_use]
    pub fn due_in(&self, now: u64) -> Option<u64> {
        if self.rehung.is_some() || self.refilled {
            return Some(0);
        }
        let news = DOORS.into_iter().filter(|door| self.untold.at(*door).next().is_some());
        let told = news.map(|door| self.told.get(door.place()).copied().flatten());
        told.map(|told| told.map_or(0, |told| told.saturating_add(PACE).saturating_sub(now))).min()
    }

    /// The doors have other keys from now on, under this CA: the next line will say so.
    pub(crate) fn rehung(&mut self, ca: Digits) {
        self.rehung = Some(ca);
    }

    /// There is another secret inside from now on: a line will say so.
    pub(crate) fn refilled(&mut self) {
        self.refilled = true;
    }

    /// Every figure, those that are nought too: for metrics, which want all their names from the beginning.
    pub fn figures(&self) -> impl Iterator<Item = (Door, Outcome, u64)> {
        DOORS.into_iter().flat_map(move |door| Outcome::all().map(move |o| (door, o, self.total.of(door, o))))
    }

    /// How often this came of an attempt at this door.
    #[must_use]
    pub fn count(&self, door: Door, outcome: Outcome) -> u64 {
        self.total.of(door, outcome)
    }

    /// How many attempts there were.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.total.total()
    }

    /// The chain of the lines so far.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// When it was opened, in seconds since 1970.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }

    pub(crate) fn totals(&self) -> &Counts {
        &self.total
    }

    /// The last hours in which somebody tried: the first second of each, and what happened.
    pub(crate) fn hours(&self) -> impl DoubleEndedIterator<Item = (u64, &Counts)> {
        self.hours.iter().map(|(hour, counts)| (hour * HOUR, counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Gap, follow};

    const NOON: u64 = 1_790_000_000;

    #[test]
    fn every_outcome_has_a_word_of_its_own() {
        let mut words: Vec<&str> = Outcome::all().map(Outcome::word).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), OUTCOMES);
    }

    #[test]
    fn each_attempt_is_counted_once_where_it_belongs() {
        let mut ledger = Ledger::new(NOON, b"ca");
        for door in DOORS {
            for outcome in Outcome::all() {
                ledger.note(door, outcome, NOON);
                assert_eq!(ledger.count(door, outcome), 1, "{door:?} {outcome:?}");
            }
        }
        assert_eq!(ledger.attempts(), (OUTCOMES * DOORS.len()) as u64);
    }

    #[test]
    fn it_does_not_grow_with_the_years_and_a_clock_that_is_put_back_adds_no_hour() {
        let mut ledger = Ledger::new(NOON, b"ca");
        for hour in 0..10_000 {
            ledger.note(Door::Server, Outcome::Refused(Kind::Closed), NOON + hour * HOUR);
        }
        ledger.note(Door::Server, Outcome::Refused(Kind::Closed), NOON);
        assert_eq!(ledger.hours().count(), HOURS);
        let starts: Vec<u64> = ledger.hours().map(|(start, _)| start).collect();
        assert!(starts.is_sorted() && starts.last().is_some_and(|last| *last > NOON + 9_998 * HOUR));
        assert_eq!(ledger.attempts(), 10_001);
    }

    #[test]
    fn a_flood_of_attempts_is_a_line_a_minute() {
        let (mut ledger, mut lines) = (Ledger::new(NOON, b"ca"), Vec::new());
        for second in 0..600 {
            for _ in 0..100 {
                ledger.note(Door::Client, Outcome::Refused(Kind::NotTls), NOON + second);
            }
            lines.extend(ledger.line(NOON + second));
            assert_eq!(ledger.line(NOON + second), None);
            let wait = (second % PACE > 0).then_some(PACE - second % PACE);
            assert_eq!(ledger.due_in(NOON + second), wait, "only what is new is told");
        }
        assert_eq!(lines.len(), 10);
        assert!(lines[1].contains("2 2026-09-21T14:14Z 10002 not_tls=6000 "), "{}", lines[1]);
        assert!(lines.iter().all(|line| line.len() < 160));
        assert_eq!(ledger.line(NOON + 10_000).map(|last| last.contains("not_tls=5900 ")), Some(true));
        assert_eq!(ledger.line(NOON + 20_000), None, "nothing new, nothing said");
        assert_eq!(ledger.due_in(NOON + 20_000), None);
    }

    #[test]
    fn the_longest_line_fits_a_console() {
        let mut ledger = Ledger::new(NOON, b"ca");
        Outcome::all().for_each(|outcome| ledger.note(Door::Server, outcome, NOON));
        let room = OUTCOMES * 19;
        assert!(ledger.line(NOON).is_some_and(|line| line.len() + room < 2_048), "even with huge numbers");
    }

    /// A ledger with ten lines, and the lines.
    fn ten() -> (Ledger, Vec<String>) {
        let mut ledger = Ledger::new(NOON, b"ca");
        let lines = (0..10).map(|minute| {
            ledger.note(Door::CallBack, Outcome::Unanswered, NOON + minute * PACE);
            ledger.line(NOON + minute * PACE).unwrap()
        });
        let lines = lines.collect();
        (ledger, lines)
    }

    fn followed(ledger: &Ledger, lines: &[String]) -> Result<(), Gap> {
        follow(ledger.chain().start(), lines.iter().map(String::as_str), ledger.chain().head())
    }

    #[test]
    fn a_line_that_was_removed_changed_moved_or_cut_off_shows() {
        let (ledger, lines) = ten();
        assert_eq!(followed(&ledger, &lines), Ok(()));
        for at in 0..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(at);
            let gap = if at == 9 { Gap::CutOff } else { Gap::At(at + 1) };
            assert_eq!(followed(&ledger, &fewer), Err(gap), "without line {}", at + 1);
            let mut changed = lines.clone();
            changed[at] = changed[at].replace("unanswered=1", "unanswered=0");
            assert_eq!(followed(&ledger, &changed), Err(Gap::At(at + 1)));
        }
        let mut moved = lines.clone();
        moved.swap(3, 4);
        assert_eq!(followed(&ledger, &moved), Err(Gap::At(4)));
        assert_eq!(followed(&ledger, &lines[..4]), Err(Gap::CutOff));
        assert_eq!(followed(&Ledger::new(NOON, b"other"), &lines), Err(Gap::At(1)), "another piñata's lines");
    }
}
