//! The image: this program, as its own ELF header describes it.

use crate::spans::Span;
use crate::tables::{PAGE, Rights};

const LOAD: u32 = 1;
const RELRO: u32 = 0x6474_e552;
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;

/// One program header of an ELF64 file.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// This program, where the loader put it.
pub(crate) struct Image {
    /// Where it lies.
    pub(crate) at: u64,
    headers: &'static [Header],
    linked: Span,
}

unsafe extern "C" {
    static __ehdr_start: [u8; 64];
}

/// How many program headers there are, and how far they lie behind the ELF header.
pub(crate) fn headers() -> (u64, u64) {
    // SAFETY: the linker puts the ELF header there, and it is read-only.
    let header = unsafe { &__ehdr_start };
    let [.., low, high, _, _, _, _, _, _] = *header;
    (u64::from(u16::from_le_bytes([low, high])), crate::bytes::le64(header, 32).unwrap_or(0))
}

/// Where the image lies now.
pub(crate) fn base() -> u64 {
    (&raw const __ehdr_start).expose_provenance() as u64
}

impl Image {
    /// The image that is running.
    pub(crate) fn here() -> Result<Self, &'static str> {
        let (count, offset) = headers();
        let table = core::ptr::with_exposed_provenance((base() + offset) as usize);
        // SAFETY: the ELF header, which the linker wrote, says that so many program headers lie there.
        let headers = unsafe { core::slice::from_raw_parts(table, count as usize) };
        let linked = linked(headers).ok_or("the image has nothing to load")?;
        if headers.iter().any(|header| header.kind == LOAD && !sound(header)) {
            return Err("the image wants a segment that is both writable and executable, or wide alignment");
        }
        Ok(Self { at: base(), headers, linked })
    }

    pub(crate) const fn len(&self) -> u64 {
        self.linked.len()
    }

    /// The pages of each segment, where they lie now, and what may be done with them.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (Span, Rights)> + '_ {
        let relro = self.headers.iter().find(|header| header.kind == RELRO);
        // The linker starts a page for it and pads its end to one: whole pages, its first one too.
        let sealed = relro.map_or(Span::default(), |h| {
            let span = Span::of(h.address, h.memory_size);
            Span::new(span.outward(PAGE).start, span.inward(PAGE).end)
        });
        self.headers.iter().filter(|header| header.kind == LOAD).flat_map(move |header| {
            let whole = Span::of(header.address, header.memory_size).outward(PAGE);
            let rights = rights(header.flags);
            let sealed = if whole.touches(sealed) { sealed } else { Span::new(whole.start, whole.start) };
            let before = (Span::new(whole.start, sealed.start), rights);
            let after = (Span::new(sealed.end, whole.end), rights);
            [before, (sealed, Rights::Read), after].map(|(span, rights)| (self.here_now(span), rights))
        })
    }

    const fn here_now(&self, span: Span) -> Span {
        Span::of(span.start - self.linked.start + self.at, span.len())
    }
}

fn linked(headers: &[Header]) -> Option<Span> {
    let loads = || headers.iter().filter(|header| header.kind == LOAD);
    let start = loads().map(|header| header.address).min()?;
    let end = loads().map(|header| header.address.saturating_add(header.memory_size)).max()?;
    Some(Span::new(start, end).outward(PAGE))
}

const fn sound(header: &Header) -> bool {
    header.flags & (WRITE | EXECUTE) != WRITE | EXECUTE && header.align <= PAGE
}

const fn rights(flags: u32) -> Rights {
    match flags & (WRITE | EXECUTE) {
        EXECUTE => Rights::Execute,
        WRITE => Rights::Write,
        _ => Rights::Read,
    }
}
