//! Visitors of a piñata, over real connections: each has an address of its own and shows what it is given.
//!
//! What they speak is `tls-bench`'s: plain rustls that believes everybody and signs with any key.

use futures_io::{AsyncRead, AsyncWrite};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use pinata::Door;
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tls_bench::hostile::{Case, NAME};
use tls_bench::reckless::{Notes, Peer, Shown, VERSIONS};
use tls_bench::reckless::{answering, calling, client, client_with, converse, listen, server};

/// Nothing here takes so long unless it is broken.
const LONG: Duration = Duration::from_secs(60);

/// Where every piñata of these tests hangs.
pub const PINATA: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// One who comes from an address that nobody else has.
#[derive(Clone, Copy)]
pub struct Visitor(Ipv4Addr);

/// What a visitor has heard.
pub struct Heard {
    /// What was told after the handshake, or why nothing was.
    pub told: Result<Vec<u8>, String>,
    /// Every byte that came.
    pub wire: Vec<u8>,
}

impl Heard {
    /// Whether any part of the secret is among what came, in the open or told.
    #[must_use]
    pub fn anything_of(&self, secret: &[u8]) -> bool {
        let told = self.told.as_deref().unwrap_or_default();
        let part = |bytes: &[u8]| bytes.windows(6).any(|some| secret.windows(6).any(|part| part == some));
        part(&self.wire) || part(told)
    }
}

impl Visitor {
    /// One of 127.
    #[must_use]
    pub const fn number(number: u8) -> Self {
        Self(Ipv4Addr::new(192, 0, 2, 128 + number))
    }

    /// A connection to one of the piñata's ports.
    ///
    /// # Errors
    /// When nobody lets us in.
    pub fn dial(self, port: u16) -> io::Result<TcpStream> {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(self.0, 0)))?;
        connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(PINATA, port)))?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        Ok(stream)
    }

    /// Shows a certificate at a door, as a client or a server.
    #[must_use]
    pub fn show(self, door: Door, case: &Case, version: usize) -> Heard {
        let shown = Shown { chain: case.chain.clone(), key: case.key.clone() };
        match door {
            Door::Server => self.call(Some(&shown), version),
            Door::CallBack => answer(self.called_back().expect("it calls"), &shown, version),
            Door::Client => answer(self.dial(door.port()).expect("it hangs there"), &shown, version),
        }
    }

    /// Calls the server's door, with a certificate or without.
    #[must_use]
    pub fn call(self, shown: Option<&Shown>, version: usize) -> Heard {
        let config = Arc::new(client(VERSIONS[version], shown));
        let stream = self.dial(Door::Server.port()).expect("it hangs there");
        heard(&mut calling(&config, NAME), stream)
    }

    /// What the server's door signs for whoever calls, and its signature. The handshake is never finished, and hangs as
    /// long as the stream is held.
    ///
    /// # Panics
    /// When it signs nothing.
    #[must_use]
    pub fn overhears(self, version: usize) -> (TcpStream, Vec<u8>, Vec<u8>) {
        let notes = Notes::default();
        let config = Arc::new(client_with(&notes, VERSIONS[version]));
        let stream = self.dial(Door::Server.port()).expect("it hangs there");
        let mut line = Line { stream, wire: Vec::new() };
        let signed = || !notes.lock().expect("nobody else").is_empty();
        let heard = at_once(listen(&mut calling(&config, NAME), &mut line, signed));
        let (message, signature) =
            notes.lock().expect("nobody else").pop().unwrap_or_else(|| panic!("{heard:?}"));
        (line.stream, message, signature)
    }

    /// Knocks at the door that calls back, and takes the call.
    ///
    /// # Errors
    /// When nobody calls.
    pub fn called_back(self) -> io::Result<TcpStream> {
        let home = TcpListener::bind((self.0, pinata::CALLED))?;
        let mut said = Vec::new();
        self.dial(Door::CallBack.port())?.read_to_end(&mut said)?;
        assert_eq!(said, b"", "nothing is said before the call");
        home.set_nonblocking(true)?;
        let start = Instant::now();
        loop {
            match home.accept() {
                Ok((stream, SocketAddr::V4(from))) if *from.ip() == PINATA => {
                    stream.set_nonblocking(false)?;
                    stream.set_read_timeout(Some(LONG))?;
                    stream.set_write_timeout(Some(LONG))?;
                    return Ok(stream);
                }
                Ok((_, from)) => panic!("{from} called"),
                Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < LONG => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What lies at this path of the page, over plain HTTP.
    #[must_use]
    pub fn page(self, path: &str) -> String {
        let mut stream = self.dial(80).expect("the page is there");
        let ask = format!("GET {path} HTTP/1.1\r\nHost: {PINATA}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body.to_owned()
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(self) -> Value {
        serde_json::from_str(&self.page("/ledger.json")).expect("it is JSON")
    }

    /// The ledger, once it has so many attempts: a visitor is gone before the attempt is written down.
    #[must_use]
    pub fn ledger_of(self, attempts: u64) -> Value {
        let start = Instant::now();
        loop {
            let ledger = self.ledger();
            if ledger["attempts"] == attempts {
                return ledger;
            }
            assert!(start.elapsed() < LONG, "{attempts} attempts were made: {ledger}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// How often the ledger has this at a door.
#[must_use]
pub fn count(ledger: &Value, door: Door, word: &str) -> u64 {
    ledger["doors"][door.port().to_string()][word].as_u64().unwrap_or(0)
}

fn answer(stream: TcpStream, shown: &Shown, version: usize) -> Heard {
    heard(&mut answering(server(VERSIONS[version], shown)), stream)
}

/// What came of one conversation; whoever dialled or took the call hangs up at its end.
fn heard(connection: &mut Peer, stream: TcpStream) -> Heard {
    let mut line = Line { stream, wire: Vec::new() };
    let told = at_once(converse(connection, &mut line, b"")).map_err(|error| format!("{error:?}"));
    Heard { told, wire: line.wire }
}

/// Runs what never waits but in the kernel.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("a blocking stream never says that it has nothing yet"),
    }
}

/// A blocking stream, and all that came over it.
struct Line {
    stream: TcpStream,
    wire: Vec<u8>,
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.stream.read(into);
        if let Ok(count) = read {
            self.wire.extend(&into[..count]);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.stream.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}
