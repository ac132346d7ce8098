//! The far end of a cable: the network that an appliance sees when nobody has the right to give it a real one.
//!
//! Here the launcher plays the gateway, with the same stack as the appliance: clients of the host's ports reach the
//! appliance with their own addresses, and the appliance reaches out to the addresses that are listed, and to no other.
//! Bytes are carried between connections, never packets, so no right is needed.

use crate::bridge;
use crate::pcap::Recorder;
use crate::publish::Publish;
use crate::watch::{Watch, Watched};
use linux::Link;
use net::{Cidr, Config, Handle, Keys, Listener, Net};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::rand::{GetRandomFlags, getrandom};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use tasks::Tasks;
use world::{Instant, Nic};

/// The appliance's address on the cable and, as QEMU's user network has them, in its guest.
pub(crate) const APPLIANCE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// Ours.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The length of the prefix that both have.
pub(crate) const PREFIX: u8 = 24;

const OUR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// What connections may hold, all together.
const BUDGET: usize = 256 << 20;
/// How long the appliance, or a host outside, may take to answer a connection.
const ANSWER: Duration = Duration::from_secs(10);
/// How long to wait when the host has no descriptors left.
const BREATH: Duration = Duration::from_millis(100);

/// What does not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoCable {
    #[error("{0} is taken: end the program that listens there, or give another --publish")]
    Taken(SocketAddr),
    #[error("no right to listen on {0}: choose a port above 1023 with --publish")]
    NotAllowed(SocketAddr),
    #[error("cannot listen on {0}: {1}")]
    NoListener(SocketAddr, io::Error),
    #[error("no cable to the appliance: {0}")]
    Kernel(#[from] io::Error),
    #[error("no network on the cable: {0}")]
    Net(#[from] net::BadConfig),
}

/// Two ends of a cable: ours, and the one that the appliance inherits.
pub(crate) fn ends() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// The host's ports, which are taken before the appliance starts: a port that is not free is the commonest trouble.
pub(crate) fn take_ports(publish: &[Publish]) -> Result<Vec<(TcpListener, u16)>, NoCable> {
    publish.iter().map(|publish| Ok((listen(publish.at)?, publish.port))).collect()
}

fn listen(at: SocketAddr) -> Result<TcpListener, NoCable> {
    let listener = TcpListener::bind(at).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => NoCable::Taken(at),
        io::ErrorKind::PermissionDenied => NoCable::NotAllowed(at),
        _ => NoCable::NoListener(at, error),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The gateway on our end.
pub(crate) struct Gateway {
    net: Net,
    link: Link,
    recorder: Recorder,
    /// Keeps the link among the things that end a sleep.
    _plug: Watched<OwnedFd>,
}

/// What every connection needs to know.
#[derive(Clone)]
struct Roads {
    net: Handle,
    watch: Watch,
    tasks: Tasks,
    out: Rc<BTreeSet<SocketAddr>>,
}

impl Gateway {
    /// Starts to carry: `ports` inward, `out` outward.
    pub(crate) fn open(
        wire: OwnedFd,
        ports: Vec<(TcpListener, u16)>,
        out: &[SocketAddr],
        recorder: Recorder,
        (tasks, watch): (&Tasks, &Watch),
        now: Instant,
    ) -> Result<Self, NoCable> {
        let plug = watch.socket(wire.try_clone()?)?;
        let link = Link::on_cable(wire, OUR_MAC)?;
        let net = Net::new(config(), link.facts(), keys()?, now)?;
        let out = Rc::new(out.iter().copied().collect::<BTreeSet<_>>());
        let roads = Roads { net: net.handle(), watch: watch.clone(), tasks: tasks.clone(), out };
        for (listener, port) in ports {
            tasks.spawn(roads.clone().lead_in(watch.socket(listener)?, port));
        }
        for port in roads.out.iter().map(SocketAddr::port).collect::<BTreeSet<_>>() {
            let listener = roads.net.listen(port).map_err(io::Error::other)?;
            tasks.spawn(roads.clone().lead_out(listener));
        }
        Ok(Self { net, link, recorder, _plug: plug })
    }

    /// Frames in, frames out; says when to come again.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<Instant> {
        self.net.turn(now, &mut self.recorder.over(&mut self.link))
    }
}

fn config() -> Config {
    Config {
        addresses: vec![Cidr { address: GATEWAY.into(), prefix: PREFIX }],
        gateways: vec![GATEWAY.into()],
        any_ip: true,
        budget: BUDGET,
        ..Config::default()
    }
}

fn keys() -> io::Result<Keys> {
    let mut drawn = [0; 64];
    getrandom(&mut drawn, GetRandomFlags::empty())?;
    Ok(Keys::new(drawn))
}

impl Roads {
    /// Every client of one of the host's ports.
    async fn lead_in(self, listener: Watched<TcpListener>, port: u16) {
        loop {
            match listener.accept().await {
                Ok((client, from)) => {
                    self.tasks.spawn(self.clone().carry_in(client, source(from.ip()), port));
                }
                Err(_) => self.tasks.timers().after(BREATH).await,
            }
        }
    }

    async fn carry_in(self, client: Watched<TcpStream>, from: IpAddr, port: u16) {
        let connect = self.net.connect(Some(from), (APPLIANCE, port).into());
        match self.tasks.timers().within(ANSWER, connect).await {
            Ok(Ok(appliance)) => carry(client, appliance).await,
            _ => client.abort(),
        }
    }

    /// Every connection of the appliance to one port, wherever it goes.
    async fn lead_out(self, listener: Listener) {
        loop {
            let appliance = listener.accept().await;
            if self.out.contains(&appliance.local()) {
                self.tasks.spawn(self.clone().carry_out(appliance));
            } else {
                appliance.abort();
            }
        }
    }

    async fn carry_out(self, appliance: net::Stream) {
        let connect = self.watch.connect(appliance.local());
        match self.tasks.timers().within(ANSWER, connect).await {
            Ok(Ok(server)) => carry(server, appliance).await,
            _ => appliance.abort(),
        }
    }
}

/// Bytes both ways; an error on one side is an error for the other.
async fn carry(mut host: Watched<TcpStream>, mut appliance: net::Stream) {
    if bridge::join(&mut host, &mut appliance).await.is_err() {
        host.abort();
        appliance.abort();
    }
}

/// The address from which the appliance sees a client: its own, unless the answer would not find its way back.
fn source(client: IpAddr) -> IpAddr {
    let on_the_cable = |v4: Ipv4Addr| v4.octets().starts_with(&[10, 0, 2]);
    match client.to_canonical() {
        IpAddr::V4(v4) if !v4.is_loopback() && !on_the_cable(v4) => v4.into(),
        _ => GATEWAY.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_keeps_its_address_unless_it_has_none_that_leads_back() {
        let seen = |client: &str| source(client.parse().unwrap()).to_string();
        assert_eq!(seen("192.0.2.7"), "192.0.2.7");
        assert_eq!(seen("::ffff:192.0.2.7"), "192.0.2.7");
        for client in ["127.0.0.1", "::1", "10.0.2.15", "10.0.2.99", "2001:db8::1"] {
            assert_eq!(seen(client), "10.0.2.2", "{client}");
        }
    }
}
