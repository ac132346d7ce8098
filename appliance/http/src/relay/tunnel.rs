//! A connection that was taken over: bytes are carried both ways, and nobody reads them.

use crate::wire::{Trunk, Wire};
use bytes::Bytes;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use tasks::{Bell, Sleep, Timers};

/// What is read at once, and held while the other side does not take it.
const SIP: usize = 16 * 1024;
/// After so many pieces others have their turn.
const PIECES: usize = 32;
/// How long both may take to hear that it is over.
const LINGER: Duration = Duration::from_secs(2);

/// The upstream's end of a connection that was taken over.
pub(crate) struct Tunnel {
    pub(super) trunk: Trunk,
    /// What the upstream has said already.
    pub(super) said: Bytes,
    /// How long both may be silent.
    pub(super) patience: Duration,
    pub(super) ticket: super::upstream::Ticket,
}

impl Tunnel {
    /// Carries until both sides have said all, one breaks, both are silent for too long, or `parting` is rung: then both
    /// are told that the other has said all. `heard` is what the client has said already.
    pub(crate) async fn carry<S: Wire>(self, mut client: S, heard: Bytes, timers: &Timers, parting: &Bell) {
        let Self { mut trunk, said, patience, ticket } = self;
        let (mut up, mut down) = (Way::new(heard), Way::new(said));
        let mut sleep = timers.after(patience);
        let (mut parting, mut leaving) = (parting.heard(), false);
        poll_fn(|context| {
            let up_over = up.poll(&mut client, &mut *trunk, context);
            let down_over = down.poll(&mut *trunk, &mut client, context);
            match (up_over, down_over) {
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(()),
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(()),
                _ => {}
            }
            if (up.take_moved() | down.take_moved()) && !leaving {
                sleep.reset(timers.now() + patience);
            }
            // Only now: what has arrived before is on its way.
            if !leaving && Pin::new(&mut parting).poll(context).is_ready() {
                leaving = true;
                (up.parting, down.parting) = (true, true);
                sleep.reset(timers.now() + LINGER);
                context.waker().wake_by_ref();
            }
            poll_alarm(&mut sleep, context)
        })
        .await;
        drop(ticket);
    }
}

fn poll_alarm(sleep: &mut Sleep, context: &mut Context<'_>) -> Poll<()> {
    Pin::new(sleep).poll(context)
}

/// One direction.
struct Way {
    /// Read and not yet taken by the other side. Empty, and without memory, while nothing is on its way.
    held: Bytes,
    ended: bool,
    /// What was read is still said; what comes later is read, or its sender would hear a reset, and thrown away.
    parting: bool,
    closed: bool,
    moved: bool,
}

impl Way {
    fn new(held: Bytes) -> Self {
        Self { held, ended: false, parting: false, closed: false, moved: false }
    }

    fn take_moved(&mut self) -> bool {
        core::mem::take(&mut self.moved)
    }

    /// Ready when all was said and the other side knows it.
    fn poll(
        &mut self,
        from: &mut dyn Wire,
        to: &mut dyn Wire,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        for _ in 0..PIECES {
            if self.closed && self.ended {
                return Poll::Ready(Ok(()));
            }
            if self.closed {
                core::task::ready!(self.poll_hear(from, context))?;
                self.held.clear();
                continue;
            }
            core::task::ready!(self.poll_say(to, context))?;
            if self.ended || self.parting {
                core::task::ready!(to.poll_finish(context))?;
                self.closed = true;
                continue;
            }
            // What was said must leave although nothing follows it.
            let _ = Pin::new(&mut *to).poll_flush(context)?;
            core::task::ready!(self.poll_hear(from, context))?;
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_say(&mut self, to: &mut dyn Wire, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let count = core::task::ready!(Pin::new(&mut *to).poll_write(context, &self.held))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let _ = self.held.split_to(count.min(self.held.len()));
            self.moved = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_hear(&mut self, from: &mut dyn Wire, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sip = [0; SIP];
        let count = core::task::ready!(Pin::new(from).poll_read(context, &mut sip))?;
        self.ended = count == 0;
        self.moved |= count > 0;
        self.held = Bytes::copy_from_slice(sip.get(..count).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}
