//! Tells an upstream on whose behalf we call: the PROXY protocol, version 2, with what TLS has settled.

use crate::{Client, Visit};
use core::net::{IpAddr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, on behalf of somebody.
const PROXY: u8 = 0x21;
/// Version 2, on our own behalf.
const LOCAL: u8 = 0x20;
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;

/// The header for the connections of one visitor.
pub(super) fn header(visit: &Visit) -> Vec<u8> {
    let mut said = addresses(visit.peer, visit.local);
    if visit.secure {
        let alpn: &[u8] = if visit.h2 { b"h2" } else { b"http/1.1" };
        tlv(&mut said, ALPN, alpn);
        if let Some(name) = &visit.server_name {
            tlv(&mut said, AUTHORITY, name.as_bytes());
        }
        tlv(&mut said, SSL, &ssl(visit));
    }
    let (family, rest) = said.split_first().map_or((0, &[][..]), |(family, rest)| (*family, rest));
    let length = u16::try_from(rest.len()).unwrap_or(0).to_be_bytes();
    [&SIGNATURE[..], &[PROXY, family], &length, rest].concat()
}

/// The header for a connection that nobody has asked us for: no ends, nothing of TLS.
pub(super) fn ourselves() -> Vec<u8> {
    [&SIGNATURE[..], &[LOCAL, 0, 0, 0]].concat()
}

/// The family, and both ends in it.
fn addresses(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut said = Vec::with_capacity(256);
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            said.push(0x11);
            said.extend_from_slice(&from.octets());
            said.extend_from_slice(&to.octets());
        }
        (from, to) => {
            let six = |address: IpAddr| match address {
                IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
                IpAddr::V6(six) => six.octets(),
            };
            said.push(0x21);
            said.extend_from_slice(&six(from));
            said.extend_from_slice(&six(to));
        }
    }
    said.extend_from_slice(&from.port().to_be_bytes());
    said.extend_from_slice(&to.port().to_be_bytes());
    said
}

fn ssl(visit: &Visit) -> Vec<u8> {
    let client = visit.client.as_deref();
    // It came over TLS; it showed a certificate on this connection, and in this session.
    let mut said = vec![if client.is_some() { 0x07 } else { 0x01 }];
    said.extend_from_slice(&u32::from(client.is_none()).to_be_bytes());
    if let Some((version, suite)) = visit.tls {
        tlv(&mut said, SSL_VERSION, version.as_bytes());
        tlv(&mut said, SSL_CIPHER, suite.as_bytes());
    }
    if let Some(name) = client.and_then(Client::common_name) {
        tlv(&mut said, SSL_CN, name.as_bytes());
    }
    said
}

/// What is too long for a length of 16 bits is left out.
fn tlv(said: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if let Ok(length) = u16::try_from(value.len()).map(u16::to_be_bytes) {
        said.push(kind);
        said.extend_from_slice(&length);
        said.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_who_and_how() {
        let mut visit = crate::bench::visit();
        visit.tls = Some(("TLSv1.3", "AES"));
        visit.server_name = Some("a.b".into());
        let said = header(&visit);
        assert_eq!(said[..12], SIGNATURE);
        assert_eq!(said[12..14], [0x21, 0x11]);
        assert_eq!(usize::from(u16::from_be_bytes([said[14], said[15]])), said.len() - 16);
        assert_eq!(said[16..28], [192, 0, 2, 1, 192, 0, 2, 7, 156, 64, 1, 187]);
        let tail = [
            &b"\x01\0\x08http/1.1\x02\0\x03a.b\x20\0\x15\x01\0\0\0\x01"[..],
            b"\x21\0\x07TLSv1.3\x23\0\x03AES",
        ];
        assert_eq!(said[28..], tail.concat());
    }

    #[test]
    fn who_has_shown_a_certificate_is_said_to_have() {
        let mut visit = crate::bench::visit();
        visit.client = Some(Box::new(Client { subject: "O=x, CN=anna".into(), ..Client::default() }));
        let said = header(&visit);
        // It came over TLS, with a certificate on this connection and in this session, which was verified.
        assert!(said.ends_with(b"\x20\0\x0c\x07\0\0\0\0\x22\0\x04anna"), "{said:?}");
    }
}
