//! Whether a client that waits for an answer is still there.
//!
//! One that has said all may have left or may listen: only who is told something shows which. What HTTP/1.1 has to tell
//! before an answer is an interim one, and every client reads past "100 Continue".

use crate::exchange::Exchange;
use crate::wire::{Presence, Wire};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use tasks::Sleep;

/// What is said to see whether somebody listens.
const ASIDE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How long a client has been silent for ever when it is asked first; each further time comes after twice as long.
const FIRST: Duration = Duration::from_secs(2);
/// No client is asked more often: some count interim answers.
const MOST: u32 = 4;

/// What is known of the client of one exchange.
#[derive(Default)]
pub(crate) struct Waiting {
    sleep: Option<Pin<Box<Sleep>>>,
    asked: u32,
    /// The rest of a question that did not go down at once.
    unsaid: &'static [u8],
    /// Of the answer something was said.
    answering: bool,
}

impl Waiting {
    /// Ready when the client of a request that waits for its answer has left.
    pub(crate) fn poll_left<S: Wire>(
        &mut self,
        stream: &mut S,
        exchange: &Exchange,
        context: &mut Context<'_>,
    ) -> Poll<io::Error> {
        loop {
            match stream.presence(context) {
                Presence::There => return Poll::Pending,
                Presence::Gone => return Poll::Ready(io::ErrorKind::ConnectionReset.into()),
                Presence::Silent if self.answering || self.asked >= MOST || !exchange.hears_asides() => {
                    return Poll::Pending;
                }
                Presence::Silent => {
                    let pause = FIRST * 2_u32.pow(self.asked);
                    let sleep = self.sleep.get_or_insert_with(|| Box::pin(exchange.after(pause)));
                    ready!(sleep.as_mut().poll(context));
                    self.sleep = None;
                    self.asked = self.asked.saturating_add(1);
                    self.unsaid = ASIDE;
                    if let Poll::Ready(Err(error)) = self.poll_say(stream, context) {
                        return Poll::Ready(error);
                    }
                }
            }
        }
    }

    /// Says what is left of a question: nothing else may come between.
    pub(crate) fn poll_say<S: Wire>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.unsaid.is_empty() {
            let count = ready!(Pin::new(&mut *stream).poll_write(context, self.unsaid))?;
            self.unsaid = self.unsaid.get(count..).filter(|_| count > 0).ok_or(io::ErrorKind::WriteZero)?;
        }
        // It leaves with whatever moves the connection next; an error shows there.
        let _ = Pin::new(stream).poll_flush(context)?;
        Poll::Ready(Ok(()))
    }

    /// The answer begins.
    pub(crate) fn poll_over<S: Wire>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.answering = true;
        if self.unsaid.is_empty() { Poll::Ready(Ok(())) } else { self.poll_say(stream, context) }
    }
}
