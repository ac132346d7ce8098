//! Every way in which what the other side does can fall between the looks of a driver at the memory that both share.
//!
//! A [`Play`] is a list of acts of the other side. [`every_way`] runs a driver against it again and again: each time the
//! acts happen before other ones of the driver's accesses to shared memory, or while it sleeps, until all ways have been
//! tried in which the other side gets to act at a limited number of moments while the driver is awake. A fault that
//! needs more moments than three or four has not been found yet.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What the other side does next; false while it waits for something that has not happened yet.
pub type Act = Box<dyn Fn() -> bool>;

/// The acts of the other side during one run.
#[derive(Clone)]
pub struct Play(Rc<Scene>);

struct Scene {
    acts: Vec<Act>,
    next: Cell<usize>,
    waits: RefCell<Vec<usize>>,
    /// Acts that the driver was asleep for, although they were to come before a moment.
    slept: RefCell<Vec<bool>>,
    passed: Cell<usize>,
}

thread_local! {
    static ON_STAGE: RefCell<Option<Play>> = const { RefCell::new(None) };
}

/// Runs `driver` in every way in which the acts of a play can fall, with at most `moments` of them while it is awake, and
/// says how many ways there were. `driver` gets a new play each time from `write`, and lets it go on when it sleeps.
pub fn every_way<D>(
    moments: usize,
    mut write: impl FnMut() -> (D, Vec<Act>),
    mut driver: impl FnMut(D, &Play),
) -> usize {
    let mut waits: Vec<usize> = Vec::new();
    for count in 1.. {
        let (stage, acts) = write();
        waits.resize(acts.len(), 0);
        let play = Play::new(acts, waits.clone());
        ON_STAGE.set(Some(play.clone()));
        driver(stage, &play);
        ON_STAGE.set(None);
        // What never came to pass need not be tried later.
        play.0.slept.borrow_mut().iter_mut().skip(play.0.next.get()).for_each(|slept| *slept = true);
        if !later(&mut waits, &play.0.slept.borrow(), moments) {
            return count;
        }
    }
    0
}

/// The next way; false when there is none.
fn later(waits: &mut [usize], slept: &[bool], moments: usize) -> bool {
    for at in (0..waits.len()).rev() {
        let others = waits.iter().take(at).filter(|wait| **wait > 0).count();
        let (Some(wait), Some(slept)) = (waits.get_mut(at), slept.get(at)) else { return false };
        if !slept && others < moments {
            *wait += 1;
            return true;
        }
        *wait = 0;
    }
    false
}

/// The driver is about to look at shared memory, or to write there.
pub(crate) fn moment() {
    // Nobody is on stage while the other side acts: it uses the same memory.
    if let Some(play) = ON_STAGE.take() {
        play.moment();
        ON_STAGE.set(Some(play));
    }
}

impl Play {
    fn new(acts: Vec<Act>, waits: Vec<usize>) -> Self {
        let slept = RefCell::new(vec![false; acts.len()]);
        Self(Rc::new(Scene {
            acts,
            next: Cell::new(0),
            waits: RefCell::new(waits),
            slept,
            passed: Cell::new(0),
        }))
    }

    /// The driver sleeps and the other side does the next thing; false when it has done everything.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        ON_STAGE.set(None);
        let at = self.0.next.get();
        let acted = self.act();
        if acted && let Some(slept) = self.0.slept.borrow_mut().get_mut(at) {
            *slept = true;
        }
        ON_STAGE.set(Some(self.clone()));
        acted
    }

    /// True when everything has been done.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.next.get() == self.0.acts.len()
    }

    fn moment(&self) {
        while self.0.waits.borrow().get(self.0.next.get()).is_some_and(|wait| *wait <= self.0.passed.get()) {
            if !self.act() {
                return;
            }
        }
        self.0.passed.set(self.0.passed.get() + 1);
    }

    fn act(&self) -> bool {
        let acted = self.0.acts.get(self.0.next.get()).is_some_and(|act| act());
        if acted {
            self.0.next.set(self.0.next.get() + 1);
            self.0.passed.set(0);
        }
        acted
    }
}
