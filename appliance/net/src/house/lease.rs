//! A lease: what a DHCP server gives, once it was checked. What makes no sense is refused whole or left out.

use crate::config::Cidr;
use crate::wire::dhcp::Heard;
use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr};

/// The shortest lease that is worth taking.
const SHORTEST: u32 = 10;
/// The smallest MTU that is believed: every host takes packets of this size.
const NARROWEST: usize = 576;

/// An address of ours for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) resolvers: Vec<Ipv4Addr>,
    pub(crate) mtu: Option<usize>,
    pub(crate) server: Ipv4Addr,
    /// From the moment that it was asked for; none never ends.
    pub(crate) times: Option<Times>,
}

/// When a lease is to be renewed, by its server or by any, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) renew: Duration,
    pub(crate) rebind: Duration,
    pub(crate) end: Duration,
}

impl Lease {
    /// What `heard` gives, if one host can live on it; `widest` is what the interface carries.
    pub(crate) fn of(heard: &Heard, widest: usize) -> Option<Self> {
        let (address, prefix) = (heard.yours, prefix(heard.mask?)?);
        let cidr = Cidr { address: IpAddr::V4(address), prefix };
        let ends = prefix < 31 && (cidr.broadcast() == Some(address) || cidr.network() == Some(address));
        if !is_host(address) || ends || !is_host(heard.server) || heard.server == address {
            return None;
        }
        let good = |other: &Ipv4Addr| is_host(*other) && *other != address;
        let near = |other: &Ipv4Addr| {
            prefix == 32 || (cidr.contains(IpAddr::V4(*other)) && cidr.broadcast() != Some(*other))
        };
        let mtu = heard.mtu.map(usize::from).filter(|mtu| (NARROWEST..=widest).contains(mtu));
        Some(Self {
            address,
            prefix,
            gateway: heard.router.filter(|router| good(router) && near(router)),
            resolvers: heard.resolvers.iter().copied().filter(good).collect(),
            mtu,
            server: heard.server,
            times: Times::of(heard)?,
        })
    }

    pub(crate) fn cidr(&self) -> Cidr {
        Cidr { address: IpAddr::V4(self.address), prefix: self.prefix }
    }
}

impl Times {
    /// `None` if the lease is too short; nothing in it if it never ends.
    fn of(heard: &Heard) -> Option<Option<Self>> {
        let end = heard.lease.filter(|end| *end >= SHORTEST)?;
        if end == u32::MAX {
            return Some(None);
        }
        let told = heard
            .renew
            .zip(heard.rebind)
            .filter(|(renew, rebind)| (SHORTEST / 2..*rebind).contains(renew) && *rebind < end);
        let (renew, rebind) = told.unwrap_or((end / 2, end - end / 8));
        let seconds = |number: u32| Duration::from_secs(u64::from(number));
        Some(Some(Self { renew: seconds(renew), rebind: seconds(rebind), end: seconds(end) }))
    }
}

/// The length of a mask that is one.
fn prefix(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let whole = bits.count_ones() == bits.leading_ones() && bits != 0;
    whole.then(|| u8::try_from(bits.count_ones()).ok()).flatten()
}

/// True for an address that one host of a network can have.
fn is_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first < 224 && !address.is_loopback() && !address.is_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dhcp::Kind;

    fn heard() -> Heard {
        Heard {
            kind: Kind::Ack,
            xid: 1,
            yours: [10, 0, 0, 9].into(),
            server: [10, 0, 0, 1].into(),
            mask: Some([255, 255, 255, 0].into()),
            router: Some([10, 0, 0, 254].into()),
            resolvers: vec![[9, 9, 9, 9].into()],
            mtu: Some(1400),
            lease: Some(3600),
            renew: None,
            rebind: None,
        }
    }

    fn times(lease: u32, renew: u32, rebind: u32) -> Option<Option<[u64; 3]>> {
        let heard = Heard { lease: Some(lease), renew: Some(renew), rebind: Some(rebind), ..heard() };
        let times = Lease::of(&heard, 1500).map(|lease| lease.times);
        times
            .map(|times| times.map(|times| [times.renew, times.rebind, times.end].map(|time| time.as_secs())))
    }

    #[test]
    fn an_address_that_no_host_can_have_is_refused() {
        assert!(Lease::of(&heard(), 1500).is_some());
        for yours in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "10.0.0.0",
            "10.0.0.255",
            "10.0.0.1",
            "240.0.0.1",
        ] {
            assert_eq!(Lease::of(&Heard { yours: yours.parse().unwrap(), ..heard() }, 1500), None, "{yours}");
        }
        for mask in [Some([255, 0, 255, 0]), Some([0; 4]), None] {
            assert_eq!(
                Lease::of(&Heard { mask: mask.map(Ipv4Addr::from), ..heard() }, 1500),
                None,
                "{mask:?}"
            );
        }
    }

    #[test]
    fn what_is_odd_beside_a_good_address_is_left_out() {
        for router in [[10, 0, 0, 9], [10, 0, 0, 255], [10, 0, 1, 1], [0; 4], [224, 0, 0, 1]] {
            let lease = Lease::of(&Heard { router: Some(router.into()), ..heard() }, 1500).unwrap();
            assert_eq!(lease.gateway, None, "{router:?}");
        }
        let whole = Heard { mask: Some(Ipv4Addr::BROADCAST), router: Some([10, 9, 9, 9].into()), ..heard() };
        assert!(
            Lease::of(&whole, 1500).unwrap().gateway.is_some(),
            "a lonely address has its gateway elsewhere"
        );
        for (told, taken) in [(68, None), (575, None), (576, Some(576)), (1500, Some(1500)), (1501, None)] {
            assert_eq!(Lease::of(&Heard { mtu: Some(told), ..heard() }, 1500).unwrap().mtu, taken);
        }
    }

    #[test]
    fn times_that_are_out_of_order_are_replaced() {
        assert_eq!(times(3600, 100, 200), Some(Some([100, 200, 3600])));
        for (renew, rebind) in [(200, 100), (0, 0), (u32::MAX, u32::MAX), (100, 3600), (5000, 6000), (1, 2)] {
            assert_eq!(times(3600, renew, rebind), Some(Some([1800, 3150, 3600])), "{renew} {rebind}");
        }
        assert_eq!(times(9, 1, 2), None);
        assert_eq!(times(u32::MAX, 1, 2), Some(None));
        assert_eq!(Lease::of(&Heard { lease: None, ..heard() }, 1500), None);
    }
}
