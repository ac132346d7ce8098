//! Byte streams: those that come to us, and those that we have others open.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::{AsyncRead, AsyncWrite};
use std::io;

/// A byte stream whose two directions end one by one.
pub trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// Says that nothing more will be said, and goes on listening. The stream's own `poll_close` will do where that
    /// leaves the other direction alone.
    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_close(context)
    }

    /// Whether the peer is there, as far as that shows without taking what it says. `context` is woken when it changes.
    fn presence(&mut self, context: &mut Context<'_>) -> Presence;

    /// Ready when a read may bring something, so that who waits for that needs no room for it yet.
    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Ends both directions at once and without a word; what was written and is not taken yet is thrown away.
    fn abort(&mut self) {}
}

impl<W: Wire + ?Sized> Wire for Box<W> {
    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_finish(context)
    }

    fn presence(&mut self, context: &mut Context<'_>) -> Presence {
        (**self).presence(context)
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        (**self).poll_ready(context)
    }

    fn abort(&mut self) {
        (**self).abort();
    }
}

/// What is to be seen of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there, or has said something that nobody has read.
    There,
    /// It has said all. Whether it still listens shows only when something is said to it.
    Silent,
    /// The connection is over.
    Gone,
}

/// A stream to somebody else, whatever it is made of.
pub type Trunk = Box<dyn Wire>;

/// A stream that is being opened. Dropping it gives up.
pub type Dialed = Pin<Box<dyn Future<Output = io::Result<Trunk>>>>;

/// Who opens streams to one upstream.
pub trait Dial {
    /// Opens a stream on which `preface` is said first, before TLS if that is spoken.
    fn dial(&self, preface: Vec<u8>) -> Dialed;
}
