//! The crowd: how many requests of each source are under way. While there is room for all it only counts; when there is
//! little, nobody has more than a share.
//!
//! A source is an address, or with IPv6 the network of 64 bits that it is in. A request is under way from its head until
//! its answer was taken, so who asks for much and reads slowly has more of them than others.

use crate::house::House;
use core::cell::RefCell;
use core::net::IpAddr;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Requests that are under way, by where they came from.
pub struct Crowd {
    share: u32,
    is_tight: Box<dyn Fn() -> bool>,
    under_way: RefCell<BTreeMap<u64, u32>>,
}

impl Crowd {
    /// While `is_tight` says that there is little room, a source has `share` requests under way and no more.
    #[must_use]
    pub fn new(share: usize, is_tight: impl Fn() -> bool + 'static) -> Rc<Self> {
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        Rc::new(Self { share, is_tight: Box::new(is_tight), under_way: RefCell::default() })
    }
}

/// One connection's place in the crowd.
pub(crate) struct Guest {
    crowd: Rc<Crowd>,
    source: u64,
}

impl Guest {
    /// Nobody, where nobody counts, and where the peer speaks for others.
    pub(crate) fn of(house: &House, peer: IpAddr) -> Option<Self> {
        let speaks_for_others = house.trusted.iter().any(|network| network.has(peer));
        let crowd = house.crowd.clone().filter(|_| !speaks_for_others)?;
        Some(Self { crowd, source: source(peer) })
    }

    /// One of its requests is under way from now on.
    pub(crate) fn enter(&self) {
        let mut under_way = self.crowd.under_way.borrow_mut();
        let count = under_way.entry(self.source).or_default();
        *count = count.saturating_add(1);
    }

    /// One of them is no longer.
    pub(crate) fn leave(&self) {
        let mut under_way = self.crowd.under_way.borrow_mut();
        let left = under_way.get(&self.source).map_or(0, |count| count.saturating_sub(1));
        match left {
            0 => under_way.remove(&self.source),
            left => under_way.insert(self.source, left),
        };
    }

    /// True if others need what one more of its requests would take.
    pub(crate) fn has_its_share(&self) -> bool {
        let count = self.crowd.under_way.borrow().get(&self.source).copied().unwrap_or(0);
        count >= self.crowd.share && (self.crowd.is_tight)()
    }
}

/// No address of the internet begins with 32 zeroes, so both kinds fit into one number.
fn source(peer: IpAddr) -> u64 {
    match peer.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::house;
    use core::cell::Cell;

    #[test]
    fn a_source_is_an_address_or_a_network_of_64_bits() {
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }

    #[test]
    fn who_has_its_share_waits_while_there_is_little_room_and_others_do_not() {
        let tight = Rc::new(Cell::new(true));
        let told = tight.clone();
        let mut house = house();
        house.crowd = Some(Crowd::new(2, move || told.get()));
        house.trusted = vec![bundle::Network { address: [192, 0, 2, 9].into(), prefix: 32 }];
        let guest = |last| Guest::of(&house, [192, 0, 2, last].into());
        assert!(guest(9).is_none(), "it speaks for others");
        let (one, same, other) = (guest(1).unwrap(), guest(1).unwrap(), guest(2).unwrap());
        one.enter();
        assert!(!same.has_its_share());
        same.enter();
        assert!(one.has_its_share() && same.has_its_share() && !other.has_its_share());
        tight.set(false);
        assert!(!one.has_its_share(), "there is room for all");
        tight.set(true);
        same.leave();
        assert!(!one.has_its_share());
        one.leave();
        assert!(house.crowd.unwrap().under_way.borrow().is_empty(), "who is gone is forgotten");
    }
}
