//! Streams on one stock smoltcp interface: a pool of listening sockets for each port.

use crate::config::{BadConfig, Config, Figures, Keys};
use core::task::Waker;
use smoltcp::iface::{Interface, PollIngressSingleResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use world::{Help, Instant, LARGEST_FRAME, Nic, NicFacts};

/// Bytes of each direction that a connection may hold.
const BUFFER: usize = 32 * 1024;
/// Connections that may be half-open on a port.
const POOL: usize = 16;
/// Frames taken in one turn.
const FRAMES: usize = 64;

/// One interface, its sockets, and who waits for connections.
pub(crate) struct Plain {
    interface: Interface,
    sockets: SocketSet<'static>,
    doors: BTreeMap<u16, Door>,
    leaving: Vec<SocketHandle>,
    wire: Wire,
    port: u16,
    any_ip: bool,
}

/// A port that listens.
#[derive(Default)]
struct Door {
    pool: Vec<SocketHandle>,
    ready: VecDeque<SocketHandle>,
    waiter: Option<Waker>,
}

/// What stays between turns of the path to the interface.
struct Wire {
    facts: NicFacts,
    frame: Box<[u8]>,
    out: Vec<u8>,
    figures: Figures,
}

impl Plain {
    pub(crate) fn new(config: &Config, facts: NicFacts, keys: Keys, now: Instant) -> Result<Self, BadConfig> {
        let frame = vec![0; LARGEST_FRAME].into_boxed_slice();
        let mut wire = Wire { facts, frame, out: Vec::new(), figures: Figures::default() };
        let mac = HardwareAddress::Ethernet(EthernetAddress(facts.mac));
        let mut settings = smoltcp::iface::Config::new(mac);
        settings.random_seed = keys.word(0);
        let mut interface =
            Interface::new(settings, &mut Path { wire: &mut wire, nic: &mut NoNic }, time(now));
        address(&mut interface, config)?;
        interface.set_any_ip(config.any_ip);
        let port = 49152 | u16::try_from(keys.word(1) & 0x3fff).unwrap_or(0);
        let sockets = SocketSet::new(Vec::new());
        let (doors, leaving) = (BTreeMap::new(), Vec::new());
        Ok(Self { interface, sockets, doors, leaving, wire, port, any_ip: config.any_ip })
    }

    pub(crate) fn turn(&mut self, now: Instant, nic: &mut impl Nic) -> Option<Instant> {
        let mut path = Path { wire: &mut self.wire, nic };
        self.interface.poll_maintenance(time(now));
        let full = (0..FRAMES).all(|_| {
            let seen = self.interface.poll_ingress_single(time(now), &mut path, &mut self.sockets);
            seen != PollIngressSingleResult::None
        });
        self.interface.poll_egress(time(now), &mut path, &mut self.sockets);
        nic.flush();
        self.admit();
        self.bury();
        if full {
            return Some(now);
        }
        let next = self.interface.poll_at(time(now), &self.sockets)?;
        Some(Instant::from_nanos(u64::try_from(next.total_micros()).unwrap_or(0).saturating_mul(1000)))
    }

    /// Moves what was connected to the queues of those who accept, and fills the pools again.
    fn admit(&mut self) {
        for (port, door) in &mut self.doors {
            let sockets = &self.sockets;
            let shaken = |handle: &mut SocketHandle| {
                let state = sockets.get::<tcp::Socket<'_>>(*handle).state();
                !matches!(state, tcp::State::Listen | tcp::State::SynReceived | tcp::State::Closed)
            };
            for handle in door.pool.extract_if(.., shaken).collect::<Vec<_>>() {
                self.wire.figures.accepted += 1;
                door.ready.push_back(handle);
                door.waiter.take().into_iter().for_each(Waker::wake);
            }
            door.fill(*port, &mut self.sockets);
        }
    }

    /// Forgets what its owner dropped, once it is closed.
    fn bury(&mut self) {
        let sockets = &mut self.sockets;
        self.leaving.retain(|handle| {
            let gone = !sockets.get::<tcp::Socket<'_>>(*handle).is_open();
            if gone {
                sockets.remove(*handle);
            }
            !gone
        });
    }

    pub(crate) fn open(&mut self, port: u16) -> bool {
        if port == 0 || self.doors.contains_key(&port) {
            return false;
        }
        self.doors.entry(port).or_default().fill(port, &mut self.sockets);
        true
    }

    pub(crate) fn shut(&mut self, port: u16) {
        for handle in
            self.doors.remove(&port).into_iter().flat_map(|door| door.pool.into_iter().chain(door.ready))
        {
            self.socket(handle).abort();
            self.leaving.push(handle);
        }
    }

    pub(crate) fn next(&mut self, port: u16, waker: &Waker) -> Option<SocketHandle> {
        let door = self.doors.get_mut(&port)?;
        let ready = door.ready.pop_front();
        if ready.is_none() {
            door.waiter = Some(waker.clone());
        }
        ready
    }

    pub(crate) fn connect(&mut self, local: Option<IpAddr>, remote: SocketAddr) -> Option<SocketHandle> {
        let wanted = self.interface.get_source_address(&IpAddress::from(remote.ip())).map(IpAddr::from);
        let ours = |address: &IpAddr| self.any_ip || self.interface.has_ip_addr(IpAddress::from(*address));
        let local = local.or(wanted).filter(ours)?;
        self.port = if self.port == u16::MAX { 49152 } else { self.port + 1 };
        let mut socket = socket();
        socket.connect(self.interface.context(), remote, (local, self.port)).ok()?;
        self.wire.figures.connected += 1;
        Some(self.sockets.add(socket))
    }

    pub(crate) fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub(crate) fn leave(&mut self, handle: SocketHandle) {
        self.socket(handle).close();
        self.leaving.push(handle);
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures { open: self.sockets.iter().count() as u64, ..self.wire.figures }
    }
}

impl Door {
    fn fill(&mut self, port: u16, sockets: &mut SocketSet<'static>) {
        self.pool.retain(|handle| {
            let dead = sockets.get::<tcp::Socket<'_>>(*handle).state() == tcp::State::Closed;
            if dead {
                sockets.remove(*handle);
            }
            !dead
        });
        while self.pool.len() < POOL {
            let mut socket = socket();
            if socket.listen(port).is_err() {
                return;
            }
            self.pool.push(sockets.add(socket));
        }
    }
}

fn socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket
}

