//! A ring of requests and responses in one shared page (Xen's `io/ring.h`), seen by the front end.
//!
//! The back end may scribble on all of it, so nothing that we wrote is ever read back. It says how far it has come,
//! which is a claim, and what it answers, which is copied out once.

use core::sync::atomic::{Ordering, fence};
use dma::{Claim, HostLied, Pages};

const REQUESTS: usize = 0;
const REQUEST_EVENT: usize = 4;
const RESPONSES: usize = 8;
const RESPONSE_EVENT: usize = 12;
const ENTRIES: usize = 64;

/// The front end's side of a ring.
pub(crate) struct Ring {
    page: Pages,
    entry: usize,
    size: u32,
    next: u32,
    published: u32,
    consumed: u32,
}

impl Ring {
    /// A ring of entries of so many bytes in a page.
    pub(crate) fn new(page: Pages, entry: usize) -> Self {
        let fit = page.len().saturating_sub(ENTRIES) / entry.max(1);
        let size = fit.checked_ilog2().map_or(0, |log| 1 << log);
        let ring = Self { page, entry, size, next: 0, published: 0, consumed: 0 };
        ring.wipe();
        ring
    }

    /// The page, to be lent.
    pub(crate) fn page(&self) -> &Pages {
        &self.page
    }

    /// Begins anew, for another back end.
    pub(crate) fn begin(&mut self) {
        (self.next, self.published, self.consumed) = (0, 0, 0);
        self.wipe();
    }

    /// How many entries there are.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// How many requests there is room for.
    pub(crate) fn room(&self) -> u32 {
        self.size - self.next.wrapping_sub(self.consumed)
    }

    /// The place of the next request.
    pub(crate) fn next(&self) -> u32 {
        self.next % self.size.max(1)
    }

    /// Writes a request where there is room; the back end is not shown it yet.
    pub(crate) fn put(&mut self, request: &[u8]) {
        if self.room() > 0 {
            self.page.write(self.at(self.next), request);
            self.next = self.next.wrapping_add(1);
        }
    }

    /// Shows the back end everything put since the last call, and says whether it must be told.
    #[must_use]
    pub(crate) fn publish(&mut self) -> bool {
        let before = self.published;
        if before == self.next {
            return false;
        }
        self.page.store32(REQUESTS, self.next);
        self.published = self.next;
        // Our index must be seen before we look whether the back end waits for it, or both sides wait.
        fence(Ordering::SeqCst);
        let event = self.page.load32(REQUEST_EVENT);
        self.next.wrapping_sub(event) < self.next.wrapping_sub(before)
    }

    /// The next response and its place.
    pub(crate) fn take<const N: usize>(&mut self) -> Result<Option<(u32, [u8; N])>, HostLied> {
        if self.waiting()? == 0 {
            return Ok(None);
        }
        let mut response = [0; N];
        self.page.read(self.at(self.consumed), &mut response);
        let place = self.consumed % self.size.max(1);
        self.consumed = self.consumed.wrapping_add(1);
        Ok(Some((place, response)))
    }

    /// How many responses wait.
    pub(crate) fn waiting(&self) -> Result<u32, HostLied> {
        let ahead = self.page.load32(RESPONSES).wrapping_sub(self.consumed);
        let most = self.published.wrapping_sub(self.consumed);
        Claim::new("number of responses", ahead).at_most(most as usize).map(|count| count as u32)
    }

    /// Asks to be told of the next response, and says whether one is there already: then nobody may ever tell of it. A
    /// lie counts as one: whoever takes it will find out.
    #[must_use]
    pub(crate) fn listen(&self) -> bool {
        self.page.store32(RESPONSE_EVENT, self.consumed.wrapping_add(1));
        // Our wish must be seen before we look whether it is fulfilled.
        fence(Ordering::SeqCst);
        self.waiting() != Ok(0)
    }

    fn wipe(&self) {
        self.page.wipe();
        self.page.store32(REQUEST_EVENT, 1);
        self.page.store32(RESPONSE_EVENT, 1);
    }

