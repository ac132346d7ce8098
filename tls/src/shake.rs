//! The handshake, the same for both sides, and the parting when nothing came of it.

use crate::engine::{Engine, Step, Wish};
use crate::identity::Identity;
use crate::refusal::{Kind, Refused};
use crate::session::{Facts, Session};
use crate::trust::Trust;
use crate::wire::{Backlog, Linger, Wire};
use core::fmt;
use core::future::poll_fn;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::{
    AlertDescription, CipherSuite, CommonState, Error, HandshakeKind, NamedGroup, PeerIncompatible,
    ProtocolVersion,
};
use tasks::Timers;

/// A connection whose handshake is done, and what it settled.
pub(crate) struct Given {
    engine: Engine,
    heard: Heard,
    facts: Facts,
}

impl Given {
    pub(crate) fn named(mut self, name: Option<Box<str>>) -> Self {
        self.facts.server_name = name;
        self
    }

    /// The trust under which the peer was verified, if it showed a certificate.
    pub(crate) fn under(mut self, trust: Option<&Trust>) -> Self {
        self.facts.trust = trust.filter(|_| self.facts.peer.is_some()).cloned();
        self
    }

    pub(crate) fn session<S>(self, wire: Wire<S>, timers: &Timers) -> Session<S> {
        Session::new(wire, self.engine, self.heard, timers.clone(), self.facts)
    }
}

/// What the peer said right behind its handshake: it may be all that it ever says.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) words: Backlog,
    pub(crate) ended: bool,
}

/// Who looks at a session that is taken up again, before anything is said in it.
pub(crate) trait Guard {
    /// Whether the peer of that session may still come in.
    fn admits(&self, common: &CommonState) -> Result<(), Refused>;
}

/// Why there is no session.
pub(crate) enum Stopped {
    /// The handshake failed.
    Refused(Refused),
    /// The guard does not admit the peer; not a byte of this flight was sent.
    Stale(Refused),
}

impl Stopped {
    /// The refusal, either way.
    pub(crate) fn refused(self) -> Refused {
        match self {
            Self::Refused(refused) | Self::Stale(refused) => refused,
        }
    }
}

impl<E: Into<Refused>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Does the handshake and sends all that belongs to it.
pub(crate) async fn hands<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    mut engine: Engine,
    guard: &impl Guard,
) -> Result<Given, Stopped> {
    let (mut heard, mut looked) = (Heard::default(), false);
    loop {
        let step = flight(wire, &mut engine, &mut heard)?;
        if !looked && engine.common().handshake_kind() == Some(HandshakeKind::Resumed) {
            guard.admits(engine.common()).map_err(Stopped::Stale)?;
            looked = true;
        }
        poll_fn(|context| wire.poll_flush(context)).await.map_err(closed)?;
        match step {
            Step::Open => break,
            _ => more(wire).await?,
        }
    }
    let facts = facts(engine.common());
    Ok(Given { engine, heard, facts })
}

/// Steps until the peer has to speak next, or the handshake is done.
fn flight<S>(wire: &mut Wire<S>, engine: &mut Engine, heard: &mut Heard) -> Result<Step, Refused> {
    loop {
        match engine.step(&mut wire.incoming, &mut wire.outgoing, &mut heard.words, &Wish::Listen) {
            Ok(Step::Again) => {}
            Ok(step @ (Step::Handshaking | Step::Open)) => return Ok(step),
            Ok(Step::PeerClosed) if !engine.common().is_handshaking() => {
                wire.incoming.clear();
                heard.ended = true;
            }
            Ok(Step::PeerClosed | Step::Closed) => return Err(closed("the peer said goodbye")),
            Err(error) => {
                let error = whose(error);
                let before = wire.outgoing.len();
                engine.last_words(&mut wire.incoming, &mut wire.outgoing);
                let first = engine.common().protocol_version().is_none();
                if wire.outgoing.len() == before && speaks_plainly(engine.common()) {
                    wire.outgoing.append(&alert(&error));
                }
                return Err(if first { Refused::at_hello(error) } else { error.into() });
            }
        }
    }
}

/// What rustls takes for a fault of ours, and is the client's: in TLS 1.2 it offers no scheme that our key signs with.
fn whose(error: Error) -> Error {
    match &error {
        Error::General(why) if why == "incompatible signing key" => {
            PeerIncompatible::NoSignatureSchemesInCommon.into()
        }
        _ => error,
    }
}

/// True while what we send is not encrypted yet, as far as can be told from here.
fn speaks_plainly(common: &CommonState) -> bool {
    let old = common.protocol_version().is_none_or(|version| version == ProtocolVersion::TLSv1_2);
    old && common.is_handshaking() && common.handshake_kind() != Some(HandshakeKind::Resumed)
}

/// The alert for an error about which rustls says nothing to the peer, as it stands on the wire.
pub(crate) fn alert(error: &Error) -> [u8; 7] {
    let description = match error {
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::InvalidMessage(message) => (*message).into(),
        Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
        Error::PeerIncompatible(_) => AlertDescription::HandshakeFailure,
        _ => AlertDescription::InternalError,
    };
    [21, 3, 3, 0, 2, 2, description.into()]
}

/// Waits for more of the peer's flight.
async fn more<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<(), Refused> {
    if wire.incoming.len() > LARGEST_FLIGHT {
        return Err(Refused::new(Kind::TooLarge, "the peer's flight does not end"));
    }
    match poll_fn(|context| wire.poll_fill(context)).await.map_err(closed)? {
        0 => Err(closed("closed in the handshake")),
        _ => Ok(()),
    }
}

fn closed(why: impl fmt::Display) -> Refused {
    Refused::new(Kind::Closed, why)
}

/// The most of one flight that waits to be understood: rustls takes no handshake message above 64 KiB.
const LARGEST_FLIGHT: usize = 72 * 1024;

/// Sends the last words, closes, and listens a little, so that the peer gets to read them.
pub(crate) async fn part<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, timers: &Timers) {
    let mut linger = Linger::new(timers, true);
    let _ = poll_fn(|context| linger.poll(wire, context)).await;
}

fn facts(common: &CommonState) -> Facts {
    Facts {
        server_name: None,
        alpn: common.alpn_protocol().map(Into::into),
        version: common.protocol_version().map_or("", version),
        suite: common.negotiated_cipher_suite().map_or("", |suite| name_of(suite.suite())),
        group: common.negotiated_key_exchange_group().map(|group| group_name(group.name())),
        resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        peer: common.peer_certificates().and_then(|chain| chain.first()).map(|leaf| Identity::describe(leaf)),
        trust: None,
    }
}

fn version(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "",
    }
}

/// The name that IANA gave it; rustls' own differs for TLS 1.3.
fn name_of(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or(""),
    }
}

fn group_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        NamedGroup::X25519 => "x25519",
        NamedGroup::secp256r1 => "secp256r1",
        NamedGroup::secp384r1 => "secp384r1",
        _ => "",
    }
}
