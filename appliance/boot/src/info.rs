//! PVH's `start_info`: what the loader says of memory, module and command line.
//!
//! All of it is checked before it is used. What makes no sense is refused with one sentence; a memory map may be as
//! odd as it likes, since [`Spans`] keeps it sound.

use crate::bytes::{le32, le64};
use crate::spans::{Span, Spans};

const MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;
const PAGE: u64 = 4096;
/// Nothing above it is used: a direct map of so much fits beneath one entry of the top table.
pub(crate) const HIGHEST: u64 = 1 << 38;
/// BIOS tables, video memory and the page of null pointers lie below it.
const LOWEST: u64 = 1 << 20;
const MOST_ENTRIES: u32 = 256;
/// The longest command line.
pub(crate) const LINE: usize = 4096;

/// What the loader left us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Info {
    /// Pages that are RAM and nothing else.
    pub(crate) ram: Spans,
    pub(crate) line: [u8; LINE],
    pub(crate) line_len: usize,
    pub(crate) module: Option<Span>,
    pub(crate) rsdp: Option<u64>,
}

/// Reads physical memory; `None` where there is none to read.
pub(crate) trait Memory {
    fn read(&self, at: u64, len: usize) -> Option<&[u8]>;
}

impl Info {
    /// Reads everything that `start_info` leads to.
    pub(crate) fn read(at: u64, memory: &impl Memory) -> Result<Self, &'static str> {
        let head = memory.read(at, 56).ok_or("start_info lies out of reach")?;
        let four = |at| le32(head, at).unwrap_or(0);
        let eight = |at| le64(head, at).unwrap_or(0);
        if four(0) != MAGIC {
            return Err("the loader left no PVH start_info");
        }
        if four(4) == 0 {
            return Err("the loader's start_info has no memory map (version 0)");
        }
        let ram = map(eight(40), four(48), memory)?;
        let module = if four(12) == 0 { None } else { module(eight(16), memory, &ram)? };
        let (line, line_len) = line(eight(24), memory)?;
        Ok(Self { ram, line, line_len, module, rsdp: Some(eight(32)).filter(|at| *at != 0) })
    }
}

/// RAM is what some entry calls RAM and no entry calls anything else.
fn map(at: u64, entries: u32, memory: &impl Memory) -> Result<Spans, &'static str> {
    if entries > MOST_ENTRIES {
        return Err("the loader's memory map has too many entries");
    }
    let bytes = memory.read(at, entries as usize * 24).ok_or("the loader's memory map lies out of reach")?;
    let mut ram = Spans::NONE;
    each(bytes, |span, kind| {
        if kind == RAM {
            ram.add(span.inward(PAGE))
        }
    });
    each(bytes, |span, kind| {
        if kind != RAM {
            ram.cut(span.outward(PAGE))
        }
    });
    ram.cut(Span::new(0, LOWEST));
    ram.cut(Span::new(HIGHEST, u64::MAX));
    Ok(ram)
}

fn each(entries: &[u8], mut tell: impl FnMut(Span, u32)) {
    for entry in entries.as_chunks::<24>().0 {
        let (start, len, kind) = (le64(entry, 0), le64(entry, 8), le32(entry, 16));
        let span = Span::of(start.unwrap_or(0), len.unwrap_or(0));
        if !span.is_empty() {
            tell(span, kind.unwrap_or(0));
        }
    }
}

/// The first module; there is no second.
fn module(at: u64, memory: &impl Memory, ram: &Spans) -> Result<Option<Span>, &'static str> {
    let entry = memory.read(at, 16).ok_or("the loader's list of modules lies out of reach")?;
    let (start, len) = (le64(entry, 0).unwrap_or(0), le64(entry, 8).unwrap_or(0));
    let span = Span::of(start, len);
    if len == 0 {
        return Ok(None);
    }
    if !start.is_multiple_of(PAGE) || !ram.cover(span.outward(PAGE)) {
        return Err("the module does not lie in RAM at the start of a page");
    }
    Ok(Some(span))
}

