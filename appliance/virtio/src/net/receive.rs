//! Frames that come in.

use super::header::{self, LEN};
use crate::device::{Buffers, Memory, Refused};
use dma::{Claim, HostLied, Ring, Used};
use world::{Checksum, Received};

/// Buffers lent at most.
pub(super) const MOST: u16 = 256;
/// A buffer's length when frames may be spread: an ordinary frame fits one, the largest take seventeen.
const MERGED: usize = 4096;
/// Buffers that are read before the device is shown them again.
const TOGETHER: u16 = 32;
/// Ethernet's header with a VLAN tag.
const ETHERNET: usize = 18;

/// The queue of frames that come in, and the buffers lent to it.
pub(super) struct Inbox {
    pub(super) ring: Ring,
    buffers: Buffers,
    merged: bool,
    each: usize,
    read: u16,
}

/// What came.
pub(super) enum Arrival {
    /// A frame.
    Frame(Received),
    /// A frame that was longer than the room for it, and is gone.
    TooLong,
}

impl Inbox {
    /// Lends the device all its buffers, each of which holds a frame of `mtu` unless frames are `merged` out of many.
    pub(super) fn new(mut ring: Ring, merged: bool, mtu: usize, memory: &Memory) -> Result<Self, Refused> {
        let whole = (LEN + ETHERNET + mtu).next_multiple_of(64);
        let each = if merged { MERGED } else { whole };
        let buffers = Buffers::new(ring.size(), each, memory)?;
        buffers.lend_all(&mut ring);
        Ok(Self { ring, buffers, merged, each, read: 0 })
    }

    /// Copies the next frame. Its buffers go back to the ring, but the device is not shown them yet.
    pub(super) fn next(&mut self, frame: &mut [u8]) -> Result<Option<Arrival>, HostLied> {
        let Some(first) = self.ring.take()? else { return Ok(None) };
        let said = Claim::new("frame length", first.len as u32);
        said.within(LEN, self.each)?;
        let mut header = [0; LEN];
        self.copy(first, 0, &mut header);
        let header = header::incoming(header);
        let buffers = if self.merged { self.count(header.buffers)? } else { 1 };
        let mut len = self.put(first, LEN, frame, 0);
        for _ in 1..buffers {
            let missing = Claim::new("number of merged buffers", buffers as u32).lie();
            let more = self.ring.take()?.ok_or(missing)?;
            len = self.put(more, 0, frame, len);
        }
        Ok(Some(arrival(len, frame.len(), header.checksum)))
    }

    /// True when enough buffers have been read for the device to be shown them; that is asked after each frame.
    pub(super) fn due(&mut self) -> bool {
        let due = self.read >= TOGETHER;
        if due {
            self.read = 0;
        }
        due
    }

    fn count(&self, said: u16) -> Result<usize, HostLied> {
        Claim::new("number of merged buffers", u32::from(said)).within(1, usize::from(self.ring.size()))
    }

    /// Copies a buffer from `skip` on to `at` in the frame, lends it again, and says where the frame ends now: past
    /// the end of the room when it did not fit.
    fn put(&mut self, used: Used, skip: usize, frame: &mut [u8], at: usize) -> usize {
        let end = at.saturating_add(used.len.saturating_sub(skip));
        if let Some(place) = frame.get_mut(at..end) {
            self.copy(used, skip, place);
        }
        self.buffers.lend(&mut self.ring, used.id);
        self.read = self.read.saturating_add(1);
        end
    }

    fn copy(&self, used: Used, skip: usize, into: &mut [u8]) {
        if let Some(buffer) = self.buffers.at(used.id) {
            buffer.read(skip, into);
        }
    }
}

fn arrival(len: usize, room: usize, checksum: Checksum) -> Arrival {
    if len > room { Arrival::TooLong } else { Arrival::Frame(Received { len, checksum }) }
}
