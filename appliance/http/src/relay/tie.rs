//! What holds the two ends of an exchange together.

use core::cell::Cell;
use core::task::{Context, Waker};
use std::rc::Rc;

/// In the hands of the one who hears an answer. Who leaves in the middle of it drops the body, which hyper notices.
pub(super) struct Tie(Rc<Knot>);

#[derive(Default)]
struct Knot {
    heard: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// The other end of a [`Tie`].
pub(super) struct Tied(Rc<Knot>);

pub(super) fn tie() -> (Tie, Tied) {
    let knot = Rc::new(Knot::default());
    (Tie(knot.clone()), Tied(knot))
}

impl Tied {
    /// Whether all of the answer was heard. Who asks is woken when it is.
    pub(super) fn is_heard(&self, context: &Context<'_>) -> bool {
        self.0.waker.set(Some(context.waker().clone()));
        self.0.heard.get()
    }
}

impl Tie {
    /// All of the answer was heard.
    pub(super) fn heard(&self) {
        self.0.heard.set(true);
        self.0.waker.take().into_iter().for_each(Waker::wake);
    }
}
