//! Bodies on their way through: streams on which nobody waits for ever.

use super::heads;
use super::pace::Pace;
use super::tie::Tie;
use crate::exchange::{Exchange, Open};
use crate::page::Page;
use crate::question::Question;
use bundle::Broken;
use bytes::Bytes;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::rc::Rc;
use world::Instant;

/// The body of a request, shared by the two who need it: the upstream reads it, and what it does not read is heard out when
/// the answer is.
pub(super) type Asked = Rc<RefCell<Question>>;

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
    question: Asked,
    progress: Rc<Progress>,
    pace: Pace,
    left: u64,
}

impl Upload {
    pub(super) fn new(
        front: Option<Rc<Exchange>>,
        question: Asked,
        progress: Rc<Progress>,
        pace: Pace,
        most: u64,
    ) -> Self {
        let upload = Self { front, question, progress, pace, left: most };
        if upload.is_end_stream() {
            upload.end();
        } else {
            upload.front.iter().for_each(|front| front.wants(true));
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

impl Drop for Upload {
    fn drop(&mut self) {
        self.front.iter().for_each(|front| front.wants(false));
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
        // The upstream wants no more of it.
        let Some(body) = question.body() else { return Poll::Pending };
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
        self.question.borrow().is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.question.borrow().size_hint()
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

/// The body of an answer on its way to the client.
pub(crate) struct Download {
    body: Incoming,
    tie: Tie,
    open: Open,
    pace: Pace,
    _question: Asked,
}

impl Download {
    pub(super) fn new(body: Incoming, tie: Tie, open: Open, pace: Pace, question: Asked) -> Self {
        if body.is_end_stream() {
            tie.heard();
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
                    self.tie.heard();
                }
                Poll::Ready(Some(Ok(cleaned(frame))))
            }
            Poll::Ready(None) => {
                self.tie.heard();
                Poll::Ready(None)
            }
            Poll::Pending if self.pace.poll_too_slow(context).is_pending() => Poll::Pending,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {
                self.open.broke();
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
