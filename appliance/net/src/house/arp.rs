//! ARP: who has which IPv4 address on this wire.

use crate::wire::{Ethernet, Kind, bytes, short};
use std::net::Ipv4Addr;

const REQUEST: u16 = 1;
const REPLY: u16 = 2;
pub(crate) const EVERYBODY: [u8; 6] = [0xff; 6];

/// What an ARP message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arp {
    pub(crate) is_reply: bool,
    pub(crate) mac: [u8; 6],
    pub(crate) sender: Ipv4Addr,
    pub(crate) target: Ipv4Addr,
}

impl Arp {
    /// Reads a message; its sender must be the one that sent the frame.
    pub(crate) fn read(frame: &Ethernet<'_>) -> Option<Self> {
        let from = frame.payload;
        let known = bytes::<6>(from, 0)? == [0, 1, 8, 0, 6, 4];
        let kind = short(from, 6)?;
        let mac = bytes::<6>(from, 8)?;
        if !known || ![REQUEST, REPLY].contains(&kind) || mac != frame.from || mac[0] & 1 != 0 {
            return None;
        }
        let (sender, target) = (bytes::<4>(from, 14)?.into(), bytes::<4>(from, 24)?.into());
        Some(Self { is_reply: kind == REPLY, mac, sender, target })
    }

    /// The frame of this message to `to`.
    pub(crate) fn frame(&self, to: [u8; 6]) -> Vec<u8> {
        let mut frame = Kind::Arp.header(to, self.mac).to_vec();
        let kind = if self.is_reply { REPLY } else { REQUEST };
        frame.extend_from_slice(&[0, 1, 8, 0, 6, 4]);
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend_from_slice(&self.mac);
        frame.extend_from_slice(&self.sender.octets());
        frame.extend_from_slice(if to == EVERYBODY { &[0; 6] } else { &to });
        frame.extend_from_slice(&self.target.octets());
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_the_same_at_the_other_end_and_a_forged_sender_says_nothing() {
        let arp = Arp {
            is_reply: true,
            mac: [2, 0, 0, 0, 0, 1],
            sender: Ipv4Addr::new(10, 0, 0, 1),
            target: Ipv4Addr::new(10, 0, 0, 2),
        };
        let mut frame = arp.frame([2, 0, 0, 0, 0, 2]);
        assert_eq!(Arp::read(&Ethernet::read(&frame).unwrap()), Some(arp));
        for cut in 14..frame.len() {
            assert_eq!(Arp::read(&Ethernet::read(&frame[..cut]).unwrap()), None);
        }
        frame[11] = 7;
        assert_eq!(Arp::read(&Ethernet::read(&frame).unwrap()), None);
    }
}
