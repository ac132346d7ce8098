//! Answers to pings.

use super::ndp::ICMPV6;
use crate::wire::ip::{self, Ip};
use crate::wire::sum::Sum;

pub(crate) const ICMP: u8 = 1;

/// Appends the packet that answers an echo request; false if `ip` is not a good one.
pub(crate) fn answer(ip: &Ip<'_>, frame: &mut Vec<u8>) -> bool {
    let (request, reply) = if ip.protocol == ICMP { (8, 0) } else { (128, 129) };
    let Some(([kind, 0, _, _], rest)) = ip.payload.split_first_chunk::<4>() else { return false };
    if *kind != request || rest.len() < 4 || start(ip, ip.from, ip.to).add(ip.payload).checksum() != 0 {
        return false;
    }
    let sum = start(ip, ip.to, ip.from).add(&[reply, 0, 0, 0]).add(rest).checksum();
    ip::write(frame, ip.to, ip.from, ip.protocol, ip.payload.len(), 64);
    frame.extend_from_slice(&[reply, 0]);
    frame.extend_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(rest);
    true
}

/// ICMPv6 counts a pseudo-header, ICMP does not.
pub(crate) fn start(ip: &Ip<'_>, from: std::net::IpAddr, to: std::net::IpAddr) -> Sum {
    if ip.protocol == ICMPV6 { Sum::pseudo(from, to, ICMPV6, ip.payload.len()) } else { Sum::default() }
}
