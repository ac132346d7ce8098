//! The handshake, the same for both sides, and the parting when nothing came of it.

use crate::engine::{Engine, Step, Wish};
use crate::identity::Identity;
use crate::refusal::{Kind, Refused};
use crate::session::{Facts, Session};
use crate::trust::Trust;
use crate::wire::{Backlog, Linger, Wire};
use core::future::poll_fn;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::{CipherSuite, CommonState, HandshakeKind, NamedGroup, ProtocolVersion};
use std::io;
use tasks::Timers;

/// A connection whose handshake is done, and what it settled.
pub(crate) struct Given {
    engine: Engine,
    heard: Backlog,
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

/// Does the handshake and sends all that belongs to it.
pub(crate) async fn hands<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    mut engine: Engine,
) -> Result<Given, Refused> {
    let mut heard = Backlog::default();
    loop {
        match engine.step(&mut wire.incoming, &mut wire.outgoing, &mut heard, &Wish::Listen) {
            Ok(Step::Again) => {}
            Ok(Step::Handshaking) => more(wire).await?,
            Ok(Step::Open) => break,
            Ok(Step::PeerClosed | Step::Closed) => {
                return Err(Refused::new(Kind::Closed, "the peer said goodbye"));
            }
            Err(error) => {
                engine.last_words(&mut wire.incoming, &mut wire.outgoing);
                return Err(error.into());
            }
        }
    }
    poll_fn(|context| wire.poll_flush(context)).await.map_err(closed)?;
    let facts = facts(engine.common());
    Ok(Given { engine, heard, facts })
}

/// Sends our flight and waits for the peer's.
async fn more<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<(), Refused> {
    if wire.incoming.len() > LARGEST_FLIGHT {
        return Err(Refused::new(Kind::TooLarge, "the peer's flight does not end"));
    }
    poll_fn(|context| wire.poll_flush(context)).await.map_err(closed)?;
    match poll_fn(|context| wire.poll_fill(context)).await.map_err(closed)? {
        0 => Err(Refused::new(Kind::Closed, "closed in the handshake")),
        _ => Ok(()),
    }
}

fn closed(error: io::Error) -> Refused {
    Refused::new(Kind::Closed, error)
}

/// The most of one flight that waits to be understood: rustls takes no handshake message above 64 KiB.
const LARGEST_FLIGHT: usize = 72 * 1024;

/// Sends the last words, closes, and listens a little, so that the peer gets to read them.
pub(crate) async fn part<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, timers: &Timers) {
    let mut linger = Linger::new(timers);
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
