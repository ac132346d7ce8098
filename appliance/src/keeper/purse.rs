//! What one visitor's tasks hold of the memory, measured at each of their steps.
//!
//! There is one thread, so what the heap has more after a step than before it is what that step took. The stack hears of
//! it ([`net::Account`]) and ends the connections of some when all together hold too much. Should memory be short all the
//! same, no step is run but of those who are being shown out: a step begins below the line or not at all.

use super::means::Means;
use core::cell::Cell;
use net::{Account, Handle, Stream};
use std::rc::Rc;
use tasks::{Tasks, Watch};

impl Means {
    /// A purse for a visitor who comes in by `stream`, or nobody: while memory is short those who are inside need it.
    pub(super) fn admit(&self, handle: &Handle, stream: Stream) -> Option<(Rc<Purse>, Stream)> {
        if runtime::heap::in_use() > self.brim {
            stream.abort();
            return None;
        }
        let purse = Purse::new(handle, runtime::heap::in_use, self.line);
        stream.book(purse.account());
        Some((purse, stream))
    }
}

/// The purse of one visitor.
pub(super) struct Purse {
    account: Rc<Account>,
    /// How many bytes are in use, and how many may be for a step to begin.
    in_use: fn() -> usize,
    line: usize,
    /// What the meter showed when the step under way began; later by what was not its own.
    began: Cell<usize>,
}

impl Purse {
    /// A purse of which nothing is spent while more than `line` bytes are in use.
    fn new(handle: &Handle, in_use: fn() -> usize, line: usize) -> Rc<Self> {
        Rc::new(Self { account: handle.account(), in_use, line, began: Cell::new(0) })
    }

    /// Where what is held is booked.
    pub(super) fn account(&self) -> &Rc<Account> {
        &self.account
    }

    /// Starts the visitor's first task; what that takes is the first that is held.
    pub(super) fn spend_on(self: &Rc<Self>, tasks: &Tasks, task: impl Future<Output = ()> + 'static) {
        let before = self.account.meter();
        tasks.under(self.clone()).spawn(task);
        self.account.hold(self.account.meter().wrapping_sub(before));
    }
}

impl Watch for Purse {
    fn step(&self, run: &mut dyn FnMut()) {
        if (self.in_use)() > self.line && !self.account.is_leaving() {
            return;
        }
        self.began.set(self.account.meter());
        run();
        let held = self.account.held().wrapping_add(self.account.meter()).wrapping_sub(self.began.get());
        // What it gave back may have been another's: nobody holds less than nothing.
        self.account.hold(usize::try_from(held.cast_signed()).unwrap_or(0));
    }

    fn aside(&self, work: &mut dyn FnMut()) {
        let before = self.account.meter();
        work();
        let grown = self.account.meter().wrapping_sub(before);
        self.began.set(self.began.get().wrapping_add(grown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::{Config, Keys, Net};
    use std::cell::RefCell;
    use world::{Instant, NicFacts, Offload};

    thread_local! {
        static HEAP: Cell<usize> = const { Cell::new(0) };
    }

    fn take(bytes: usize) {
        HEAP.set(HEAP.get() + bytes);
    }

    /// A heap of its own for each piece of memory that a test pretends to hold.
    struct Piece(usize);

    impl Piece {
        fn new(bytes: usize) -> Self {
            take(bytes);
            Self(bytes)
        }
    }

    impl Drop for Piece {
        fn drop(&mut self) {
            HEAP.set(HEAP.get() - self.0);
        }
    }

    fn net() -> Net {
        let config = Config { meter: || HEAP.get(), ..Config::default() };
        let facts = NicFacts { mac: [2; 6], mtu: 1500, offload: Offload::default() };
        Net::new(config, facts, Keys::new([1; 64]), Instant::START).unwrap()
    }

    fn purse(net: &Net) -> Rc<Purse> {
        Purse::new(&net.handle(), || HEAP.get(), 1000)
    }

    async fn step() {
        let mut polled = false;
        core::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            if core::mem::replace(&mut polled, true) {
                core::task::Poll::Ready(())
            } else {
                core::task::Poll::Pending
            }
        })
        .await;
    }

    #[test]
    fn a_visitor_holds_what_its_steps_took_and_nobody_elses() {
        let (net, tasks) = (net(), Tasks::new());
        let (one, other) = (purse(&net), purse(&net));
        let kept = Rc::new(RefCell::new(None));
        let inside = kept.clone();
        one.spend_on(&tasks, async move {
            let large = Piece::new(500);
            step().await;
            drop(large);
            inside.replace(Some(Piece::new(30)));
            step().await;
        });
        other.spend_on(&tasks, async move {
            let _small = Piece::new(7);
            step().await;
            step().await;
        });
        let held = |steps| {
            tasks.turn(Instant::START, steps);
            (one.account.held(), other.account.held())
        };
        assert_eq!(held(2), (500, 7));
        assert_eq!(held(2), (30, 7));
        take(100);
        assert_eq!(held(1), (30, 7), "what others take between two steps is not theirs");
        assert_eq!(held(10), (30, 0), "its end is a step");
    }

    #[test]
    fn while_memory_is_short_nobody_takes_a_step() {
        let (net, tasks, steps) = (net(), Tasks::new(), Rc::new(Cell::new(0)));
        let (purse, counted) = (purse(&net), steps.clone());
        purse.spend_on(&tasks, async move {
            loop {
                counted.set(counted.get() + 1);
                step().await;
            }
        });
        tasks.turn(Instant::START, 5);
        let before = steps.get();
        take(1001);
        tasks.turn(Instant::START, 5);
        assert_eq!(steps.get(), before, "it went on beyond the line");
        HEAP.set(0);
        tasks.turn(Instant::START, 5);
        assert!(steps.get() > before, "below the line it goes on");
    }
}
