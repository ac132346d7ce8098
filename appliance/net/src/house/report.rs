//! What routers and hosts say of our packets: too big for the way, or no way at all.
//!
//! Anybody can write such a message. It is believed only of a connection that exists, and only if it quotes a byte that
//! is on its way (RFC 5927), or of a datagram between ends that know each other.

use super::ndp::ICMPV6;
use crate::wire::ip::{Ip, TCP};
use crate::wire::udp::UDP;
use crate::wire::{Ends, Seq, bytes, short, word};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A report, and the segment or datagram that it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) ends: Ends,
    /// The first byte of a segment; a datagram has no number.
    pub(crate) seq: Option<Seq>,
    pub(crate) trouble: Trouble,
}

/// What became of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The way carries packets of so many bytes.
    TooBig(usize),
    /// It cannot arrive.
    NoWay,
    /// Nobody listens there.
    NoPort,
}

impl Report {
    /// Reads a message whose checksum was right.
    pub(crate) fn read(ip: &Ip<'_>) -> Option<Self> {
        let [kind, code] = bytes::<2>(ip.payload, 0)?;
        let trouble = match (ip.protocol == ICMPV6, kind, code) {
            (false, 3, 4) => Trouble::TooBig(short(ip.payload, 6)?.into()),
            (true, 2, _) => Trouble::TooBig(usize::try_from(word(ip.payload, 4)?).ok()?),
            (false, 3, 3) | (true, 1, 4) => Trouble::NoPort,
            (false, 3, 0..=2 | 9 | 10 | 13) | (true, 1, _) => Trouble::NoWay,
            _ => return None,
        };
        let quoted = ip.payload.get(8..)?;
        let (protocol, from, to, segment) =
            if ip.protocol == ICMPV6 { quoted_v6(quoted)? } else { quoted_v4(quoted)? };
        let local = SocketAddr::new(from, short(segment, 0)?);
        let ends = Ends { local, remote: SocketAddr::new(to, short(segment, 2)?) };
        let seq = match protocol {
            TCP => Some(Seq(word(segment, 4)?)),
            UDP => None,
            _ => return None,
        };
        Some(Self { ends, seq, trouble })
    }
}

/// The addresses and the first bytes of a quoted segment. What routers changed on the way does not matter.
fn quoted_v4(packet: &[u8]) -> Option<(u8, IpAddr, IpAddr, &[u8])> {
    let header = usize::from(packet.first()? & 15) * 4;
    let address = |at| bytes::<4>(packet, at).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    Some((*packet.get(9)?, address(12)?, address(16)?, packet.get(header..)?))
}

fn quoted_v6(packet: &[u8]) -> Option<(u8, IpAddr, IpAddr, &[u8])> {
    let address = |at| bytes::<16>(packet, at).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    Some((*packet.get(6)?, address(8)?, address(24)?, packet.get(40..)?))
}
