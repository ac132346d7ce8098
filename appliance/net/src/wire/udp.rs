//! UDP datagrams.

use super::ip::{self, Ip};
use super::sum::Sum;
use super::{Ends, short};
use std::net::SocketAddr;
use world::Checksum;

pub(crate) const UDP: u8 = 17;
/// Bytes of a UDP header.
pub(crate) const HEADER: usize = 8;

/// The ends of an arriving datagram and what it carries; `None` if it is not exactly what it says.
pub(crate) fn read<'a>(ip: &Ip<'a>, checksum: Checksum) -> Option<(Ends, &'a [u8])> {
    let (from, to, len) = (short(ip.payload, 0)?, short(ip.payload, 2)?, short(ip.payload, 4)?);
    if usize::from(len) != ip.payload.len() || (checksum == Checksum::Unknown && !sum_is_right(ip)) {
        return None;
    }
    let ends = Ends { local: SocketAddr::new(ip.to, to), remote: SocketAddr::new(ip.from, from) };
    Some((ends, ip.payload.get(HEADER..)?))
}

/// Over IPv4 zero means that there is no checksum.
fn sum_is_right(ip: &Ip<'_>) -> bool {
    let none = ip.to.is_ipv4() && short(ip.payload, 6) == Some(0);
    none || (Sum::pseudo(ip.from, ip.to, UDP, ip.payload.len()).add(ip.payload).checksum() == 0
        && short(ip.payload, 6) != Some(0))
}

/// Appends an IP packet that carries `payload` to the other end.
pub(crate) fn write(to: &mut Vec<u8>, ends: &Ends, payload: &[u8]) {
    let (source, target) = (ends.local.ip(), ends.remote.ip());
    let len = HEADER + payload.len();
    let mut header = [0; HEADER];
    let fields = [ends.local.port(), ends.remote.port(), u16::try_from(len).unwrap_or(0)];
    for (place, field) in header.chunks_exact_mut(2).zip(fields) {
        place.copy_from_slice(&field.to_be_bytes());
    }
    let sum = Sum::pseudo(source, target, UDP, len).add(&header).add(payload).checksum();
    let [.., high, low] = &mut header;
    [*high, *low] = if sum == 0 { [0xff; 2] } else { sum.to_be_bytes() };
    ip::write(to, source, target, UDP, len, 64);
    to.extend_from_slice(&header);
    to.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Kind;

    fn packet(v6: bool, payload: &[u8]) -> Vec<u8> {
        let (local, remote) =
            if v6 { ("[fd00::1]:53", "[fd00::2]:999") } else { ("10.0.0.1:53", "10.0.0.2:999") };
        let mut packet = Vec::new();
        let ends = Ends { local: local.parse().unwrap(), remote: remote.parse().unwrap() };
        write(&mut packet, &ends, payload);
        packet
    }

    fn heard(v6: bool, packet: &[u8]) -> Option<Vec<u8>> {
        let ip = Ip::read(if v6 { Kind::V6 } else { Kind::V4 }, packet).ok()?;
        read(&ip, Checksum::Unknown).map(|(_, payload)| payload.to_vec())
    }

    #[test]
    fn what_is_written_is_read_and_any_changed_byte_of_it_is_not() {
        for v6 in [false, true] {
            for payload in [&b""[..], b"odd", b"even"] {
                let good = packet(v6, payload);
                assert_eq!(heard(v6, &good).as_deref(), Some(payload));
                for at in good.len() - HEADER - payload.len()..good.len() {
                    let mut bad = good.clone();
                    bad[at] ^= 0x41;
                    assert_eq!(heard(v6, &bad), None, "{at}");
                }
            }
        }
    }

    #[test]
    fn a_sum_of_zero_is_sent_as_its_twin_and_none_is_taken_over_ipv4_only() {
        let sums = |v6| (0..=u16::MAX).map(move |n| packet(v6, &n.to_be_bytes()));
        for v6 in [false, true] {
            let at = if v6 { 46 } else { 26 };
            assert!(sums(v6).all(|packet| packet[at..at + 2] != [0, 0]));
            let mut none = packet(v6, b"data");
            none[at..at + 2].fill(0);
            assert_eq!(heard(v6, &none).is_some(), !v6);
        }
    }
}
