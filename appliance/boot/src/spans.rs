//! Spans of physical memory: sorted, apart from each other, and few.
//!
//! A memory map comes from outside: its entries may be empty, overlap, end past the end of the world or be far too
//! many. Whatever it says, what is left here is sound, and when room runs out memory is lost, never invented.

/// From the first address to the one after the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// How many spans a list holds.
const MOST: usize = 64;

/// A sorted list of spans that neither overlap nor are empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    list: [Span; MOST],
    len: usize,
}

impl Span {
    pub(crate) const fn new(start: u64, end: u64) -> Self {
        Self { start, end }
    }

    /// So many bytes from `start`, cut at the end of the address space.
    pub(crate) const fn of(start: u64, len: u64) -> Self {
        Self { start, end: start.saturating_add(len) }
    }

    pub(crate) const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    pub(crate) const fn touches(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    pub(crate) const fn holds(self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// Every page that the span touches. `page` is a power of two.
    pub(crate) const fn outward(self, page: u64) -> Self {
        Self { start: self.start & !(page - 1), end: self.end.saturating_add(page - 1) & !(page - 1) }
    }

    /// Only the pages that lie in the span as a whole.
    pub(crate) const fn inward(self, page: u64) -> Self {
        Self { start: self.start.saturating_add(page - 1) & !(page - 1), end: self.end & !(page - 1) }
    }
}

impl Spans {
    pub(crate) const NONE: Self = Self { list: [Span::new(0, 0); MOST], len: 0 };

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        self.list.iter().take(self.len).copied()
    }

    pub(crate) fn touch(&self, span: Span) -> bool {
        self.iter().any(|held| held.touches(span))
    }

    /// True when the whole of `span` lies in one of ours.
    pub(crate) fn cover(&self, span: Span) -> bool {
        self.iter().any(|held| held.start <= span.start && span.end <= held.end)
    }

    /// Adds what is not here yet.
    pub(crate) fn add(&mut self, span: Span) {
        let mut joined = span;
        let before = *self;
        *self = Self::NONE;
        for held in before.iter() {
            if held.start <= joined.end && joined.start <= held.end && !joined.is_empty() {
                joined = Span::new(held.start.min(joined.start), held.end.max(joined.end));
            } else {
                self.put(held);
            }
        }
        self.put(joined);
    }

    /// Takes every page that `span` touches away.
    pub(crate) fn cut(&mut self, span: Span) {
        let before = *self;
        *self = Self::NONE;
        for held in before.iter() {
            if held.touches(span) && !span.is_empty() {
                self.put(Span::new(held.start, span.start));
                self.put(Span::new(span.end, held.end));
            } else {
                self.put(held);
            }
        }
    }

    /// Takes `len` bytes off the start of the first span that has them and lies below `limit`.
    pub(crate) fn take_low(&mut self, len: u64, limit: u64) -> Option<u64> {
        let found =
            self.iter().find(|held| held.start.checked_add(len).is_some_and(|e| e <= held.end.min(limit)))?;
        self.cut(Span::of(found.start, len));
        Some(found.start)
    }

    /// Takes `len` bytes off the end of the last span that has them below `limit`.
    pub(crate) fn take_high(&mut self, len: u64, limit: u64) -> Option<u64> {
        let end = |held: Span| held.end.min(limit);
        let start = |held: Span| end(held).checked_sub(len).filter(|start| *start >= held.start);
        let start = self.iter().rev().find_map(start)?;
        self.cut(Span::of(start, len));
        Some(start)
    }

    /// Keeps the list sorted. When it is full, the smallest span is lost.
    fn put(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        if self.len == MOST && !self.lose_one_smaller_than(span.len()) {
            return;
        }
        let at = self.iter().take_while(|held| held.start < span.start).count();
        if let Some(tail) = self.list.get_mut(at..=self.len) {
            tail.rotate_right(1);
            if let Some(first) = tail.first_mut() {
                *first = span;
            }
            self.len += 1;
        }
    }

    fn lose_one_smaller_than(&mut self, len: u64) -> bool {
        let smallest = self.iter().enumerate().min_by_key(|(_, held)| held.len());
        let Some((at, _)) = smallest.filter(|(_, held)| held.len() < len) else { return false };
        if let Some(tail) = self.list.get_mut(at..) {
            tail.rotate_left(1);
        }
        self.len -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(spans: &Spans) -> Vec<(u64, u64)> {
        spans.iter().map(|span| (span.start, span.end)).collect()
    }

    #[test]
    fn overlapping_and_empty_entries_become_one_span() {
        let mut ram = Spans::NONE;
        for (start, end) in [(50, 60), (10, 20), (15, 30), (40, 40), (90, 80), (30, 50)] {
            ram.add(Span::new(start, end));
        }
        assert_eq!(list(&ram), [(10, 60)]);
    }

    #[test]
    fn a_cut_leaves_both_sides() {
        let mut ram = Spans::NONE;
        ram.add(Span::new(0, 100));
        ram.cut(Span::new(40, 50));
        ram.cut(Span::new(60, 60));
        ram.cut(Span::new(90, u64::MAX));
        assert_eq!(list(&ram), [(0, 40), (50, 90)]);
    }

    #[test]
    fn every_order_of_adding_and_cutting_agrees_with_a_set_of_bytes() {
        let mut luck = 1_u64;
        for _ in 0..2_000 {
            let mut ram = Spans::NONE;
            let mut truth = [false; 256];
            for _ in 0..20 {
                luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (start, end, add) = (luck >> 56, (luck >> 48) & 0xff, luck & (1 << 40) != 0);
                let span = Span::new(start, end);
                if add {
                    ram.add(span)
                } else {
                    ram.cut(span)
                }
                (start..end).for_each(|at| truth[at as usize] = add);
            }
            for (at, held) in truth.iter().enumerate() {
                assert_eq!(ram.iter().any(|span| span.holds(at as u64)), *held);
            }
            assert!(list(&ram).windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }

    #[test]
    fn too_many_spans_lose_memory_and_never_invent_it() {
        let mut ram = Spans::NONE;
        ram.add(Span::new(0, 100_000));
        for hole in 0..500 {
            ram.cut(Span::of(hole * 200 + 7, 3));
        }
        assert_eq!(ram.iter().count(), MOST);
        assert!(ram.iter().all(|span| (0..500).all(|hole| !span.touches(Span::of(hole * 200 + 7, 3)))));
    }

    #[test]
    fn pages_at_the_end_of_the_world_do_not_wrap() {
        assert!(Span::of(u64::MAX - 5, 100).inward(4096).is_empty());
        assert_eq!(Span::of(u64::MAX - 5, 100).outward(4096).end, !4095);
        assert_eq!(Span::new(1, 8193).inward(4096), Span::new(4096, 8192));
    }

    #[test]
    fn taking_never_gives_what_is_not_there() {
        let mut ram = Spans::NONE;
        ram.add(Span::new(10, 20));
        ram.add(Span::new(30, 100));
        assert_eq!(ram.take_low(11, u64::MAX), Some(30));
        assert_eq!(ram.take_high(59, u64::MAX), Some(41));
        assert_eq!(ram.take_high(5, 18), Some(13));
        assert_eq!(ram.take_low(u64::MAX, u64::MAX), None);
        assert_eq!(list(&ram), [(10, 13), (18, 20)]);
    }
}
