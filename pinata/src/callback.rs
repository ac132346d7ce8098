//! Whom door 10001 calls, and how often: only the address that called, never ourselves, and never so often
//! that somebody could send us against a third party.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use world::Instant;

/// The port that is called.
pub const CALLED: u16 = 40001;

/// One source is called again after so long.
const GAP: Duration = Duration::from_secs(10);

/// So many calls may be made at once, and one more each second.
const BURST: u32 = 16;

/// How often one more call is allowed.
const REFILL: Duration = Duration::from_secs(1);

/// Why nobody was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncalled {
    /// Nobody may be called at this address.
    Forbidden,
    /// This source was called a moment ago.
    TooSoon,
    /// Too many calls were made in a moment.
    TooMany,
}

/// The rules, and what has to be remembered for them.
pub struct Rules {
    own: Vec<(IpAddr, u8)>,
    shared: Vec<IpAddr>,
    called: Vec<(IpAddr, Instant)>,
    allowed: u32,
    refilled: Instant,
}

impl Rules {
    /// `own` are our addresses with the length of their networks' prefixes; at a `shared` address others
    /// stand beside the one who called: a gateway that translates, a balancer.
    #[must_use]
    pub fn new(own: Vec<(IpAddr, u8)>, shared: Vec<IpAddr>) -> Self {
        Self { own, shared, called: Vec::new(), allowed: BURST, refilled: Instant::START }
    }

    /// Where to call `peer` back; it then counts as called.
    ///
    /// # Errors
    /// When nobody may be called there, or not now.
    pub fn permit(&mut self, peer: IpAddr, now: Instant) -> Result<SocketAddr, Uncalled> {
        let peer = peer.to_canonical();
        if !self.may_be_called(peer) {
            return Err(Uncalled::Forbidden);
        }
        self.refill(now);
        self.called.retain(|(_, at)| now < *at + GAP);
        let source = source(peer);
        if self.called.iter().any(|(known, _)| *known == source) {
            return Err(Uncalled::TooSoon);
        }
        // This also bounds the list: BURST and one for each second of GAP.
        self.allowed = self.allowed.checked_sub(1).ok_or(Uncalled::TooMany)?;
        self.called.push((source, now));
        Ok(SocketAddr::new(peer, CALLED))
    }

    fn may_be_called(&self, peer: IpAddr) -> bool {
        let special = peer.is_unspecified() || peer.is_loopback() || peer.is_multicast();
        let ours = self.own.iter().any(|(own, _)| own.to_canonical() == peer);
        let shared = self.shared.iter().any(|shared| shared.to_canonical() == peer);
        !special && !ours && !shared && !self.is_broadcast(peer)
    }

    fn is_broadcast(&self, peer: IpAddr) -> bool {
        let IpAddr::V4(peer) = peer else { return false };
        let here = peer.octets().first() == Some(&0) || peer.is_broadcast();
        here || self
            .own
            .iter()
            .any(|own| matches!(own, (IpAddr::V4(own), prefix) if is_all(peer, *own, *prefix)))
    }

    fn refill(&mut self, now: Instant) {
        while self.allowed < BURST && now >= self.refilled + REFILL {
            self.allowed += 1;
            self.refilled = self.refilled + REFILL;
        }
        if self.allowed == BURST {
            self.refilled = now;
        }
    }
}

/// Whether this stands for all hosts of our network: its last address, or, as it was once, its first.
fn is_all(peer: Ipv4Addr, own: Ipv4Addr, prefix: u8) -> bool {
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let (peer, own) = (peer.to_bits(), own.to_bits());
    let near = peer & !host == own & !host;
    prefix < 31 && near && (peer & host == host || peer & host == 0)
}

/// Who is counted as one: an address, or a network of IPv6 such as one household has.
fn source(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(peer) => IpAddr::V6((peer.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let own = ["192.0.2.7", "2001:db8::7", "198.51.100.1", "203.0.113.9"].map(|own| own.parse().unwrap());
        let own = own.into_iter().zip([24, 64, 31, 32]).collect();
        Rules::new(own, vec!["192.0.2.1".parse().unwrap()])
    }

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn only_the_caller_itself_is_called_and_never_we_or_all() {
        for (peer, called) in [
            ("198.51.100.77", true),
            ("192.0.2.8", true),
            ("10.1.2.3", true),
            ("192.0.3.255", true),
            ("198.51.100.0", true),
            ("203.0.113.8", true),
            ("2001:db8::8", true),
            ("fe80::8", true),
            ("192.0.2.7", false),
            ("::ffff:192.0.2.7", false),
            ("2001:db8::7", false),
            ("192.0.2.1", false),
            ("192.0.2.255", false),
            ("192.0.2.0", false),
            ("255.255.255.255", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("::ffff:127.0.0.1", false),
            ("224.0.0.1", false),
            ("::ffff:224.0.0.1", false),
            ("239.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("ff02::1", false),
        ] {
            let peer: IpAddr = peer.parse().unwrap();
            let wanted = if called { Ok(SocketAddr::new(peer, 40001)) } else { Err(Uncalled::Forbidden) };
            assert_eq!(rules().permit(peer, at(0)), wanted, "{peer}");
        }
    }

    #[test]
    fn one_source_is_called_once_in_ten_seconds() {
        let mut rules = rules();
        let [one, near, far] =
            ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:1:1::1"].map(|a| a.parse().unwrap());
        assert!(rules.permit(one, at(0)).is_ok());
        assert_eq!(rules.permit(one, at(9)), Err(Uncalled::TooSoon));
        assert_eq!(rules.permit(near, at(9)), Err(Uncalled::TooSoon), "one household");
        assert!(rules.permit(far, at(9)).is_ok());
        assert!(rules.permit(one, at(10)).is_ok());
        let mapped = "::ffff:198.51.100.8".parse().unwrap();
        assert!(rules.permit("198.51.100.8".parse().unwrap(), at(10)).is_ok());
        assert_eq!(rules.permit(mapped, at(11)), Err(Uncalled::TooSoon), "the same address in other words");
    }

    #[test]
    fn all_sources_together_are_called_once_a_second_and_little_is_remembered() {
        let (mut rules, mut called) = (rules(), 0);
        for number in 0..100_000u32 {
            let peer = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
            let now = Instant::START + Duration::from_millis(u64::from(number));
            match rules.permit(peer, now) {
                Ok(_) => called += 1,
                Err(uncalled) => assert_eq!(uncalled, Uncalled::TooMany),
            }
            assert!(rules.called.len() <= 26, "{} are remembered", rules.called.len());
        }
        assert_eq!(called, 16 + 99);
    }

    #[test]
    fn a_long_silence_saves_no_more_than_one_burst() {
        let mut rules = rules();
        let called = (0..100u32).filter(|number| {
            rules.permit(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)), at(1_000_000)).is_ok()
        });
        assert_eq!(called.count(), 16);
    }
}
