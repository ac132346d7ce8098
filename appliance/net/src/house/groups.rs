//! The groups in which neighbours look for us, and when routers and switches are told of them.
//!
//! A switch that listens to MLD carries a question who has an IPv6 address only to those who say that they hear its
//! group: whoever says nothing is cut off. A change is said at once and once more (RFC 9777 §6.1). A question is
//! answered once, with all groups, some time before it must be.
//!
//! Anybody can ask, and in any version: a question only moves one moment nearer, and not before the last answer is a
//! while ago. Reports of others do not keep us silent, as the first version allows: that could be used to cut us off.
//! IPv4 has the same in IGMP, but there we hear no group.

use super::mld::{Query, Word};
use core::time::Duration;
use std::net::Ipv6Addr;
use world::Instant;

/// How often a change is said, and the longest time between.
const OFTEN: u8 = 2;
const BETWEEN: Duration = Duration::from_secs(1);
/// The least time between two answers.
const REST: Duration = Duration::from_millis(250);
/// How long a querier that is old is believed to be there (two intervals of its and the time for an answer).
const OLD: Duration = Duration::from_secs(260);
/// Groups that were left and of which that is still to be said.
const MOST: usize = 16;

/// The groups.
#[derive(Default)]
pub(crate) struct Groups {
    ours: Vec<Group>,
    gone: Vec<Group>,
    /// When changes are said, and when everything is.
    news: Option<Instant>,
    answer: Option<Instant>,
    /// Before that moment nothing is answered.
    rested: Option<Instant>,
    /// Until then the first version is spoken.
    old: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Group {
    address: Ipv6Addr,
    /// How often its change is still to be said.
    left: u8,
}

impl Groups {
    /// From now on it is these that we hear.
    pub(crate) fn hear_only(&mut self, now: Instant, wanted: &[Ipv6Addr]) {
        let (stay, go): (Vec<Group>, Vec<Group>) =
            self.ours.iter().partition(|group| wanted.contains(&group.address));
        let changed = !go.is_empty() || wanted.iter().any(|address| !self.hears(*address));
        if !changed {
            return;
        }
        self.gone.retain(|group| !wanted.contains(&group.address));
        let room = MOST.saturating_sub(self.gone.len());
        self.gone.extend(go.iter().take(room).map(|group| Group { left: OFTEN, ..*group }));
        self.ours = stay;
        for address in wanted {
            if !self.hears(*address) {
                self.ours.push(Group { address: *address, left: OFTEN });
            }
        }
        self.news = Some(now);
    }

    /// Says everything as if it were new: who asks believes only who speaks from an address, and there is one now.
    pub(crate) fn begin_again(&mut self, now: Instant) {
        self.ours.iter_mut().for_each(|group| group.left = OFTEN);
        self.news = Some(now);
    }

    pub(crate) fn hears(&self, address: Ipv6Addr) -> bool {
        self.ours.iter().any(|group| group.address == address)
    }

    /// Hears a question; `drawn` says when to answer it.
    pub(crate) fn hear(&mut self, now: Instant, query: &Query, drawn: u32) {
        if query.is_old {
            self.old = Some(now + OLD);
        }
        if query.group.is_some_and(|group| !self.hears(group)) {
            return;
        }
        let at = (now + part(query.within, drawn)).max(self.rested.unwrap_or(now));
        self.answer = Some(self.answer.map_or(at, |before| before.min(at)));
    }

    /// When [`Self::turn`] has something to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.news.into_iter().chain(self.answer).min()
    }

    /// True while an old querier is believed to be there.
    pub(crate) fn is_old(&self, now: Instant) -> bool {
        self.old.is_some_and(|until| now < until)
    }

    /// What is to be said now.
    pub(crate) fn turn(&mut self, now: Instant, drawn: u32) -> Vec<(Ipv6Addr, Word)> {
        if self.news.is_some_and(|at| at <= now) {
            return self.changes(now, drawn);
        }
        if self.answer.is_none_or(|at| at > now) {
            return Vec::new();
        }
        (self.answer, self.rested) = (None, Some(now + REST));
        self.ours.iter().map(|group| (group.address, Word::Here)).collect()
    }

