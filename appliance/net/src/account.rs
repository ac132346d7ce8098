//! What connections cost those who speak over them, as these measure it.
//!
//! Each connection is charged a flat sum from its first moment; whoever speaks over it says how much it truly holds, and
//! what is more than that sum counts too. All of it counts against the budget of the stack.

use core::cell::Cell;
use std::rc::Rc;

/// What is held above, all together.
pub(crate) struct Above {
    /// What each connection is charged in any case.
    floor: usize,
    /// What is held beyond that.
    more: Cell<usize>,
    /// What those hold whose connection was taken from them: it comes back as soon as they notice.
    leaving: Cell<usize>,
    meter: fn() -> usize,
    aside: Cell<usize>,
}

/// What one task, or several together, hold for the connections that they have.
pub struct Account {
    above: Rc<Above>,
    held: Cell<usize>,
    leaving: Cell<bool>,
}

impl Above {
    pub(crate) fn new(floor: usize, meter: fn() -> usize) -> Rc<Self> {
        let (more, leaving, aside) = (Cell::new(0), Cell::new(0), Cell::new(0));
        Rc::new(Self { floor, more, leaving, meter, aside })
    }

    pub(crate) fn account(self: &Rc<Self>) -> Rc<Account> {
        Rc::new(Account { above: self.clone(), held: Cell::new(0), leaving: Cell::new(false) })
    }

    /// What is held beyond the flat sums, by those who have their connections still.
    pub(crate) fn more(&self) -> usize {
        self.more.get()
    }

    /// What is about to come back.
    pub(crate) fn leaving(&self) -> usize {
        self.leaving.get()
    }

    /// Does work of the stack's own on behalf of one above: what that takes of the heap is not theirs.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = (self.meter)();
        let done = work();
        let grown = (self.meter)().wrapping_sub(before);
        self.aside.set(self.aside.get().wrapping_add(grown));
        done
    }

    fn add(&self, held: usize) {
        self.more.set(self.more.get().saturating_add(held.saturating_sub(self.floor)));
    }

    fn take(&self, held: usize) {
        self.more.set(self.more.get().saturating_sub(held.saturating_sub(self.floor)));
    }
}

impl Account {
    /// Says how much is held now.
    pub fn hold(&self, bytes: usize) {
        let before = self.held.replace(bytes);
        if self.leaving.get() {
            let others = self.above.leaving().saturating_sub(before);
            return self.above.leaving.set(others.saturating_add(bytes));
        }
        self.above.take(before);
        self.above.add(bytes);
    }

    /// How much is held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// Does work of a connection on behalf of somebody else's step: what that takes is held here, and not there.
    pub fn apart<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = self.meter();
        let done = work();
        let grown = self.meter().wrapping_sub(before);
        self.above.aside.set(self.above.aside.get().wrapping_add(grown));
        // What it gave back may have been another's: nobody holds less than nothing.
        self.hold(usize::try_from(self.held().wrapping_add(grown).cast_signed()).unwrap_or(0));
        done
    }

    /// True once a connection was ended because there was no room for all: whoever has this account should be let go
    /// on, so that its memory comes back.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// The heap's meter less what the stack itself took while it was asked something: two such readings are apart by
    /// what was taken in between and is not the stack's.
    #[must_use]
    pub fn meter(&self) -> usize {
        (self.above.meter)().wrapping_sub(self.above.aside.get())
    }

    pub(crate) fn leave(&self) {
        if !self.leaving.replace(true) {
            self.above.take(self.held.get());
            self.above.leaving.set(self.above.leaving().saturating_add(self.held.get()));
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.hold(0);
    }
}
