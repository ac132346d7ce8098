//! The one shell: a stream of plain bytes over a TLS connection over any stream.
//!
//! A session exists only after its handshake; what made it is in `front` and `caller`. It owns no buffer
//! while nothing is in flight, so an idle one costs its keys. Reads and writes never grow memory without
//! bound: a read decrypts one record at a time, and a write is taken only when the one before it is on its
//! way.

use crate::engine::{Engine, LARGEST_RECORD, Step, Wish};
use crate::identity::{Admitted, Identity};
use crate::shake::Heard;
use crate::trust::Trust;
use crate::wire::{Backlog, Linger, Wire};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use futures_io::{AsyncRead, AsyncWrite};
use rustls::Error;
use std::io;
use tasks::Timers;

/// A TLS connection whose handshake is done.
pub struct Session<S> {
    wire: Wire<S>,
    engine: Engine,
    heard: Backlog,
    hears: Hearing,
    said_bye: bool,
    linger: Option<Box<Linger>>,
    timers: Timers,
    facts: Box<Facts>,
}

/// What is known of the peer's half of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    /// More may come.
    Open,
    /// The peer said close_notify: what was heard is all there is.
    Ended,
    /// The stream ended without close_notify or broke: somebody may have cut it.
    Cut,
    /// The peer broke the protocol.
    Broken,
}

/// What the handshake settled. For logs, headers and decisions; it never changes.
pub struct Facts {
    /// The name that the client asked for, in lower case; nothing when it asked for none.
    pub server_name: Option<Box<str>>,
    /// The protocol that both agreed on.
    pub alpn: Option<Box<[u8]>>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite.
    pub suite: &'static str,
    /// The group of the key exchange; nothing for a resumed TLS 1.2 session.
    pub group: Option<&'static str>,
    /// Whether an earlier session was taken up again.
    pub resumed: bool,
    pub(crate) peer: Option<Identity>,
    pub(crate) trust: Option<Trust>,
}

impl Facts {
    /// As [`Session::is_misdirected`].
    #[must_use]
    pub fn is_misdirected(&self, host: &str) -> bool {
        let bare = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let host = bare.map_or(host, |(host, _)| host);
        let host = host.strip_suffix('.').unwrap_or(host);
        self.server_name.as_deref().is_some_and(|name| !name.eq_ignore_ascii_case(host))
    }
}

/// The most that waits to be understood, padding and all. After a handshake come tickets and requests for new keys, which
/// are small; rustls would wait for 64 KiB, in records of a byte each.
const LARGEST_MESSAGE: usize = 2 * LARGEST_RECORD;

/// How many bytes of plain text one write takes: two records.
const MOUTHFUL: usize = 2 * LARGEST_RECORD;

impl<S> Session<S> {
    pub(crate) fn new(wire: Wire<S>, engine: Engine, heard: Heard, timers: Timers, facts: Facts) -> Self {
        let hears = if heard.ended { Hearing::Ended } else { Hearing::Open };
        let (heard, facts) = (heard.words, Box::new(facts));
        Self { wire, engine, heard, hears, said_bye: false, linger: None, timers, facts }
    }

