//! smoltcp, which hears for us and does not speak.
//!
//! One interface serves all connections, each in a socket set of its own, so smoltcp never searches. It sees neither
//! addresses nor handshakes: every connection runs between the same two made-up ends, is born by a replayed handshake,
//! and the gate writes what goes on the wire. It puts in order what arrives, says when to acknowledge it, and keeps the
//! states of both halves; what we say it never sees, but for our FIN.

use super::live::Live;
use crate::wire::{ACK, FIN, Options, SYN, Segment, Seq, ip};
use core::time::Duration;
use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use std::net::{IpAddr, Ipv4Addr};
use world::Instant;

/// Our made-up end; nothing of it reaches a wire.
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The peer's.
const THEIRS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PORT: u16 = 1;
/// IP and TCP headers without options, between the made-up ends.
const HEADERS: usize = 40;
/// The longest packet that smoltcp may be shown.
const LONGEST: usize = 64 * 1024;
/// How long smoltcp waits with an acknowledgement, and more.
const DELAY: Duration = Duration::from_millis(20);

/// smoltcp and its one-slot device.
pub(crate) struct Engine {
    interface: Interface,
    slot: Slot,
    polls: u64,
}

#[cfg(test)]
impl Engine {
    /// A connection as smoltcp has it after a handshake that it answered itself: nothing swallowed.
    pub(crate) fn birth_without_remedy(&mut self, now: Instant, birth: &Birth) -> Option<Live> {
        let mut live = self.call(birth)?;
        let iss = self.swallow(now, &mut live)?;
        let options = Options { mss: Some(birth.mss), scale: Some(birth.scale), ..Options::default() };
        let (seq, window) = (birth.theirs - 1, u16::MAX);
        let syn = Segment { flags: SYN, seq, ack: Seq(0), window, options, payload: &[] };
        self.show(now, &mut live, &syn);
        let iss = self.swallow(now, &mut live).unwrap_or(iss);
        live.own = iss;
        self.show(now, &mut live, &plain(birth, iss));
        Some(live)
    }
}

/// What a connection must know to be born.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    /// The next number that we send, and nothing is unacknowledged.
    pub(crate) ours: Seq,
    /// The next byte that we expect, and nothing is unread.
    pub(crate) theirs: Seq,
    /// Payload of a full segment.
    pub(crate) mss: u16,
    /// The peer's window scale.
    pub(crate) scale: u8,
    /// The peer understands selective acknowledgements.
    pub(crate) sack: bool,
    /// The peer's FIN has arrived: the last of the numbers above. Ours was acknowledged.
    pub(crate) heard_fin: bool,
    pub(crate) said_fin: bool,
    /// Bytes of the buffers for each direction.
    pub(crate) receive: usize,
    pub(crate) send: usize,
}

/// What smoltcp wants to say, and its window in bytes.
pub(crate) struct Said<'a> {
    pub(crate) segment: Segment<'a>,
    pub(crate) window: u32,
}