fn line(at: u64, memory: &impl Memory) -> Result<([u8; LINE], usize), &'static str> {
    let mut line = [0; LINE];
    if at == 0 {
        return Ok((line, 0));
    }
    for (offset, kept) in (0..).zip(line.iter_mut()) {
        match at.checked_add(offset).and_then(|at| memory.read(at, 1)) {
            Some([0]) => return Ok((line, usize::try_from(offset).unwrap_or(0))),
            Some([byte]) => *kept = *byte,
            _ => return Err("the command line lies out of reach"),
        }
    }
    Err("the command line is longer than 4095 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Flat(Vec<u8>);

    impl Memory for Flat {
        fn read(&self, at: u64, len: usize) -> Option<&[u8]> {
            let at = usize::try_from(at).ok()?;
            self.0.get(at..at.checked_add(len)?)
        }
    }

    /// start_info at 0, the memory map at 64, the module list at 40,000, the command line at 50,000.
    fn memory(map: &[(u64, u64, u32)], module: Option<(u64, u64)>, line: &[u8]) -> Flat {
        let mut bytes = vec![0; 60_000];
        let mut put = |at: usize, word: u64, len: usize| {
            bytes[at..][..len].copy_from_slice(&word.to_le_bytes()[..len]);
        };
        put(0, u64::from(MAGIC), 4);
        put(4, 1, 4);
        put(24, 50_000, 8);
        put(40, 64, 8);
        put(48, map.len() as u64, 4);
        for (at, (start, len, kind)) in (64..).step_by(24).zip(map) {
            put(at, *start, 8);
            put(at + 8, *len, 8);
            put(at + 16, u64::from(*kind), 4);
        }
        if let Some((start, len)) = module {
            put(12, 1, 4);
            put(16, 40_000, 8);
            put(40_000, start, 8);
            put(40_008, len, 8);
        }
        bytes[50_000..][..line.len()].copy_from_slice(line);
        Flat(bytes)
    }

    const PLAIN: [(u64, u64, u32); 1] = [(0, 64 << 20, 1)];

    #[test]
    fn an_odd_memory_map_is_survived() {
        let odd = [(0, 64 << 20, 1), (0, 0, 0), (5 << 20, 1, 2), (u64::MAX, 9, 1), (60 << 20, u64::MAX, 4)];
        let info = Info::read(0, &memory(&odd, None, b"")).unwrap();
        let spans: Vec<Span> = info.ram.iter().collect();
        let expected = [Span::new(1 << 20, 5 << 20), Span::new((5 << 20) + 4096, 60 << 20)];
        assert_eq!(spans, expected);
    }

    #[test]
    fn a_module_outside_ram_is_refused() {
        for odd in [
            (64 << 20, 1),
            ((64 << 20) - 4096, 4097),
            (u64::MAX, 7),
            (0, 9),
            (4097 << 10, 5),
            (2 << 20, u64::MAX),
        ] {
            assert!(Info::read(0, &memory(&PLAIN, Some(odd), b"")).is_err(), "{odd:?}");
        }
        let info = Info::read(0, &memory(&PLAIN, Some((2 << 20, 5)), b"")).unwrap();
        assert_eq!(info.module, Some(Span::of(2 << 20, 5)));
        assert_eq!(Info::read(0, &memory(&PLAIN, Some((2 << 20, 0)), b"")).unwrap().module, None);
    }

    #[test]
    fn the_command_line_ends_at_its_zero_or_is_refused() {
        let info = Info::read(0, &memory(&PLAIN, None, b"one two\0three")).unwrap();
        assert_eq!(&info.line[..info.line_len], b"one two");
        assert!(Info::read(0, &memory(&PLAIN, None, &[b'x'; LINE])).is_err());
        let mut cut = memory(&PLAIN, None, b"");
        cut.0.truncate(50_001);
        cut.0[50_000] = b'x';
        assert!(Info::read(0, &cut).is_err());
    }

    #[test]
    fn any_bytes_at_all_are_an_answer() {
        let mut luck = 7_u64;
        for _ in 0..3_000 {
            let mut flat = memory(&PLAIN, Some((2 << 20, 5)), b"words");
            for _ in 0..4 {
                luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                flat.0[4 + (luck >> 58) as usize] = (luck >> 32) as u8;
            }
            if let Ok(info) = Info::read(0, &flat) {
                assert!(info.ram.iter().all(|span| span.start >= LOWEST && span.end <= HIGHEST));
            }
        }
    }
}
