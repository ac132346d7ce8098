//! The words that the appliance was started with, read once. A typo never becomes a default.

use super::journal::Style;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use net::Share;

/// Every word that is known, what follows it, and what it means.
const WORDS: [(&str, &str, &str); 8] = [
    (
        "--address",
        "CIDR|dhcp|slaac",
        "an address of the appliance and its network, such as 192.0.2.7/24, or who gives one: a DHCP server or IPv6 routers; may be repeated",
    ),
    ("--gateway", "IP", "where packets for other networks go; once for each family"),
    (
        "--published",
        "PORT",
        "the port at which the world reaches HTTPS, for redirects; what the bundle says unless given",
    ),
    (
        "--pinata",
        "direct|forwarded",
        "hang a piñata here instead of a site; whether visitors come from their own addresses, and can be called back",
    ),
    (
        "--share",
        "NUMBER",
        "connections that one source, an IPv4 address or an IPv6 /64, may have once half of the memory for them is taken; 512 unless given",
    ),
    (
        "--log",
        "common|json",
        "show each request on the console, without what stands behind its question mark",
    ),
    ("--syslog", "IP:PORT", "send each request and event there, by UDP as RFC 5424 has it"),
    ("--limit", "MB", "the memory that the appliance may use; all that there is unless given"),
];

/// What the appliance is told on its command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Our addresses, each with the length of its network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// A DHCP server gives us an address.
    pub dhcp: bool,
    /// IPv6 routers tell us from which prefix to make addresses.
    pub slaac: bool,
    /// What one source may have when memory is short.
    pub share: Share,
    /// The ways out.
    pub gateways: Vec<IpAddr>,
    /// The port at which the world reaches HTTPS, if it is not the one that the bundle names.
    pub published: Option<u16>,
    /// A piñata hangs here, and how its visitors come to it.
    pub pinata: Option<Visitors>,
    /// Requests are shown on the console, as JSON or as web servers always have.
    pub log: Option<Style>,
    /// Where requests and events are sent.
    pub syslog: Option<SocketAddr>,
    /// The most memory to use, in bytes.
    pub limit: Option<usize>,
}

/// How the visitors of a piñata come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitors {
    /// From their own addresses: they can be called back.
    Direct,
    /// Through a forwarder or a balancer, whose address stands for theirs: nobody is called back.
    Forwarded,
}

impl FromStr for Visitors {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "direct" => Ok(Self::Direct),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err(()),
        }
    }
}

/// A command line that cannot be followed: what is wrong and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct BadWords(String);

impl fmt::Display for BadWords {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Settings {
    /// Reads a command line.
    ///
    /// # Errors
    /// When a word is unknown, lacks its value or has one that cannot be read.
    pub fn read(words: &[String]) -> Result<Self, BadWords> {
        let mut settings = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let name = known(word)?;
            let value =
                words.next().ok_or_else(|| BadWords(format!("{name} needs a value: {}", help_for(name))))?;
            settings.take(name, value)?;
        }
        if settings.addresses.is_empty() && !settings.dhcp && !settings.slaac {
            return Err(BadWords(format!("no address: give one with {}", help_for("--address"))));
        }
        Ok(settings)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), BadWords> {
        match name {
            "--address" if value == "dhcp" => self.dhcp = true,
            "--address" if value == "slaac" => self.slaac = true,
            "--address" => self.addresses.push(cidr(value).ok_or_else(|| unreadable(name, value))?),
            "--gateway" => self.gateways.push(value_of(name, value)?),
            "--share" => self.share = share(value).ok_or_else(|| unreadable(name, value))?,
            "--published" => self.published = Some(value_of(name, value)?),
            "--pinata" => self.pinata = Some(value_of(name, value)?),
            "--log" => self.log = Some(value_of(name, value)?),
            "--syslog" => self.syslog = Some(value_of(name, value)?),
            _ => self.limit = Some(value_of::<usize>(name, value)?.saturating_mul(1 << 20)),
        }
        Ok(())
    }
}

