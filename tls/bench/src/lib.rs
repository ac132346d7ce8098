//! What tests of TLS stand on: a pipe that cuts what goes through it, a clock that the test winds, one CA,
//! certificates that nobody should accept ([`hostile`]) and peers that show them nevertheless ([`reckless`]).
//!
//! No product crate depends on it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod der;
pub mod forger;
pub mod hostile;
pub mod raw;
pub mod reckless;

use futures_io::{AsyncRead, AsyncWrite};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tasks::Tasks;
use tls::mint::{Authority, Minted, Validity};
use tls::{Calendar, Caller, Expected, Front, Kind, Profile, Refused, Session, Site, Trust};

/// The day of the tests.
pub const TODAY: Duration = Duration::from_secs(1_790_000_000);

/// How long a handshake may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One end of a pipe.
pub struct End {
    from: Rc<RefCell<Pipe>>,
    to: Rc<RefCell<Pipe>>,
}

/// One direction of a pipe, and all that ever went through it.
#[derive(Default)]
pub struct Pipe {
    bytes: VecDeque<u8>,
    /// What went through since somebody asked for it.
    pub seen: Vec<u8>,
    /// Whether the writer has closed it.
    pub closed: bool,
    /// Whether the reader has gone.
    pub gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    remembers: bool,
    piece: usize,
    capacity: usize,
}

/// Two ends that hear each other; no read gives more than `piece` bytes.
pub fn pipe(piece: usize) -> (End, End) {
    let one = || Rc::new(RefCell::new(Pipe { piece, capacity: 1 << 20, ..Pipe::default() }));
    let (there, back) = (one(), one());
    (End { from: back.clone(), to: there.clone() }, End { from: there, to: back })
}

impl End {
    /// What this end sends from now on.
    pub fn sent(&self) -> Rc<RefCell<Pipe>> {
        self.to.borrow_mut().remembers = true;
        self.to.clone()
    }

    /// How much may lie in either direction before a writer has to wait.
    pub fn narrow(self, capacity: usize) -> Self {
        self.to.borrow_mut().capacity = capacity;
        self
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.from.borrow_mut().gone = true;
        self.to.borrow_mut().closed = true;
        wake(&self.to, &self.from);
    }
}

fn wake(reading: &RefCell<Pipe>, writing: &RefCell<Pipe>) {
    let (reader, writer) = (reading.borrow_mut().reader.take(), writing.borrow_mut().writer.take());
    reader.into_iter().chain(writer).for_each(Waker::wake);
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.from.borrow_mut();
        let count = into.len().min(pipe.piece).min(pipe.bytes.len());
        if count == 0 && !pipe.closed {
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        into.iter_mut().zip(pipe.bytes.drain(..count)).for_each(|(to, from)| *to = from);
        drop(pipe);
        wake(&RefCell::default(), &self.from);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.to.borrow_mut();
        if pipe.closed || pipe.gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(pipe.capacity - pipe.bytes.len());
        if count == 0 && !bytes.is_empty() {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        pipe.bytes.extend(&bytes[..count]);
        if pipe.remembers {
            pipe.seen.extend(&bytes[..count]);
        }
        drop(pipe);
        wake(&self.to, &RefCell::default());
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.to.borrow_mut().closed = true;
        wake(&self.to, &RefCell::default());
        Poll::Ready(Ok(()))
    }
}

/// Reads until the end or an error.
pub async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut some = [0; 5000];
        match poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut some)).await? {
            0 => return Ok(all),
            count => all.extend(&some[..count]),
        }
    }
}

/// Reads once; nothing is the end.
pub async fn read_some(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut some = vec![0; 20_000];
    let count = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut some)).await?;
    some.truncate(count);
    Ok(some)
}

/// Reads exactly so much.
pub async fn read_exactly(stream: &mut (impl AsyncRead + Unpin), count: usize) -> io::Result<Vec<u8>> {
    let mut all = vec![0; count];
    let mut had = 0;
    while had < count {
        let more = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut all[had..])).await?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        had += more;
    }
    Ok(all)
}

