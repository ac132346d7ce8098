//! Who the peer is, in words, and the proof that it was verified.
//!
//! x509-parser describes here; it never decides. Whoever reads an [`Identity`] may print it, compare it or
//! write it into a header. Whoever guards something asks for an [`Admitted`].

use crate::trust::Trust;
use core::fmt;
use ring::digest::{SHA256, digest};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name};

/// The peer's certificate, described. It was verified before this was made.
///
/// Every text is short and printable, whatever the certificate holds, so that it can stand in a header or a
/// log: control characters are escaped as RFC 4514 does it, and what is longer than a kilobyte is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subject, as RFC 4514 writes it; empty when it cannot be read.
    pub subject: Box<str>,
    /// The issuer, likewise.
    pub issuer: Box<str>,
    /// The serial number in hexadecimal digits, without separators.
    pub serial: Box<str>,
    /// The other names of the subject, each with its kind: `DNS:`, `email:`, `URI:`, `IP:`. No comma stands in one without
    /// a backslash before it.
    pub names: Box<[Box<str>]>,
    /// The last second of its validity, since 1970.
    pub not_after: i64,
    /// SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(digest(&SHA256, der).as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Identity {
    /// Describes a certificate. What cannot be read stays empty: webpki has accepted the certificate, and a
    /// describer that refused it would decide.
    pub(crate) fn describe(der: &[u8]) -> Self {
        let fingerprint = Fingerprint::of(der);
        match X509Certificate::from_der(der) {
            Ok((_, certificate)) => Self {
                subject: text(&distinguished(certificate.subject())),
                issuer: text(&distinguished(certificate.issuer())),
                serial: text(&hexadecimal(certificate.raw_serial())),
                names: names(&certificate),
                not_after: certificate.validity().not_after.timestamp(),
                fingerprint,
            },
            Err(_) => Self {
                subject: Box::default(),
                issuer: Box::default(),
                serial: Box::default(),
                names: Box::default(),
                not_after: 0,
                fingerprint,
            },
        }
    }
}

/// The longest that one text of an identity is, in characters.
const LONGEST: usize = 1024;

/// The most names of one subject that are told.
const MOST_NAMES: usize = 64;

fn text(words: &str) -> Box<str> {
    printable(words, LONGEST).into()
}

/// The first `most` characters, with control characters escaped.
pub(crate) fn printable(words: &str, most: usize) -> String {
    let mut clean = String::with_capacity(words.len().min(most));
    for letter in words.chars().take(most) {
        match letter {
            control if control.is_control() => clean.push_str(&format!("\\{:02x}", u32::from(control))),
            letter => clean.push(letter),
        }
    }
    clean
}

/// A name with its parts in the order of the certificate. Whoever has it signed chooses its values: none of them may
/// look like a part of its own, so what parts are told apart by is escaped within them.
fn distinguished(name: &X509Name<'_>) -> String {
    let part = |part: &AttributeTypeAndValue<'_>| {
        let kind = part.attr_type();
        let kind = oid2abbrev(kind, oid_registry()).map_or_else(|_| kind.to_id_string(), str::to_owned);
        let value = part.as_str().map(escaped);
        format!("{kind}={}", value.unwrap_or_else(|_| format!("#{}", hexadecimal(part.as_slice()))))
    };
    let together =
        |parts: &RelativeDistinguishedName<'_>| parts.iter().map(part).collect::<Vec<_>>().join("+");
    name.iter_rdn().map(together).collect::<Vec<_>>().join(", ")
}

/// A value as RFC 4514 (section 2.4) writes it; control characters are seen to where it is cut.
fn escaped(value: &str) -> String {
    let (start, end) = (value.len() - value.trim_start().len(), value.trim_end().len());
    let mut written = String::with_capacity(value.len());
    for (at, letter) in value.char_indices() {
        let edge = (letter == '#' && at == 0) || (letter == ' ' && (at < start || at >= end));
        if edge || ",+=\"\\<>;".contains(letter) {
            written.push('\\');
        }
        written.push(letter);
    }
    written
}

