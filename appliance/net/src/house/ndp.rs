//! Neighbour discovery: who has which IPv6 address on this wire (RFC 4861).

use crate::wire::ip::{self, Ip};
use crate::wire::{Kind, bytes, sum::Sum};
use std::net::{IpAddr, Ipv6Addr};

pub(crate) const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// What a message about neighbours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ndp {
    pub(crate) is_answer: bool,
    pub(crate) target: Ipv6Addr,
    /// The hardware address that it tells.
    pub(crate) mac: Option<[u8; 6]>,
}

impl Ndp {
    /// Reads a message whose checksum was right; one that crossed a router says nothing.
    pub(crate) fn read(ip: &Ip<'_>) -> Option<Self> {
        let [kind, code] = bytes::<2>(ip.payload, 0)?;
        let target = Ipv6Addr::from(bytes::<16>(ip.payload, 8)?);
        let wanted = match kind {
            SOLICITATION => SOURCE_ADDRESS,
            ADVERTISEMENT => TARGET_ADDRESS,
            _ => return None,
        };
        if code != 0 || ip.hops != 255 || target.is_multicast() {
            return None;
        }
        let mac = option(ip.payload.get(24..)?, wanted)?;
        Some(Self { is_answer: kind == ADVERTISEMENT, target, mac })
    }

    /// The frame of this message.
    pub(crate) fn frame(&self, ours: [u8; 6], mac: [u8; 6], from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
        let (kind, flags, option) = match self.is_answer {
            true if to.is_multicast() => (ADVERTISEMENT, OVERRIDE, TARGET_ADDRESS),
            true => (ADVERTISEMENT, SOLICITED | OVERRIDE, TARGET_ADDRESS),
            false => (SOLICITATION, 0, SOURCE_ADDRESS),
        };
        let mut body = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        body.extend_from_slice(&self.target.octets());
        // Who asks from nowhere, if an address is free, must not say who it is.
        if !from.is_unspecified() {
            body.extend_from_slice(&[option, 1]);
            body.extend_from_slice(&ours);
        }
        message((ours, mac), from, to, body)
    }
}

/// The frame of a message between two on this wire.
pub(crate) fn message(
    (ours, theirs): ([u8; 6], [u8; 6]),
    from: Ipv6Addr,
    to: Ipv6Addr,
    mut body: Vec<u8>,
) -> Vec<u8> {
    let (from, to) = (IpAddr::V6(from), IpAddr::V6(to));
    let sum = Sum::pseudo(from, to, ICMPV6, body.len()).add(&body).checksum();
    if let Some(field) = body.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    let mut frame = Kind::V6.header(theirs, ours).to_vec();
    ip::write(&mut frame, from, to, ICMPV6, body.len(), 255);
    frame.extend_from_slice(&body);
    frame
}

/// The hardware address in the options, if it is there; `None` if they are malformed.
fn option(mut options: &[u8], wanted: u8) -> Option<Option<[u8; 6]>> {
    let mut found = None;
    while let Some(kind) = options.first() {
        let len = usize::from(*options.get(1)?) * 8;
        let this = options.get(..len).filter(|this| !this.is_empty())?;
        if *kind == wanted {
            found = bytes::<6>(this, 2).filter(|mac| mac[0] & 1 == 0);
        }
        options = options.get(len..)?;
    }
    Some(found)
}

/// The group that hears questions about `address`.
pub(crate) fn group(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from(b) << 8 | u16::from(c))
}

/// The hardware address of a group.
pub(crate) fn group_mac(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}