impl Engine {
    pub(crate) fn new(seed: u64, now: Instant) -> Self {
        let mut slot = Slot::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut slot, time(now));
        interface.update_ip_addrs(|ours| {
            let _ = ours.push(IpCidr::new(IpAddress::Ipv4(OURS), 32));
        });
        Self { interface, slot, polls: 0 }
    }

    /// How often smoltcp was asked anything.
    pub(crate) fn polls(&self) -> u64 {
        self.polls
    }

    /// A connection that is established here as it is on the wire.
    ///
    /// Its own acknowledgement of the replayed SYN-ACK is swallowed: with it smoltcp learns that the window of its SYN
    /// was not scaled. Without it, a burst past a receive buffer of 64 KiB or more is a panic.
    pub(crate) fn birth(&mut self, now: Instant, birth: &Birth) -> Option<Live> {
        let mut live = self.call(birth)?;
        let iss = self.swallow(now, &mut live)?;
        let options = Options {
            mss: Some(birth.mss),
            scale: Some(birth.scale),
            sack_ok: birth.sack,
            ..Options::default()
        };
        let first = birth.theirs - 1;
        let accepted =
            Segment { flags: SYN | ACK, seq: first, ack: iss, window: u16::MAX, options, payload: &[] };
        self.show(now, &mut live, &accepted);
        self.swallow(now, &mut live)?;
        live.own = iss;
        if birth.said_fin {
            live.close();
            live.sender.finish();
            self.swallow(now, &mut live)?;
            self.show(now, &mut live, &plain(birth, iss + 1));
        }
        if birth.heard_fin {
            let last = plain(birth, iss + u32::from(birth.said_fin));
            self.show(now, &mut live, &Segment { flags: FIN | ACK, ..last });
            self.swallow(now, &mut live)?;
        }
        Some(live)
    }

    fn call(&mut self, birth: &Birth) -> Option<Live> {
        let buffer = |bytes: usize| tcp::SocketBuffer::new(vec![0; bytes]);
        let mut socket = tcp::Socket::new(buffer(birth.receive), buffer(0));
        let theirs = (IpAddress::Ipv4(THEIRS), PORT);
        socket.connect(self.interface.context(), theirs, (IpAddress::Ipv4(OURS), PORT)).ok()?;
        Some(Live::new(socket, birth))
    }

    /// Shows a segment to a connection. Its answer, if it has one, is [`Engine::said`].
    pub(crate) fn feed(&mut self, now: Instant, live: &mut Live, segment: &Segment<'_>) {
        let ack = live.own + u32::from(live.sender.is_finished());
        let (window, options) = (u16::MAX, Options::default());
        self.show(now, live, &Segment { ack, window, options, ..*segment });
    }

    fn show(&mut self, now: Instant, live: &mut Live, segment: &Segment<'_>) {
        self.slot.arriving.clear();
        let len = HEADERS - 20 + segment.options.len() + segment.payload.len();
        let (theirs, ours) = (IpAddr::V4(THEIRS), IpAddr::V4(OURS));
        ip::write(&mut self.slot.arriving, theirs, ours, ip::TCP, len, 64);
        segment.write(&mut self.slot.arriving, (PORT, PORT));
        self.slot.spoken = false;
        self.polls += 1;
        self.interface.poll_ingress_single(time(now), &mut self.slot, &mut live.sockets);
        self.note_edge(live);
    }

    /// smoltcp measures what arrives by the window that it gave last, even if it gave a wider one before.
    fn note_edge(&self, live: &mut Live) {
        if let Some(Said { segment, window }) = self.said(live) {
            live.edge = segment.ack + window;
        }
    }

    /// Lets a connection speak. True if it said something: [`Engine::said`].
    pub(crate) fn ask(&mut self, now: Instant, live: &mut Live) -> bool {
        self.slot.spoken = false;
        self.polls += 1;
        let result = self.interface.poll_egress(time(now), &mut self.slot, &mut live.sockets);
        self.note_edge(live);
        result != PollResult::None && self.slot.spoken
    }

    /// The same, but an acknowledgement that waits for company is said at once: it has some.
    pub(crate) fn ask_all(&mut self, now: Instant, live: &mut Live) -> bool {
        self.ask(now + DELAY, live)
    }

    /// What was said last. Its number and flags mean nothing.
    pub(crate) fn said(&self, live: &Live) -> Option<Said<'_>> {
        if !self.slot.spoken {
            return None;
        }
        let segment = Segment::read(self.slot.leaving.get(20..)?)?;
        let window = u32::from(segment.window) << live.scale;
        Some(Said { segment, window })
    }

    /// Lets a connection speak to nobody. Returns the end of what it said.
    fn swallow(&mut self, now: Instant, live: &mut Live) -> Option<Seq> {
        self.ask(now, live);
        let said = self.said(live)?;
        if let Some(scale) = said.segment.options.scale {
            live.scale = scale;
        }
        Some(said.segment.end())
    }

    /// When a connection wants to speak next.
    pub(crate) fn deadline(&mut self, now: Instant, live: &Live) -> Option<Instant> {
        let at = self.interface.poll_at(time(now), &live.sockets)?;
        let nanos = u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1000);
        Some(Instant::from_nanos(nanos).max(now))
    }
}

fn plain(birth: &Birth, ack: Seq) -> Segment<'static> {
    let (window, options) = (u16::MAX, Options::default());
    Segment { flags: ACK, seq: birth.theirs, ack, window, options, payload: &[] }
}

/// A window as it stands in a segment, never more than it is.
pub(crate) fn field(window: u32, scale: u8) -> u16 {
    u16::try_from(window >> scale).unwrap_or(u16::MAX)
}

fn time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.nanos() / 1000).unwrap_or(i64::MAX))
}

pub(crate) fn sockets(socket: tcp::Socket<'static>) -> (SocketSet<'static>, smoltcp::iface::SocketHandle) {
    let mut sockets = SocketSet::new(Vec::with_capacity(1));
    let handle = sockets.add(socket);
    (sockets, handle)
}

/// A device that holds one packet in each direction.
#[derive(Default)]
struct Slot {
    arriving: Vec<u8>,
    leaving: Vec<u8>,
    spoken: bool,
}

impl Device for Slot {
    type RxToken<'a> = Arriving<'a>;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Arriving<'_>, Leaving<'_>)> {
        let Self { arriving, leaving, spoken } = self;
        if arriving.is_empty() {
            return None;
        }
        Some((Arriving(arriving), Leaving { leaving, spoken }))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Leaving<'_>> {
        if self.spoken {
            return None;
        }
        Some(Leaving { leaving: &mut self.leaving, spoken: &mut self.spoken })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = LONGEST;
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities
    }
}

struct Arriving<'a>(&'a mut Vec<u8>);

impl RxToken for Arriving<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let result = read(self.0);
        self.0.clear();
        result
    }
}

struct Leaving<'a> {
    leaving: &'a mut Vec<u8>,
    spoken: &'a mut bool,
}

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        self.leaving.clear();
        self.leaving.resize(len, 0);
        *self.spoken = true;
        write(self.leaving)
    }

    fn set_meta(&mut self, _: PacketMeta) {}
}
