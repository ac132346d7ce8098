//! What the stack is told when it is made. Read once, never changed behind anyone's back.

use core::fmt;
use std::net::IpAddr;
use world::NicFacts;
use zeroize::Zeroize;

/// An address of ours and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// How many of its leading bits name the network.
    pub prefix: u8,
}

/// How the stack is to behave.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our addresses.
    pub addresses: Vec<Cidr>,
    /// Where packets for other networks go: at most one for each family.
    pub gateways: Vec<IpAddr>,
    /// A DHCP server gives us another IPv4 address, and what belongs to it.
    pub dhcp: bool,
    /// Routers tell us prefixes for IPv6 addresses of our own making, and the way out.
    pub slaac: bool,
    /// What the second halves of such addresses follow from, so that they are the same after each start. Without it they
    /// are drawn.
    pub stable: Option<[u8; 16]>,
    /// Connections outward may come from any address, and packets to any address are ours: only for a stack at the
    /// host's end of a cable, which stands for the rest of the world.
    pub any_ip: bool,
    /// Bytes that connections may use, all together.
    pub budget: usize,
    /// Bytes that each connection costs those who speak over it, at the least: they count against the budget too, so
    /// that the oldest connections at rest go before the memory of the layers above does. What is more than that they
    /// tell by an [`crate::Account`].
    pub above: usize,
    /// How many bytes of the heap are in use, where somebody knows.
    pub meter: fn() -> usize,
    /// What one source may have while others need the rest.
    pub share: Share,
}

/// What one source, an IPv4 address or an IPv6 network of 64 bits, may have when more than half of the room is taken.
/// Before that nobody is counted against: everybody behind a NAT or a forwarder is one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Half-done handshakes that are remembered: beyond, it gets cookies.
    pub half_open: usize,
    /// Connections: beyond, a new one replaces one of the same source that is at rest, or is refused.
    pub connections: usize,
}

impl Default for Share {
    fn default() -> Self {
        Self { half_open: 64, connections: 512 }
    }
}

impl Default for Config {
    fn default() -> Self {
        let (budget, share) = (16 << 20, Share::default());
        Self {
            addresses: Vec::new(),
            gateways: Vec::new(),
            dhcp: false,
            slaac: false,
            stable: None,
            any_ip: false,
            budget,
            above: 0,
            meter: || 0,
            share,
        }
    }
}

impl Config {
    pub(crate) fn check(&self, facts: &NicFacts) -> Result<(), BadConfig> {
        if facts.mac[0] & 1 != 0 || facts.mac == [0; 6] {
            return Err(BadConfig::Mac(facts.mac));
        }
        if facts.mtu < 576 {
            return Err(BadConfig::Mtu(facts.mtu));
        }
        for family in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
            if let Some(second) = self.gateways.iter().filter(|gateway| family(gateway)).nth(1) {
                return Err(BadConfig::Gateway(*second));
            }
        }
        self.addresses.iter().try_for_each(Cidr::check)
    }
}

impl Cidr {
    fn check(&self) -> Result<(), BadConfig> {
        let bits = if self.address.is_ipv4() { 32 } else { 128 };
        let broadcast = matches!(self.address, IpAddr::V4(v4) if v4.is_broadcast());
        let wrong = self.address.is_multicast() || self.address.is_unspecified() || broadcast;
        if wrong || self.prefix > bits { Err(BadConfig::Address(*self)) } else { Ok(()) }
    }
}

/// Why the stack cannot start: change what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadConfig {
    /// Not an address that a host can have, or a prefix longer than the address.
    Address(Cidr),
    /// A second gateway of the same family.
    Gateway(IpAddr),
    /// More addresses than the stack keeps (8).
    TooMany,
    /// The interface has a multicast or empty hardware address.
    Mac([u8; 6]),
    /// The interface carries less than the smallest packet that every host must take (576 bytes).
    Mtu(usize),
}

impl fmt::Display for BadConfig {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(Cidr { address, prefix }) => {
                write!(to, "{address}/{prefix} cannot be a host's address: give one of your network")
            }
            Self::Gateway(second) => write!(to, "{second} is a second gateway of its family: give one"),
            Self::TooMany => to.write_str("more than 8 addresses: give fewer"),
            Self::Mac(mac) => {
                write!(to, "{mac:02x?} cannot be a hardware address: give the interface another")
            }
            Self::Mtu(mtu) => write!(to, "an MTU of {mtu} is too small: give the interface 576 or more"),
        }
    }
}

impl core::error::Error for BadConfig {}

/// What an attacker must not know: the keys of sequence numbers, cookies and tables. The caller draws them.
pub struct Keys([u8; 64]);

impl Keys {
    /// Keys of 64 bytes that nobody else has seen.
    #[must_use]
    pub fn new(drawn: [u8; 64]) -> Self {
        Self(drawn)
    }

