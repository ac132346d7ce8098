//! What is said: a body that was in memory before it was asked for.

use crate::exchange::Exchange;
use bytes::Bytes;
use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll};
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::rc::Rc;

/// A page is handed to hyper in slices of this size: small enough that its progress shows.
const SLICE: usize = 64 * 1024;

/// A body of zero or more pieces. Its end, or its drop, ends the answer it belongs to.
pub(crate) struct Page {
    pieces: VecDeque<Bytes>,
    left: u64,
    exchange: Option<Rc<Exchange>>,
}

impl Page {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::of([bytes])
    }

    pub(crate) fn of(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, left, exchange: None }
    }

    /// The exchange that is open for as long as this page is.
    pub(crate) fn belongs_to(&mut self, exchange: &Rc<Exchange>) {
        exchange.opened();
        self.exchange = Some(exchange.clone());
    }
}

impl Body for Page {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.pieces.front_mut() else { return Poll::Ready(None) };
        let slice = piece.split_to(piece.len().min(SLICE));
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        self.left = self.left.saturating_sub(slice.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(exchange) = &self.exchange {
            exchange.ended();
        }
    }
}