/// What every word means, for `--help`.
pub fn help() -> String {
    WORDS.iter().map(|(name, ..)| format!("  {}\n", help_for(name))).collect()
}

fn known(word: &str) -> Result<&'static str, BadWords> {
    let names = || WORDS.iter().map(|(name, ..)| *name);
    names().find(|name| *name == word).ok_or_else(|| {
        let hint = world::words::meant(word, names());
        let hint = hint.map_or_else(String::new, |meant| format!("; {meant} was meant?"));
        BadWords(format!("unknown word {word:?}{hint}"))
    })
}

fn help_for(name: &str) -> String {
    let line = WORDS.iter().find(|(known, ..)| *known == name);
    line.map_or_else(String::new, |(name, value, meaning)| format!("{name} {value}: {meaning}"))
}

fn value_of<T: FromStr>(name: &str, value: &str) -> Result<T, BadWords> {
    value.parse().map_err(|_| unreadable(name, value))
}

fn unreadable(name: &str, value: &str) -> BadWords {
    BadWords(format!("{value:?} cannot be read: {}", help_for(name)))
}

/// As many connections, and an eighth of it half-done handshakes.
fn share(text: &str) -> Option<Share> {
    let connections = text.parse().ok().filter(|number| *number > 0)?;
    Some(Share { connections, half_open: (connections / 8).max(1) })
}

fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix) = (address.parse::<IpAddr>().ok()?, prefix.parse().ok()?);
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= longest && !address.is_unspecified() && !address.is_multicast()).then_some((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Settings, BadWords> {
        Settings::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_word_is_read() {
        let settings =
            read("--address 192.0.2.7/24 --address 2001:db8::7/64 --gateway 192.0.2.1 --published 8443");
        let settings = settings.unwrap();
        assert_eq!(settings.addresses.len(), 2);
        assert_eq!(settings.gateways, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!((settings.published, settings.pinata), (Some(8443), None));
        let pinata = |how: &str| read(&format!("--address 192.0.2.7/24 --pinata {how}")).unwrap().pinata;
        assert_eq!(pinata("direct"), Some(Visitors::Direct));
        assert_eq!(pinata("forwarded"), Some(Visitors::Forwarded));
    }

    #[test]
    fn who_gives_an_address_may_stand_for_one() {
        let settings = read("--address dhcp --address slaac --address fd00::1/64 --share 80").unwrap();
        assert!(settings.dhcp && settings.slaac && settings.addresses.len() == 1);
        assert_eq!((settings.share.connections, settings.share.half_open), (80, 10));
        assert_eq!(read("--address dhcp").unwrap().share, Share::default());
    }

    #[test]
    fn a_mistake_is_named_with_its_remedy() {
        for (line, wanted) in [
            ("--adress 192.0.2.7/24", "unknown word \"--adress\"; --address was meant?"),
            ("--address", "--address needs a value"),
            ("--address 192.0.2.7", "\"192.0.2.7\" cannot be read: --address CIDR|dhcp|slaac"),
            ("--address dchp", "\"dchp\" cannot be read: --address CIDR|dhcp|slaac"),
            ("--address dhcp --share 0", "\"0\" cannot be read: --share NUMBER"),
            ("--address 192.0.2.7/33", "cannot be read"),
            ("--address 0.0.0.0/0", "cannot be read"),
            ("--address 192.0.2.7/24 --gateway here", "\"here\" cannot be read: --gateway IP"),
            ("--address 192.0.2.7/24 --published 70000", "cannot be read"),
            ("--address 192.0.2.7/24 --pinata yes", "\"yes\" cannot be read: --pinata direct|forwarded"),
            ("--gateway 192.0.2.1", "no address: give one with --address CIDR|dhcp|slaac"),
        ] {
            let said = read(line).unwrap_err().to_string();
            assert!(said.contains(wanted), "{line}: {said}");
        }
    }
}
