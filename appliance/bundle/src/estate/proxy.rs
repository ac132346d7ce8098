//! What is said of other servers that answer in our place.

use core::net::IpAddr;

/// Paths that other servers answer for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// This path and all below it, where it ends with a slash; `/` is everything.
    pub path: String,
    /// Who answers.
    pub targets: Vec<Target>,
    /// The one with the fewest requests under way is asked, not each in turn.
    pub least: bool,
    /// The path is taken away from the front of addresses before they are passed on.
    pub strip: bool,
    /// The host that is named to the upstream; the client's own if there is none here.
    pub host: Option<String>,
    /// TLS is spoken to the upstream.
    pub verified: Option<Verified>,
    /// A header of the PROXY protocol, version 2, begins each connection to the upstream.
    pub announce: bool,
    /// WebSocket and other protocols may take a connection over.
    pub upgrades: bool,
    /// The client's certificate is told to the upstream.
    pub identity: bool,
    /// The upstreams are asked how they are.
    pub health: Option<Health>,
    /// How long we wait for an upstream.
    pub waits: Waits,
    /// The most requests that one upstream has under way.
    pub most: u32,
    /// The longest body of a request.
    pub body: u64,
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// An address, or a name that is looked up.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Who an upstream must prove to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// CA certificates in DER.
    pub authorities: Vec<Vec<u8>>,
    /// The name in its certificate; the target's own if there is none here.
    pub name: Option<String>,
}

/// How an upstream is asked how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is fetched; 200 to 399 is well.
    pub path: String,
    /// How often, in seconds.
    pub every: u32,
}

/// How long we wait for an upstream, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// For a connection.
    pub connect: u32,
    /// For the head of an answer, from the end of the request.
    pub head: u32,
    /// For the next bytes of a body.
    pub stall: u32,
    /// How long a connection rests before we close it.
    pub idle: u32,
    /// How long both ends of a connection that was taken over may be silent.
    pub tunnel: u32,
}

impl Default for Waits {
    fn default() -> Self {
        Self { connect: 5, head: 60, stall: 60, idle: 30, tunnel: 600 }
    }
}

/// A network of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// One of its addresses.
    pub address: IpAddr,
    /// How many leading bits all of them share.
    pub prefix: u8,
}

impl Network {
    /// `192.0.2.0/24`, or one address.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(longest), |prefix| prefix.parse().ok())?;
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Whether it has this address.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let differ = |one: u128, two: u128, bits: u32| {
            let shift = bits.saturating_sub(u32::from(self.prefix));
            one.checked_shr(shift).unwrap_or(0) != two.checked_shr(shift).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                !differ(ours.to_bits().into(), other.to_bits().into(), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => !differ(ours.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        let has =
            |network: &str, address: &str| Network::read(network).unwrap().has(address.parse().unwrap());
        assert!(has("192.0.2.0/24", "192.0.2.255") && !has("192.0.2.0/24", "192.0.3.0"));
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.6"));
        assert!(has("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(has("0.0.0.0/0", "203.0.113.1") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("2001:db8::/32", "2001:db8:ffff::1") && !has("2001:db8::/32", "2001:db9::1"));
        assert!(has("::/0", "2001:db8::1"));
        for bad in ["", "192.0.2.0/33", "192.0.2.0/", "192.0.2/24", "192.0.2.0/24/1", "::/129"] {
            assert_eq!(Network::read(bad), None, "{bad}");
        }
    }
}
