//! Frames that go out.
//!
//! A frame takes one page for each 4 KiB, and a note if it is to be cut. Pages come back in any order.

use super::PAGE;
use crate::beneath::Memory;
use crate::ring::Ring;
use dma::{Claim, Grants, HostLied, Pages, Way};
use std::rc::Rc;
use world::{Full, Help, Segment};

const ENTRY: usize = 12;

const BLANK: u16 = 1 << 0;
const VERIFIED: u16 = 1 << 1;
const MORE: u16 = 1 << 2;
const NOTES: u16 = 1 << 3;
/// The note that says how to cut.
const CUT: u8 = 1;
const TCP4: u8 = 1;
const TCP6: u8 = 2;
/// The answer to a note.
const NOTED: i16 = 1;
/// The length of a frame has 16 bits.
const LONGEST: usize = 0xffff;

/// The ring of frames that go out, and the pages that they wait in.
pub(super) struct Outbox {
    pub(super) ring: Ring,
    grants: Rc<Grants>,
    ring_grant: u32,
    first: u32,
    pages: Pages,
    /// Pages that are ours to fill.
    free: Vec<u16>,
    /// Which pages are lent.
    lent: Vec<bool>,
    /// How many bytes of each page may still hold an earlier frame's.
    filled: Vec<u16>,
    notes: u32,
    domain: u16,
    /// Somebody was refused room, and has not tried again since.
    starved: bool,
    /// Some room came since then.
    relieved: bool,
}

impl Outbox {
    pub(super) fn new(grants: Rc<Grants>, memory: &Memory) -> Option<Self> {
        let ring = Ring::new(memory(PAGE)?, ENTRY);
        let size = ring.size() as usize;
        let pages = memory(PAGE * size)?;
        let (ring_grant, first) = (grants.reserve(1)?, grants.reserve(ring.size())?);
        let (free, lent) = (Vec::with_capacity(size), vec![false; size]);
        let (filled, notes, domain, [starved, relieved]) = (vec![0; size], 0, 0, [false; 2]);
        Some(Self {
            ring,
            grants,
            ring_grant,
            first,
            pages,
            free,
            lent,
            filled,
            notes,
            domain,
            starved,
            relieved,
        })
    }

    /// Takes back everything that a back end of the past was lent.
    pub(super) fn recover(&mut self) -> Result<(), HostLied> {
        (0..self.ring.size()).try_for_each(|page| self.grants.take_back(self.first + page))?;
        self.grants.take_back(self.ring_grant)?;
        self.pages.wipe();
        Ok(())
    }

    /// Lends a new back end an empty ring, and gives the number of its grant.
    pub(super) fn begin(&mut self, domain: u16) -> Option<u32> {
        self.ring.begin();
        self.free = (0..self.ring.size() as u16).rev().collect();
        self.lent.fill(false);
        (self.notes, self.domain, self.starved) = (0, domain, false);
        self.grants.lend(self.ring_grant, self.ring.page(), domain, Way::FromDevice).ok()?;
        Some(self.ring_grant)
    }

    /// Copies a frame. The back end hears of it at the next publication.
    pub(super) fn send(&mut self, frame: &[u8], help: Help) -> Result<(), Full> {
        let (pages, notes) = (frame.len().div_ceil(PAGE), u32::from(help.segment.is_some()));
        self.starved = self.free.len() < pages || (self.ring.room() as usize) < pages + notes as usize;
        if self.starved {
            self.relieved = false;
            return Err(Full);
        }
        for (index, piece) in frame.chunks(PAGE).enumerate() {
            let (first, last) = (index == 0, index + 1 == pages);
            let more = if last { 0 } else { MORE };
            let flags = more | if first { flags(help) } else { 0 };
            // The first piece tells the length of all.
            let len = if first { frame.len() } else { piece.len() };
            self.lend(piece, flags, len).ok_or(Full)?;
            if let Some(segments) = help.segment.filter(|_| first) {
                self.ring.put(&note(segments.size, segments.kind));
                self.notes += 1;
            }
        }
        Ok(())
    }

    /// Takes back what the back end has sent.
    pub(super) fn reclaim(&mut self) -> Result<(), HostLied> {
        while let Some((_, [id0, id1, status0, status1])) = self.ring.take()? {
            let (id, status) = (u16::from_le_bytes([id0, id1]), i16::from_le_bytes([status0, status1]));
            self.relieved = true;
            if status == NOTED {
                let missing =
                    HostLied { what: "answer to a note that we did not write", said: u32::from(id) };
                self.notes = self.notes.checked_sub(1).ok_or(missing)?;
            } else {
                self.free(id)?;
            }
        }
        Ok(())
    }

    /// Waits for room, if anybody was refused any; true when some may have come already.
    pub(super) fn listen(&self) -> bool {
        self.starved && (self.relieved || self.ring.listen())
    }

    fn lend(&mut self, piece: &[u8], flags: u16, len: usize) -> Option<()> {
        let id = self.free.pop()?;
        let page = self.pages.cut(usize::from(id) * PAGE, PAGE)?;
        page.write(0, piece);
        let filled = self.filled.get_mut(usize::from(id))?;
        // Nobody is shown what is left of another frame.
        let left = core::mem::replace(filled, piece.len() as u16);
        if let Some(rest) = page.cut(piece.len(), usize::from(left).saturating_sub(piece.len())) {
            rest.wipe();
        }
        let grant = self.first + u32::from(id);
        self.grants.lend(grant, &page, self.domain, Way::ToDevice).ok()?;
        *self.lent.get_mut(usize::from(id))? = true;
        self.ring.put(&request(grant, flags, id, len as u16));
        Some(())
    }

    fn free(&mut self, id: u16) -> Result<(), HostLied> {
        let said = Claim::new("number of a page, which it was not lent", u32::from(id));
        let lent = self.lent.get_mut(usize::from(id)).filter(|lent| **lent).ok_or(said.lie())?;
        *lent = false;
        self.grants.take_back(self.first + u32::from(id))?;
        self.free.push(id);
        Ok(())
    }
}

/// Whether what is asked fits the frame, and the frame fits what can be told of it. The back end finds the checksum of
/// TCP and UDP by itself.
pub(super) fn fits(frame: &[u8], help: Help) -> bool {
    let checksum = help.checksum.is_none_or(|(start, offset)| {
        matches!(offset, 6 | 16) && usize::from(start) + usize::from(offset) + 2 <= frame.len()
    });
    let segment = help.segment.is_none_or(|segments| segments.size > 0 && help.checksum.is_some());
    checksum && segment && (1..=LONGEST).contains(&frame.len())
}

fn flags(help: Help) -> u16 {
    let checksum = if help.checksum.is_some() { BLANK | VERIFIED } else { 0 };
    checksum | if help.segment.is_some() { NOTES } else { 0 }
}

fn request(grant: u32, flags: u16, id: u16, len: u16) -> [u8; ENTRY] {
    let mut request = [0; ENTRY];
    let fields = grant.to_le_bytes().into_iter().chain([0; 2]);
    let fields = fields.chain([flags, id, len].into_iter().flat_map(u16::to_le_bytes));
    request.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
    request
}

fn note(size: u16, kind: Segment) -> [u8; ENTRY] {
    let [low, high] = size.to_le_bytes();
    let kind = if kind == Segment::Tcp4 { TCP4 } else { TCP6 };
    [CUT, 0, low, high, kind, 0, 0, 0, 0, 0, 0, 0]
}
