//! The stream under a session, and the bytes that wait on either side of it.
//!
//! A backlog that is empty owns no memory: that is what makes an idle connection cheap.

use core::cell::Cell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use std::io;
use std::rc::Rc;
use tasks::{Sleep, Timers};

/// Bytes in the order in which they came.
#[derive(Default)]
pub(crate) struct Backlog {
    bytes: Vec<u8>,
    start: usize,
}

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that is still here.
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }

    /// Lets go of the first `count` bytes, and of the memory with the last one.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.bytes.len());
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
    }

    /// Lets go of everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.compact();
        self.bytes.extend_from_slice(bytes);
    }

    /// Lends `room` bytes behind the end to `writer`, and keeps as many as it says it wrote.
    pub(crate) fn fill<E>(
        &mut self,
        room: usize,
        writer: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        self.compact();
        let end = self.bytes.len();
        self.bytes.resize(end + room, 0);
        let written = writer(self.bytes.get_mut(end..).unwrap_or_default());
        self.bytes.truncate(end + written.as_ref().map_or(0, |count| (*count).min(room)));
        written.map(|_| ())
    }

    /// Moves as much as fits into `into` and says how much that was.
    pub(crate) fn pour(&mut self, into: &mut [u8]) -> usize {
        let count = self.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), self.rest().get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        count
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// A stream, what came from it and is not understood yet, and what is to be sent on it.
pub(crate) struct Wire<S> {
    stream: S,
    scratch: Rc<Scratch>,
    spoken: bool,
    pub(crate) incoming: Backlog,
    pub(crate) outgoing: Backlog,
}

/// One buffer for the reads of all connections: they happen one at a time, so none needs its own.
#[derive(Default)]
pub(crate) struct Scratch(Cell<Vec<u8>>);

/// How much is asked of the stream at once: a little more than one largest record.
const GULP: usize = 17 * 1024;

impl Scratch {
    /// Lends the buffer. Whoever asks while it is lent (a stream that is itself a session) gets another.
    fn lend<T>(&self, work: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut bytes = self.0.take();
        bytes.resize(GULP, 0);
        let done = work(&mut bytes);
        self.0.set(bytes);
        done
    }
}

impl<S> Wire<S> {
    pub(crate) fn new(stream: S, scratch: Rc<Scratch>) -> Self {
        Self { stream, scratch, spoken: false, incoming: Backlog::default(), outgoing: Backlog::default() }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Whether the stream was ever given anything to send.
    pub(crate) fn has_spoken(&self) -> bool {
        self.spoken
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Reads once from the stream and says how much came; 0 is the end.
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { stream, scratch, incoming, .. } = self;
        scratch.lend(|room| {
            let count = ready!(Pin::new(stream).poll_read(context, room))?;
            incoming.append(room.get(..count).unwrap_or_default());
            Poll::Ready(Ok(count))
        })
    }

    /// Reads once from the stream, and forgets it.
    pub(crate) fn poll_spill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { stream, scratch, .. } = self;
        scratch.lend(|room| Pin::new(stream).poll_read(context, room))
    }

    /// Gives the stream what waits to be sent.
    pub(crate) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            self.spoken = true;
            match ready!(Pin::new(&mut self.stream).poll_write(context, self.outgoing.rest()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.outgoing.consume(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the stream what waits to be sent, and has it send that.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Closes the stream's sending side.
    pub(crate) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

/// How long and how much a closing connection still listens, so that the peer gets to read our last words: a
/// stack that is closed with unread input answers with a reset, and the peer loses them.
pub(crate) struct Linger {
    timers: Timers,
    sleep: Sleep,
    left: usize,
    said: bool,
}

/// The longest that sending our last words may take.
const LAST_WORDS_TIME: Duration = Duration::from_secs(10);

/// The longest that is listened after them.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// The most that is read and forgotten meanwhile.
const LINGER_BYTES: usize = 1 << 20;

impl Linger {
    /// `listens` is false when the peer has closed: then there is nothing to wait for.
    pub(crate) fn new(timers: &Timers, listens: bool) -> Self {
        let (sleep, left) = (timers.after(LAST_WORDS_TIME), if listens { LINGER_BYTES } else { 0 });
        Self { timers: timers.clone(), sleep, left, said: false }
    }

    /// Sends what waits, closes our side and listens until the peer has closed too or the time is up.
    pub(crate) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.said {
            match self.poll_say(wire, context)? {
                Poll::Pending => {
                    return self.poll_late(context).map(|()| Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Ready(()) => self.said = true,
            }
            self.sleep = self.timers.after(LINGER_TIME);
        }
        match self.poll_listen(wire, context) {
            Poll::Pending => self.poll_late(context).map(Ok),
            done => done.map(Ok),
        }
    }

    fn poll_say<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &mut Wire<S>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(wire.poll_flush(context))?;
        wire.poll_close(context)
    }

    fn poll_listen<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        wire: &mut Wire<S>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        while self.left > 0 {
            match ready!(wire.poll_spill(context)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(count) => self.left = self.left.saturating_sub(count),
            }
        }
        Poll::Ready(())
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.sleep).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(bytes: &[u8]) -> Backlog {
        let mut backlog = Backlog::default();
        backlog.append(bytes);
        backlog
    }

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let mut backlog = backlog(b"abc");
        backlog.consume(1);
        backlog.append(b"de");
        let mut some = [0; 3];
        assert_eq!((backlog.pour(&mut some), &some), (3, b"bcd"));
        assert_eq!(backlog.rest(), b"e");
    }

    #[test]
    fn an_empty_backlog_owns_no_memory() {
        let mut backlog = backlog(&[0; 9000]);
        backlog.consume(9000);
        assert_eq!((backlog.len(), backlog.bytes.capacity()), (0, 0));
        backlog.consume(usize::MAX);
        assert!(backlog.is_empty());
    }

    #[test]
    fn a_writer_that_fails_or_boasts_leaves_nothing_behind() {
        let mut backlog = backlog(b"abc");
        backlog.consume(2);
        assert_eq!(backlog.fill(5, |_| Err(7)), Err(7));
        assert_eq!(backlog.rest(), b"c");
        assert_eq!(
            backlog.fill(2, |room| {
                room.fill(b'x');
                Ok::<_, ()>(99)
            }),
            Ok(())
        );
        assert_eq!(backlog.rest(), b"cxx");
    }
}
