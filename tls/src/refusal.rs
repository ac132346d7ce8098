//! Why a handshake did not become a session.

use crate::identity::printable;
use core::fmt;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};
use tasks::TooLate;

/// The kind of a refusal. Few and stable: they are counted in metrics and shown in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The first bytes were no TLS at all.
    NotTls,
    /// TLS that nobody should speak any more, or a version that this site does not offer.
    Version,
    /// No cipher suite, group or signature scheme in common.
    NothingInCommon,
    /// No application protocol in common.
    Protocol,
    /// The client asked for a name that no site here has, or for none where one is needed.
    UnknownName,
    /// The peer showed no certificate where one is needed.
    NoCertificate,
    /// The peer's certificate does not lead to our CA.
    UntrustedIssuer,
    /// The peer's certificate has expired.
    Expired,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// The peer's certificate is made for something else: usage, basic constraints, name constraints.
    WrongUse,
    /// The peer's certificate is for another name.
    WrongName,
    /// The peer's certificate was revoked.
    Revoked,
    /// Nobody can say whether the certificate was revoked: no list, or a list that is out of date.
    RevocationUnknown,
    /// A signature in the certificate chain or of the handshake is wrong, or the peer has not the key.
    BadSignature,
    /// The certificate is signed with an algorithm that is not trusted here.
    WeakSignature,
    /// The certificate cannot be read.
    BadCertificate,
    /// Bytes that cannot be read, or that break the protocol.
    Malformed,
    /// A message or a record larger than is allowed.
    TooLarge,
    /// The peer sent an alert: it refused us.
    PeerRefused,
    /// The peer closed the connection before the handshake was done.
    Closed,
    /// The handshake took too long.
    TooSlow,
    /// The fault is ours.
    Ours,
}

impl Kind {
    /// Every kind, in the order of the ledger.
    pub const ALL: [Self; 22] = [
        Self::NotTls,
        Self::Version,
        Self::NothingInCommon,
        Self::Protocol,
        Self::UnknownName,
        Self::NoCertificate,
        Self::UntrustedIssuer,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongUse,
        Self::WrongName,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::BadSignature,
        Self::WeakSignature,
        Self::BadCertificate,
        Self::Malformed,
        Self::TooLarge,
        Self::PeerRefused,
        Self::Closed,
        Self::TooSlow,
        Self::Ours,
    ];

    /// The kind as one word for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Version => "version",
            Self::NothingInCommon => "nothing_in_common",
            Self::Protocol => "protocol",
            Self::UnknownName => "unknown_name",
            Self::NoCertificate => "no_certificate",
            Self::UntrustedIssuer => "untrusted_issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongUse => "wrong_use",
            Self::WrongName => "wrong_name",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::BadSignature => "bad_signature",
            Self::WeakSignature => "weak_signature",
            Self::BadCertificate => "bad_certificate",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::PeerRefused => "peer_refused",
            Self::Closed => "closed",
            Self::TooSlow => "too_slow",
            Self::Ours => "ours",
        }
    }
}

/// A handshake that did not become a session. The peer was told by an alert, and the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What kind of refusal.
    pub kind: Kind,
    /// The same in words; for logs only, never to decide on. Short and printable, whatever the peer sent.
    pub why: String,
}

/// A line of the log has room for it.
const LONGEST_WHY: usize = 240;

impl Refused {
    pub(crate) fn new(kind: Kind, why: impl fmt::Display) -> Self {
        Self { kind, why: printable(&why.to_string(), LONGEST_WHY) }
    }

    /// What rustls says of the very first message: there, an unknown content type means that this is no TLS.
    pub(crate) fn at_hello(error: Error) -> Self {
        match error {
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::new(Kind::NotTls, error),
            error => error.into(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.kind.word(), self.why)
    }
}

impl core::error::Error for Refused {}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::new(kind_of(&error), error)
    }
}

impl From<TooLate> for Refused {
    fn from(_: TooLate) -> Self {
        Self::new(Kind::TooSlow, "the handshake took too long")
    }
}

fn kind_of(error: &Error) -> Kind {
    match error {
        Error::InvalidMessage(message) => kind_of_message(message),
        Error::NoCertificatesPresented => Kind::NoCertificate,
        Error::PeerIncompatible(lack) => kind_of_lack(lack),
        Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme) => {
            Kind::WeakSignature
        }
        Error::PeerMisbehaved(_) | Error::InappropriateMessage { .. } => Kind::Malformed,
        Error::InappropriateHandshakeMessage { .. } | Error::DecryptError => Kind::Malformed,
        Error::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => Kind::Closed,
        Error::AlertReceived(_) => Kind::PeerRefused,
        Error::InvalidCertificate(flaw) => kind_of_certificate(flaw),
        Error::InvalidCertRevocationList(_) => Kind::RevocationUnknown,
        Error::PeerSentOversizedRecord => Kind::TooLarge,
        Error::NoApplicationProtocol => Kind::Protocol,
        _ => Kind::Ours,
    }
}

fn kind_of_message(message: &InvalidMessage) -> Kind {
    match message {
        InvalidMessage::MessageTooLarge
        | InvalidMessage::HandshakePayloadTooLarge
        | InvalidMessage::CertificatePayloadTooLarge => Kind::TooLarge,
        _ => Kind::Malformed,
    }
}

fn kind_of_lack(lack: &PeerIncompatible) -> Kind {
    match lack {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => Kind::Version,
        _ => Kind::NothingInCommon,
    }
}

fn kind_of_certificate(flaw: &CertificateError) -> Kind {
    match flaw {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Kind::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Kind::NotYetValid,
        CertificateError::Revoked => Kind::Revoked,
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => Kind::RevocationUnknown,
        CertificateError::UnknownIssuer => Kind::UntrustedIssuer,
        CertificateError::BadSignature => Kind::BadSignature,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Kind::WeakSignature,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Kind::WrongName
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Kind::WrongUse,
        CertificateError::BadEncoding | CertificateError::UnhandledCriticalExtension => Kind::BadCertificate,
        CertificateError::Other(other) => kind_of_webpki(other),
        _ => Kind::BadCertificate,
    }
}

/// What rustls has no word of its own for.
fn kind_of_webpki(other: &rustls::OtherError) -> Kind {
    use webpki::Error as Flaw;
    match other.0.downcast_ref::<Flaw>() {
        Some(
            Flaw::CaUsedAsEndEntity
            | Flaw::EndEntityUsedAsCa
            | Flaw::NameConstraintViolation
            | Flaw::PathLenConstraintViolated,
        ) => Kind::WrongUse,
        _ => Kind::BadCertificate,
    }
}
