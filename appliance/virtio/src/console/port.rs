//! One port: a byte stream to whoever sits at the other end. Whose bytes are whose is decided by [`Peer`].

use super::control::{Event, Told};
use super::peer::{Next, Peer};
use crate::device::{Buffers, Memory};
use dma::{HostLied, Pages, Ring, Used, Way};
use world::Heard;

/// Buffers of each queue.
pub(super) const BUFFERS: u16 = 16;
const EACH: usize = 4096;

/// A port, whether or not the host has one of that number.
pub(super) struct Port {
    number: u16,
    name: Option<String>,
    added: bool,
    pub(super) inward: Ring,
    pub(super) outward: Ring,
    /// The buffers, inward and outward, once the port is in use.
    buffers: Option<(Buffers, Buffers)>,
    peer: Peer,
    /// The buffer that is being read, and how far.
    reading: Option<(Used, usize)>,
    starved: bool,
}

impl Port {
    /// A port that nothing is known of.
    pub(super) fn new(number: u16, inward: Ring, outward: Ring) -> Self {
        let (name, buffers, peer, reading) = (None, None, Peer::default(), None);
        Self { number, name, added: false, inward, outward, buffers, peer, reading, starved: false }
    }

    /// Its number.
    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Whether the host has such a port and calls it so.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.added && self.name.as_deref() == Some(name)
    }

    /// Whether everything that the host says of a new port has been said.
    pub(super) fn is_settled(&self) -> bool {
        !self.added || self.name.is_some()
    }

    /// Whether it was ever asked for.
    pub(super) fn is_in_use(&self) -> bool {
        self.buffers.is_some()
    }

    /// Takes the port into use; None when there is no memory for it.
    pub(super) fn open(&mut self, memory: &Memory) -> Option<()> {
        let inward = Buffers::new(self.inward.size(), EACH, memory).ok()?;
        let outward = Buffers::new(self.outward.size(), EACH, memory).ok()?;
        inward.lend_all(&mut self.inward);
        self.buffers = Some((inward, outward));
        Some(())
    }

    /// Notes what has come so far: it belongs to whoever was there so far.
    pub(super) fn mark(&mut self) -> Result<(), HostLied> {
        self.peer.mark(self.inward.waiting()?);
        Ok(())
    }

    /// The host had more to say than was read: of what has come nobody knows whose it is.
    pub(super) fn unmark(&mut self) {
        self.peer.unmark();
    }

    /// Takes note of what the host says.
    pub(super) fn obey(&mut self, told: &Told) {
        match told.event {
            Event::Added => self.added = true,
            Event::Removed => {
                (self.added, self.name) = (false, None);
                self.peer.leaves();
            }
            Event::Open if told.yes => self.peer.comes(),
            Event::Open => self.peer.leaves(),
            Event::Name => self.name = told.name.clone().or(self.name.take()),
            Event::DeviceReady | Event::PortReady => {}
        }
    }

    /// Whether the device has kept buffers of ours although nobody is there to read them. QEMU 7.2 forgets one
    /// each time that a peer goes that had stopped reading: after sixteen of these nothing could be said ever again.
    pub(super) fn is_worn(&mut self) -> Result<bool, HostLied> {
        if !self.is_in_use() || !self.peer.is_nobody() {
            return Ok(false);
        }
        while self.outward.take()?.is_some() {}
        Ok(self.outward.out() >= self.outward.size().div_ceil(2))
    }

    /// The device was reset: whoever was there is gone, and its rings are empty.
    pub(super) fn begin_again(&mut self) {
        (self.added, self.name, self.reading, self.starved) = (false, None, None, false);
        self.peer.vanishes();
        if let Some((inward, _)) = &self.buffers {
            inward.lend_all(&mut self.inward);
        }
    }

    /// What there is to hear.
    pub(super) fn hear(&mut self, into: &mut [u8]) -> Result<Heard, HostLied> {
        let mut count = 0;
        // Each buffer at most once, so that a device that gives empty ones for ever does not hold us.
        for _ in 0..2 * self.inward.size() {
            if count == into.len() {
                break;
            }
            if self.reading.is_some() {
                count += self.read(into.get_mut(count..).unwrap_or_default());
                continue;
            }
            let mut later = self.peer;
            let next = later.next();
            let ends = matches!(next, Next::Open | Next::Close | Next::Nothing);
            if ends && count > 0 {
                break;
            }
            if ends {
                self.peer = later;
                return Ok(news(next));
            }
            let Some(used) = self.inward.take()? else { break };
            self.peer = later;
            self.reading = Some((used, if next == Next::Drop { used.len } else { 0 }));
        }
        Ok(if count > 0 { Heard::Bytes(count) } else { Heard::Nothing })
    }

    /// The end of the stream because the device is gone, if it was open.
    pub(super) fn hear_the_end(&mut self) -> Heard {
        self.reading = None;
        self.peer.vanishes();
        news(self.peer.next())
    }

    /// Takes bytes for the peer, as many as there is room for.
    pub(super) fn tell(&mut self, bytes: &[u8]) -> Result<usize, HostLied> {
        while self.outward.take()?.is_some() {}
        if !self.peer.listens() {
            return Ok(0);
        }
        let mut taken = 0;
        for piece in bytes.chunks(EACH) {
            if self.put(piece).is_none() {
                break;
            }
            taken += piece.len();
        }
        self.starved = taken < bytes.len();
        Ok(taken)
    }

    /// True when something is there for which there may be no interrupt.
    pub(super) fn listen(&self) -> bool {
        let bytes = self.reading.is_some() || self.inward.listen();
        let room = self.starved && self.outward.listen();
        self.is_in_use() && (self.peer.has_news() | (self.peer.listens() && (bytes | room)))
    }

    fn put(&mut self, piece: &[u8]) -> Option<()> {
        let (_, buffers) = self.buffers.as_ref()?;
        let id = (0..self.outward.size()).find(|id| !self.outward.is_out(*id))?;
        let buffer = buffers.at(id)?.cut(0, piece.len())?;
        buffer.write(0, piece);
        self.outward.lend(id, &buffer, Way::ToDevice).ok()
    }

    /// Copies from the buffer that is being read, and lends it again at its end.
    fn read(&mut self, into: &mut [u8]) -> usize {
        let (Some((used, at)), Some((buffers, _))) = (self.reading.take(), &self.buffers) else { return 0 };
        let left = used.len - at;
        let count = left.min(into.len());
        if let Some(buffer) = buffers.at(used.id) {
            buffer.read(at, into.get_mut(..count).unwrap_or_default());
            // What was said here may have been a seed: nothing of it stays.
            buffer.cut(at, count).iter().for_each(Pages::wipe);
        }
        if count < left {
            self.reading = Some((used, at + count));
        } else {
            buffers.lend(&mut self.inward, used.id);
        }
        count
    }
}

fn news(next: Next) -> Heard {
    match next {
        Next::Open => Heard::Opened,
        Next::Close => Heard::Closed,
        _ => Heard::Nothing,
    }
}
