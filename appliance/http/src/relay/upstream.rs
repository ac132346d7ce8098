//! One upstream: the connections to it that rest, and what is known of its health.

use crate::wire::{Dial, Trunk};
use bundle::{Proxy, Target};
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use futures_io::AsyncRead;
use std::io;
use std::rc::Rc;
use tasks::{Sleep, Tasks, Timers};
use world::Instant;

/// So many connections to one upstream rest at most.
const RESTING: usize = 32;
/// So many failures in a row eject an upstream.
const FAILURES: u32 = 3;
/// For how long the first time, and at the most.
const EJECTED: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];
/// So many answers in a row change what is thought of an upstream that is asked how it is.
const ASKED: u32 = 2;

/// How an upstream does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its host and port.
    pub name: Rc<str>,
    /// Requests are sent to it.
    pub up: bool,
    /// Requests that it was sent.
    pub requests: u64,
    /// Requests, and connections to it, that came to nothing.
    pub failures: u64,
    /// Requests that were sent once more.
    pub retries: u64,
    /// Requests under way.
    pub in_flight: u32,
    /// Connections that rest.
    pub resting: usize,
}

pub(super) struct Upstream {
    pub(super) name: Rc<str>,
    dial: Rc<dyn Dial>,
    connect: Duration,
    idle: Duration,
    most: u32,
    resting: RefCell<Vec<Rc<Rest>>>,
    in_flight: Cell<u32>,
    requests: Cell<u64>,
    failures: Cell<u64>,
    retries: Cell<u64>,
    in_a_row: Cell<u32>,
    ejected: Cell<Option<(Instant, Duration)>>,
    down: Cell<bool>,
    opinions: Cell<(bool, u32)>,
    life: Cell<u64>,
}

/// A stream to an upstream.
pub(super) struct Line {
    pub(super) trunk: Trunk,
    /// It has carried a request before.
    pub(super) used: bool,
}

/// Why there is no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLine {
    Refused,
    Late,
}

impl Upstream {
    pub(super) fn new(target: &Target, dial: Rc<dyn Dial>, words: &Proxy) -> Rc<Self> {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
        Rc::new(Self {
            name: format!("{host}:{}", target.port).into(),
            dial,
            connect: seconds(words.waits.connect),
            idle: seconds(words.waits.idle),
            most: words.most,
            resting: RefCell::default(),
            in_flight: Cell::new(0),
            requests: Cell::new(0),
            failures: Cell::new(0),
            retries: Cell::new(0),
            in_a_row: Cell::new(0),
            ejected: Cell::new(None),
            down: Cell::new(false),
            opinions: Cell::new((true, 0)),
            life: Cell::new(0),
        })
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            name: self.name.clone(),
            up: !self.down.get() && self.ejected.get().is_none(),
            requests: self.requests.get(),
            failures: self.failures.get(),
            retries: self.retries.get(),
            in_flight: self.in_flight.get(),
            resting: self.resting.borrow().len(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight.get() < self.most
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.get()
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.ejected.get().is_some_and(|(until, _)| until > now)
    }

    /// A request was answered, whatever the answer was.
    pub(super) fn worked(&self) {
        self.in_a_row.set(0);
        self.ejected.set(None);
    }

    /// A request came to nothing, and it was not the client's fault.
    pub(super) fn failed(&self, now: Instant) {
        self.failures.set(self.failures.get().saturating_add(1));
        self.in_a_row.set(self.in_a_row.get().saturating_add(1));
        if self.in_a_row.get() >= FAILURES {
            let span = self.ejected.get().map_or(EJECTED[0], |(_, span)| (span * 2).min(EJECTED[1]));
            self.ejected.set(Some((now + span, span)));
        }
    }

    pub(super) fn retried(&self) {
        self.retries.set(self.retries.get().saturating_add(1));
    }

    /// It was asked how it is.
    pub(super) fn said_of_itself(&self, well: bool) {
        let (before, count) = self.opinions.get();
        let count = if before == well { count.saturating_add(1) } else { 1 };
        self.opinions.set((well, count));
        if count >= ASKED {
            self.down.set(!well);
            if well {
                self.worked();
            }
        }
    }

    /// A request begins; it ends when the ticket is dropped.
    pub(super) fn ticket(self: &Rc<Self>) -> Ticket {
        self.requests.set(self.requests.get().saturating_add(1));
        self.in_flight.set(self.in_flight.get().saturating_add(1));
        Ticket(self.clone())
    }

    /// A stream that rests, or a new one. None rests that began with a `preface`.
    pub(super) async fn line(&self, fresh: bool, preface: Vec<u8>, timers: &Timers) -> Result<Line, NoLine> {
        if !fresh {
            while let Some(rest) = self.last() {
                if let Some(trunk) = rest.taken().await {
                    return Ok(Line { trunk, used: true });
                }
            }
        }
        match timers.within(self.connect, self.dial.dial(preface)).await {
            Ok(Ok(trunk)) => Ok(Line { trunk, used: false }),
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(NoLine::Late),
            Ok(Err(_)) => Err(NoLine::Refused),
            Err(_) => Err(NoLine::Late),
        }
    }

    fn last(&self) -> Option<Rc<Rest>> {
        self.resting.borrow_mut().pop()
    }

    /// Keeps a stream for the next request, until its peer closes it or its time is up.
    pub(super) fn rest(self: Rc<Self>, trunk: Trunk, tasks: &Tasks) {
        if self.resting.borrow().len() >= RESTING {
            return;
        }
        let rest = Rc::new(Rest { trunk: RefCell::new(Some(trunk)), waker: Cell::new(None) });
        self.resting.borrow_mut().push(rest.clone());
        let mut sleep = tasks.timers().after(self.idle);
        tasks.spawn(async move {
            poll_fn(|context| rest.poll_over(&mut sleep, context)).await;
            self.resting.borrow_mut().retain(|other| !Rc::ptr_eq(other, &rest));
        });
    }

    /// A life begins, of which this is the number: every stream that rests is closed.
    pub(super) fn begin(&self) -> u64 {
        for rest in self.resting.take() {
            rest.end();
        }
        self.ejected.set(None);
        self.life.set(self.life.get().wrapping_add(1));
        self.life.get()
    }

    pub(super) fn life(&self) -> u64 {
        self.life.get()
    }
}

/// A request under way.
pub(super) struct Ticket(Rc<Upstream>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

/// A stream that rests, and the task that watches it.
struct Rest {
    trunk: RefCell<Option<Trunk>>,
    waker: Cell<Option<Waker>>,
}

impl Rest {
    /// Ready when nothing rests here any more: it was taken, its peer has said something or left, or its time is up.
    fn poll_over(&self, sleep: &mut Sleep, context: &mut Context<'_>) -> Poll<()> {
        let mut place = self.trunk.borrow_mut();
        let Some(trunk) = place.as_mut() else { return Poll::Ready(()) };
        let heard = Pin::new(trunk).poll_read(context, &mut [0; 1]).is_ready();
        if heard || Pin::new(sleep).poll(context).is_ready() {
            *place = None;
            return Poll::Ready(());
        }
        self.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }

    fn end(&self) -> Option<Trunk> {
        self.waker.take().into_iter().for_each(Waker::wake);
        self.trunk.take()
    }

    /// The stream, if its peer is still silent.
    async fn taken(&self) -> Option<Trunk> {
        let mut trunk = self.end()?;
        let silent =
            poll_fn(|context| Poll::Ready(Pin::new(&mut trunk).poll_read(context, &mut [0; 1]).is_pending()));
        silent.await.then_some(trunk)
    }
}
