//! Lines to upstreams: connections outward, with TLS on them where the operator wants it.

use super::apart::Apart;
use super::house::BadHouse;
use super::resolver::Resolver;
use bundle::{Proxy, Target, Verified};
use core::cell::RefCell;
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use http::{Dial, Dialed, Presence, Relay, Trunk, Wire};
use net::{ConnectError, Handle, Stream};
use std::io;
use std::rc::Rc;
use tasks::{Tasks, Timers};
use tls::{Calendar, Caller, Expected, Flaw, Profile, Session, Trust};

/// Whoever calls outward: the stack and the clock of the life that we are in, and what is known of names.
#[derive(Clone)]
pub(super) struct Exchange(Rc<RefCell<Option<(Handle, Timers)>>>, Rc<Resolver>);

impl Exchange {
    /// Nobody calls before a life begins. Names are asked of these servers, or of those that the network names.
    pub(super) fn new(resolvers: Vec<IpAddr>) -> Self {
        Self(Rc::default(), Rc::new(Resolver::new(resolvers)))
    }

    /// A life begins: from now on its stack is used.
    pub(super) fn begin(&self, handle: Handle, tasks: &Tasks) {
        self.0.replace(Some((handle, tasks.timers().clone())));
    }

    /// The relay that these words describe.
    pub(super) fn relay(
        &self,
        words: &Proxy,
        site: &str,
        calendar: &Calendar,
    ) -> Result<Rc<Relay>, BadHouse> {
        let dial = |target: &Target| -> Result<Rc<dyn Dial>, BadHouse> {
            let verified = words.verified.as_ref().map(|verified| caller(verified, target, calendar));
            let caller = verified.transpose().map_err(|flaw| BadHouse::Flaw(site.to_owned(), flaw))?;
            let patience = Duration::from_secs(u64::from(words.waits.connect));
            Ok(Rc::new(Line {
                exchange: self.clone(),
                target: target.clone(),
                caller: caller.map(Rc::new),
                patience,
            }))
        };
        let dials = words.targets.iter().map(dial).collect::<Result<_, _>>()?;
        Ok(Relay::new(words.clone(), dials))
    }
}

fn caller(verified: &Verified, target: &Target, calendar: &Calendar) -> Result<Caller, Flaw> {
    let trust = Trust::new(&verified.authorities, Vec::new())?;
    let name = verified.name.clone().unwrap_or_else(|| target.host.clone());
    let alpn = vec![b"http/1.1".to_vec()];
    Caller::new(trust, &Expected::Named(name), None, Profile::Intermediate, alpn, calendar.clone())
}

/// The way to one upstream.
struct Line {
    exchange: Exchange,
    target: Target,
    caller: Option<Rc<Caller>>,
    patience: Duration,
}

impl Dial for Line {
    fn dial(&self, preface: Vec<u8>) -> Dialed {
        let (exchange, caller, patience) =
            (self.exchange.0.borrow().clone(), self.caller.clone(), self.patience);
        let (resolver, target) = (self.exchange.1.clone(), self.target.clone());
        Box::pin(async move {
            let (handle, timers) = exchange.ok_or(io::ErrorKind::NotConnected)?;
            let address = resolver.address(&target.host, &handle, &timers).await?;
            let address = SocketAddr::new(address, target.port);
            let mut stream = handle.connect(None, address).await.map_err(|error| kind(&error))?;
            let account = handle.account();
            stream.book(&account);
            say(&mut stream, &preface).await?;
            let Some(caller) = caller else {
                return Ok(Box::new(Apart::new(Plain(stream), account)) as Trunk);
            };
            let call = Box::pin(async move { caller.call(stream, &timers, patience).await });
            let session = Apart::new(call, account.clone()).await;
            let session =
                session.map_err(|refused| io::Error::new(io::ErrorKind::InvalidData, refused.to_string()))?;
            Ok(Box::new(Apart::new(Secure(session), account)) as Trunk)
        })
    }
}

fn kind(error: &ConnectError) -> io::ErrorKind {
    match error {
        ConnectError::TimedOut => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::NotConnected,
    }
}

async fn say(stream: &mut Stream, mut words: &[u8]) -> io::Result<()> {
    while !words.is_empty() {
        let count =
            core::future::poll_fn(|context| Pin::new(&mut *stream).poll_write(context, words)).await?;
        words = words.get(count..).filter(|_| count > 0).ok_or(io::ErrorKind::WriteZero)?;
    }
    Ok(())
}

/// A stream as it is.
pub(super) struct Plain(pub(super) Stream);

impl Wire for Plain {
    fn presence(&mut self, context: &mut Context<'_>) -> Presence {
        seen(self.0.presence(context))
    }

    fn abort(&mut self) {
        self.0.abort();
    }
}

/// A stream under TLS.
pub(super) struct Secure(pub(super) Session<Stream>);

impl Wire for Secure {
    /// The session's own `poll_close` would go on to throw away what the peer still says.
    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_finish(context)
    }

    /// A peer that says all without saying so was cut off: TLS tells one from the other.
    fn presence(&mut self, context: &mut Context<'_>) -> Presence {
        let below = seen(self.0.stream().presence(context));
        match self.0.poll_end(context) {
            Poll::Ready(Ok(())) if below != Presence::Gone => Presence::Silent,
            Poll::Ready(_) => Presence::Gone,
            Poll::Pending if below == Presence::Gone => Presence::Gone,
            Poll::Pending => Presence::There,
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_readable(context)
    }

    /// Without a close_notify: whoever hears what was said must not take it for all.
    fn abort(&mut self) {
        self.0.stream().abort();
    }
}

fn seen(presence: net::Presence) -> Presence {
    match presence {
        net::Presence::There => Presence::There,
        net::Presence::Silent => Presence::Silent,
        net::Presence::Gone => Presence::Gone,
    }
}

macro_rules! streams {
    ($($wrapper:ident)*) => {$(
        impl AsyncRead for $wrapper {
            fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_read(context, into)
            }
        }

        impl AsyncWrite for $wrapper {
            fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write(context, from)
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_flush(context)
            }

            fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_close(context)
            }
        }
    )*};
}

streams! { Plain Secure }