    /// What the handshake settled.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The protocol that both sides agreed on by ALPN.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.facts.alpn.as_deref()
    }

    /// The name that the client asked for, in lower case.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.facts.server_name.as_deref()
    }

    /// Whether a request for `host` does not belong on this connection and deserves a 421: a name was asked
    /// for in the handshake, and it was another one. A port behind the host does not count.
    #[must_use]
    pub fn is_misdirected(&self, host: &str) -> bool {
        self.facts.is_misdirected(host)
    }

    /// Who the peer is, if it showed a certificate and that was verified.
    #[must_use]
    pub fn peer(&self) -> Option<&Identity> {
        self.facts.peer.as_ref()
    }

    /// The proof that the peer was verified under exactly this trust, if it was.
    #[must_use]
    pub fn admitted(&self, trust: &Trust) -> Option<Admitted<'_>> {
        let under = self.facts.trust.as_ref().filter(|ours| ours.is(trust))?;
        self.peer().map(|peer| Admitted::new(peer, under))
    }

    /// The stream under the session, for its addresses. Reading or writing it would break the session.
    #[must_use]
    pub fn stream(&self) -> &S {
        self.wire.stream()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Ready when a read would not wait: there are bytes, or the end, or an error. Holds no memory while it
    /// waits, so that a connection can be parked here between two requests.
    pub fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.heard.is_empty() && self.hears == Hearing::Open {
            if self.poll_hear(context).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Ready when the peer has said all it will say: well if it said so, an error if it broke off. What it has said
    /// before stays to be read, and as long as it does nothing is known. Wakes as a read would.
    ///
    /// # Errors
    /// When the peer broke off or broke the protocol.
    pub fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_readable(context));
        match self.hears {
            _ if !self.heard.is_empty() => Poll::Pending,
            Hearing::Open => Poll::Pending,
            Hearing::Ended => Poll::Ready(Ok(())),
            Hearing::Cut => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Hearing::Broken => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
        }
    }

    /// Waits until a read would not wait: [`Session::poll_readable`] as a future.
    pub async fn readable(&mut self) {
        core::future::poll_fn(|context| self.poll_readable(context)).await;
    }

    /// Says close_notify and sends it, and goes on listening: the half-close of TLS.
    ///
    /// # Errors
    /// When the stream breaks.
    pub fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bye(context);
        self.wire.poll_flush(context)
    }

    /// [`Session::poll_finish`] as a future.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn finish(&mut self) -> io::Result<()> {
        core::future::poll_fn(|context| self.poll_finish(context)).await
    }

    /// Understands what is at hand, or gets more from the stream.
    fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let step = self.engine.step(
            &mut self.wire.incoming,
            &mut self.wire.outgoing,
            &mut self.heard,
            &Wish::Listen,
        );
        match step {
            Ok(Step::Again) => Poll::Ready(()),
            Ok(Step::PeerClosed | Step::Closed) => {
                self.wire.incoming.clear();
                self.hears = Hearing::Ended;
                Poll::Ready(())
            }
            Ok(Step::Handshaking | Step::Open) => self.poll_stream(context),
            Err(_) => {
                self.fall(context);
                Poll::Ready(())
            }
        }
    }

    fn poll_stream(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // All that is left here is half a record, or records with a message of the handshake that goes on.
        if self.wire.incoming.len() > LARGEST_MESSAGE {
            self.fall(context);
            return Poll::Ready(());
        }
        // Answers to key updates leave with whatever moves the connection next; an error shows in the read.
        let _ = self.wire.poll_send(context);
        match ready!(self.wire.poll_fill(context)) {
            Ok(0) | Err(_) => self.hears = Hearing::Cut,
            Ok(_) => {}
        }
        Poll::Ready(())
    }

    /// The peer broke the protocol: it is told so, and nothing more is heard.
    fn fall(&mut self, context: &mut Context<'_>) {
        self.hears = Hearing::Broken;
        self.said_bye = true;
        self.engine.last_words(&mut self.wire.incoming, &mut self.wire.outgoing);
        self.wire.incoming.clear();
        let _ = self.wire.poll_send(context);
    }

    /// Grants a wish, putting aside what the peer says meanwhile: no more than was at hand.
    fn wish(&mut self, wish: &Wish<'_>, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            let Self { engine, wire, heard, .. } = self;
            match engine.step(&mut wire.incoming, &mut wire.outgoing, heard, wish) {
                Ok(Step::Open) => return Ok(()),
                Ok(Step::Again) => {}
                Ok(Step::PeerClosed) => {
                    self.wire.incoming.clear();
                    self.hears = Hearing::Ended;
                }
                Ok(Step::Handshaking | Step::Closed) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(Error::EncryptError) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(_) => {
                    self.fall(context);
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
    }

    /// Says close_notify, unless that was said or there is nobody to say it to.
    fn bye(&mut self, context: &mut Context<'_>) {
        if !self.said_bye {
            self.said_bye = true;
            let _ = self.wish(&Wish::Bye, context);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Session<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_readable(context));
        if !self.heard.is_empty() {
            return Poll::Ready(Ok(self.heard.pour(into)));
        }
        Poll::Ready(match self.hears {
            Hearing::Open | Hearing::Ended => Ok(0),
            Hearing::Cut => Err(io::ErrorKind::UnexpectedEof.into()),
            Hearing::Broken => Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Session<S> {
    /// Takes bytes only when what was taken before is on its way.
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.said_bye {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.wire.poll_send(context))?;
        let mouthful = bytes.get(..MOUTHFUL).unwrap_or(bytes);
        self.wish(&Wish::Say(mouthful), context)?;
        match self.wire.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(mouthful.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.poll_flush(context)
    }

    /// Says close_notify, closes the stream's sending side, and then listens for a while (unless the peer has
    /// closed already), so that the peer gets to read all that was said. The stream's own `poll_close` must
    /// leave its receiving side open. It always ends: ten seconds for the last words, two for listening.
    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bye(context);
        let Self { wire, linger, timers, hears, .. } = &mut *self;
        let listens = matches!(hears, Hearing::Open | Hearing::Broken);
        linger.get_or_insert_with(|| Box::new(Linger::new(timers, listens))).poll(wire, context)
    }
}