    fn at(&self, index: u32) -> usize {
        ENTRIES + (index % self.size.max(1)) as usize * self.entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use dma::pretend::{Act, every_way};
    use proptest::prelude::*;
    use std::rc::Rc;

    fn ring() -> (Ring, Pages) {
        let page = Pages::in_process(4096);
        (Ring::new(page.clone(), 8), page)
    }

    fn answer(page: &Pages, index: u32, bytes: [u8; 8]) {
        page.write(ENTRIES + (index % 256) as usize * 8, &bytes);
        page.store32(RESPONSES, index.wrapping_add(1));
    }

    #[test]
    fn entries_of_twelve_and_of_eight_bytes_make_rings_of_256() {
        assert_eq!(Ring::new(Pages::in_process(4096), 12).size(), 256);
        assert_eq!(Ring::new(Pages::in_process(4096), 8).size(), 256);
    }

    #[test]
    fn a_ring_is_full_when_nothing_was_answered_and_goes_round() {
        let (mut ring, page) = ring();
        for index in 0..100_000_u32 {
            ring.put(&index.to_le_bytes());
            let _ = ring.publish();
            assert_eq!(page.load32(REQUESTS), index.wrapping_add(1));
            answer(&page, index, [index as u8; 8]);
            assert_eq!(ring.take(), Ok(Some((index % 256, [index as u8; 8]))));
        }
        (0..256).for_each(|_| ring.put(&[0; 8]));
        assert_eq!(ring.room(), 0);
        ring.put(&[9; 8]);
        let _ = ring.publish();
        assert_eq!(page.load32(REQUESTS), 100_256, "what there is no room for is not put");
    }

    #[test]
    fn a_batch_past_the_event_tells_and_one_before_does_not() {
        let (mut ring, page) = ring();
        for (event, puts, told) in [(1, 1, true), (1, 3, false), (6, 1, false), (6, 2, true), (7, 0, false)] {
            page.store32(REQUEST_EVENT, event);
            (0..puts).for_each(|_| ring.put(&[0; 8]));
            assert_eq!(ring.publish(), told, "event {event}");
        }
    }

    #[test]
    fn who_listens_hears_of_what_came_before() {
        let (mut ring, page) = ring();
        ring.put(&[0; 8]);
        let _ = ring.publish();
        assert!(!ring.listen());
        assert_eq!(page.load32(RESPONSE_EVENT), 1);
        answer(&page, 0, [1; 8]);
        assert!(ring.listen(), "nobody may ever tell of it");
    }

    #[test]
    fn no_answer_is_slept_through_whenever_it_comes() {
        let write = || {
            let (mut ring, page) = ring();
            (0..4).for_each(|_| ring.put(&[0; 8]));
            let _ = ring.publish();
            let told = Rc::new(Cell::new(false));
            // As back ends do it: each answer is shown, and then they ask themselves whether to tell.
            let acts = (0..4).flat_map(|index| {
                let (shown, asked, told) = (page.clone(), page.clone(), told.clone());
                let show: Act = Box::new(move || {
                    answer(&shown, index, [1; 8]);
                    true
                });
                let ask: Act = Box::new(move || {
                    let wanted = (index + 1).wrapping_sub(asked.load32(RESPONSE_EVENT)) < 1;
                    told.set(told.get() | wanted);
                    true
                });
                [show, ask]
            });
            let acts = acts.collect();
            ((ring, told), acts)
        };
        let ways = every_way(3, write, |(mut ring, told): (Ring, Rc<Cell<bool>>), play| {
            let mut taken = 0;
            loop {
                // As the world does it: first the mark is taken off, then everything is looked at.
                told.set(false);
                if ring.listen() {
                    while ring.take::<8>().unwrap().is_some() {
                        taken += 1;
                    }
                    continue;
                }
                while !told.get() {
                    if !play.goes_on() {
                        return assert_eq!(taken, 4);
                    }
                }
            }
        });
        assert!(ways > 500, "{ways}");
    }

    #[test]
    fn more_answers_than_questions_are_a_lie() {
        let (mut ring, page) = ring();
        (0..3).for_each(|_| ring.put(&[0; 8]));
        page.store32(RESPONSES, 1);
        assert!(ring.take::<8>().is_err(), "nothing was published");
        let _ = ring.publish();
        assert_eq!(ring.waiting(), Ok(1));
        for said in [4, 256, u32::MAX, 1 << 31] {
            page.store32(RESPONSES, said);
            assert_eq!(ring.take::<8>().unwrap_err().what, "number of responses");
            assert!(ring.listen(), "a lie must not be slept on");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_scribbled_there_is_an_answer_or_a_verdict(
            scribbles in proptest::collection::vec((0_usize..128, any::<u8>()), 0..200),
        ) {
            let (mut ring, page) = ring();
            for (at, byte) in scribbles {
                ring.put(&[0; 8]);
                let _ = ring.publish();
                page.write(at, &[byte]);
                let room = ring.room();
                match ring.take::<8>() {
                    Ok(Some((place, _))) => prop_assert!(place < 256 && ring.room() == room + 1),
                    Ok(None) | Err(_) => prop_assert_eq!(ring.room(), room),
                }
                prop_assert!(ring.room() <= 256);
            }
        }
    }
}
