//! What the layers above see: listeners, streams and connections outward.

use crate::config::Figures;
use crate::plain::Plain;
use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::{AsyncRead, AsyncWrite};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// The stack as those see it who listen and connect. Cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(crate) Rc<RefCell<Plain>>);

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
        let handle = self.0.borrow_mut().connect(local, remote);
        Connect(handle.map(|handle| Stream::new(&self.0, handle)))
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
    net: Rc<RefCell<Plain>>,
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
        let next = self.0.net.borrow_mut().next(self.0.port, context.waker());
        next.map_or(Poll::Pending, |handle| Poll::Ready(Stream::new(&self.0.net, handle)))
    }
}

/// The future of [`Handle::connect`].
pub struct Connect(Option<Stream>);

impl Future for Connect {
    type Output = Result<Stream, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut stream) = self.0.take() else { return Poll::Ready(Err(ConnectError::NoAddress)) };
        match stream.shaken(context) {
            Poll::Ready(true) => Poll::Ready(Ok(stream)),
            Poll::Ready(false) => Poll::Ready(Err(ConnectError::Refused)),
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

/// One connection. Dropping it closes it gracefully in the background.
pub struct Stream {
    net: Rc<RefCell<Plain>>,
    handle: SocketHandle,
    ends: Option<(SocketAddr, SocketAddr)>,
}

impl Stream {
    fn new(net: &Rc<RefCell<Plain>>, handle: SocketHandle) -> Self {
        let ends = {
            let mut plain = net.borrow_mut();
            let socket = plain.socket(handle);
            let end = |end: smoltcp::wire::IpEndpoint| SocketAddr::new(end.addr.into(), end.port);
            socket.local_endpoint().zip(socket.remote_endpoint()).map(|(l, r)| (end(l), end(r)))
        };
        Self { net: net.clone(), handle, ends }
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.ends.map_or(NOWHERE, |(_, peer)| peer)
    }

    /// Our end.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.ends.map_or(NOWHERE, |(local, _)| local)
    }

    /// Resets the connection.
    pub fn abort(self) {
        self.with(tcp::Socket::abort);
    }

    fn with<T>(&self, act: impl FnOnce(&mut tcp::Socket<'static>) -> T) -> T {
        act(self.net.borrow_mut().socket(self.handle))
    }

    fn shaken(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        self.with(|socket| match socket.state() {
            tcp::State::SynSent | tcp::State::SynReceived => {
                socket.register_send_waker(context.waker());
                Poll::Pending
            }
            tcp::State::Closed => Poll::Ready(false),
            _ => Poll::Ready(true),
        })
    }
}

/// The end of a connection that had none: a socket that was closed before it was seen.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|socket| match socket.recv_slice(into) {
            Ok(0) if !into.is_empty() => {
                socket.register_recv_waker(context.waker());
                Poll::Pending
            }
            Ok(read) => Poll::Ready(Ok(read)),
            Err(tcp::RecvError::Finished) => Poll::Ready(Ok(0)),
            Err(tcp::RecvError::InvalidState) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|socket| match socket.send_slice(from) {
            Ok(0) if !from.is_empty() => {
                socket.register_send_waker(context.waker());
                Poll::Pending
            }
            Ok(written) => Poll::Ready(Ok(written)),
            Err(tcp::SendError::InvalidState) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(tcp::Socket::close);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.net.borrow_mut().leave(self.handle);
    }
}
