//! What routers say of themselves and of the network (RFC 4861 §4.2, RFC 8106). Nothing of it is believed yet.

use super::ndp;
use crate::wire::ip::Ip;
use crate::wire::{bytes, short, word};
use std::net::{IpAddr, Ipv6Addr};

const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const RESOLVERS: u8 = 25;
/// Prefixes and resolvers of one message that are looked at.
const MOST: usize = 8;

/// An advertisement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advertisement {
    /// Seconds that it is a router for; nought is no longer one.
    pub(crate) lifetime: u16,
    pub(crate) mtu: Option<u32>,
    pub(crate) prefixes: Vec<Prefix>,
    /// Resolvers, and for how many seconds.
    pub(crate) resolvers: Vec<(Ipv6Addr, u32)>,
}

/// A prefix for addresses of our own making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The first 64 bits of an address.
    pub(crate) bits: u64,
    /// Others with this prefix are on the same wire.
    pub(crate) on_link: bool,
    /// Seconds.
    pub(crate) valid: u32,
    pub(crate) preferred: u32,
}

impl Advertisement {
    /// Reads a message whose checksum was right. Who is not on this wire, and what is not whole, says nothing.
    pub(crate) fn read(ip: &Ip<'_>) -> Option<(Ipv6Addr, Self)> {
        let IpAddr::V6(from) = ip.from else { return None };
        let honest = bytes::<2>(ip.payload, 0)? == [ADVERTISEMENT, 0] && ip.hops == 255;
        if !honest || !from.is_unicast_link_local() {
            return None;
        }
        let mut said = Self { lifetime: short(ip.payload, 6)?, ..Self::default() };
        let mut options = ip.payload.get(16..)?;
        while let Some(kind) = options.first() {
            let (this, rest) = options.split_at_checked(usize::from(*options.get(1)?) * 8)?;
            if this.is_empty() {
                return None;
            }
            said.take(*kind, this);
            options = rest;
        }
        Some((from, said))
    }

    fn take(&mut self, kind: u8, option: &[u8]) {
        match (kind, option.len()) {
            (PREFIX, 32) if self.prefixes.len() < MOST => self.prefixes.extend(Prefix::read(option)),
            (MTU, 8) => self.mtu = word(option, 4),
            (RESOLVERS, 24..) => {
                let seconds = word(option, 4).unwrap_or(0);
                let (addresses, _) = option.get(8..).unwrap_or_default().as_chunks::<16>();
                let room = MOST.saturating_sub(self.resolvers.len());
                let told = addresses.iter().take(room).map(|octets| (Ipv6Addr::from(*octets), seconds));
                self.resolvers.extend(told);
            }
            _ => {}
        }
    }
}

impl Prefix {
    /// Only a prefix of 64 bits, for addresses that hosts make for themselves and that are not only this wire's.
    fn read(option: &[u8]) -> Option<Self> {
        let ([64, flags], bits) = (bytes::<2>(option, 2)?, bytes::<8>(option, 16)?) else { return None };
        let (valid, preferred) = (word(option, 4)?, word(option, 8)?);
        let global = bits[0] & 0xe0 == 0x20 || bits[0] & 0xfe == 0xfc;
        let good = flags & 0x40 != 0 && global && preferred <= valid;
        let bits = u64::from_be_bytes(bits);
        good.then_some(Self { bits, on_link: flags & 0x80 != 0, valid, preferred })
    }
}

/// The frame that asks routers to speak.
pub(crate) fn question(ours: [u8; 6], from: Ipv6Addr) -> Vec<u8> {
    let mut body = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    if !from.is_unspecified() {
        body.extend_from_slice(&[1, 1]);
        body.extend_from_slice(&ours);
    }
    let routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    ndp::message((ours, ndp::group_mac(routers)), from, routers, body)
}
