//! A byte stream as hyper likes it, and the measure of its pace.

use crate::exchange::Exchange;
use crate::presence::Waiting;
use crate::wire::Wire;
use bytes::Bytes;
use core::pin::Pin;
use core::task::{Context, Poll};
use hyper::rt::ReadBufCursor;
use std::io::{self, IoSlice};
use std::rc::Rc;

/// Up to so many bytes, small pieces are joined before they go down: one TLS record for a head and its page.
pub(crate) const JOIN: usize = 16 * 1024;
/// What is read at once: a head, or a piece of a record. It is cleared for each read, so it is not larger.
const SIP: usize = 2 * 1024;

/// The stream below, with what was already read of it in front.
pub(crate) struct Line<S> {
    stream: S,
    /// Bytes that hyper shall read first.
    ahead: Bytes,
    /// After those it may read the stream itself.
    through: bool,
    exchange: Rc<Exchange>,
    waiting: Waiting,
}

impl<S> Line<S> {
    /// A line on which hyper reads `ahead`, and after that the stream itself if `through`.
    pub(crate) fn new(stream: S, ahead: Bytes, through: bool, exchange: Rc<Exchange>) -> Self {
        Self { stream, ahead, through, exchange, waiting: Waiting::default() }
    }

    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}

impl<S: Wire> hyper::rt::Read for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_wanted()?;
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(into.remaining());
            into.put_slice(&self.ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        if self.exchange.is_awaited() {
            // Whatever is said before the answer is there is not for hyper; but it asks whether the client has left.
            return self.poll_left(context).map(Err);
        }
        if !self.through {
            return Poll::Pending;
        }
        core::task::ready!(self.stream.poll_ready(context));
        let mut sip = [0; SIP];
        let room = into.remaining().min(SIP);
        let room = sip.get_mut(..room).unwrap_or_default();
        let count = core::task::ready!(Pin::new(&mut self.stream).poll_read(context, room))?;
        self.exchange.heard(count);
        into.put_slice(room.get(..count).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: Wire> Line<S> {
    /// Ready when whoever waits for an answer has left.
    pub(crate) fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let Self { stream, exchange, waiting, .. } = self;
        waiting.poll_left(stream, exchange, context)
    }

    /// Says these bytes, once nothing else is to be said before.
    fn poll_say(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.exchange.is_deaf() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = match self.waiting.poll_over(&mut self.stream, context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_write(context, bytes),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        match outcome {
            Poll::Ready(Err(_)) if self.exchange.forgives() => Poll::Ready(Ok(bytes.len())),
            outcome => self.booked(outcome),
        }
    }

    /// Resets the stream of a peer that was given up: what it has not taken by now is kept for it no longer.
    fn is_wanted(&mut self) -> io::Result<()> {
        if self.exchange.is_given_up() {
            self.stream.abort();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Keeps the books on what a write came to.
    fn booked(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Ready(Ok(count)) => self.exchange.wrote(*count),
            Poll::Pending => self.exchange.blocked(),
            Poll::Ready(Err(_)) => {}
        }
        outcome
    }
}

impl<S: Wire> hyper::rt::Write for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_wanted()?;
        self.poll_say(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_wanted()?;
        if self.exchange.is_deaf() {
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        match &outcome {
            Poll::Ready(Ok(())) => self.exchange.flushed(),
            Poll::Pending => self.exchange.blocked(),
            Poll::Ready(Err(_)) if self.exchange.forgives() => return Poll::Ready(Ok(())),
            Poll::Ready(Err(_)) => {}
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_wanted()?;
        let mut pieces = pieces.iter().filter(|piece| !piece.is_empty());
        let first = pieces.next().map_or(&[][..], |piece| piece);
        match pieces.next() {
            Some(second) if first.len() < JOIN => {
                let joined = join(first, core::iter::once(second).chain(pieces));
                self.poll_say(context, &joined)
            }
            _ => self.poll_say(context, first),
        }
    }
}

fn join<'a>(first: &[u8], rest: impl Iterator<Item = &'a IoSlice<'a>> + Clone) -> Vec<u8> {
    let most = rest.clone().fold(first.len(), |sum, piece| sum.saturating_add(piece.len()));
    let mut joined = Vec::with_capacity(most.min(JOIN));
    joined.extend_from_slice(first);
    for piece in rest {
        let room = JOIN.saturating_sub(joined.len());
        joined.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }
    joined
}
