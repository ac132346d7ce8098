//! A peer that says exactly what a test wants, byte by byte, and sees every answer.

use super::cable::{End, FAIR, Weather, config};
use crate::house::arp::Arp;
use crate::wire::{ACK, Ends, Ethernet, Ip, Kind, Options, SYN, Segment, Seq};
use crate::{Config, Handle, Keys, Net, Stream};
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use futures_io::AsyncWrite;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use world::{Instant, Nic};

pub(super) const PORT: u16 = 80;

/// A segment that was heard, with its payload's own copy.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// As the stack sees them.
    pub(super) ends: Ends,
    pub(super) flags: u8,
    pub(super) seq: Seq,
    pub(super) ack: Seq,
    pub(super) options: Options,
    pub(super) payload: Vec<u8>,
}

/// One stack, and the wire that it is on.
pub(super) struct Wire {
    pub(super) net: Net,
    pub(super) end: End,
    pub(super) now: Instant,
    pub(super) deadline: Option<Instant>,
    /// Frames that carry IP but no TCP.
    pub(super) others: Vec<Vec<u8>>,
}

/// Our end of a connection by hand, as the stack sees it: it is `remote`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hand {
    pub(super) ends: Ends,
    pub(super) seq: Seq,
    pub(super) ack: Seq,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self::with(FAIR, config(1))
    }

    pub(super) fn with(weather: Weather, config: Config) -> Self {
        Self::of(weather, config, 9)
    }

    /// A stack whose keys are others.
    pub(super) fn keyed(config: Config, key: u8) -> Self {
        Self::of(FAIR, config, key)
    }

    fn of(weather: Weather, config: Config, key: u8) -> Self {
        let end = End::new(1, &weather);
        let net = Net::new(config, end.facts(), Keys::new([key; 64]), Instant::START).unwrap();
        let now = Instant::START + Duration::from_secs(1000);
        let mut wire = Self { net, end, now, deadline: None, others: Vec::new() };
        wire.turn();
        wire
    }

    pub(super) fn handle(&self) -> Handle {
        self.net.handle()
    }

    /// Turns until the stack has nothing more to say; answers its questions about neighbours; returns the rest.
    pub(super) fn turn(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        loop {
            self.deadline = self.net.turn(self.now, &mut self.end);
            let frames: Vec<Vec<u8>> = self.end.leaving.drain(..).collect();
            let busy = self.net.is_busy() || !self.end.arriving.is_empty();
            if frames.is_empty() && !busy {
                return said;
            }
            said.extend(frames.iter().filter_map(|frame| self.hear(frame)));
        }
    }

    fn hear(&mut self, frame: &[u8]) -> Option<Said> {
        let ethernet = Ethernet::read(frame).unwrap();
        if let Some(arp) = Arp::read(&ethernet) {
            if !arp.is_reply && arp.sender != arp.target && !arp.sender.is_unspecified() {
                let answer = Arp { is_reply: true, mac: MAC, sender: arp.target, target: arp.sender };
                self.end.arriving.push_back(answer.frame(ethernet.from));
            }
            return None;
        }
        let ip = Ip::read(ethernet.kind, ethernet.payload).unwrap();
        if ip.protocol != crate::wire::ip::TCP {
            self.others.push(frame.to_vec());
            return None;
        }
        assert!(Ends::sum_is_right(&ip));
        let (seen, segment) = Ends::read(&ip).unwrap();
        let Segment { flags, seq, ack, options, payload, .. } = segment;
        let ends = Ends { local: seen.remote, remote: seen.local };
        Some(Said { ends, flags, seq, ack, options, payload: payload.to_vec() })
    }

    /// Sends a frame and turns.
    pub(super) fn frame(&mut self, frame: Vec<u8>) -> Vec<Said> {
        self.end.arriving.push_back(frame);
        self.turn()
    }

    /// Sends a segment and turns.
    pub(super) fn say(&mut self, ends: &Ends, segment: &Segment<'_>) -> Vec<Said> {
        self.frame(frame(ends, segment))
    }

    /// Lets time pass, turning at every deadline; returns what was said.
    pub(super) fn pass(&mut self, long: Duration) -> Vec<Said> {
        let (end, mut said) = (self.now + long, Vec::new());
        loop {
            said.extend(self.turn());
            match self.deadline.filter(|at| *at < end) {
                Some(at) => self.now = at.max(self.now + Duration::from_micros(1)),
                None => break,
            }
        }
        self.now = end;
        said.extend(self.turn());
        said
    }

    /// Shakes hands on [`PORT`], where somebody must listen.
    pub(super) fn connect(&mut self, options: Options) -> Hand {
        let ends = ends(40_000 + self.now.nanos() as u16 % 1000);
        self.connect_as(ends, options)
    }

    pub(super) fn connect_as(&mut self, ends: Ends, options: Options) -> Hand {
        let syn = Segment { flags: SYN, seq: Seq(999), ack: Seq(0), window: 65_535, options, payload: &[] };
        let answers = self.say(&ends, &syn);
        let answer = answers.last().expect("a SYN is answered");
        assert_eq!((answer.flags, answer.ack), (SYN | ACK, Seq(1000)));
        let hand = Hand { ends, seq: Seq(1000), ack: answer.seq + 1 };
        let stamps = answer.options.stamps.map(|told| crate::wire::Stamps { value: 2, echo: told.value });
        let options = Options { stamps, ..Options::default() };
        self.say(&ends, &Segment { options, ..hand.segment(ACK, b"") });
        hand
    }
}

impl Hand {
    /// A segment in its place.
    pub(super) fn segment<'a>(&self, flags: u8, payload: &'a [u8]) -> Segment<'a> {
        let options = Options::default();
        Segment { flags, seq: self.seq, ack: self.ack, window: 60_000, options, payload }
    }
}

pub(super) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The ends of a connection from one of our ports to [`PORT`].
pub(super) fn ends(port: u16) -> Ends {
    ends_from(Ipv4Addr::new(10, 0, 0, 2), port)
}

pub(super) fn ends_from(address: Ipv4Addr, port: u16) -> Ends {
    let local = SocketAddr::from(([10, 0, 0, 1], PORT));
    Ends { local, remote: SocketAddr::new(IpAddr::V4(address), port) }
}

/// A frame from the peer of `ends`.
pub(super) fn frame(ends: &Ends, segment: &Segment<'_>) -> Vec<u8> {
    let mut frame = Kind::of(ends.local.ip()).header([2, 0, 0, 0, 0, 1], MAC).to_vec();
    Ends { local: ends.remote, remote: ends.local }.write(&mut frame, segment, false);
    frame
}

/// Polls a future once.
pub(super) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// What can be read without waiting.
pub(super) fn read(stream: &mut Stream) -> Option<std::io::Result<Vec<u8>>> {
    let mut buffer = vec![0; 1 << 20];
    now(super::talk::read(stream, &mut buffer)).map(|read| read.map(|read| buffer[..read].to_vec()))
}

pub(super) fn write(stream: &mut Stream, bytes: &[u8]) -> usize {
    let context = &mut Context::from_waker(Waker::noop());
    match core::pin::Pin::new(stream).poll_write(context, bytes) {
        Poll::Ready(written) => written.unwrap(),
        Poll::Pending => 0,
    }
}
