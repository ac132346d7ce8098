//! Where we are on the network: our addresses, our networks, and who is next on the way to others.

use crate::config::{Cidr, Config};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Our addresses and gateways.
pub(crate) struct Addresses {
    pub(crate) ours: Vec<Cidr>,
    pub(crate) gateways: Vec<IpAddr>,
    /// Addresses that we keep for those who use them, and from which we begin nothing new.
    pub(crate) stale: Vec<IpAddr>,
    pub(crate) any: bool,
}

impl Addresses {
    /// What `config` says.
    pub(crate) fn new(config: &Config) -> Self {
        let ours = config.addresses.clone();
        Self { ours, gateways: config.gateways.clone(), stale: Vec::new(), any: config.any_ip }
    }

    /// True if packets to `address` are ours.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.any || self.is_own(address)
    }

    /// True if `address` is one of ours by name.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.ours.iter().any(|cidr| cidr.address == address)
    }

    /// True if `address` names more than one host on a network of ours.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        let ours =
            |cidr: &Cidr| matches!((cidr.broadcast(), address), (Some(one), IpAddr::V4(v4)) if one == v4);
        address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) || self.ours.iter().any(ours)
    }

    /// The neighbour that takes packets for `to`.
    pub(crate) fn next_hop(&self, to: IpAddr) -> Option<IpAddr> {
        if self.ours.iter().any(|cidr| cidr.contains(to)) {
            return Some(to);
        }
        self.gateways.iter().copied().find(|gateway| gateway.is_ipv4() == to.is_ipv4())
    }

    /// The address from which we talk to `to`: one of the same network if there is one, else the one that has most in
    /// common with it, never link-local to the world.
    pub(crate) fn source(&self, to: IpAddr) -> Option<IpAddr> {
        let family = || self.ours.iter().filter(|cidr| cidr.address.is_ipv4() == to.is_ipv4());
        let near = family().find(|cidr| cidr.contains(to) && !self.stale.contains(&cidr.address));
        let rank = |cidr: &&Cidr| (!self.stale.contains(&cidr.address), common(cidr.address, to));
        let far = || family().filter(|cidr| !is_link_local(cidr.address)).rev().max_by_key(rank);
        near.or_else(far).map(|cidr| cidr.address)
    }
}

impl Cidr {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (ours.to_bits() ^ other.to_bits()) & mask == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (ours.to_bits() ^ other.to_bits()) & mask == 0
            }
            _ => false,
        }
    }

    /// The address of the network itself.
    pub(crate) fn network(&self) -> Option<Ipv4Addr> {
        let hosts = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
        match self.address {
            IpAddr::V4(ours) => Some(Ipv4Addr::from_bits(ours.to_bits() & !hosts)),
            IpAddr::V6(_) => None,
        }
    }

    pub(crate) fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(ours) if self.prefix < 31 => {
                let hosts = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                Some(Ipv4Addr::from_bits(ours.to_bits() | hosts))
            }
            _ => None,
        }
    }
}

/// How many leading bits two addresses share.
fn common(one: IpAddr, other: IpAddr) -> u32 {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    }
}

pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Everybody on this wire.
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The first 64 bits of addresses that are good on one wire only.
pub(crate) const LINK: u64 = 0xfe80 << 48;

/// The address that a hardware address makes on its link.
pub(crate) fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        let cidr = |address: &str, prefix| Cidr { address: address.parse().unwrap(), prefix };
        let config = Config {
            addresses: vec![cidr("10.1.2.3", 22), cidr("fd00::3", 64), cidr("fe80::9", 64)],
            gateways: vec!["10.1.0.1".parse().unwrap()],
            ..Config::default()
        };
        Addresses::new(&config)
    }

    #[test]
    fn a_packet_goes_to_its_neighbour_or_to_the_gateway_or_nowhere() {
        let hop = |to: &str| addresses().next_hop(to.parse().unwrap()).map(|hop| hop.to_string());
        assert_eq!(hop("10.1.0.77").as_deref(), Some("10.1.0.77"));
        assert_eq!(hop("8.8.8.8").as_deref(), Some("10.1.0.1"));
        assert_eq!(hop("fd00::1").as_deref(), Some("fd00::1"));
        assert_eq!(hop("fe80::1").as_deref(), Some("fe80::1"));
        assert_eq!(hop("2001:db8::1"), None);
    }

    #[test]
    fn a_broadcast_of_our_network_is_one() {
        for (address, is) in
            [("10.1.3.255", true), ("10.1.2.255", false), ("255.255.255.255", true), ("ff02::1", true)]
        {
            assert_eq!(addresses().is_broadcast(address.parse().unwrap()), is, "{address}");
        }
    }

    #[test]
    fn we_talk_to_a_network_from_our_address_in_it() {
        let source = |to: &str| addresses().source(to.parse().unwrap()).map(|hop| hop.to_string());
        assert_eq!(source("fe80::1").as_deref(), Some("fe80::9"));
        assert_eq!(source("2001:db8::1").as_deref(), Some("fd00::3"));
        assert_eq!(source("8.8.8.8").as_deref(), Some("10.1.2.3"));
    }
}
