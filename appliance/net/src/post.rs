//! Datagrams, as the layers above send and hear them: for a resolver's questions and a log's lines.
//!
//! ```
//! # async fn ask(net: net::Handle, server: std::net::SocketAddr) -> Result<Option<Vec<u8>>, net::PostError> {
//! let post = net.post(None)?; // a port that nobody can foresee; one for each question is best
//! post.send(server, b"question")?;
//! Ok(post.receive().await.ok().map(|letter| letter.bytes.into())) // with a timer beside it
//! # }
//! ```

use crate::stack::Stack;
use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::net::SocketAddr;
use std::rc::Rc;

/// A UDP port of ours. Dropping it closes the port and drops what waits.
///
/// It hears only those to whom it wrote (the last eight), at the address from which it wrote. 32 datagrams of 64 KiB
/// together may wait; what comes beyond is dropped and counted. Nothing here ever waits for the network, and no packet
/// is ever cut into fragments or put together from some.
pub struct Postbox {
    pub(crate) net: Rc<RefCell<Stack>>,
    pub(crate) port: u16,
}

/// A datagram that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Who sent it, as it says.
    pub from: SocketAddr,
    /// What it carries.
    pub bytes: Box<[u8]>,
}

/// What was said of a datagram that we sent: somebody on the way quoted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounce {
    /// To whom it was.
    pub to: SocketAddr,
    /// What became of it.
    pub why: Why,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody listens at that port.
    Refused,
    /// There is no way, or our address is gone.
    Unreachable,
    /// The way carries packets, with their headers, of so many bytes.
    TooBig(usize),
}

/// Why a datagram, or a port for it, cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostError {
    /// The port is taken, reserved or 0.
    Taken(u16),
    /// Too many ports are open.
    TooMany,
    /// We have no address from which the other end could be reached.
    NoAddress,
    /// Not one host, or ourselves.
    NotAHost(SocketAddr),
    /// It does not fit a packet: so many bytes would.
    TooLong(usize),
}

impl Postbox {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a datagram with the next turn. It may be lost on the way, and here, if too much waits for the interface.
    ///
    /// # Errors
    /// When it cannot be sent at all.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) -> Result<(), PostError> {
        self.net.borrow_mut().send(self.port, to, bytes)
    }

    /// The next datagram, or what is said of one that we sent.
    pub fn receive(&self) -> Receive<'_> {
        Receive(self)
    }

    /// What waits, if something does.
    #[must_use]
    pub fn try_receive(&self) -> Option<Result<Letter, Bounce>> {
        self.net.borrow_mut().take_letter(self.port, Waker::noop())
    }

    /// Datagrams that were dropped because nobody received them in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.net.borrow().letters_lost(self.port)
    }
}

impl Drop for Postbox {
    fn drop(&mut self) {
        self.net.borrow_mut().shut_post(self.port);
    }
}

/// The future of [`Postbox::receive`].
pub struct Receive<'a>(&'a Postbox);

impl Future for Receive<'_> {
    type Output = Result<Letter, Bounce>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let taken = self.0.net.borrow_mut().take_letter(self.0.port, context.waker());
        taken.map_or(Poll::Pending, Poll::Ready)
    }
}

impl fmt::Display for PostError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(port) => write!(to, "UDP port {port} is taken: choose another"),
            Self::TooMany => to.write_str("too many UDP ports are open: close some"),
            Self::NoAddress => to.write_str("no address of ours to send from"),
            Self::NotAHost(other) => write!(to, "{other} is not another host: give the address of one"),
            Self::TooLong(most) => write!(to, "a datagram may have {most} bytes here: send less"),
        }
    }
}

impl core::error::Error for PostError {}
