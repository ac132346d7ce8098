//! Page tables: built once at boot, read-only ever after.
//!
//! While the plan is made, physical memory is where it says it is. Afterwards the tables are seen only through a
//! read-only window of the direct map, and [`crate::device`] holds the one function that opens it for one entry.

use core::ptr::with_exposed_provenance_mut;

pub(crate) const PAGE: u64 = 4096;
pub(crate) const LARGE: u64 = 2 << 20;

const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const UNCACHED: u64 = 0x18;
const WHOLE: u64 = 0x80;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// What may be done with a page. There is no word for writing and executing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    Read,
    Write,
    Execute,
    /// A device's registers: read and written, never cached.
    Device,
}

impl Rights {
    pub(crate) const fn bits(self) -> u64 {
        // Accessed and dirty are set beforehand: the CPU then never writes to a table.
        const USED: u64 = 0x60;
        match self {
            Self::Read => PRESENT | USED | NO_EXECUTE,
            Self::Write => PRESENT | USED | WRITE | NO_EXECUTE,
            Self::Execute => PRESENT | USED,
            Self::Device => PRESENT | USED | WRITE | UNCACHED | NO_EXECUTE,
        }
    }
}

/// The room for tables is used up.
#[derive(Debug)]
pub(crate) struct Full;

/// Tables under construction, in a run of pages that nothing else uses.
pub(crate) struct Tables {
    pub(crate) top: u64,
    next: u64,
    end: u64,
}

impl Tables {
    /// Starts with an empty top table.
    ///
    /// # Safety
    /// The pages from `start` to `end` must be RAM that is mapped where it lies and that nobody else uses.
    pub(crate) unsafe fn within(start: u64, end: u64) -> Result<Self, Full> {
        let mut tables = Self { top: start, next: start, end };
        tables.top = tables.fresh()?;
        Ok(tables)
    }

    pub(crate) fn map(&mut self, at: u64, to: u64, rights: Rights) -> Result<(), Full> {
        let entry = self.entry(at, 0)?;
        self.write(entry, to | rights.bits());
        Ok(())
    }

    /// Maps a run of pages, in large ones where both ends of the arrow allow it.
    pub(crate) fn map_run(&mut self, at: u64, to: u64, len: u64, rights: Rights) -> Result<(), Full> {
        let mut done = 0;
        while done < len {
            let large =
                (at + done).is_multiple_of(LARGE) && (to + done).is_multiple_of(LARGE) && len - done >= LARGE;
            if large {
                let entry = self.entry(at + done, 1)?;
                self.write(entry, (to + done) | WHOLE | rights.bits());
            } else {
                self.map(at + done, to + done, rights)?;
            }
            done += if large { LARGE } else { PAGE };
        }
        Ok(())
    }

    /// Makes every table that pages from `at` on will need, and maps none of them. Answers with where the lowest
    /// tables lie: one after the other.
    pub(crate) fn prepare(&mut self, at: u64, len: u64) -> Result<u64, Full> {
        let first = self.entry(at, 0)? & !(PAGE - 1);
        for at in (at..at + len).step_by(LARGE as usize) {
            self.entry(at, 0)?;
        }
        Ok(first)
    }

    /// The top entry that leads to `at`.
    pub(crate) fn top_entry(&self, at: u64) -> u64 {
        read(self.top + index(at, 3) * 8)
    }

    /// Where the entry for `at` lies in the table of that level (0 is the lowest).
    fn entry(&mut self, at: u64, level: u32) -> Result<u64, Full> {
        let mut table = self.top;
        for above in (level + 1..=3).rev() {
            let entry = table + index(at, above) * 8;
            if read(entry) & PRESENT == 0 {
                let below = self.fresh()?;
                self.write(entry, below | PRESENT | WRITE | 0x20);
            }
            table = read(entry) & ADDRESS;
        }
        Ok(table + index(at, level) * 8)
    }

    fn fresh(&mut self) -> Result<u64, Full> {
        let page = self.next;
        if page >= self.end {
            return Err(Full);
        }
        self.next += PAGE;
        // SAFETY: the page lies in the run that `within` was promised.
        unsafe { with_exposed_provenance_mut::<[u64; 512]>(page as usize).write([0; 512]) };
        Ok(page)
    }

    fn write(&mut self, entry: u64, value: u64) {
        // SAFETY: `entry` was computed from a table of ours and an index below 512.
        unsafe { with_exposed_provenance_mut::<u64>(entry as usize).write(value) };
    }
}

fn read(entry: u64) -> u64 {
    // SAFETY: as in `write`: only entries of our own tables are read.
    unsafe { with_exposed_provenance_mut::<u64>(entry as usize).read() }
}

const fn index(at: u64, level: u32) -> u64 {
    (at >> (12 + 9 * level)) & 511
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(4096))]
    struct Room([u8; 4096 * 12]);

    fn walk(tables: &Tables, at: u64) -> Option<u64> {
        let mut table = tables.top;
        for level in (0..=3).rev() {
            let entry = read(table + index(at, level) * 8);
            if entry & PRESENT == 0 {
                return None;
            }
            if level == 0 || (level == 1 && entry & WHOLE != 0) {
                let size = 1_u64 << (12 + 9 * level);
                return Some((entry & ADDRESS & !(size - 1)) + (at & (size - 1)));
            }
            table = entry & ADDRESS;
        }
        None
    }

    #[test]
    fn what_is_mapped_is_found_and_nothing_else() {
        let room = Box::leak(Box::new(Room([1; 4096 * 12])));
        let start = room.0.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the room was made for this and is leaked.
        let mut tables = unsafe { Tables::within(start, start + 4096 * 12) }.unwrap();
        let at = (7 << 39) + (5 << 30) + 3 * LARGE - PAGE;
        tables.map_run(at, 9 * LARGE - PAGE, LARGE + 2 * PAGE, Rights::Write).unwrap();
        for offset in [0, PAGE, PAGE + 77, LARGE, LARGE + PAGE, LARGE + 2 * PAGE - 1] {
            assert_eq!(walk(&tables, at + offset), Some(9 * LARGE - PAGE + offset));
        }
        for miss in [at - 1, at + LARGE + 2 * PAGE, 0, 9 * LARGE] {
            assert_eq!(walk(&tables, miss), None);
        }
        assert!((0..9).any(|gib| tables.map(gib << 39, 0, Rights::Read).is_err()), "the room is finite");
    }

    #[test]
    fn no_rights_write_and_execute() {
        for rights in [Rights::Read, Rights::Write, Rights::Execute, Rights::Device] {
            assert!(rights.bits() & WRITE == 0 || rights.bits() & NO_EXECUTE != 0);
        }
    }
}
