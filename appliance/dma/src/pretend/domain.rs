//! Another domain, for tests: it reaches the pages that it was granted and no others.

use crate::{Grants, Pages};
use std::cell::RefCell;
use std::rc::Rc;

const PAGE: usize = 4096;
/// Where the pretended memory begins: frame numbers are as small as on a machine.
const FIRST: u64 = 0x100;

/// A back end's domain, in the hands of a test.
#[derive(Clone, Debug)]
pub struct Domain {
    number: u16,
    table: Pages,
    memory: Rc<RefCell<Vec<Pages>>>,
}

impl Domain {
    /// The domain of that number, beside one whose grant table has room for `entries`.
    #[must_use]
    pub fn new(number: u16, entries: usize) -> Self {
        let domain = Self { number, table: Pages::in_process(entries * 8), memory: Rc::default() };
        let _ = domain.pages(PAGE);
        domain
    }

    /// The grant table, for whoever lends.
    #[must_use]
    pub fn grants(&self) -> Grants {
        Grants::new(self.table.clone())
    }

    /// Memory of the one who lends.
    #[must_use]
    pub fn pages(&self, len: usize) -> Option<Pages> {
        let mut memory = self.memory.borrow_mut();
        let frame = FIRST + memory.iter().map(|run| run.len().div_ceil(PAGE) as u64).sum::<u64>();
        let pages = Pages::pretended(len, frame * PAGE as u64);
        memory.push(pages.clone());
        Some(pages)
    }

    /// The page that was granted to this domain under a number, and whether it may be written.
    #[must_use]
    pub fn granted(&self, number: u32) -> Option<(Pages, bool)> {
        if number as usize * 8 >= self.table.len() {
            return None;
        }
        let (frame, to, writable) = Grants::look(&self.table, number)?;
        let find = |run: &Pages| {
            let first = run.cut(0, run.len())?.device() / PAGE as u64;
            run.cut(usize::try_from(u64::from(frame).checked_sub(first)?).ok()? * PAGE, PAGE)
        };
        let page = self.memory.borrow().iter().find_map(find);
        page.filter(|_| to == self.number).map(|page| (page, writable))
    }

    /// Holds a granted page, or lets go of it.
    pub fn hold(&self, number: u32, held: bool) {
        Grants::hold(&self.table, number, held);
    }

    /// How many pages are granted to anybody.
    #[must_use]
    pub fn open(&self) -> usize {
        (8..self.table.len() as u32 / 8).filter(|number| Grants::look(&self.table, *number).is_some()).count()
    }
}
