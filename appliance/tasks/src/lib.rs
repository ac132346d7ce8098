//! The executor and its timers.
//!
//! Everything above the network is a future on one thread. A turn of the loop runs only the tasks that were woken, so a
//! connection that has nothing to do costs nothing. There is no clock here: the loop says what time it is.
#![forbid(unsafe_code)]

use async_executor::LocalExecutor;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;
use world::Instant;

/// The tasks of this appliance and the time they live in.
#[derive(Clone, Default)]
pub struct Tasks {
    executor: Rc<LocalExecutor<'static>>,
    timers: Timers,
    watch: Option<Rc<dyn Watch>>,
}

/// Whoever watches over some tasks: what they take, and when they may go on.
pub trait Watch {
    /// Runs a step of one of them now, or does not: then it comes up again after all others that are awake. What the
    /// step takes and gives back is the task's.
    fn step(&self, run: &mut dyn FnMut());

    /// Does work that belongs to none of them, in the middle of a step.
    fn aside(&self, work: &mut dyn FnMut());
}

impl Tasks {
    /// No tasks yet; the time is [`Instant::START`] until the first turn.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same tasks; those that are spawned by this value, and by them in turn, are watched over by `watch`.
    #[must_use]
    pub fn under(&self, watch: Rc<dyn Watch>) -> Self {
        Self { watch: Some(watch), ..self.clone() }
    }

    /// The same tasks; those that are spawned by this value are watched over by nobody.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { watch: None, ..self.clone() }
    }

    /// Starts a task and lets it live until it is done.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let Some(watch) = self.watch.clone() else { return self.executor.spawn(task).detach() };
        let mut watched = Some(watched(watch.clone(), Box::pin(task)));
        watch.aside(&mut || watched.take().into_iter().for_each(|task| self.executor.spawn(task).detach()));
    }

    /// The clock and the alarms of these tasks.
    #[must_use]
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Runs what is awake at `now`, at most `most` steps, so that a busy task cannot keep the loop from its frames.
    /// Says how many steps were run: after 0 the loop may sleep, after more it looks at its frames first.
    pub fn turn(&self, now: Instant, most: usize) -> usize {
        self.timers.ring(now);
        (0..most).take_while(|_| self.executor.try_tick()).count()
    }
}

/// A task whose steps, its end among them, are run by `watch`.
async fn watched(watch: Rc<dyn Watch>, task: Pin<Box<dyn Future<Output = ()>>>) {
    let mut task = Some(task);
    poll_fn(|context| {
        let mut outcome = None;
        watch.step(&mut || {
            let polled = task.as_mut().map_or(Poll::Ready(()), |task| task.as_mut().poll(context));
            if polled.is_ready() {
                task = None;
            }
            outcome = Some(polled);
        });
        outcome.unwrap_or_else(|| {
            context.waker().wake_by_ref();
            Poll::Pending
        })
    })
    .await;
}

/// A clock that somebody else winds, and the alarms set on it.
#[derive(Clone, Default)]
pub struct Timers(Rc<Wheel>);

#[derive(Default)]
struct Wheel {
    now: Cell<Instant>,
    last: Cell<u64>,
    alarms: RefCell<BTreeMap<(Instant, u64), Waker>>,
}

impl Timers {
    /// The time, as the loop last said it.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.now.get()
    }

    /// The earliest alarm: the loop need not turn before it, unless a frame comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.alarms.borrow().keys().next().map(|(at, _)| *at)
    }

    /// A future that is done after `span`.
    #[must_use]
    pub fn after(&self, span: Duration) -> Sleep {
        self.at(self.now() + span)
    }

    /// A future that is done at `at`.
    #[must_use]
    pub fn at(&self, at: Instant) -> Sleep {
        let number = self.0.last.get();
        self.0.last.set(number + 1);
        Sleep { timers: self.clone(), key: (at, number) }
    }

    /// `work`, unless `span` passes first.
    ///
    /// # Errors
    /// When the time is up.
    pub async fn within<T>(&self, span: Duration, work: impl Future<Output = T>) -> Result<T, TooLate> {
        let mut sleep = self.after(span);
        let mut work = core::pin::pin!(work);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => Pin::new(&mut sleep).poll(context).map(|()| Err(TooLate)),
        })
        .await
    }

    /// Winds the clock and wakes whoever is due.
    fn ring(&self, now: Instant) {
        self.0.now.set(now.max(self.now()));
        loop {
            let due = {
                let mut alarms = self.0.alarms.borrow_mut();
                match alarms.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            due.wake();
        }
    }
}

/// A bell that is rung once; whoever listens hears it, then or at once.
#[derive(Clone, Default)]
pub struct Bell(Rc<Clapper>);

#[derive(Default)]
struct Clapper {
    rung: Cell<bool>,
    last: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
}

impl Bell {
    /// Rings it.
    pub fn ring(&self) {
        self.0.rung.set(true);
        core::mem::take(&mut *self.0.waiting.borrow_mut()).into_values().for_each(Waker::wake);
    }

    /// Whether it was rung.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        self.0.rung.get()
    }

    /// A future that is done when it is rung.
    #[must_use]
    pub fn heard(&self) -> Hearing {
        let number = self.0.last.get();
        self.0.last.set(number + 1);
        Hearing { bell: self.clone(), number }
    }
}

/// One listener. Dropping it takes it off the bell.
pub struct Hearing {
    bell: Bell,
    number: u64,
}