    pub(crate) fn word(&self, number: usize) -> u64 {
        let (words, _) = self.0.as_chunks::<8>();
        words.get(number).map_or(0, |word| u64::from_le_bytes(*word))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Keys")
    }
}

/// What the stack has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Frames that came in.
    pub frames_in: u64,
    /// Frames that went out.
    pub frames_out: u64,
    /// Frames lost because the interface's queue was full.
    pub frames_lost: u64,
    /// Datagrams that came in.
    pub letters: u64,
    /// Datagrams for which nobody waited, or for which there was no room.
    pub letters_lost: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that were made outward.
    pub connected: u64,
    /// Connections alive now, asleep or awake.
    pub open: u64,
    /// Connections that are awake.
    pub awake: u64,
    /// Handshakes that are half done.
    pub half_open: u64,
    /// Connections in TIME-WAIT.
    pub waiting: u64,
    /// Bytes that connections use, here and above.
    pub bytes: u64,
    /// Frames, packets or segments that break the rules, or claim to come from where nobody can be.
    pub malformed: u64,
    /// Parts of packets: TCP never needs them.
    pub fragments: u64,
    /// SYN-ACKs that were sent again.
    pub repeated: u64,
    /// Cookies given away.
    pub cookies: u64,
    /// Cookies that came back and were good.
    pub cookies_good: u64,
    /// Resets sent where nobody listens.
    pub resets: u64,
    /// Segments that were answered with where we are instead of being let in.
    pub challenges: u64,
    /// Connections ended because there was no room for all.
    pub evicted: u64,
    /// Cookies given, and connections replaced or refused, because a source had its share.
    pub shared: u64,
    /// Connections refused because there was no room.
    pub refused: u64,
    /// Connections whose peer vanished or took nothing for too long.
    pub vanished: u64,
    /// Addresses that somebody else had when we were about to take them.
    pub taken: u64,
    /// Connections whose way turned out to be narrower than the wire.
    pub narrowed: u64,
    /// How often the TCP machine was asked anything.
    pub polls: u64,
}

/// Where we are on the network: what we were told, and what we learnt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Our addresses, without those that are good on this wire only.
    pub addresses: Vec<Cidr>,
    /// The ways out.
    pub gateways: Vec<IpAddr>,
    /// Resolvers of names that a DHCP server or a router recommends, the best first.
    pub resolvers: Vec<IpAddr>,
}

impl Whereabouts {
    /// True for an address of ours and for a way out of our networks.
    #[must_use]
    pub fn is_ours(&self, address: IpAddr) -> bool {
        self.gateways.contains(&address) || self.addresses.iter().any(|cidr| cidr.address == address)
    }
}

/// Something has happened to our addresses: a line for the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An address is ours from now on.
    Found {
        /// The address.
        address: Cidr,
        /// The way out, if there is one.
        gateway: Option<IpAddr>,
        /// The DHCP server that gave it, and for how many seconds, if it ends.
        lease: Option<(IpAddr, Option<u64>)>,
        /// The largest packet on this network.
        mtu: usize,
    },
    /// An address is ours no longer, and its connections are gone.
    Lost {
        /// The address.
        address: IpAddr,
        /// What became of it.
        why: &'static str,
    },
    /// Somebody else has the address that a server gave us, or that we drew.
    Taken(IpAddr),
    /// Somebody else has this one too, the last of those that are tried in a row.
    Beaten {
        /// The address.
        address: IpAddr,
        /// What happens now.
        next: &'static str,
    },
    /// Who has this hardware address says that our address is its own.
    Claimed(IpAddr, [u8; 6]),
}

impl fmt::Display for News {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { address: Cidr { address, prefix }, gateway, lease, mtu } => {
                write!(to, "address: {address}/{prefix}")?;
                match lease {
                    Some((server, Some(seconds))) => write!(to, " from {server} for {seconds} s")?,
                    Some((server, None)) => write!(to, " from {server} for ever")?,
                    None => {}
                }
                gateway.iter().try_for_each(|gateway| write!(to, ", gateway {gateway}"))?;
                write!(to, ", MTU {mtu}")
            }
            Self::Lost { address, why } => {
                write!(to, "address: {address} is ours no longer: {why}; its connections are gone")
            }
            Self::Claimed(address, mac) => {
                let [first, rest @ ..] = mac;
                write!(to, "address: {address} is claimed by {first:02x}")?;
                rest.iter().try_for_each(|byte| write!(to, ":{byte:02x}"))?;
                to.write_str(": we keep it; find out who that is")
            }
            Self::Taken(address) => {
                write!(to, "address: somebody else has {address}: find out who; trying another")
            }
            Self::Beaten { address, next } => {
                write!(
                    to,
                    "address: somebody else has {address} too, and had those before: find out who; {next}"
                )
            }
        }
    }
}