    fn changes(&mut self, now: Instant, drawn: u32) -> Vec<(Ipv6Addr, Word)> {
        let mut said = Vec::new();
        for (groups, word) in [(&mut self.ours, Word::Joined), (&mut self.gone, Word::Left)] {
            for group in groups.iter_mut().filter(|group| group.left > 0) {
                group.left -= 1;
                said.push((group.address, word));
            }
        }
        self.gone.retain(|group| group.left > 0);
        let again = self.ours.iter().chain(&self.gone).any(|group| group.left > 0);
        self.news = again.then(|| now + part(BETWEEN, drawn));
        said
    }
}

/// A part of some time that nobody can foresee.
fn part(of: Duration, drawn: u32) -> Duration {
    let millis = u64::try_from(of.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis.saturating_mul(u64::from(drawn)) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    fn group(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, last)
    }

    fn asks(within: u64) -> Query {
        Query { group: None, within: Duration::from_millis(within), is_old: false }
    }

    /// With its changes said.
    fn settled(groups: &[Ipv6Addr]) -> Groups {
        let mut ours = Groups::default();
        ours.hear_only(at(0), groups);
        while let Some(due) = ours.deadline() {
            ours.turn(due, u32::MAX);
        }
        ours
    }

    #[test]
    fn a_change_is_said_twice_and_who_comes_back_in_between_has_not_left() {
        let (one, two) = (group(1), group(2));
        let mut ours = Groups::default();
        ours.hear_only(at(0), &[one]);
        assert_eq!(ours.turn(at(0), 1 << 31), [(one, Word::Joined)]);
        assert_eq!((ours.turn(at(499), 0), ours.deadline()), (vec![], Some(at(500))));
        ours.hear_only(at(400), &[two]);
        assert_eq!(ours.turn(at(400), 1 << 31), [(two, Word::Joined), (one, Word::Left)]);
        ours.hear_only(at(500), &[one, two]);
        assert_eq!(ours.turn(at(500), 1 << 31), [(two, Word::Joined), (one, Word::Joined)]);
        assert_eq!(ours.turn(at(1000), 1 << 31), [(one, Word::Joined)]);
        assert_eq!(ours.deadline(), None);
        ours.hear_only(at(1000), &[one, two]);
        assert_eq!(ours.deadline(), None, "nothing has changed");
    }

    #[test]
    fn a_question_is_answered_once_in_its_time_with_all_groups_in_use() {
        let mut ours = settled(&[group(1), group(2)]);
        ours.hear(at(5000), &asks(10_000), 1 << 31);
        assert_eq!(ours.deadline(), Some(at(10_000)));
        ours.hear(at(6000), &Query { group: Some(group(3)), ..asks(0) }, 0);
        assert_eq!(ours.deadline(), Some(at(10_000)), "that is nobody's here");
        ours.hear(at(6000), &Query { group: Some(group(2)), ..asks(1000) }, 1 << 31);
        assert_eq!(ours.deadline(), Some(at(6500)));
        ours.hear(at(6001), &asks(8_000_000), u32::MAX);
        let all = [(group(1), Word::Here), (group(2), Word::Here)];
        assert_eq!(ours.turn(at(6500), 0), all, "no later question puts it off");
        assert_eq!(ours.deadline(), None);
    }

    #[test]
    fn a_storm_of_questions_is_answered_four_times_a_second() {
        let mut ours = settled(&[group(1)]);
        let mut answers = 0;
        for now in 10_000..20_000 {
            ours.hear(at(now), &asks(0), 0);
            answers += ours.turn(at(now), 0).len();
        }
        assert_eq!(answers, 40);
    }

    #[test]
    fn an_old_querier_is_forgotten_after_a_while() {
        let mut ours = settled(&[group(1)]);
        ours.hear(at(0), &Query { is_old: true, ..asks(0) }, 0);
        assert!(ours.is_old(at(259_999)) && !ours.is_old(at(260_000)));
    }

    #[test]
    fn groups_that_come_and_go_leave_a_bounded_number_to_speak_of() {
        let mut ours = Groups::default();
        for last in 0..1000 {
            ours.hear_only(at(0), &[group(last)]);
        }
        assert_eq!((ours.ours.len(), ours.gone.len()), (1, MOST));
    }
}
