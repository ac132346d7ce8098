//! The way out: segments become frames here, are cut to what the way carries, and wait for the interface.

use crate::house::neighbours::Neighbours;
use crate::wire::{ETHERNET, Ends, FIN, Kind, PSH, Segment};
use std::collections::VecDeque;
use std::net::IpAddr;
use world::{Full, Help, Instant, Nic, NicFacts, Segments};

/// Frames that may wait for the interface before connections stop speaking.
const ROOM: usize = 256;
/// Bytes of them, at the least and at the most.
const BYTES: [usize; 2] = [128 << 10, 1 << 20];
/// Frames that may wait at all: what answers the world is dropped beyond.
const LIMIT: usize = 1024;
/// Buffers that are kept for later frames.
const SPARE: usize = 64;

/// A frame and what is asked of the interface for it.
pub(crate) struct Parcel {
    pub(crate) frame: Vec<u8>,
    pub(crate) help: Help,
}

/// Frames on their way out.
pub(crate) struct Out {
    facts: NicFacts,
    queue: VecDeque<Parcel>,
    bytes: usize,
    /// Bytes that may wait before connections stop speaking.
    most: usize,
    spare: Vec<Vec<u8>>,
    pub(crate) lost: u64,
    pub(crate) sent: u64,
}

impl Out {
    /// A way out on which about `most` bytes may wait.
    pub(crate) fn new(facts: NicFacts, most: usize) -> Self {
        let [least, limit] = BYTES;
        let most = most.clamp(least, limit);
        Self { facts, queue: VecDeque::new(), bytes: 0, most, spare: Vec::new(), lost: 0, sent: 0 }
    }

    /// True while connections may speak.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < ROOM && self.bytes < self.most
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends `segment` in pieces of at most `mss` bytes: cut by the interface if it can, else here.
    pub(crate) fn segment(
        &mut self,
        now: Instant,
        neighbours: &mut Neighbours,
        ends: &Ends,
        segment: &Segment<'_>,
        mss: u16,
    ) {
        let mss = usize::from(mss.max(1));
        let offload = &self.facts.offload;
        let cuts = offload.checksum && if ends.remote.is_ipv4() { offload.tcp4 } else { offload.tcp6 };
        if segment.payload.len() <= mss || cuts {
            return self.piece(now, neighbours, ends, segment, mss);
        }
        let pieces = segment.payload.len().div_ceil(mss);
        for (number, payload) in segment.payload.chunks(mss).enumerate() {
            let seq = segment.seq + u32::try_from(number * mss).unwrap_or(0);
            let last = if number + 1 == pieces { FIN | PSH } else { 0 };
            let flags = segment.flags & (!(FIN | PSH) | last);
            self.piece(now, neighbours, ends, &Segment { flags, seq, payload, ..*segment }, mss);
        }
    }

    fn piece(
        &mut self,
        now: Instant,
        neighbours: &mut Neighbours,
        ends: &Ends,
        segment: &Segment<'_>,
        mss: usize,
    ) {
        let partial = self.facts.offload.checksum;
        let mut frame = self.start(ends.remote.ip());
        let (start, header) = ends.write(&mut frame, segment, partial);
        let checksum = partial.then(|| (number(start), 16));
        let kind = if ends.remote.is_ipv4() { world::Segment::Tcp4 } else { world::Segment::Tcp6 };
        let cut = || Segments { kind, header: number(start + header), size: number(mss) };
        let help = Help { checksum, segment: (segment.payload.len() > mss).then(cut) };
        self.route(now, neighbours, ends.remote.ip(), Parcel { frame, help });
    }

    /// An empty frame with room for its addresses.
    pub(crate) fn start(&mut self, to: IpAddr) -> Vec<u8> {
        let mut frame = self.spare.pop().unwrap_or_default();
        frame.clear();
        frame.extend_from_slice(&Kind::of(to).header([0; 6], self.facts.mac));
        frame
    }

    /// Sends an IP packet to whoever is next on the way to `to`.
    pub(crate) fn route(&mut self, now: Instant, neighbours: &mut Neighbours, to: IpAddr, parcel: Parcel) {
        if let Some(parcel) = neighbours.address(now, to, parcel, self) {
            self.push(parcel);
        }
    }

    /// Queues a frame that knows where it goes.
    pub(crate) fn push(&mut self, parcel: Parcel) {
        if self.queue.len() >= LIMIT || self.bytes >= 2 * self.most {
            self.lost += 1;
            return self.keep(parcel.frame);
        }
        self.bytes += parcel.frame.len();
        self.queue.push_back(parcel);
    }

    /// Gives the interface what it takes.
    pub(crate) fn flush(&mut self, nic: &mut impl Nic) {
        while let Some(parcel) = self.queue.pop_front() {
            if nic.send(&parcel.frame, parcel.help) == Err(Full) {
                self.queue.push_front(parcel);
                break;
            }
            self.sent += 1;
            self.bytes = self.bytes.saturating_sub(parcel.frame.len());
            self.keep(parcel.frame);
        }
        nic.flush();
    }

    fn keep(&mut self, frame: Vec<u8>) {
        if self.spare.len() < SPARE && frame.capacity() <= 2048 {
            self.spare.push(frame);
        }
    }
}

/// Writes the hardware address of the next on the way.
pub(crate) fn direct(frame: &mut [u8], to: [u8; 6]) {
    if let Some(place) = frame.get_mut(..ETHERNET - 8) {
        place.copy_from_slice(&to);
    }
}

fn number(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
