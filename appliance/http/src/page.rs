//! What is said: a body that was in memory before it was asked for.

use crate::exchange::{Exchange, Open};
use crate::house::Source;
use bundle::Broken;
use bytes::Bytes;
use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll};
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::rc::Rc;

/// A page is handed to hyper in slices of this size: small enough that its progress shows.
pub(crate) const SLICE: u64 = 64 * 1024;

/// A body of zero or more pieces. Its end, or its drop, ends the answer it belongs to.
#[derive(Default)]
pub(crate) struct Page {
    pieces: VecDeque<(Source, Range<u64>)>,
    left: u64,
    open: Option<Open>,
}

impl Page {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let mut page = Self::default();
        page.held(bytes);
        page
    }

    /// Adds bytes that are here.
    pub(crate) fn held(&mut self, bytes: Bytes) {
        let all = 0..bytes.len() as u64;
        self.part(Source::Held(bytes), all);
    }

    /// Adds a part of a source.
    pub(crate) fn part(&mut self, source: Source, range: Range<u64>) {
        let length = range.end.saturating_sub(range.start);
        if length > 0 {
            self.left = self.left.saturating_add(length);
            self.pieces.push_back((source, range));
        }
    }

    /// The exchange that is open for as long as this page is.
    pub(crate) fn belongs_to(&mut self, exchange: &Rc<Exchange>) {
        self.is_open(Open::new(exchange));
    }

    /// The answer that is open for as long as this page is.
    pub(crate) fn is_open(&mut self, mut open: Open) {
        open.owes(true);
        self.open = Some(open);
    }

    /// How much is left to say.
    pub(crate) fn length(&self) -> u64 {
        self.left
    }

    /// The next slice of at most so many bytes, verified where it comes from a bundle.
    pub(crate) fn slice(&mut self, most: u64) -> Option<Result<Bytes, Broken>> {
        let (source, range) = self.pieces.front_mut()?;
        let wanted = range.end.saturating_sub(range.start).min(most);
        let mut bytes = match source {
            Source::Held(bytes) => bytes.slice(usize::try_from(range.start).ok()?..),
            Source::Packed(bundle, variant) => match bundle.read(variant, range.start) {
                Ok(bytes) => bytes,
                Err(broken) => return Some(Err(broken)),
            },
        };
        bytes.truncate(usize::try_from(wanted).ok()?);
        let count = bytes.len() as u64;
        range.start = range.start.saturating_add(count);
        self.left = self.left.saturating_sub(count);
        if range.start >= range.end {
            self.pieces.pop_front();
        }
        Some(Ok(bytes))
    }
}

impl Body for Page {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(self.slice(SLICE).map(|slice| slice.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
