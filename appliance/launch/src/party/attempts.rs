//! The attempts: one at a time, at one door, with what it is given.

use super::tools::{PATIENCE, read_all, write_all};
use crate::bridge;
use crate::life::Bench;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::{AsyncRead, AsyncWrite};
use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;
use tls::mint::Minted;
use tls::{Calendar, Caller, ClientPolicy, Expected, Flaw, Front, Profile, Site, Trust};

/// What came of an attempt.
pub(crate) enum Came {
    /// It fell out.
    Secret(Vec<u8>),
    /// The piñata holds, and this is what was seen.
    Nothing(String),
    /// It could not be tried.
    Untried(String),
}

/// Who hits, and whose piñata.
#[derive(Clone)]
pub(crate) struct Whacker {
    pub(crate) bench: Bench,
    pub(crate) trust: Trust,
    pub(crate) calendar: Calendar,
    /// The version that is spoken.
    pub(crate) profile: Profile,
}

/// The call-back: it takes a moment to hang up first.
const CALL: Duration = Duration::from_secs(8);

impl Whacker {
    /// As a client, with a certificate or without.
    pub(crate) async fn calls(self, door: SocketAddr, own: Option<Minted>) -> Came {
        let own = own.map(|own| (own.chain, own.key));
        let (trust, calendar) = (self.trust.clone(), self.calendar.clone());
        let caller = Caller::new(trust, &Expected::Anyone, own, self.profile, Vec::new(), calendar);
        self.call(door, caller).await
    }

    /// As a client who has somebody's certificate, and a key that is not its own.
    pub(crate) async fn poses(self, door: SocketAddr, stolen: Minted) -> Came {
        let stolen = (stolen.chain.as_slice(), &stolen.key);
        let caller = Caller::impostor(self.trust.clone(), stolen, self.profile, self.calendar.clone());
        self.call(door, caller).await
    }

    async fn call(self, door: SocketAddr, caller: Result<Caller, Flaw>) -> Came {
        let (stream, caller) = match (self.bench.watch.connect(door).await, caller) {
            (Ok(stream), Ok(caller)) => (stream, caller),
            (Err(error), _) => return Came::Untried(format!("no connection: {error}")),
            (_, Err(flaw)) => return Came::Untried(flaw.to_string()),
        };
        match caller.call(stream, self.bench.tasks.timers(), PATIENCE).await {
            Ok(mut session) => heard(read_all(&mut session).await),
            Err(refused) => Came::Nothing(refused.to_string()),
        }
    }

    /// As a server, over a connection that we opened.
    pub(crate) async fn answers(self, door: SocketAddr, own: Minted) -> Came {
        match self.bench.watch.connect(door).await {
            Ok(stream) => self.serve(stream, own).await,
            Err(error) => Came::Untried(format!("no connection: {error}")),
        }
    }

    /// As a server that is called back.
    pub(crate) async fn called_back(self, door: SocketAddr, listener: Rc<TcpListener>, own: Minted) -> Came {
        let listener = match listener.try_clone().and_then(|listener| self.bench.watch.socket(listener)) {
            Ok(listener) => listener,
            Err(error) => return Came::Untried(error.to_string()),
        };
        let mut knock = match self.bench.watch.connect(door).await {
            Ok(stream) => stream,
            Err(error) => return Came::Untried(format!("no connection: {error}")),
        };
        let _ = read_all(&mut knock).await;
        let timers = self.bench.tasks.timers().clone();
        match timers.within(CALL, listener.accept()).await {
            Ok(Ok((stream, from))) if from.ip().to_canonical() == door.ip().to_canonical() => {
                self.serve(stream, own).await
            }
            Ok(Ok((_, from))) => Came::Nothing(format!("{from} called, which is somebody else")),
            Ok(Err(error)) => Came::Untried(error.to_string()),
            Err(_) => Came::Nothing("nobody called: it calls each source once in ten seconds".into()),
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S, own: Minted) -> Came {
        let mut site = Site::new(Vec::new(), own.chain, own.key);
        (site.clients, site.tickets) = (ClientPolicy::Optional(self.trust.clone()), false);
        site.profile = self.profile;
        let front = match Front::of_any_name(site, self.calendar.clone()) {
            Ok(front) => front,
            Err(flaw) => return Came::Untried(flaw.to_string()),
        };
        match front.accept(stream, 443, self.bench.tasks.timers(), PATIENCE).await {
            Ok((mut session, _)) => heard(read_all(&mut session).await),
            Err(refused) => Came::Nothing(refused.to_string()),
        }
    }

    /// With bytes that are no TLS, or with none at all.
    pub(crate) async fn with_bytes(self, door: SocketAddr, bytes: &'static [u8]) -> Came {
        let mut stream = match self.bench.watch.connect(door).await {
            Ok(stream) => stream,
            Err(error) => return Came::Untried(format!("no connection: {error}")),
        };
        let _ = write_all(&mut stream, bytes).await;
        if bytes.is_empty() {
            return Came::Nothing("nothing was said".into());
        }
        let timers = self.bench.tasks.timers().clone();
        match timers.within(PATIENCE, read_all(&mut stream)).await {
            Ok(Ok(bytes)) => Came::Nothing(format!("{} bytes, and it hung up", bytes.len())),
            Ok(Err(error)) => Came::Nothing(error.to_string()),
            Err(_) => Came::Nothing("nothing for a long time".into()),
        }
    }

    /// Between two of its doors, so that it talks to itself.
    pub(crate) async fn between(self, client: SocketAddr, server: SocketAddr) -> Came {
        let (one, other) = (self.bench.watch.connect(client).await, self.bench.watch.connect(server).await);
        let (Ok(one), Ok(other)) = (one, other) else { return Came::Untried("no connection".into()) };
        let (mut one, mut other) = (Counted::new(one), Counted::new(other));
        let (there, back) = (one.count.clone(), other.count.clone());
        let timers = self.bench.tasks.timers().clone();
        let carried = timers.within(PATIENCE, bridge::join(&mut one, &mut other)).await;
        let (there, back) = (there.get(), back.get());
        match carried {
            Ok(_) if there.min(back) > 1000 => Came::Nothing(format!(
                "it talked to itself: {there} and {back} bytes, all of them ciphertext"
            )),
            _ => Came::Nothing(format!("it did not get far: {there} and {back} bytes")),
        }
    }
}

fn heard(words: io::Result<Vec<u8>>) -> Came {
    match words {
        Ok(words) if words.is_empty() => Came::Nothing("it hung up and said nothing".into()),
        Ok(words) => Came::Secret(words),
        Err(_) => Came::Nothing("it refused us and hung up".into()),
    }
}

/// A stream, and how much was read of it.
struct Counted<S> {
    stream: S,
    count: Rc<Cell<u64>>,
}

impl<S> Counted<S> {
    fn new(stream: S) -> Self {
        Self { stream, count: Rc::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if let Poll::Ready(Ok(count)) = &read {
            self.count.set(self.count.get().saturating_add(*count as u64));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}
