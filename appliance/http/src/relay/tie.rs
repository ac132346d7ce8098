//! What holds the two ends of an exchange together.

use core::cell::Cell;
use core::task::{Context, Waker};
use std::rc::Rc;

/// Holds the exchange with an upstream: it ends when the one who holds this has heard all, or lets go.
pub(super) struct Tie(Rc<Knot>);

#[derive(Default)]
struct Knot {
    state: Cell<State>,
    waker: Cell<Option<Waker>>,
}

/// What the one who hears the answer wants of the exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// More.
    #[default]
    Hearing,
    /// Nothing: all was heard.
    Heard,
    /// Nothing: nobody hears any more.
    Cut,
}

/// The other end of a [`Tie`].
pub(super) struct Tied(Rc<Knot>);

pub(super) fn tie() -> (Tie, Tied) {
    let knot = Rc::new(Knot::default());
    (Tie(knot.clone()), Tied(knot))
}

impl Tied {
    pub(super) fn state(&self, context: &Context<'_>) -> State {
        self.0.waker.set(Some(context.waker().clone()));
        self.0.state.get()
    }
}

impl Tie {
    pub(super) fn end(&self, state: State) {
        if self.0.state.get() == State::Hearing {
            self.0.state.set(state);
            self.0.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.end(State::Cut);
    }
}
