//! A router in the middle of a way that carries less than the wires at its ends.

use crate::wire::{Ethernet, Ip, Kind, ip, sum::Sum};
use std::net::IpAddr;

/// What the router says to who has sent a packet that is too big; `None` for what is no IP packet.
pub(super) fn too_big(frame: &[u8], narrow: usize) -> Option<Vec<u8>> {
    let ethernet = Ethernet::read(frame)?;
    let packet = Ip::read(ethernet.kind, ethernet.payload).ok()?;
    let v4 = packet.to.is_ipv4();
    let quoted = &ethernet.payload[..ethernet.payload.len().min(if v4 { 28 } else { 500 })];
    let told = (narrow as u32).to_be_bytes();
    let head = if v4 {
        [3, 4, 0, 0, 0, 0, told[2], told[3]]
    } else {
        [2, 0, 0, 0, told[0], told[1], told[2], told[3]]
    };
    let mut body = [&head, quoted].concat();
    let (router, protocol): (IpAddr, u8) =
        if v4 { ([10, 0, 0, 77].into(), 1) } else { ("fd00::77".parse().unwrap(), 58) };
    let start = if v4 { Sum::default() } else { Sum::pseudo(router, packet.from, protocol, body.len()) };
    let sum = start.add(&body).checksum();
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut report = Kind::of(packet.to).header(ethernet.from, ethernet.to).to_vec();
    ip::write(&mut report, router, packet.from, protocol, body.len(), 60);
    report.extend_from_slice(&body);
    Some(report)
}
