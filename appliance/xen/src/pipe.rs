//! One direction of a stream of bytes through a shared page, as xenstore and the consoles have them.
//!
//! Where we are is kept in our own memory; where the other side says that it is, is a claim.

use dma::{Claim, HostLied, Pages};

/// Where a direction lies in its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: usize,
    pub(crate) size: u32,
    pub(crate) consumed: usize,
    pub(crate) produced: usize,
}

/// What comes in.
pub(crate) struct Inward {
    page: Pages,
    place: Place,
    consumed: u32,
}

/// What goes out.
pub(crate) struct Outward {
    page: Pages,
    place: Place,
    produced: u32,
}

impl Inward {
    /// Goes on where the page says that we are.
    pub(crate) fn new(page: Pages, place: Place) -> Self {
        let consumed = page.load32(place.consumed);
        Self { page, place, consumed }
    }

    /// How many bytes wait.
    pub(crate) fn waiting(&self) -> Result<usize, HostLied> {
        let ahead = self.page.load32(self.place.produced).wrapping_sub(self.consumed);
        Claim::new("bytes in a ring", ahead).at_most(self.place.size as usize)
    }

    /// Copies out what waits, and says how many bytes there were.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, HostLied> {
        let count = self.waiting()?.min(into.len());
        let into = into.get_mut(..count).unwrap_or_default();
        let (start, first) = self.place.split(self.consumed, count);
        let (one, other) = into.split_at_mut(first);
        self.page.read(start, one);
        self.page.read(self.place.at, other);
        self.consumed = self.consumed.wrapping_add(count as u32);
        self.page.store32(self.place.consumed, self.consumed);
        Ok(count)
    }
}

impl Outward {
    /// Goes on where the page says that we are.
    pub(crate) fn new(page: Pages, place: Place) -> Self {
        let produced = page.load32(place.produced);
        Self { page, place, produced }
    }

    /// How many bytes there is room for.
    pub(crate) fn room(&self) -> Result<usize, HostLied> {
        let under_way = self.produced.wrapping_sub(self.page.load32(self.place.consumed));
        let size = self.place.size as usize;
        Claim::new("room in a ring", under_way).at_most(size).map(|under_way| size - under_way)
    }

    /// Copies in what there is room for, and says how many bytes that were.
    pub(crate) fn write(&mut self, from: &[u8]) -> Result<usize, HostLied> {
        let count = self.room()?.min(from.len());
        let from = from.get(..count).unwrap_or_default();
        let (start, first) = self.place.split(self.produced, count);
        let (one, other) = from.split_at(first);
        self.page.write(start, one);
        self.page.write(self.place.at, other);
        self.produced = self.produced.wrapping_add(count as u32);
        self.page.store32(self.place.produced, self.produced);
        Ok(count)
    }
}

impl Place {
    /// Where `count` bytes from `index` on start, and how many of them come before the end of the ring.
    fn split(self, index: u32, count: usize) -> (usize, usize) {
        let start = (index % self.size) as usize;
        (self.at + start, count.min(self.size as usize - start))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Place = Place { at: 64, size: 16, consumed: 0, produced: 4 };

    proptest! {
        #[test]
        fn what_goes_in_comes_out_across_every_wrap(
            start in any::<u32>(),
            steps in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..20), 0_usize..20), 1..60),
        ) {
            let page = Pages::in_process(4096);
            page.store32(0, start);
            page.store32(4, start);
            let (mut inward, mut outward) = (Inward::new(page.clone(), SMALL), Outward::new(page.clone(), SMALL));
            let (mut said, mut heard) = (Vec::new(), Vec::new());
            for (bytes, room) in steps {
                let taken = outward.write(&bytes).unwrap();
                said.extend_from_slice(&bytes[..taken]);
                let mut into = vec![0; room];
                let count = inward.read(&mut into).unwrap();
                heard.extend_from_slice(&into[..count]);
                prop_assert!(said.starts_with(&heard));
                prop_assert_eq!(said.len() - heard.len(), inward.waiting().unwrap());
                prop_assert_eq!(16 - inward.waiting().unwrap(), outward.room().unwrap());
            }
        }

        #[test]
        fn indices_from_anywhere_are_a_verdict_or_within_the_ring(said in any::<u32>(), start in any::<u32>()) {
            let page = Pages::in_process(4096);
            page.store32(0, start);
            page.store32(4, start);
            let (mut inward, mut outward) = (Inward::new(page.clone(), SMALL), Outward::new(page.clone(), SMALL));
            page.store32(4, said);
            let honest = said.wrapping_sub(start) <= 16;
            prop_assert_eq!(inward.read(&mut [0; 64]).is_ok(), honest);
            page.store32(0, said);
            let honest = start.wrapping_sub(said) <= 16;
            prop_assert_eq!(outward.write(&[1; 64]).is_ok(), honest);
        }
    }

    #[test]
    fn what_the_page_says_of_our_own_index_is_not_read_back() {
        let page = Pages::in_process(4096);
        let mut inward = Inward::new(page.clone(), SMALL);
        let mut outward = Outward::new(page.clone(), SMALL);
        assert_eq!(outward.write(b"abcdef"), Ok(6));
        assert_eq!(inward.read(&mut [0; 2]), Ok(2));
        page.store32(0, 77);
        let mut rest = [0; 8];
        assert_eq!(inward.read(&mut rest), Ok(4));
        assert_eq!(&rest[..4], b"cdef");
    }
}
