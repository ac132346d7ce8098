//! Host sockets as futures: one epoll, edge-triggered, on the thread that runs everything else.
//!
//! A socket is registered once and stays so until it is dropped. Whoever finds it not ready leaves a waker; the sleep at
//! the end of a turn of the loop wakes whom the kernel has news for.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use futures_io::{AsyncRead, AsyncWrite};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

/// News taken from the kernel at once.
const MOST_NEWS: usize = 256;

/// Every socket of this thread that somebody may wait for.
#[derive(Clone)]
pub(crate) struct Watch(Rc<Sockets>);

struct Sockets {
    epoll: OwnedFd,
    waiting: RefCell<HashMap<u64, Waiting>>,
    last: Cell<u64>,
}

/// Who waits for one socket: for something to read, and for room to write.
#[derive(Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What a task waits for.
#[derive(Clone, Copy)]
enum For {
    Reading,
    Writing,
}

/// A socket that is registered until it is dropped.
pub(crate) struct Watched<S: AsFd> {
    socket: S,
    key: u64,
    watch: Watch,
}

impl Watch {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self(Rc::new(Sockets { epoll, waiting: RefCell::default(), last: Cell::new(0) })))
    }

    /// Registers a socket, which must not block.
    pub(crate) fn socket<S: AsFd>(&self, socket: S) -> io::Result<Watched<S>> {
        let key = self.0.last.get() + 1;
        self.0.last.set(key);
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.0.epoll, &socket, EventData::new_u64(key), interest)?;
        self.0.waiting.borrow_mut().insert(key, Waiting::default());
        Ok(Watched { socket, key, watch: self.clone() })
    }

    /// Connects to an address of the host's world.
    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<Watched<TcpStream>> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket =
            socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        match connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(refused) => return Err(refused.into()),
        }
        let stream = self.socket(TcpStream::from(socket))?;
        poll_fn(|context| stream.try_to(For::Writing, context, connected)).await?;
        Ok(stream)
    }

    /// Sleeps until a socket has news or the time is up, and wakes whoever waits for it.
    pub(crate) fn sleep(&self, most: Option<Duration>) {
        let mut news = Vec::with_capacity(MOST_NEWS);
        let most = most.and_then(|most| most.try_into().ok());
        // An interrupted sleep is a short one.
        let _ = epoll::wait(&self.0.epoll, spare_capacity(&mut news), most.as_ref());
        for event in news {
            let key = event.data.u64();
            let who = self.0.waiting.borrow_mut().get_mut(&key).map(core::mem::take);
            let who = who.into_iter().flat_map(|who| [who.reader, who.writer]);
            who.flatten().for_each(Waker::wake);
        }
    }
}

/// Whether a connection that was begun is made.
fn connected(socket: &TcpStream) -> io::Result<()> {
    sockopt::socket_error(socket)??;
    match socket.peer_addr() {
        Err(error) if error.kind() == ErrorKind::NotConnected => Err(ErrorKind::WouldBlock.into()),
        other => other.map(drop),
    }
}

impl<S: AsFd> Watched<S> {
    /// Does it now, or when the kernel says that it can be done.
    fn try_to<T>(
        &self,
        what: For,
        context: &Context<'_>,
        mut act: impl FnMut(&S) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match act(&self.socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                done => return Poll::Ready(done),
            }
        }
        if let Some(who) = self.watch.0.waiting.borrow_mut().get_mut(&self.key) {
            let place = match what {
                For::Reading => &mut who.reader,
                For::Writing => &mut who.writer,
            };
            *place = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Watched<TcpListener> {
    /// The next client.
    pub(crate) async fn accept(&self) -> io::Result<(Watched<TcpStream>, SocketAddr)> {
        let (client, from) =
            poll_fn(|context| self.try_to(For::Reading, context, TcpListener::accept)).await?;
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        Ok((self.watch.socket(client)?, from))
    }
}

impl Watched<UnixListener> {
    /// The next client of this host.
    pub(crate) fn poll_accept(&self, context: &Context<'_>) -> Poll<io::Result<UnixStream>> {
        self.try_to(For::Reading, context, UnixListener::accept).map_ok(|(client, _)| client)
    }
}

impl<S: AsFd> Watched<S>
where
    for<'a> &'a S: Read,
{
    /// Reads what is there, or waits for it.
    pub(crate) async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.try_to(For::Reading, context, |mut socket| socket.read(into))).await
    }
}

impl Watched<TcpStream> {
    /// Breaks the connection off, so that the peer sees an error and not an end.
    pub(crate) fn abort(self) {
        // The socket goes either way.
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }
}

/// A stream whose writing half can be ended alone.
pub(crate) trait HalfClose {
    /// Tells the peer that nothing more will come.
    fn end(&self) -> io::Result<()>;
}

impl HalfClose for TcpStream {
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl HalfClose for UnixStream {
    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl<S: AsFd> AsyncRead for Watched<S>
where
    for<'a> &'a S: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.try_to(For::Reading, context, |mut socket| socket.read(into))
    }
}

impl<S: AsFd + HalfClose> AsyncWrite for Watched<S>
where
    for<'a> &'a S: Write,
{
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.try_to(For::Writing, context, |mut socket| socket.write(from))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.end())
    }
}

impl<S: AsFd> Drop for Watched<S> {
    fn drop(&mut self) {
        self.watch.0.waiting.borrow_mut().remove(&self.key);
        let _ = epoll::delete(&self.watch.0.epoll, &self.socket);
    }
}
