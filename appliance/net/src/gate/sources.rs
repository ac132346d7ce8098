//! How much each source has: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets.
//!
//! There is an entry only for who has something, so the table is never larger than what it counts.

use crate::secrets::Places;
use std::collections::HashMap;
use std::net::IpAddr;

/// Whoever can change the rest of its address at will is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Host(u32),
    Network(u64),
}

/// What sources have.
pub(crate) struct Sources(HashMap<Source, u32, Places>);

impl Source {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(host) => Self::Host(host.to_bits()),
            IpAddr::V6(host) => Self::Network(u64::try_from(host.to_bits() >> 64).unwrap_or(0)),
        }
    }
}

/// True if both addresses are one source.
pub(crate) fn is_same(one: IpAddr, other: IpAddr) -> bool {
    Source::of(one) == Source::of(other)
}

impl Sources {
    pub(crate) fn new(places: Places) -> Self {
        Self(HashMap::with_hasher(places))
    }

    /// Finds its places by another hash from now on.
    pub(crate) fn rekey(&mut self, places: Places) {
        let mut moved = HashMap::with_hasher(places);
        moved.extend(self.0.drain());
        self.0 = moved;
    }

    pub(crate) fn count(&self, address: IpAddr) -> usize {
        self.0.get(&Source::of(address)).map_or(0, |count| usize::try_from(*count).unwrap_or(usize::MAX))
    }

    pub(crate) fn add(&mut self, address: IpAddr) {
        let count = self.0.entry(Source::of(address)).or_default();
        *count = count.saturating_add(1);
    }

    pub(crate) fn remove(&mut self, address: IpAddr) {
        let source = Source::of(address);
        if let Some(count) = self.0.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&source);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keys;
    use crate::secrets::Secrets;

    #[test]
    fn a_network_of_64_bits_is_one_source_and_who_has_nothing_is_forgotten() {
        let mut sources = Sources::new(Secrets::new(Keys::new([1; 64])).places());
        let [one, same, other, v4]: [IpAddr; 4] =
            ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1", "10.0.0.1"]
                .map(|text| text.parse().unwrap());
        [one, same, v4].into_iter().for_each(|address| sources.add(address));
        assert_eq!([one, same, other, v4].map(|address| sources.count(address)), [2, 2, 0, 1]);
        assert!(is_same(one, same) && !is_same(one, other));
        sources.rekey(Secrets::new(Keys::new([2; 64])).places());
        [same, one, v4, v4, other].into_iter().for_each(|address| sources.remove(address));
        assert_eq!(sources.len(), 0);
    }
}
