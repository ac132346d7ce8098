//! Bodies on their way through: streams on which nobody waits for ever.

use super::heads;
use crate::exchange::{Exchange, Open};
use crate::page::Page;
use bundle::Broken;
use bytes::Bytes;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::rc::Rc;
use tasks::{Sleep, Timers};
use world::Instant;

/// The body of a request, shared by the two who need it: the upstream reads it, and it must not go before the answer is
/// out (HTTP/2 would call the request cancelled).
pub(super) type Question = Rc<RefCell<Option<Incoming>>>;

/// What went wrong with the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The client sends too little.
    Slow,
    /// It is longer than it may be.
    Long,
    /// The client has left.
    Gone,
}

/// What is known of the body of a request by those who do not read it.
#[derive(Default)]
pub(super) struct Progress {
    ended: Cell<Option<Instant>>,
    fault: Cell<Option<Fault>>,
    waker: Cell<Option<Waker>>,
}

impl Progress {
    /// When the body was all there.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// Wakes whoever looks when this changes.
    pub(super) fn watch(&self, context: &Context<'_>) {
        self.waker.set(Some(context.waker().clone()));
    }

    fn end(&self, now: Instant) {
        self.ended.set(Some(self.ended.get().unwrap_or(now)));
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

/// The body of a request on its way to an upstream.
pub(super) struct Upload {
    /// The client's side of it.
    front: Option<Rc<Exchange>>,
    question: Question,
    progress: Rc<Progress>,
    pace: Pace,
    left: u64,
}

impl Upload {
    pub(super) fn new(
        front: Option<Rc<Exchange>>,
        question: Question,
        progress: Rc<Progress>,
        pace: Pace,
        most: u64,
    ) -> Self {
        let upload = Self { front, question, progress, pace, left: most };
        if upload.is_end_stream() {
            upload.end();
        }
        upload
    }

    /// All of it was there.
    fn end(&self) {
        self.front.iter().for_each(|front| front.midway(false));
        self.progress.end(self.pace.timers.now());
    }

    fn fail(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.progress.fault.set(Some(fault));
        Poll::Ready(Some(Err(Cut)))
    }

    fn look(&mut self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = match frame.into_data() {
            Ok(data) => {
                let Some(left) = self.left.checked_sub(data.len() as u64) else {
                    return self.fail(Fault::Long);
                };
                self.left = left;
                self.front.iter().for_each(|front| front.took(data.len()));
                self.pace.moved(data.len());
                Frame::data(data)
            }
            Err(frame) => cleaned(frame),
        };
        if self.is_end_stream() {
            self.end();
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let question = self.question.clone();
        let mut question = question.borrow_mut();
        let Some(body) = question.as_mut() else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        drop(question);
        match frame {
            Poll::Ready(Some(Ok(frame))) => self.look(frame),
            Poll::Ready(Some(Err(_))) => self.fail(Fault::Gone),
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending if self.pace.poll_too_slow(context).is_ready() => self.fail(Fault::Slow),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.question.borrow().as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.question.borrow().as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Trailers without what may not stand there.
fn cleaned(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            heads::clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// How much somebody sends while we wait: `floor` bytes in each `span` of waiting. Time in which we did not want to hear
/// anything does not count.
pub(super) struct Pace {
    timers: Timers,
    span: Duration,
    floor: usize,
    waited: Duration,
    since: Option<Instant>,
    moved: usize,
    sleep: Option<Sleep>,
}

impl Pace {
    pub(super) fn new(timers: &Timers, span: Duration, floor: usize) -> Self {
        let timers = timers.clone();
        Self { timers, span, floor, waited: Duration::ZERO, since: None, moved: 0, sleep: None }
    }

    fn moved(&mut self, count: usize) {
        if let Some(since) = self.since.take() {
            self.waited += self.timers.now() - since;
        }
        self.sleep = None;
        self.moved = self.moved.saturating_add(count);
        if self.moved >= self.floor {
            (self.moved, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Nothing is there: ready when that lasts for too long.
    fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = self.timers.now();
        let since = *self.since.get_or_insert(now);
        let due = since + self.span.saturating_sub(self.waited);
        let timers = &self.timers;
        Pin::new(self.sleep.get_or_insert_with(|| timers.at(due))).poll(context)
    }
}

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
    fn end(&self, state: State) {
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

/// The body of an answer on its way to the client.
pub(crate) struct Download {
    body: Incoming,
    tie: Tie,
    open: Open,
    pace: Pace,
    _question: Question,
}

impl Download {
    pub(super) fn new(body: Incoming, tie: Tie, open: Open, pace: Pace, question: Question) -> Self {
        if body.is_end_stream() {
            tie.end(State::Heard);
        }
        Self { body, tie, open, pace, _question: question }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.open.owes(false);
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.pace.moved(frame.data_ref().map_or(1, Bytes::len));
                self.open.owes(true);
                if self.body.is_end_stream() {
                    self.tie.end(State::Heard);
                }
                Poll::Ready(Some(Ok(cleaned(frame))))
            }
            Poll::Ready(None) => {
                self.tie.end(State::Heard);
                Poll::Ready(None)
            }
            Poll::Pending if self.pace.poll_too_slow(context).is_pending() => Poll::Pending,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {
                self.open.broke();
                self.tie.end(State::Cut);
                Poll::Ready(Some(Err(Cut)))
            }
        }
    }
}

/// What is said: our own page, or what an upstream says.
pub(crate) enum Said {
    Page(Page),
    Download(Box<Download>),
}

impl Body for Said {
    type Data = Bytes;
    type Error = Unsaid;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unsaid>>> {
        match &mut *self {
            Self::Page(page) => Pin::new(page).poll_frame(context).map_err(Unsaid::Broken),
            Self::Download(download) => download.poll(context).map_err(|Cut| Unsaid::Cut),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(page) => page.is_end_stream(),
            Self::Download(download) => download.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(page) => page.size_hint(),
            Self::Download(download) => download.body.size_hint(),
        }
    }
}

/// A body ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the body ended before its time")
    }
}

impl core::error::Error for Cut {}

/// Why a body was not said to its end.
#[derive(Debug)]
pub(crate) enum Unsaid {
    Broken(Broken),
    Cut,
}

impl fmt::Display for Unsaid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(out),
            Self::Cut => Cut.fmt(out),
        }
    }
}

impl core::error::Error for Unsaid {}
