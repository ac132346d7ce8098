//! Frames that come in.
//!
//! Each place of the ring has a page and a grant of its own, so what comes back says nothing that we do not know but
//! how much there is. A frame may be spread over several places; some of them may hold notes about it instead.

use super::PAGE;
use crate::beneath::Memory;
use crate::ring::Ring;
use dma::{Claim, Grants, HostLied, Pages, Way};
use std::rc::Rc;
use world::{Checksum, Received};

const ENTRY: usize = 8;
/// Places that are read before the back end is shown them again.
const TOGETHER: u32 = 64;

const VERIFIED: u16 = 1 << 0;
const BLANK: u16 = 1 << 1;
const MORE: u16 = 1 << 2;
const NOTES: u16 = 1 << 3;
/// Another note follows this one.
const MORE_NOTES: u8 = 1;

/// The ring of frames that come in, and the pages lent to it.
pub(super) struct Inbox {
    pub(super) ring: Ring,
    grants: Rc<Grants>,
    ring_grant: u32,
    first: u32,
    pages: Pages,
    domain: u16,
}

/// What came.
pub(super) enum Arrival {
    /// A frame.
    Frame(Received),
    /// A frame that did not fit or that the back end gave up.
    Lost,
    /// Nothing.
    Nothing,
}

/// One response.
struct Piece {
    place: u32,
    offset: usize,
    flags: u16,
    /// Its length; none when the back end could not fill it.
    len: Option<usize>,
}

impl Inbox {
    pub(super) fn new(grants: Rc<Grants>, memory: &Memory) -> Option<Self> {
        let ring = Ring::new(memory(PAGE)?, ENTRY);
        let pages = memory(PAGE * ring.size() as usize)?;
        let (ring_grant, first) = (grants.reserve(1)?, grants.reserve(ring.size())?);
        Some(Self { ring, grants, ring_grant, first, pages, domain: 0 })
    }

    /// Takes back everything that a back end of the past was lent.
    pub(super) fn recover(&mut self) -> Result<(), HostLied> {
        (0..self.ring.size()).try_for_each(|place| self.grants.take_back(self.first + place))?;
        self.grants.take_back(self.ring_grant)?;
        self.pages.wipe();
        Ok(())
    }

    /// Lends a new back end an empty ring, and gives the number of its grant.
    pub(super) fn begin(&mut self, domain: u16) -> Option<u32> {
        self.ring.begin();
        self.domain = domain;
        self.grants.lend(self.ring_grant, self.ring.page(), domain, Way::FromDevice).ok()?;
        self.refill().ok()?;
        Some(self.ring_grant)
    }

    /// Lends every page that is free, and says whether the back end must be told.
    pub(super) fn refill(&mut self) -> Result<bool, HostLied> {
        for _ in 0..self.ring.room() {
            let place = self.ring.next();
            let Some(page) = self.page(place) else { break };
            let lent = self.grants.lend(self.first + place, &page, self.domain, Way::FromDevice);
            lent.map_err(|_| HostLied { what: "page, which is lent already", said: place })?;
            self.ring.put(&request(place, self.first + place));
        }
        Ok(self.ring.publish())
    }

    /// True when enough places have been read for the back end to be shown them.
    pub(super) fn due(&self) -> bool {
        self.ring.room() >= TOGETHER
    }

    /// Copies the next frame.
    pub(super) fn next(&mut self, frame: &mut [u8]) -> Result<Arrival, HostLied> {
        let Some(first) = self.piece()? else { return Ok(Arrival::Nothing) };
        let checksum = checksum(first.flags);
        let (mut more, mut end) = (first.flags & MORE != 0, self.put(&first, frame, Some(0)));
        if first.flags & NOTES != 0 {
            self.skip_notes()?;
        }
        while more {
            let piece = self.piece()?.ok_or(HostLied { what: "frame without its end", said: 0 })?;
            more = piece.flags & MORE != 0;
            end = self.put(&piece, frame, end);
        }
        Ok(end.map_or(Arrival::Lost, |len| Arrival::Frame(Received { len, checksum })))
    }

    /// The next response: its page is ours again.
    fn piece(&mut self) -> Result<Option<Piece>, HostLied> {
        let Some((place, [id0, id1, offset0, offset1, flags0, flags1, len0, len1])) = self.take()? else {
            return Ok(None);
        };
        let [id, offset, flags] = [[id0, id1], [offset0, offset1], [flags0, flags1]].map(u16::from_le_bytes);
        Claim::new("number of a frame", u32::from(id)).within(place as usize, place as usize)?;
        let offset = Claim::new("place of a frame", u32::from(offset)).at_most(PAGE)?;
        // Negative lengths are errors of its own, such as memory that ran out.
        let len = i16::from_le_bytes([len0, len1]);
        let len = u32::try_from(len).ok();
        let len = len.map(|len| Claim::new("length of a frame", len).at_most(PAGE - offset)).transpose()?;
        Ok(Some(Piece { place, offset, flags, len }))
    }

    /// Some back ends leave notes between the first piece and the second (how they cut the frame, its hash).
    fn skip_notes(&mut self) -> Result<(), HostLied> {
        loop {
            let note = self.take()?.ok_or(HostLied { what: "frame without its notes", said: 0 })?;
            let (_, [_, flags, ..]) = note;
            if flags & MORE_NOTES == 0 {
                return Ok(());
            }
        }
    }

    fn take(&mut self) -> Result<Option<(u32, [u8; ENTRY])>, HostLied> {
        let Some((place, bytes)) = self.ring.take::<ENTRY>()? else { return Ok(None) };
        self.grants.take_back(self.first + place)?;
        Ok(Some((place, bytes)))
    }

    /// Copies a piece to where the frame ends so far, and says where it ends now: nowhere when it does not fit.
    fn put(&self, piece: &Piece, frame: &mut [u8], at: Option<usize>) -> Option<usize> {
        let (at, len) = (at?, piece.len?);
        let page = self.page(piece.place)?;
        page.read(piece.offset, frame.get_mut(at..at.checked_add(len)?)?);
        Some(at + len)
    }

    fn page(&self, place: u32) -> Option<Pages> {
        self.pages.cut(place as usize * PAGE, PAGE)
    }
}

fn request(place: u32, grant: u32) -> [u8; ENTRY] {
    (u64::from(grant) << 32 | u64::from(place)).to_le_bytes()
}

fn checksum(flags: u16) -> Checksum {
    match flags {
        flags if flags & BLANK != 0 => Checksum::Partial,
        flags if flags & VERIFIED != 0 => Checksum::Verified,
        _ => Checksum::Unknown,
    }
}
