//! DHCP messages (RFC 2131, 2132), as a client reads and writes them.

use super::{bytes, short};
use std::net::Ipv4Addr;

pub(crate) const CLIENT: u16 = 68;
pub(crate) const SERVER: u16 = 67;
/// Bytes before the options, the cookie among them.
const HEAD: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Bytes of the shortest message that every relay takes (RFC 1542).
const SHORTEST: usize = 300;
/// Resolvers that are kept.
const RESOLVERS: usize = 3;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) kind: Kind,
    pub(crate) xid: u32,
    pub(crate) mac: [u8; 6],
    /// Seconds since it began.
    pub(crate) seconds: u16,
    /// The address that it has.
    pub(crate) has: Option<Ipv4Addr>,
    /// The address that it wants, or declines.
    pub(crate) wants: Option<Ipv4Addr>,
    pub(crate) server: Option<Ipv4Addr>,
    /// The longest message that it takes.
    pub(crate) most: u16,
}

/// What a server says: nothing of it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) kind: Kind,
    pub(crate) xid: u32,
    pub(crate) yours: Ipv4Addr,
    pub(crate) server: Ipv4Addr,
    pub(crate) mask: Option<Ipv4Addr>,
    pub(crate) router: Option<Ipv4Addr>,
    pub(crate) resolvers: Vec<Ipv4Addr>,
    pub(crate) mtu: Option<u16>,
    /// Seconds of the lease, until it is to be renewed, and until anybody may renew it.
    pub(crate) lease: Option<u32>,
    pub(crate) renew: Option<u32>,
    pub(crate) rebind: Option<u32>,
}

impl Said {
    /// The message as the payload of a datagram.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut to = vec![1, 1, 6, 0];
        to.extend_from_slice(&self.xid.to_be_bytes());
        to.extend_from_slice(&self.seconds.to_be_bytes());
        to.extend_from_slice(&[0, 0]);
        to.extend_from_slice(&self.has.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        to.extend_from_slice(&[0; 12]);
        to.extend_from_slice(&self.mac);
        to.resize(HEAD - COOKIE.len(), 0);
        to.extend_from_slice(&COOKIE);
        to.extend_from_slice(&[53, 1, self.kind as u8, 61, 7, 1]);
        to.extend_from_slice(&self.mac);
        for (code, address) in [(50, self.wants), (54, self.server)] {
            if let Some(address) = address {
                to.extend_from_slice(&[code, 4]);
                to.extend_from_slice(&address.octets());
            }
        }
        if self.kind != Kind::Decline {
            to.extend_from_slice(&[57, 2]);
            to.extend_from_slice(&self.most.to_be_bytes());
            to.extend_from_slice(&[55, 8, 1, 3, 6, 26, 51, 54, 58, 59]);
        }
        to.push(255);
        to.resize(to.len().max(SHORTEST), 0);
        to
    }
}

impl Heard {
    /// Reads what a server says to the client with that hardware address.
    pub(crate) fn read(from: &[u8], mac: [u8; 6]) -> Option<Self> {
        let shape = bytes::<3>(from, 0)? == [2, 1, 6] && bytes::<4>(from, HEAD - 4)? == COOKIE;
        if !shape || bytes::<6>(from, 28)? != mac {
            return None;
        }
        let options = from.get(HEAD..)?;
        let kind = match option(options, 53)?.first()? {
            2 => Kind::Offer,
            5 => Kind::Ack,
            6 => Kind::Nak,
            _ => return None,
        };
        let address = |code| option(options, code).and_then(|value| bytes::<4>(value, 0)).map(Ipv4Addr::from);
        let number = |code| address(code).map(Ipv4Addr::to_bits);
        let (resolvers, _) = option(options, 6).unwrap_or_default().as_chunks::<4>();
        Some(Self {
            kind,
            xid: super::word(from, 4)?,
            yours: bytes::<4>(from, 16)?.into(),
            server: address(54)?,
            mask: address(1),
            router: address(3),
            resolvers: resolvers.iter().take(RESOLVERS).map(|octets| Ipv4Addr::from(*octets)).collect(),
            mtu: option(options, 26).and_then(|value| short(value, 0)),
            lease: number(51),
            renew: number(58),
            rebind: number(59),
        })
    }
}

