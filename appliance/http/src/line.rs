//! A byte stream as hyper likes it, and the measure of its pace.

use crate::exchange::Exchange;
use bytes::Bytes;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::ReadBufCursor;
use std::io::{self, IoSlice};
use std::rc::Rc;

/// Up to so many bytes, small pieces are joined before they go down: one TLS record for a head and its page.
const JOIN: usize = 16 * 1024;
/// What is read at once.
const SIP: usize = 8 * 1024;

/// The stream below, with what was already read of it in front.
pub(crate) struct Line<S> {
    stream: S,
    /// Bytes that hyper shall read first.
    ahead: Bytes,
    /// After those it may read the stream itself.
    through: bool,
    exchange: Rc<Exchange>,
}

impl<S> Line<S> {
    /// A line on which hyper reads `ahead`, and after that the stream itself if `through`.
    pub(crate) fn new(stream: S, ahead: Bytes, through: bool, exchange: Rc<Exchange>) -> Self {
        Self { stream, ahead, through, exchange }
    }

    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> hyper::rt::Read for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(into.remaining());
            into.put_slice(&self.ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        if !self.through {
            return Poll::Pending;
        }
        let mut sip = [0; SIP];
        let room = into.remaining().min(SIP);
        let room = sip.get_mut(..room).unwrap_or_default();
        let count = core::task::ready!(Pin::new(&mut self.stream).poll_read(context, room))?;
        self.exchange.heard(count);
        into.put_slice(room.get(..count).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Line<S> {
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

impl<S: AsyncWrite + Unpin> hyper::rt::Write for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.booked(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        match &outcome {
            Poll::Ready(Ok(())) => self.exchange.flushed(),
            Poll::Pending => self.exchange.blocked(),
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
        let mut pieces = pieces.iter().filter(|piece| !piece.is_empty());
        let first = pieces.next().map_or(&[][..], |piece| piece);
        let outcome = match pieces.next() {
            Some(second) if first.len() < JOIN => {
                let joined = join(first, core::iter::once(second).chain(pieces));
                Pin::new(&mut self.stream).poll_write(context, &joined)
            }
            _ => Pin::new(&mut self.stream).poll_write(context, first),
        };
        self.booked(outcome)
    }
}

fn join<'a>(first: &[u8], rest: impl Iterator<Item = &'a IoSlice<'a>>) -> Vec<u8> {
    let mut joined = first.to_vec();
    for piece in rest {
        let room = JOIN.saturating_sub(joined.len());
        joined.extend(piece.iter().take(room));
        if joined.len() >= JOIN {
            break;
        }
    }
    joined
}