impl Future for Hearing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.bell.is_rung() {
            return Poll::Ready(());
        }
        self.bell.0.waiting.borrow_mut().insert(self.number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.bell.0.waiting.borrow_mut().remove(&self.number);
    }
}

/// The time was up before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLate;

/// One alarm. Dropping it takes it off the clock.
pub struct Sleep {
    timers: Timers,
    key: (Instant, u64),
}

impl Sleep {
    /// Moves the alarm; whoever waits must poll again.
    pub fn reset(&mut self, at: Instant) {
        let waker = self.timers.0.alarms.borrow_mut().remove(&self.key);
        self.key.0 = at;
        if let Some(waker) = waker {
            self.timers.0.alarms.borrow_mut().insert(self.key, waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.key.0 <= self.timers.now() {
            return Poll::Ready(());
        }
        self.timers.0.alarms.borrow_mut().insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.timers.0.alarms.borrow_mut().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn sleepers_wake_in_the_order_of_their_alarms() {
        let tasks = Tasks::new();
        let woken = Rc::new(RefCell::new(Vec::new()));
        for seconds in [3, 1, 2] {
            let (timers, woken) = (tasks.timers().clone(), woken.clone());
            tasks.spawn(async move {
                timers.after(Duration::from_secs(seconds)).await;
                woken.borrow_mut().push(seconds);
            });
        }
        tasks.turn(at(0), 100);
        assert_eq!(tasks.timers().deadline(), Some(at(1)));
        tasks.turn(at(2), 100);
        assert_eq!(*woken.borrow(), [1, 2]);
        tasks.turn(at(3), 100);
        assert_eq!(*woken.borrow(), [1, 2, 3]);
        assert_eq!(tasks.timers().deadline(), None);
    }

    #[test]
    fn work_that_takes_too_long_is_dropped_with_its_alarm() {
        let tasks = Tasks::new();
        let (timers, seen) = (tasks.timers().clone(), Rc::new(Cell::new(None)));
        let told = seen.clone();
        tasks.spawn(async move {
            let never = core::future::pending::<()>();
            told.set(Some(timers.within(Duration::from_secs(5), never).await));
        });
        tasks.turn(at(4), 100);
        tasks.turn(at(5), 100);
        assert_eq!(seen.get(), None, "the alarm was set at 4 s");
        tasks.turn(at(9), 100);
        assert_eq!(seen.get(), Some(Err(TooLate)));
        assert_eq!(tasks.timers().deadline(), None);
    }

    /// Counts steps; lets none pass while it is shut.
    #[derive(Default)]
    struct Gate {
        shut: Cell<bool>,
        steps: Cell<u32>,
        dropped: Rc<Cell<bool>>,
        at_the_end: Cell<bool>,
        aside: Cell<u32>,
    }

    impl Watch for Gate {
        fn step(&self, run: &mut dyn FnMut()) {
            if !self.shut.get() {
                self.steps.set(self.steps.get() + 1);
                let before = self.dropped.get();
                run();
                self.at_the_end.set(!before && self.dropped.get());
            }
        }

        fn aside(&self, work: &mut dyn FnMut()) {
            self.aside.set(self.aside.get() + 1);
            work();
        }
    }

    struct Held(Rc<Cell<bool>>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    #[test]
    fn a_watch_sees_every_step_and_the_end_and_may_put_them_off() {
        let (tasks, gate) = (Tasks::new(), Rc::new(Gate::default()));
        let (under, held) = (tasks.under(gate.clone()), Held(gate.dropped.clone()));
        let inside = under.clone();
        under.spawn(async move {
            let _held = held;
            inside.spawn(async {});
        });
        gate.shut.set(true);
        assert_eq!((tasks.turn(at(0), 10), gate.steps.get()), (10, 0), "it comes up again and again");
        gate.shut.set(false);
        tasks.turn(at(0), 1);
        assert!(gate.at_the_end.get(), "what a task held goes in its last step");
        tasks.turn(at(0), 10);
        assert_eq!((gate.steps.get(), gate.aside.get()), (2, 2), "the second was watched too");
    }

    #[test]
    fn a_bell_wakes_all_who_listen_and_forgets_those_who_left() {
        let (tasks, bell, heard) = (Tasks::new(), Bell::default(), Rc::new(Cell::new(0)));
        for _ in 0..3 {
            let (listening, heard) = (bell.heard(), heard.clone());
            tasks.spawn(async move {
                listening.await;
                heard.set(heard.get() + 1);
            });
        }
        tasks.turn(at(0), 100);
        let mut gone = bell.heard();
        let _ = Pin::new(&mut gone).poll(&mut Context::from_waker(Waker::noop()));
        drop(gone);
        assert_eq!((heard.get(), bell.0.waiting.borrow().len()), (0, 3));
        bell.ring();
        tasks.turn(at(0), 100);
        assert_eq!((heard.get(), bell.is_rung()), (3, true));
    }

    #[test]
    fn a_task_that_never_sleeps_does_not_hold_the_loop() {
        let tasks = Tasks::new();
        tasks.spawn(async {
            loop {
                poll_fn(|context| {
                    context.waker().wake_by_ref();
                    Poll::<()>::Pending
                })
                .await;
            }
        });
        assert_eq!(tasks.turn(at(0), 10), 10, "it is still awake after ten steps");
    }
}
