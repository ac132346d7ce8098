//! What the layers above see: listeners, streams and connections outward.

use crate::account::Account;
use crate::config::{Figures, Whereabouts};
use crate::post::{PostError, Postbox};
use crate::stack::Stack;
use crate::wire::Ends;
use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::{AsyncRead, AsyncWrite};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// The stack as those see it who listen and connect. Cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(crate) Rc<RefCell<Stack>>);

impl Handle {
    /// Listens on a port of all our addresses until the listener is dropped.
    ///
    /// # Errors
    /// When somebody listens there already, or the port is 0.
    pub fn listen(&self, port: u16) -> Result<Listener, PortTaken> {
        if !self.0.borrow_mut().open(port) {
            return Err(PortTaken(port));
        }
        Ok(Listener { net: self.0.clone(), port })
    }

    /// Connects to `remote`, from `local` if it is given and ours. Dropping the future gives up.
    #[must_use]
    pub fn connect(&self, local: Option<IpAddr>, remote: SocketAddr) -> Connect {
        let called = self.0.borrow_mut().call(local, remote);
        Connect(called.map(|(number, ends)| Stream { net: self.0.clone(), number, ends }))
    }

    /// An account for what somebody holds who speaks over connections of this stack.
    #[must_use]
    pub fn account(&self) -> Rc<Account> {
        self.0.borrow().above.account()
    }

    /// Opens a UDP port: `port`, or, as it should nearly always be, one that nobody can foresee.
    ///
    /// # Errors
    /// When the port is taken, or too many are open.
    pub fn post(&self, port: Option<u16>) -> Result<Postbox, PostError> {
        let port = self.0.borrow_mut().open_post(port)?;
        Ok(Postbox { net: self.0.clone(), port })
    }

    /// Where we are now.
    #[must_use]
    pub fn whereabouts(&self) -> Whereabouts {
        self.0.borrow().whereabouts()
    }

    /// True while a source may have a share and no more: more than half of the room is taken.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.0.borrow().is_crowded()
    }

    /// What was counted so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.borrow().figures()
    }
}

/// Somebody listens on that port already, or it is port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortTaken(pub u16);

impl fmt::Display for PortTaken {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "port {} is taken: choose another", self.0)
    }
}

impl core::error::Error for PortTaken {}

/// A port that is open. Dropping it closes the port and resets what was not accepted.
pub struct Listener {
    net: Rc<RefCell<Stack>>,
    port: u16,
}

impl Listener {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next connection whose handshake is complete.
    pub fn accept(&self) -> Accept<'_> {
        Accept(self)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.net.borrow_mut().shut(self.port);
    }
}

/// The future of [`Listener::accept`].
pub struct Accept<'a>(&'a Listener);

impl Future for Accept<'_> {
    type Output = Stream;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Stream> {
        let net = &self.0.net;
        let next = net.borrow_mut().next(self.0.port, context.waker());
        next.map_or(Poll::Pending, |(number, ends)| Poll::Ready(Stream { net: net.clone(), number, ends }))
    }
}

/// The future of [`Handle::connect`]; dropping it gives up.
pub struct Connect(Option<Stream>);

impl Future for Connect {
    type Output = Result<Stream, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(stream) = self.0.take() else { return Poll::Ready(Err(ConnectError::NoAddress)) };
        let called = stream.net.borrow_mut().called(stream.number, context.waker());
        match called {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(stream)),
            Poll::Ready(Err(why)) => Poll::Ready(Err(ConnectError::new(why))),
            Poll::Pending => {
                self.0 = Some(stream);
                Poll::Pending
            }
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// We have no address from which the peer could be reached, or no free port.
    NoAddress,
    /// The peer refused.
    Refused,
    /// The peer never answered.
    TimedOut,
    /// The network says that there is no way.
    Unreachable,
}

impl ConnectError {
    fn new(why: io::ErrorKind) -> Self {
        match why {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Unreachable,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::NoAddress => "no address of ours to connect from",
            Self::Refused => "the peer refused the connection",
            Self::TimedOut => "the peer did not answer",
            Self::Unreachable => "no way to the peer",
        })
    }
}

impl core::error::Error for ConnectError {}

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

/// One connection. Dropping it closes it gracefully in the background.
pub struct Stream {
    net: Rc<RefCell<Stack>>,
    number: usize,
    ends: Ends,
}

impl Stream {
    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.ends.remote
    }

    /// Our end.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.ends.local
    }

    /// Books what is held for this connection in `account`.
    pub fn book(&self, account: &Rc<Account>) {
        self.net.borrow_mut().book(self.number, account);
    }

    /// Whether the peer is there, as far as that shows without reading what it says. `context` is woken when it changes.
    pub fn presence(&self, context: &mut Context<'_>) -> Presence {
        self.with(|stack, number| stack.presence(number, context.waker()))
    }

    /// Resets the connection.
    pub fn abort(&self) {
        self.with(|stack, number| stack.abort(number));
    }

    /// Asks the stack something; what it takes of the heap for that is its own.
    fn with<T>(&self, ask: impl FnOnce(&mut Stack, usize) -> T) -> T {
        let above = self.net.borrow().above.clone();
        above.aside(|| ask(&mut self.net.borrow_mut(), self.number))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stack, number| stack.read(number, context, into))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stack, number| stack.write(number, context, from))
    }

    /// Done at once: what was written leaves with the next turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closes our half; the other can still be read.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stack, number| stack.close(number));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.with(|stack, number| stack.release(number));
    }
}
