//! Bytes and what they mean: Ethernet, IP, TCP, UDP. Nothing here knows a connection.
//!
//! Reading never trusts a length; what is not exactly right is `None` and nobody answers it.

pub(crate) mod dhcp;
pub(crate) mod ip;
mod seq;
pub(crate) mod sum;
mod tcp;
pub(crate) mod udp;

pub(crate) use ip::{Ethernet, Ip, Kind, Malformed};
pub(crate) use seq::Seq;
pub(crate) use tcp::{ACK, Ends, FIN, Options, PSH, RST, SYN, Segment, Stamps};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// `N` bytes at `at`, if they are there.
pub(crate) fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk::<N>().copied()
}

/// The 16-bit number at `at`, if it is there.
pub(crate) fn short(from: &[u8], at: usize) -> Option<u16> {
    bytes(from, at).map(u16::from_be_bytes)
}

/// The 32-bit number at `at`, if it is there.
pub(crate) fn word(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_be_bytes)
}