fn address(interface: &mut Interface, config: &Config) -> Result<(), BadConfig> {
    let mut fits = true;
    interface.update_ip_addrs(|ours| {
        for cidr in &config.addresses {
            fits &= ours.push(IpCidr::new(cidr.address.into(), cidr.prefix)).is_ok();
        }
    });
    for gateway in &config.gateways {
        let routes = interface.routes_mut();
        fits &= match gateway {
            IpAddr::V4(v4) => routes.add_default_ipv4_route(*v4).is_ok(),
            IpAddr::V6(v6) => routes.add_default_ipv6_route(*v6).is_ok(),
        };
    }
    if fits { Ok(()) } else { Err(BadConfig::TooMany) }
}

fn time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.nanos() / 1000).unwrap_or(i64::MAX))
}

/// The way from smoltcp to the interface for one turn.
struct Path<'turn, N> {
    wire: &'turn mut Wire,
    nic: &'turn mut N,
}

impl<N: Nic> Device for Path<'_, N> {
    type RxToken<'a>
        = Arrived<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Leaving<'a, N>
    where
        Self: 'a;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Arrived<'_>, Leaving<'_, N>)> {
        let received = self.nic.receive(&mut self.wire.frame)?;
        self.wire.figures.frames_in += 1;
        let Wire { out, figures, frame, .. } = &mut *self.wire;
        let frame = frame.get(..received.len).unwrap_or_default();
        Some((Arrived(frame), Leaving { out, figures, nic: self.nic }))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Leaving<'_, N>> {
        let Wire { out, figures, .. } = &mut *self.wire;
        Some(Leaving { out, figures, nic: self.nic })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.wire.facts.mtu + 14;
        // A host leaves the checksum of its own frames unfinished: the device verifies what comes from further away.
        capabilities.checksum.tcp = smoltcp::phy::Checksum::Tx;
        capabilities.checksum.udp = smoltcp::phy::Checksum::Tx;
        capabilities
    }
}

struct Arrived<'a>(&'a [u8]);

impl RxToken for Arrived<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

struct Leaving<'a, N> {
    out: &'a mut Vec<u8>,
    figures: &'a mut Figures,
    nic: &'a mut N,
}

impl<N: Nic> TxToken for Leaving<'_, N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        self.out.clear();
        self.out.resize(len, 0);
        let result = write(self.out);
        let sent = self.nic.send(self.out, Help::default()).is_ok();
        self.figures.frames_out += u64::from(sent);
        self.figures.frames_lost += u64::from(!sent);
        result
    }
}

/// The interface before the first turn: smoltcp asks a device what it can do when it is made.
struct NoNic;

impl Nic for NoNic {
    fn facts(&self) -> NicFacts {
        NicFacts { mac: [0; 6], mtu: 0, offload: world::Offload::default() }
    }

    fn receive(&mut self, _: &mut [u8]) -> Option<world::Received> {
        None
    }

    fn send(&mut self, _: &[u8], _: Help) -> Result<(), world::Full> {
        Err(world::Full)
    }

    fn flush(&mut self) {}
}
