//! The bench that the tests stand on: a pipe in memory, a clock that the test winds, a house of a few pages.

use crate::{
    Coding, Found, House, Leaf, Limits, Notice, Presence, Shelf, Site, Source, Variant, Visit, Wire, serve,
};
use bytes::Bytes;
use core::cell::RefCell;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use std::io;
use std::rc::Rc;
use tasks::Tasks;
use world::Instant;

/// What lies in one direction of a pipe.
#[derive(Default)]
pub(crate) struct Way {
    pub(crate) bytes: Vec<u8>,
    pub(crate) closed: bool,
    waker: Option<Waker>,
}

#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) up: Way,
    pub(crate) down: Way,
    /// How much may lie in `down` before writing blocks.
    pub(crate) room: usize,
    /// Whoever reads or writes is told that the peer has reset the connection.
    pub(crate) reset: bool,
    /// The peer hears nothing more, and may still have said something: that shows when something is written, or
    pub(crate) deaf: bool,
    /// when that is to leave, as behind TLS.
    pub(crate) stuck: bool,
    /// We have reset it.
    pub(crate) aborted: bool,
}

impl Pipe {
    /// Wakes whoever waits at our end.
    pub(crate) fn stir(pipe: &RefCell<Self>) {
        let mut inside = pipe.borrow_mut();
        let wakers = [inside.up.waker.take(), inside.down.waker.take()];
        drop(inside);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// Our end of the pipe.
pub(crate) struct End(pub(crate) Rc<RefCell<Pipe>>);

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.borrow_mut();
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.up.bytes.is_empty() && !pipe.up.closed {
            pipe.up.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = pipe.up.bytes.len().min(into.len());
        into[..count].copy_from_slice(&pipe.up.bytes[..count]);
        pipe.up.bytes.drain(..count);
        Poll::Ready(Ok(count))
    }
}

impl Wire for End {
    fn presence(&mut self, context: &mut Context<'_>) -> Presence {
        let mut pipe = self.0.borrow_mut();
        pipe.up.waker = Some(context.waker().clone());
        match (pipe.reset, pipe.up.closed && pipe.up.bytes.is_empty()) {
            (true, _) => Presence::Gone,
            (_, true) => Presence::Silent,
            _ => Presence::There,
        }
    }

    fn abort(&mut self) {
        self.0.borrow_mut().aborted = true;
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.borrow_mut();
        assert!(!pipe.down.closed, "written after the close");
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(pipe.room - pipe.down.bytes.len());
        if count == 0 && !bytes.is_empty() {
            pipe.down.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        pipe.down.bytes.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stuck = self.0.borrow().stuck.then_some(io::ErrorKind::BrokenPipe);
        Poll::Ready(stuck.map_or(Ok(()), |why| Err(why.into())))
    }

    fn poll_close(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().down.closed = true;
        Poll::Ready(Ok(()))
    }
}

/// A client with one connection to a house, and the clock of both.
pub(crate) struct Client {
    pub(crate) pipe: Rc<RefCell<Pipe>>,
    pub(crate) tasks: Tasks,
    now: Instant,
}

impl Client {
    /// A connection to `house` of which `visit` is known.
    pub(crate) fn of(house: Rc<House>, visit: Visit) -> Self {
        let pipe = Rc::new(RefCell::new(Pipe { room: 1 << 30, ..Pipe::default() }));
        let tasks = Tasks::new();
        let (end, served) = (End(pipe.clone()), tasks.clone());
        tasks.spawn(async move { serve(end, visit, house, served).await });
        let mut client = Self { pipe, tasks, now: Instant::START };
        client.turn();
        client
    }

    /// A connection to the house of a few pages.
    pub(crate) fn new() -> Self {
        Self::of(Rc::new(house()), visit())
    }

    /// Lets `room` bytes lie in the pipe before writing to us blocks.
    pub(crate) fn with_room(self, room: usize) -> Self {
        self.pipe.borrow_mut().room = room;
        self
    }

    pub(crate) fn turn(&mut self) {
        assert!(self.tasks.turn(self.now, 100_000) < 100_000, "it never comes to rest");
    }