/// A name in a list, where commas tell one from the next.
fn listed(name: &str) -> String {
    name.replace('\\', r"\\").replace(',', r"\,")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn names(certificate: &X509Certificate<'_>) -> Box<[Box<str>]> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let all = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    all.iter().filter_map(name).take(MOST_NAMES).collect()
}

fn name(name: &GeneralName<'_>) -> Option<Box<str>> {
    let words = match name {
        GeneralName::DNSName(name) => format!("DNS:{}", listed(name)),
        GeneralName::RFC822Name(name) => format!("email:{}", listed(name)),
        GeneralName::URI(name) => format!("URI:{}", listed(name)),
        GeneralName::IPAddress(bytes) => format!("IP:{}", address(bytes)?),
        _ => return None,
    };
    Some(text(&words))
}

fn address(bytes: &[u8]) -> Option<core::net::IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(core::net::IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(core::net::IpAddr::from)).ok()
}

/// The proof that the peer of a session has shown a certificate of a given CA and has its key.
///
/// Only this crate makes one, and only from a session whose handshake has verified that
/// ([`crate::Session::admitted`]). It cannot outlive its session.
pub struct Admitted<'a> {
    identity: &'a Identity,
    trust: &'a Trust,
}

impl<'a> Admitted<'a> {
    pub(crate) fn new(identity: &'a Identity, trust: &'a Trust) -> Self {
        Self { identity, trust }
    }

    /// Whether the peer was verified under exactly this trust: whoever guards something asks this of every
    /// proof that is shown to it.
    #[must_use]
    pub fn is_under(&self, trust: &Trust) -> bool {
        self.trust.is(trust)
    }

    /// Who was admitted.
    #[must_use]
    pub fn identity(&self) -> &'a Identity {
        self.identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_certificate_says_cannot_end_a_line_or_fill_a_log() {
        assert_eq!(printable("CN=a\r\nX-Admin: 1\u{1b}[2J", 99), "CN=a\\0d\\0aX-Admin: 1\\1b[2J");
        assert_eq!(printable(&"ü".repeat(5000), 7), "ü".repeat(7));
        let nothing = Identity::describe(b"no certificate");
        assert_eq!((&*nothing.subject, nothing.names.len(), nothing.not_after), ("", 0, 0));
    }

    #[test]
    fn no_value_looks_like_a_part_of_its_own() {
        let wrapped = |tag: u8, inside: &[u8]| [&[tag, u8::try_from(inside.len()).unwrap()], inside].concat();
        let part = |kind: u8, tag: u8, value: &[u8]| {
            wrapped(0x30, &[&[6, 3, 0x55, 4, kind][..], &wrapped(tag, value)].concat())
        };
        let said = |parts: &[&[Vec<u8>]]| {
            let sets: Vec<u8> = parts.iter().flat_map(|parts| wrapped(0x31, &parts.concat())).collect();
            distinguished(&X509Name::from_der(&wrapped(0x30, &sets)).unwrap().1)
        };
        let (utf8, bmp) = (12, 30);
        assert_eq!(
            said(&[&[part(10, utf8, b"x, CN=admin")], &[part(3, utf8, b"anna"), part(11, utf8, b"a+OU=b")]]),
            r"O=x\, CN\=admin, CN=anna+OU=a\+OU\=b"
        );
        assert_eq!(said(&[&[part(3, utf8, br#"# a\,b"<>; "#)]]), r#"CN=\# a\\\,b\"\<\>\;\ "#);
        assert_eq!(said(&[&[part(3, bmp, b"\0a\0b")]]), "CN=#00610062", "what is no text is no words");
        for name in [GeneralName::URI("a:b, DNS:c"), GeneralName::DNSName("a, DNS:c")] {
            assert!(super::name(&name).unwrap().ends_with(r"\, DNS:c"));
        }
    }

    #[test]
    fn an_identity_has_subject_names_and_fingerprint() {
        let days = crate::mint::Validity::days(core::time::Duration::from_secs(1_790_000_000), 9);
        let ca = crate::mint::Authority::new("CA", days).unwrap();
        let minted = ca.server(&["example.org", "2001:db8::7"], days).unwrap();
        let identity = Identity::describe(&minted.chain[0]);
        assert_eq!((&*identity.subject, &*identity.issuer), ("CN=example.org", "CN=CA"));
        assert_eq!(*identity.names, ["DNS:example.org".into(), "IP:2001:db8::7".into()]);
        assert_eq!(identity.fingerprint, Fingerprint::of(&minted.chain[0]));
        assert_eq!(identity.fingerprint.to_string().len(), 64);
    }
}
