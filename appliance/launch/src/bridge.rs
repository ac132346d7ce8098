//! Two connections made one: what one side says the other hears, each direction with its own end.
//!
//! A direction holds at most one buffer of bytes: when its reader is slow, its writer waits. The end of one direction
//! leaves the other open; an error in either breaks both.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use futures_io::{AsyncRead, AsyncWrite};
use std::io::{self, ErrorKind};

const BUFFER: usize = 64 * 1024;

/// Carries bytes both ways until both directions have ended.
pub(crate) async fn join<A, B>(one: &mut A, other: &mut B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Direction::new(), Direction::new());
    poll_fn(|context| {
        let there = there.carry(context, one, other)?;
        let back = back.carry(context, other, one)?;
        if there.is_ready() && back.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// One direction: what was read and not yet written, and how far it is.
struct Direction {
    buffer: Box<[u8]>,
    written: usize,
    read: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ending,
    Ended,
}

impl Direction {
    fn new() -> Self {
        Self { buffer: vec![0; BUFFER].into(), written: 0, read: 0, state: State::Open }
    }

    fn carry(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while self.state != State::Ended {
            match self.buffer.get(self.written..self.read) {
                Some(rest) if !rest.is_empty() => match ready!(Pin::new(&mut *to).poll_write(context, rest))?
                {
                    0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                    taken => self.written += taken,
                },
                _ if self.state == State::Ending => {
                    ready!(Pin::new(&mut *to).poll_close(context))?;
                    self.state = State::Ended;
                }
                _ => match ready!(Pin::new(&mut *from).poll_read(context, &mut self.buffer))? {
                    0 => self.state = State::Ending,
                    got => (self.written, self.read) = (0, got),
                },
            }
        }
        Poll::Ready(Ok(()))
    }
}