/// Writes all and flushes.
pub async fn write_all(stream: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await?;
        bytes = &bytes[count..];
    }
    poll_fn(|context| Pin::new(&mut *stream).poll_flush(context)).await
}

/// Closes.
pub async fn close(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream).poll_close(context)).await
}

/// Runs both to their end while time goes by; nothing may take longer than a simulated minute.
pub fn run<A: 'static, B: 'static>(
    tasks: &Tasks,
    left: impl Future<Output = A> + 'static,
    right: impl Future<Output = B> + 'static,
) -> (A, B) {
    let left = watch(tasks, left);
    let right = watch(tasks, right);
    let start = tasks.timers().now();
    for tick in 0..600 {
        while tasks.turn(start + Duration::from_millis(100 * tick), 1000) > 0 {}
        if left.borrow().is_some() && right.borrow().is_some() {
            return (left.take().unwrap(), right.take().unwrap());
        }
    }
    panic!(
        "still not done after a minute: left {}, right {}",
        left.borrow().is_some(),
        right.borrow().is_some()
    );
}

fn watch<T: 'static>(tasks: &Tasks, work: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
    let done = Rc::new(RefCell::new(None));
    let told = done.clone();
    tasks.spawn(async move {
        let result = work.await;
        *told.borrow_mut() = Some(result);
    });
    done
}

/// A CA, a calendar, and tasks whose clock starts at zero.
pub struct Bench {
    /// The CA.
    pub ca: Authority,
    /// The date.
    pub calendar: Calendar,
    /// What runs.
    pub tasks: Tasks,
}

impl Default for Bench {
    fn default() -> Self {
        Self::of("Test CA")
    }
}

impl Bench {
    /// A bench whose CA has this name.
    pub fn of(ca: &str) -> Self {
        let ca = Authority::new(ca, Validity::days(TODAY, 365)).unwrap();
        Self { ca, calendar: Calendar::at(TODAY), tasks: Tasks::new() }
    }

    /// Trust in the CA.
    pub fn trust(&self) -> Trust {
        Trust::new(&[self.ca.certificate().to_vec()], Vec::new()).unwrap()
    }

    /// A server's certificate.
    pub fn server(&self, names: &[&str]) -> Minted {
        self.ca.server(names, Validity::days(TODAY, 30)).unwrap()
    }

    /// A client's certificate.
    pub fn client(&self, name: &str) -> Minted {
        self.ca.client(name, Validity::days(TODAY, 30)).unwrap()
    }

    /// A site of these names.
    pub fn site(&self, names: &[&str]) -> Site {
        let Minted { chain, key } = self.server(names);
        Site::new(names.iter().map(|name| (*name).to_owned()).collect(), chain, key)
    }

    /// A front without a default site.
    pub fn front(&self, sites: Vec<Site>) -> Rc<Front> {
        Rc::new(Front::new(sites, None, self.calendar.clone()).unwrap())
    }

    /// A caller of this server.
    pub fn caller(&self, name: &str, own: Option<Minted>) -> Caller {
        let own = own.map(|own| (own.chain, own.key));
        let expected = Expected::Named(name.to_owned());
        Caller::new(self.trust(), &expected, own, Profile::Intermediate, Vec::new(), self.calendar.clone())
            .unwrap()
    }

    /// Lets one call the other over a pipe of such pieces.
    pub fn meet(
        &self,
        front: &Rc<Front>,
        caller: Caller,
        piece: usize,
    ) -> (Result<Session<End>, Refused>, Result<Session<End>, Refused>) {
        let (near, far) = pipe(piece);
        let (front, timers) = (front.clone(), self.tasks.timers().clone());
        let serve =
            async move { front.accept(far, 443, &timers, PATIENCE).await.map(|(session, _)| session) };
        let timers = self.tasks.timers().clone();
        let call = async move { caller.call(near, &timers, PATIENCE).await };
        run(&self.tasks, serve, call)
    }
}

/// The kind of a refusal; a session is a failure here.
pub fn refusal<T>(result: Result<T, Refused>) -> Kind {
    match result {
        Ok(_) => panic!("a session came of it"),
        Err(refused) => refused.kind,
    }
}
