//! Xen's grant table, version 1: which pages another domain may use, and whether it has let go of them.
//!
//! What [`crate::Ring`] is to virtio, this is to Xen: the one thing that tells the other side where our memory lies, and
//! the only memory that it ever names is [`Pages`]. An entry that was taken back is closed before anybody hears of it,
//! and one that the other domain still holds is not taken back.

use crate::{HostLied, Pages, Way};
use core::cell::Cell;

/// Entries that Xen and its tools use for themselves.
const RESERVED: u32 = 8;
const ENTRY: usize = 8;
const PAGE: usize = 4096;

const CLOSED: u16 = 0;
const OPEN: u16 = 1 << 0;
const READ_ONLY: u16 = 1 << 2;
const BEING_READ: u16 = 1 << 3;
const BEING_WRITTEN: u16 = 1 << 4;

/// The table.
#[derive(Debug)]
pub struct Grants {
    table: Pages,
    next: Cell<u32>,
}

/// A page cannot be lent under that number: it is no page, out of Xen's reach, or the number is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ungrantable;

impl Grants {
    /// A table in memory that Xen reads as one. What Xen's tools have written there stays.
    #[must_use]
    pub fn new(table: Pages) -> Self {
        Self { table, next: Cell::new(RESERVED) }
    }

    /// Sets so many numbers in a row aside and gives the first; they are never anybody else's. `None` when the table
    /// is full.
    pub fn reserve(&self, count: u32) -> Option<u32> {
        let (first, end) = (self.next.get(), self.next.get().checked_add(count)?);
        (end as usize <= self.table.len() / ENTRY).then(|| self.next.set(end))?;
        Some(first)
    }

    /// Lets a domain use the page that `page` begins with, under this number.
    ///
    /// # Errors
    /// When the page cannot be granted, or another one is under this number.
    pub fn lend(&self, number: u32, page: &Pages, domain: u16, way: Way) -> Result<(), Ungrantable> {
        let at = self.entry(number)?;
        let frame = page.frame().and_then(|frame| u32::try_from(frame).ok()).ok_or(Ungrantable)?;
        if self.table.load16(at) != CLOSED {
            return Err(Ungrantable);
        }
        self.table.store16(at + 2, domain);
        self.table.store32(at + 4, frame);
        // Last: from here on the entry holds.
        self.table.store16(at, if way == Way::ToDevice { OPEN | READ_ONLY } else { OPEN });
        Ok(())
    }

    /// Takes back what is lent under this number, if anything is: from now on the other domain cannot reach it.
    ///
    /// # Errors
    /// When the other domain still holds it: it stays lent.
    pub fn take_back(&self, number: u32) -> Result<(), HostLied> {
        let still = HostLied { what: "end of a grant, which it still holds", said: number };
        let at = self.entry(number).map_err(|_| still)?;
        // Xen sets and clears the flags of use at any time; an honest domain does so only a few times.
        for _ in 0..64 {
            let flags = self.table.load16(at);
            if flags & (BEING_READ | BEING_WRITTEN) != 0 {
                return Err(still);
            }
            if flags == CLOSED || self.table.exchange16(at, flags, CLOSED).is_ok() {
                return Ok(());
            }
        }
        Err(still)
    }

    fn entry(&self, number: u32) -> Result<usize, Ungrantable> {
        let at = (number as usize).checked_mul(ENTRY).ok_or(Ungrantable)?;
        (at + ENTRY <= self.table.len() && number >= RESERVED).then_some(at).ok_or(Ungrantable)
    }

    /// What an entry says: the frame that it lends, to whom, and whether it may be written.
    #[cfg(any(test, feature = "pretend"))]
    pub(crate) fn look(table: &Pages, number: u32) -> Option<(u32, u16, bool)> {
        let at = number as usize * ENTRY;
        let flags = table.load16(at);
        (flags & OPEN != 0).then(|| (table.load32(at + 4), table.load16(at + 2), flags & READ_ONLY == 0))
    }

    /// Marks an entry as being used or not, as Xen does for the other domain.
    #[cfg(any(test, feature = "pretend"))]
    pub(crate) fn hold(table: &Pages, number: u32, held: bool) {
        let at = number as usize * ENTRY;
        let flags = table.load16(at) & !(BEING_READ | BEING_WRITTEN);
        table.store16(at, flags | if held { BEING_READ | BEING_WRITTEN } else { 0 });
    }
}

const _: () = assert!(PAGE.is_multiple_of(ENTRY));

#[cfg(test)]
mod tests {
    use super::*;

    fn page(frame: u64) -> Pages {
        Pages::pretended(PAGE, frame * 4096)
    }

    fn table() -> (Grants, Pages) {
        let pages = page(7);
        (Grants::new(pages.clone()), pages)
    }

    #[test]
    fn a_page_is_lent_once_and_taken_back() {
        let (grants, table) = table();
        assert_eq!(grants.lend(9, &page(0x1234), 3, Way::ToDevice), Ok(()));
        assert_eq!(Grants::look(&table, 9), Some((0x1234, 3, false)));
        assert_eq!(grants.lend(9, &page(0x99), 3, Way::FromDevice), Err(Ungrantable), "the number is in use");
        assert_eq!(grants.take_back(9), Ok(()));
        assert_eq!(Grants::look(&table, 9), None);
        assert_eq!(grants.take_back(9), Ok(()), "nothing is lent");
        assert_eq!(grants.lend(9, &page(0x99), 4, Way::FromDevice), Ok(()));
        assert_eq!(Grants::look(&table, 9), Some((0x99, 4, true)));
    }

    #[test]
    fn what_is_still_held_is_not_taken_back() {
        let (grants, table) = table();
        grants.lend(10, &page(5), 0, Way::FromDevice).unwrap();
        Grants::hold(&table, 10, true);
        assert_eq!(grants.take_back(10).unwrap_err().said, 10);
        assert_eq!(grants.lend(10, &page(6), 0, Way::FromDevice), Err(Ungrantable));
        Grants::hold(&table, 10, false);
        assert_eq!(grants.take_back(10), Ok(()));
    }

    #[test]
    fn only_whole_pages_within_reach_and_numbers_of_ours_are_lent() {
        let (grants, _) = table();
        let odd = Pages::pretended(PAGE, 4096 * 9 + 8);
        let far = page(1 << 32);
        let short = Pages::pretended(PAGE - 1, 4096);
        for bad in [&odd, &far, &short] {
            assert_eq!(grants.lend(20, bad, 0, Way::ToDevice), Err(Ungrantable));
        }
        for number in [0, 7, 512, u32::MAX] {
            assert_eq!(grants.lend(number, &page(1), 0, Way::ToDevice), Err(Ungrantable));
            assert!(grants.take_back(number).is_err());
        }
    }

    #[test]
    fn numbers_are_set_aside_once() {
        let (grants, _) = table();
        assert_eq!(grants.reserve(4), Some(8));
        assert_eq!(grants.reserve(500), Some(12));
        assert_eq!(grants.reserve(1), None);
        assert_eq!(grants.reserve(u32::MAX), None);
    }
}
