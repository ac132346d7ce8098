//! What is published: an address of the host that leads to a port of the appliance.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// `HOST:PORT:GUESTPORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    /// Where the host listens.
    pub(crate) at: SocketAddr,
    /// Where the appliance does.
    pub(crate) port: u16,
}

/// What the demo publishes.
pub(crate) const DEMO: [Publish; 2] = [on_loopback(8443, 443), on_loopback(8080, 80)];

/// What a piñata publishes; nobody is called back through a host's port.
pub(crate) const PINATA: [Publish; 4] =
    [on_loopback(8443, 443), on_loopback(8080, 80), on_loopback(10_000, 10_000), on_loopback(10_002, 10_002)];

const fn on_loopback(host: u16, port: u16) -> Publish {
    Publish { at: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), host), port }
}

/// Not the form that is wanted.
#[derive(Debug, thiserror::Error)]
#[error("not HOST:PORT:GUESTPORT, such as 127.0.0.1:8443:443, [::1]:8443:443 or 8443:443")]
pub(crate) struct BadPublish;

impl FromStr for Publish {
    type Err = BadPublish;

    fn from_str(written: &str) -> Result<Self, BadPublish> {
        let (host, port) = written.rsplit_once(':').ok_or(BadPublish)?;
        let at = match host.parse() {
            Ok(port) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            Err(_) => host.parse().map_err(|_| BadPublish)?,
        };
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(BadPublish)?;
        Ok(Self { at, port })
    }
}

/// What to type into a browser.
impl fmt::Display for Publish {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            443 => write!(to, "https://{}/", self.at),
            80 => write!(to, "http://{}/", self.at),
            port => write!(to, "{} (port {port})", self.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read_and_shown_as_addresses() {
        for (written, shown) in [
            ("127.0.0.1:8443:443", "https://127.0.0.1:8443/"),
            ("[::1]:8080:80", "http://[::1]:8080/"),
            ("8443:443", "https://127.0.0.1:8443/"),
            ("0.0.0.0:10000:10000", "0.0.0.0:10000 (port 10000)"),
        ] {
            assert_eq!(written.parse::<Publish>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for written in ["", "443", "host:8443:443", "127.0.0.1:8443", "::1:8443:443", "8443:0", "8443:70000"]
        {
            assert!(written.parse::<Publish>().is_err(), "{written}");
        }
    }
}
