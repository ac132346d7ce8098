//! Which bytes a peer has beyond those that it acknowledged: ranges that are apart, in order, in a bounded number.

use crate::wire::Seq;

/// More than this is not remembered: what is forgotten is sent again.
const MOST: usize = 64;

/// Ranges of sequence numbers.
#[derive(Default)]
pub(crate) struct Ranges(Vec<(Seq, Seq)>);

impl Ranges {
    /// Adds what lies between; what it touches becomes one with it.
    pub(crate) fn add(&mut self, mut from: Seq, mut until: Seq) {
        let first = self.0.partition_point(|(_, end)| end.is_before(from));
        let mut last = first;
        while let Some((start, end)) = self.0.get(last).filter(|(start, _)| !start.is_after(until)) {
            if start.is_before(from) {
                from = *start;
            }
            until = until.later(*end);
            last += 1;
        }
        if first < last || self.0.len() < MOST {
            self.0.splice(first..last, [(from, until)]);
        }
    }

    /// Forgets everything before `una`.
    pub(crate) fn cut(&mut self, una: Seq) {
        self.0.retain(|(_, until)| until.is_after(una));
        if let Some((from, _)) = self.0.first_mut() {
            *from = from.later(una);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (Seq, Seq)> {
        self.0.iter().copied()
    }

    /// The end of the range in which `at` lies.
    pub(crate) fn past(&self, at: Seq) -> Option<Seq> {
        self.iter().find(|(from, until)| !at.is_before(*from) && at.is_before(*until)).map(|(_, until)| until)
    }

    /// Where the next range after `at` starts.
    pub(crate) fn next(&self, at: Seq) -> Option<Seq> {
        self.iter().map(|(from, _)| from).find(|from| from.is_after(at))
    }

    /// Bytes between `from` and `until` that lie in a range.
    pub(crate) fn between(&self, from: Seq, until: Seq) -> u32 {
        let inside = |(start, end): (Seq, Seq)| {
            let end = if end.is_after(until) { until } else { end };
            end.past(start.later(from))
        };
        self.iter().map(inside).sum()
    }

    /// The number below which a byte is lost: the peer has `bytes` that were sent after it, or three ranges.
    pub(crate) fn gone(&self, bytes: u32) -> Option<Seq> {
        let mut above = 0;
        self.iter().rev().enumerate().find_map(|(number, (from, until))| {
            above += until - from;
            (above > bytes || number >= 2).then_some(from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(u32, u32)]) -> Ranges {
        let mut ranges = Ranges::default();
        of.iter().for_each(|(from, until)| ranges.add(Seq(*from), Seq(*until)));
        ranges
    }

    #[test]
    fn what_touches_becomes_one_in_whatever_order_it_comes() {
        for of in
            [[(10, 20), (30, 40), (20, 30)], [(20, 30), (10, 22), (28, 40)], [(12, 13), (10, 40), (10, 11)]]
        {
            assert_eq!(ranges(&of).iter().collect::<Vec<_>>(), [(Seq(10), Seq(40))], "{of:?}");
        }
        let wrapped = ranges(&[(u32::MAX - 5, 5), (5, 9), (20, 30)]);
        assert_eq!(wrapped.between(Seq(u32::MAX), Seq(25)), 10 + 5);
        assert_eq!((wrapped.past(Seq(0)), wrapped.next(Seq(0))), (Some(Seq(9)), Some(Seq(20))));
    }

    #[test]
    fn a_byte_is_lost_when_enough_came_after_it() {
        assert_eq!(ranges(&[(10, 20)]).gone(10), None);
        assert_eq!(ranges(&[(10, 21)]).gone(10), Some(Seq(10)));
        assert_eq!(ranges(&[(10, 11), (20, 21), (30, 31)]).gone(10), Some(Seq(10)));
    }

    #[test]
    fn nobody_makes_it_remember_more_than_it_has_room_for() {
        let many: Vec<_> = (0..1000).map(|number| (number * 10, number * 10 + 1)).collect();
        assert_eq!(ranges(&many).0.len(), MOST);
    }
}
