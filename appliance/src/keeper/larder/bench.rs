//! A world with whatever may sit at the other end of its channels, in simulated time.

use super::*;
use core::cell::Cell;
use entropy::protocol::Host;
use entropy::stream::Stream;
use std::collections::VecDeque;
use std::rc::Rc;
use world::{Boot, ChannelId, Full, Generation, Heard, Help, Nic, NicFacts, Offload, Received};

/// Who sits at the other end.
pub(super) enum Other {
    Nobody,
    /// xentropyd, and what it feeds.
    Daemon(Box<Host>, Stream),
    Says(&'static [u8]),
    /// Says its line and then this one byte for ever.
    SaysForEver(&'static [u8], u8),
}

pub(super) struct Bench {
    pub(super) now: Duration,
    pub(super) name: &'static str,
    /// A channel that somebody opens who never says anything.
    pub(super) mute: Option<&'static str>,
    mute_opens: bool,
    pub(super) other: Other,
    pub(super) under_way: VecDeque<u8>,
    opening: bool,
    closing: bool,
    pub(super) said: Vec<String>,
    pub(super) heard: usize,
    pub(super) generation: Rc<Cell<u128>>,
    pub(super) stop_at: Duration,
    boot: Boot,
    nic: NoNic,
}

pub(super) struct NoNic;

impl Nic for NoNic {
    fn facts(&self) -> NicFacts {
        NicFacts { mac: [2, 0, 0, 0, 0, 1], mtu: 1500, offload: Offload::default() }
    }

    fn receive(&mut self, _frame: &mut [u8]) -> Option<Received> {
        None
    }

    fn send(&mut self, _frame: &[u8], _help: Help) -> Result<(), Full> {
        Ok(())
    }

    fn flush(&mut self) {}
}

pub(super) fn daemon(generation: u128, food: u8) -> Other {
    Other::Daemon(Box::new(Host::new(generation, 1024)), Stream::new(&[food; 32]))
}

impl Bench {
    pub(super) fn with(other: Other) -> Self {
        Self {
            now: Duration::from_secs(1),
            name: CHANNEL_2,
            mute: None,
            mute_opens: true,
            opening: !matches!(other, Other::Nobody),
            other,
            under_way: VecDeque::new(),
            closing: false,
            said: Vec::new(),
            heard: 0,
            generation: Rc::new(Cell::new(7)),
            stop_at: Duration::MAX,
            boot: Boot::default(),
            nic: NoNic,
        }
    }

    /// The one that was there goes, another comes.
    pub(super) fn replace(&mut self, other: Other) {
        self.closing = true;
        self.opening = !matches!(other, Other::Nobody);
        self.other = other;
        self.under_way.clear();
    }

    fn talk(&mut self) {
        match &mut self.other {
            Other::Daemon(host, stream) => {
                for _ in 0..8 {
                    if host.appetite() == 0 || !host.outbox().is_empty() {
                        break;
                    }
                    let mut piece = [0; 256];
                    stream.draw(&mut piece);
                    host.pour(&piece);
                    self.under_way.extend(host.outbox());
                    host.sent(host.outbox().len());
                }
            }
            Other::SaysForEver(_, byte) => self.under_way.extend([*byte; 8192]),
            Other::Nobody | Other::Says(_) => {}
        }
    }

    pub(super) fn count(&self, word: &str) -> usize {
        self.said.iter().filter(|line| line.contains(word)).count()
    }

    /// Lives with the larder for so long; the loop turns at least once a second.
    pub(super) fn live(&mut self, larder: &mut Larder, seconds: u64) -> bool {
        let end = self.now + Duration::from_secs(seconds);
        let mut forked = false;
        while self.now < end {
            forked |= larder.turn(self).forked;
            self.wait(Some(Instant::START + self.now + Duration::from_secs(1)));
        }
        forked
    }

    pub(super) fn starves(&mut self, word: &str) {
        self.stop_at = self.now + Duration::from_secs(100);
        let mut larder = Larder::open(self, || None);
        assert!(larder.fill(self).is_none(), "it was seeded: {:?}", self.said);
        assert_eq!(self.count(word), 1, "{word}: {:?}", self.said);
        assert!(self.said.len() < 4, "{:?}", self.said);
    }
}

impl World for Bench {
    type Nic = NoNic;

    fn nic(&mut self) -> &mut NoNic {
        &mut self.nic
    }

    fn now(&self) -> Instant {
        Instant::START + self.now
    }

    fn wall_clock(&self) -> Duration {
        self.now
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        self.talk();
        if self.under_way.is_empty() && !self.opening && !self.closing {
            let until = deadline.map_or(self.stop_at, |deadline| deadline - Instant::START);
            self.now = until.min(self.stop_at).max(self.now);
        }
        self.now += Duration::from_millis(1);
    }

    fn channel(&mut self, name: &str) -> Option<ChannelId> {
        let mute = (Some(name) == self.mute).then_some(ChannelId(1));
        if name == self.name { Some(ChannelId(0)) } else { mute }
    }

    fn hear(&mut self, channel: ChannelId, into: &mut [u8]) -> Heard {
        if channel == ChannelId(1) {
            return if core::mem::take(&mut self.mute_opens) { Heard::Opened } else { Heard::Nothing };
        }
        if core::mem::take(&mut self.closing) {
            return Heard::Closed;
        }
        if core::mem::take(&mut self.opening) {
            if let Other::Says(line) | Other::SaysForEver(line, _) = self.other {
                self.under_way.extend(line);
            }
            return Heard::Opened;
        }
        let count = self.under_way.len().min(into.len());
        self.heard += count;
        into.iter_mut().zip(self.under_way.drain(..count)).for_each(|(to, byte)| *to = byte);
        if count == 0 { Heard::Nothing } else { Heard::Bytes(count) }
    }

    fn tell(&mut self, channel: ChannelId, bytes: &[u8]) -> usize {
        if channel == ChannelId(1) {
            return bytes.len();
        }
        if let Other::Daemon(host, _) = &mut self.other {
            host.receive(bytes, self.now).unwrap();
            self.under_way.extend(host.outbox());
            host.sent(host.outbox().len());
        }
        bytes.len()
    }

    fn boot(&self) -> &Boot {
        &self.boot
    }

    fn memory(&self, limit: Option<usize>) -> usize {
        limit.unwrap_or(usize::MAX)
    }

    fn take_secrets(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn host_random(&mut self, _into: &mut [u8]) -> usize {
        0
    }

    fn generation(&self) -> Generation {
        let number = self.generation.clone();
        Rc::new(move || Some(number.get()))
    }

    fn asked_to_stop(&mut self) -> bool {
        self.now >= self.stop_at
    }

    fn say(&mut self, line: &str) {
        self.said.push(line.to_owned());
    }
}
