//! Ethernet and IP, as far as the stack has to read and write them.

use super::sum::Sum;
use super::{ETHERNET, bytes, short};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet frame.
pub(crate) struct Ethernet<'a> {
    pub(crate) to: [u8; 6],
    pub(crate) from: [u8; 6],
    pub(crate) kind: Kind,
    pub(crate) payload: &'a [u8],
}

/// What an Ethernet frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Arp,
    V4,
    V6,
    Other,
}

impl<'a> Ethernet<'a> {
    pub(crate) fn read(frame: &'a [u8]) -> Option<Self> {
        let kind = match short(frame, 12)? {
            0x0806 => Kind::Arp,
            0x0800 => Kind::V4,
            0x86dd => Kind::V6,
            _ => Kind::Other,
        };
        Some(Self { to: bytes(frame, 0)?, from: bytes(frame, 6)?, kind, payload: frame.get(ETHERNET..)? })
    }
}

impl Kind {
    /// The first bytes of a frame that carries this.
    pub(crate) fn header(self, to: [u8; 6], from: [u8; 6]) -> [u8; ETHERNET] {
        let [a, b]: [u8; 2] = match self {
            Self::Arp => [0x08, 0x06],
            Self::V4 | Self::Other => [0x08, 0x00],
            Self::V6 => [0x86, 0xdd],
        };
        let ([t0, t1, t2, t3, t4, t5], [f0, f1, f2, f3, f4, f5]) = (to, from);
        [t0, t1, t2, t3, t4, t5, f0, f1, f2, f3, f4, f5, a, b]
    }

    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ip<'a> {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) hops: u8,
    pub(crate) payload: &'a [u8],
}

/// Why a packet is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It breaks the rules of its protocol.
    Broken,
    /// It is a part of a packet.
    Fragment,
}

/// IPv6 options for all on the way.
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const TCP: u8 = 6;
pub(crate) const FRAGMENT: u8 = 44;

impl<'a> Ip<'a> {
    pub(crate) fn read(kind: Kind, packet: &'a [u8]) -> Result<Self, Malformed> {
        match kind {
            Kind::V4 => read_v4(packet),
            Kind::V6 => read_v6(packet).ok_or(Malformed::Broken).and_then(whole),
            Kind::Arp | Kind::Other => Err(Malformed::Broken),
        }
    }
}

fn read_v4(packet: &[u8]) -> Result<Ip<'_>, Malformed> {
    let (ip, fragment) = read_whole_v4(packet).ok_or(Malformed::Broken)?;
    if fragment { Err(Malformed::Fragment) } else { Ok(ip) }
}

fn read_whole_v4(packet: &[u8]) -> Option<(Ip<'_>, bool)> {
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let total = usize::from(short(packet, 2)?);
    if first >> 4 != 4 || header < 20 || total < header {
        return None;
    }
    if Sum::default().add(packet.get(..header)?).checksum() != 0 {
        return None;
    }
    let fragment = short(packet, 6)? & 0x3fff != 0;
    let from = IpAddr::V4(Ipv4Addr::from(bytes::<4>(packet, 12)?));
    let to = IpAddr::V4(Ipv4Addr::from(bytes::<4>(packet, 16)?));
    let (hops, protocol) = (*packet.get(8)?, *packet.get(9)?);
    Some((Ip { from, to, protocol, hops, payload: packet.get(header..total)? }, fragment))
}

fn read_v6(packet: &[u8]) -> Option<Ip<'_>> {
    let len = usize::from(short(packet, 4)?);
    if packet.first()? >> 4 != 6 {
        return None;
    }
    let from = IpAddr::V6(Ipv6Addr::from(bytes::<16>(packet, 8)?));
    let to = IpAddr::V6(Ipv6Addr::from(bytes::<16>(packet, 24)?));
    let (protocol, hops) = (*packet.get(6)?, *packet.get(7)?);
    Some(Ip { from, to, protocol, hops, payload: packet.get(40..40 + len)? })
}

fn whole(ip: Ip<'_>) -> Result<Ip<'_>, Malformed> {
    if ip.protocol == FRAGMENT { Err(Malformed::Fragment) } else { Ok(ip) }
}

/// True for an address that one host of the network can have: not nobody, everybody, ourselves or the future.
pub(crate) fn is_host(address: IpAddr) -> bool {
    let odd = match address {
        IpAddr::V4(v4) => v4.is_broadcast() || matches!(v4.octets(), [0 | 240.., ..]),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    !(odd || address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

/// Appends the IP header of a packet with `len` bytes after it.
pub(crate) fn write(to: &mut Vec<u8>, source: IpAddr, target: IpAddr, protocol: u8, len: usize, hops: u8) {
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => write_v4(to, source, target, protocol, len, hops),
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let len = u16::try_from(len).unwrap_or(0);
            to.extend_from_slice(&[0x60, 0, 0, 0]);
            to.extend_from_slice(&len.to_be_bytes());
            to.extend_from_slice(&[protocol, hops]);
            to.extend_from_slice(&source.octets());
            to.extend_from_slice(&target.octets());
        }
        _ => {}
    }
}

/// Don't Fragment is set and the identification is 0, as RFC 6864 allows.
fn write_v4(to: &mut Vec<u8>, source: Ipv4Addr, target: Ipv4Addr, protocol: u8, len: usize, hops: u8) {
    let [l0, l1] = u16::try_from(len + 20).unwrap_or(0).to_be_bytes();
    let (head, middle) = ([0x45, 0, l0, l1, 0, 0, 0x40, 0], [hops, protocol]);
    let sum = Sum::default().add(&head).add(&middle).add(&source.octets()).add(&target.octets());
    to.extend_from_slice(&head);
    to.extend_from_slice(&middle);
    to.extend_from_slice(&sum.checksum().to_be_bytes());
    to.extend_from_slice(&source.octets());
    to.extend_from_slice(&target.octets());
}

/// Bytes of the IP header that [`write`] makes.
pub(crate) fn header(address: IpAddr) -> usize {
    if address.is_ipv4() { 20 } else { 40 }
}