    /// Winds the clock.
    pub(crate) fn wait(&mut self, seconds: f64) {
        self.now = self.now + Duration::from_secs_f64(seconds);
        self.turn();
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let mut pipe = self.pipe.borrow_mut();
        pipe.up.bytes.extend_from_slice(bytes.as_ref());
        let waker = pipe.up.waker.take();
        drop(pipe);
        waker.into_iter().for_each(Waker::wake);
        self.turn();
    }

    /// Sends nothing more.
    pub(crate) fn close(&mut self) {
        self.pipe.borrow_mut().up.closed = true;
        self.send("");
    }

    /// Takes at most `most` bytes of what lies in the pipe.
    pub(crate) fn take(&mut self, most: usize) -> Vec<u8> {
        let mut pipe = self.pipe.borrow_mut();
        let count = pipe.down.bytes.len().min(most);
        let taken = pipe.down.bytes.drain(..count).collect();
        let waker = pipe.down.waker.take();
        drop(pipe);
        waker.into_iter().for_each(Waker::wake);
        self.turn();
        taken
    }

    /// Everything that was said, without the `Date`.
    pub(crate) fn hear(&mut self) -> String {
        let said = String::from_utf8_lossy(&self.take(usize::MAX)).into_owned();
        said.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
    }

    /// Sends a request and hears the answer.
    pub(crate) fn ask(&mut self, head: &str) -> String {
        self.send(head);
        self.hear()
    }

    /// The house has said its last word.
    pub(crate) fn is_closed(&self) -> bool {
        self.pipe.borrow().down.closed || self.is_gone()
    }

    /// The house has reset the connection.
    pub(crate) fn is_reset(&self) -> bool {
        self.pipe.borrow().aborted
    }

    /// Nobody holds the other end.
    pub(crate) fn is_gone(&self) -> bool {
        Rc::strong_count(&self.pipe) == 1
    }
}

/// A visitor that came through TLS and asked for no name.
pub(crate) fn visit() -> Visit {
    let peer = ([192, 0, 2, 1], 40_000).into();
    let local = ([192, 0, 2, 7], 443).into();
    Visit {
        peer,
        local,
        port: 443,
        secure: true,
        server_name: None,
        site: Some(0),
        h2: false,
        tls: None,
        client: None,
    }
}

/// A house of a few pages.
pub(crate) fn house() -> House {
    let words =
        bundle::Site { names: vec!["a.example".into(), "*.w.example".into()], ..bundle::Site::default() };
    let sites = vec![Site::new(words, Rc::new(Few))];
    House {
        sites,
        default_site: None,
        limits: Limits::default(),
        https_port: 443,
        plainly: false,
        trusted: Vec::new(),
        figures: None,
        books: None,
        crowd: None,
        notice: Notice::default(),
    }
}

/// The pages of a small site.
struct Few;

impl Shelf for Few {
    fn asked(&self, path: &str, query: &str) -> Found {
        match path {
            "/echo" => Found::Page(Leaf::fleeting("text/plain", query.to_owned())),
            _ => self.find(path),
        }
    }

    fn find(&self, path: &str) -> Found {
        let bytes = match path {
            "/index.html" | "/sub/index.html" | "/about.html" | "/sub/a b.html" => {
                Bytes::from_static(b"<p>hello")
            }
            "/404.html" => Bytes::from_static(b"<p>lost"),
            "/.well-known/acme-challenge/token" => Bytes::from_static(b"proof"),
            "/digits" => Bytes::from_static(b"0123456789"),
            "/large" => (0..1_000_000_u32).map(|at| at as u8).collect(),
            "/sub" | "/sub/" | "/" | "/empty" => return Found::Folder,
            _ => return Found::Nothing,
        };
        let variant =
            |coding, number, bytes| Variant { coding, tag: Some([number; 16]), source: Source::Held(bytes) };
        let gzip = variant(Coding::Gzip, 2, Bytes::from_static(b"gz"));
        let smaller = Some(gzip).filter(|_| path == "/digits").into_iter().collect();
        let identity = variant(Coding::Identity, 1, bytes);
        Found::Page(Leaf {
            kind: "text/html; charset=utf-8".into(),
            modified: Some(1_700_000_000),
            identity,
            smaller,
        })
    }
}
