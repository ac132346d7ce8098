//! A house on loopback: the appliance's own front end over sockets of this machine, for clients that know
//! nothing of it.
//!
//! It is the crate `gatehouse-http` as the appliance links it, fed by a thread for each connection and the
//! clock of this machine. There is no TLS below it; it tells the front end that there was.

use futures_io::{AsyncRead, AsyncWrite};
use http::{Figures, House, Visit, serve};
use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::process::Output;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tasks::Tasks;

/// Runs the operator's tool.
#[must_use]
pub fn run(arguments: &[&str]) -> Output {
    crate::tool().args(arguments).output().expect("the tool runs")
}

/// Makes the example in `folder`, packs it, and gives the bundle's public part.
#[must_use]
pub fn example(folder: &Path) -> Vec<u8> {
    let made = run(&["init", &folder.to_string_lossy()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    packed(folder)
}

/// Packs a folder and gives the bundle's public part.
#[must_use]
pub fn packed(folder: &Path) -> Vec<u8> {
    let file = folder.join("test.bundle");
    let packed = run(&["pack", &folder.to_string_lossy(), "-o", &file.to_string_lossy()]);
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let mut bytes = std::fs::read(file).expect("the bundle is there");
    let trailer = &bytes[bytes.len() - bundle::TRAILER..];
    let cargo = bundle::unload(trailer, bytes.len() as u64).expect("it is cargo");
    bytes.truncate(cargo.public);
    bytes
}

/// An open house; it is open until the test ends.
pub struct Open {
    /// Where HTTP/1 is spoken.
    pub one: SocketAddr,
    /// Where HTTP/2 is spoken, without being asked.
    pub two: SocketAddr,
}

/// Opens a house with a bundle's public part.
#[must_use]
pub fn open(public: Vec<u8>) -> Open {
    let public: &'static [u8] = Vec::leak(public);
    Open { one: door(public, false), two: door(public, true) }
}

fn door(public: &'static [u8], h2: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a port");
    let address = listener.local_addr().expect("it has an address");
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || converse(socket, public, h2));
        }
    });
    address
}

static PAGES: AtomicUsize = AtomicUsize::new(0);

/// What this bench can count.
struct Counted;

impl Figures for Counted {
    fn now(&self) -> Vec<(&'static str, String)> {
        let connections = PAGES.load(SeqCst).to_string();
        let now = std::time::SystemTime::now();
        let second = now.duration_since(std::time::UNIX_EPOCH).map_or(0, |span| span.as_secs());
        vec![("connections so far", connections), ("seconds since 1970", second.to_string())]
    }
}

fn converse(socket: TcpStream, public: &'static [u8], h2: bool) {
    PAGES.fetch_add(1, SeqCst);
    let bundle = bundle::Bundle::open(public.into()).expect("the bundle is whole");
    let mut house = House::of(Rc::new(bundle));
    house.figures = Some(Rc::new(Counted));
    let peer = socket.peer_addr().expect("it has a peer");
    let local = socket.local_addr().expect("it has an address");
    let (server_name, tls, client) = (None, None, None);
    let visit = Visit { peer, local, port: 443, secure: true, server_name, site: Some(0), h2, tls, client };
    let wire = Rc::new(Wire { socket, reader: Cell::default(), writer: Cell::default() });
    let (tasks, over) = (Tasks::new(), Rc::new(Cell::new(false)));
    let (end, told, inside) = (End(wire.clone()), over.clone(), tasks.clone());
    tasks.spawn(async move {
        serve(end, visit, Rc::new(house), inside).await;
        told.set(true);
    });
    let start = Instant::now();
    while !over.get() {
        let now = world::Instant::START + start.elapsed();
        if tasks.turn(now, 1000) == 0 && !over.get() {
            wire.wait(tasks.timers().deadline().map_or(Duration::from_secs(1), |deadline| deadline - now));
        }
    }
}

/// A socket and who waits for it.
struct Wire {
    socket: TcpStream,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
}

impl Wire {
    /// Sleeps until the socket can be read, or written, or the time is up.
    fn wait(&self, most: Duration) {
        let writer = self.writer.take();
        let span = if writer.is_some() { Duration::from_millis(1) } else { Duration::from_millis(50) };
        let _ = self.socket.set_read_timeout(Some(span.min(most).max(Duration::from_micros(100))));
        let heard = self.socket.peek(&mut [0]);
        let quiet =
            heard.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        let reader = self.reader.take();
        if quiet {
            self.reader.set(reader);
        } else {
            reader.into_iter().for_each(Waker::wake);
        }
        writer.into_iter().for_each(Waker::wake);
    }

    /// Does something with the socket that does not block.
    fn now<T>(&self, act: impl FnOnce(&TcpStream) -> io::Result<T>) -> io::Result<T> {
        self.socket.set_nonblocking(true)?;
        let outcome = act(&self.socket);
        self.socket.set_nonblocking(false)?;
        outcome
    }
}

struct End(Rc<Wire>);

impl http::Wire for End {
    fn presence(&mut self, _context: &mut Context<'_>) -> http::Presence {
        http::Presence::There
    }
}

fn ready<T>(
    outcome: io::Result<T>,
    waiting: &Cell<Option<Waker>>,
    context: &Context<'_>,
) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            waiting.set(Some(context.waker().clone()));
            Poll::Pending
        }
        outcome => Poll::Ready(outcome),
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready(self.0.now(|mut socket| socket.read(into)), &self.0.reader, context)
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready(self.0.now(|mut socket| socket.write(bytes)), &self.0.writer, context)
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.socket.shutdown(std::net::Shutdown::Write))
    }
}