/// The first option of that code, if all before it are whole.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let (code, rest) = options.split_first()?;
        match code {
            0 => options = rest,
            255 => return None,
            _ => {
                let (len, rest) = rest.split_first()?;
                let value = rest.get(..usize::from(*len))?;
                if *code == wanted {
                    return Some(value);
                }
                options = rest.get(usize::from(*len)..)?;
            }
        }
    }
}

#[cfg(test)]
impl Heard {
    /// What a server would send, for tests.
    pub(crate) fn write(&self, mac: [u8; 6]) -> Vec<u8> {
        let mut to = vec![0; HEAD];
        to[..3].copy_from_slice(&[2, 1, 6]);
        to[4..8].copy_from_slice(&self.xid.to_be_bytes());
        to[16..20].copy_from_slice(&self.yours.octets());
        to[28..34].copy_from_slice(&mac);
        to[236..240].copy_from_slice(&COOKIE);
        let mut put = |code: u8, value: &[u8]| {
            to.extend_from_slice(&[code, value.len() as u8]);
            to.extend_from_slice(value);
        };
        put(53, &[self.kind as u8]);
        put(54, &self.server.octets());
        let addresses = [(1, self.mask), (3, self.router)];
        addresses.iter().for_each(|(code, one)| one.iter().for_each(|one| put(*code, &one.octets())));
        put(6, &self.resolvers.iter().flat_map(|one| one.octets()).collect::<Vec<_>>());
        self.mtu.iter().for_each(|mtu| put(26, &mtu.to_be_bytes()));
        let times = [(51, self.lease), (58, self.renew), (59, self.rebind)];
        times.iter().for_each(|(code, one)| one.iter().for_each(|one| put(*code, &one.to_be_bytes())));
        to.push(255);
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn heard() -> Heard {
        Heard {
            kind: Kind::Ack,
            xid: 77,
            yours: [10, 0, 0, 9].into(),
            server: [10, 0, 0, 1].into(),
            mask: Some([255, 255, 255, 0].into()),
            router: Some([10, 0, 0, 254].into()),
            resolvers: vec![[10, 0, 0, 53].into(), [10, 0, 0, 54].into()],
            mtu: Some(1400),
            lease: Some(3600),
            renew: Some(1800),
            rebind: None,
        }
    }

    #[test]
    fn what_a_server_says_is_read_by_its_client_alone_and_never_half() {
        let message = heard().write(MAC);
        assert_eq!(Heard::read(&message, MAC), Some(heard()));
        assert_eq!(Heard::read(&message, [2; 6]), None);
        for cut in 0..message.len() - 1 {
            let half = Heard::read(&message[..cut], MAC);
            assert!(half.is_none_or(|half| half.server == heard().server), "{cut}");
        }
        for at in 0..message.len() {
            for value in 0..=255 {
                let mut odd = message.clone();
                odd[at] = value;
                let _ = Heard::read(&odd, MAC);
            }
        }
    }

    #[test]
    fn a_question_is_a_message_that_old_relays_take() {
        let said = Said {
            kind: Kind::Discover,
            xid: 0x0102_0304,
            mac: MAC,
            seconds: 3,
            has: None,
            wants: None,
            server: None,
            most: 1472,
        };
        let message = said.write();
        assert_eq!((message.len(), &message[..10]), (300, &[1, 1, 6, 0, 1, 2, 3, 4, 0, 3][..]));
        assert_eq!((&message[236..240], &message[240..243]), (&COOKIE[..], &[53, 1, 1][..]));
        let declined = Said { kind: Kind::Decline, wants: Some([10, 0, 0, 9].into()), ..said }.write();
        assert!(declined.windows(6).any(|six| six == [50, 4, 10, 0, 0, 9]));
        assert!(!declined.contains(&57), "RFC 2131, table 5");
    }
}
