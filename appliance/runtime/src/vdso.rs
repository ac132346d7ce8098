//! The clock that Linux maps into every process: a look at it costs no system call.
//!
//! The kernel says in auxv where its little shared object lies; one symbol in it is all that we want. When it is not
//! there, or not as expected, the system call does the same.

use core::mem;
use core::ops::Range;
use core::ptr::with_exposed_provenance;
use core::slice;

/// `clock_gettime` as C calls it.
pub(crate) type ClockGettime = unsafe extern "C" fn(usize, *mut [u64; 2]) -> i32;

const NAME: &[u8] = b"__vdso_clock_gettime\0";
const SHT_DYNSYM: u32 = 11;

/// The kernel's function, if the object at `start` has it.
///
/// # Safety
/// `start` must be what the kernel says in AT_SYSINFO_EHDR.
pub(crate) unsafe fn clock_gettime(start: usize) -> Option<ClockGettime> {
    // SAFETY: an ELF header lies there.
    let header = unsafe { slice::from_raw_parts(with_exposed_provenance::<u8>(start), 64) };
    let sections = table(header, 0x28, 0x3c, 64)?;
    // SAFETY: the whole object is mapped, and its section headers are its end.
    let object = unsafe { slice::from_raw_parts(with_exposed_provenance::<u8>(start), sections.end) };
    let offset = offset(object, object.get(sections)?)?;
    let function = with_exposed_provenance::<()>(start.checked_add(offset)?);
    // SAFETY: the kernel's symbol of that name is this function, and the object stays mapped.
    Some(unsafe { mem::transmute::<*const (), ClockGettime>(function) })
}

/// How far into the object the function lies.
fn offset(object: &[u8], sections: &[u8]) -> Option<usize> {
    let symbols = sections.chunks_exact(64).find(|section| word4(section, 4) == Some(SHT_DYNSYM))?;
    let names = sections.chunks_exact(64).nth(word4(symbols, 0x28)? as usize)?;
    let names = object.get(extent(names)?)?;
    let is_ours = |symbol: &&[u8]| {
        let name = word4(symbol, 0).and_then(|at| names.get(at as usize..));
        name.is_some_and(|name| name.starts_with(NAME))
    };
    let symbol = object.get(extent(symbols)?)?.chunks_exact(24).find(is_ours)?;
    word8(symbol, 8)
}

/// Where a section lies in the file.
fn extent(section: &[u8]) -> Option<Range<usize>> {
    let start = word8(section, 0x18)?;
    Some(start..start.checked_add(word8(section, 0x20)?)?)
}

/// Where a table lies whose start and count stand in the ELF header.
fn table(header: &[u8], start: usize, count: usize, each: usize) -> Option<Range<usize>> {
    let start = word8(header, start)?;
    let count = usize::from(u16::from_le_bytes(*header.get(count..)?.first_chunk()?));
    Some(start..start.checked_add(count.checked_mul(each)?)?)
}

fn word4(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word8(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::{self, CLOCK_MONOTONIC};

    #[test]
    fn the_kernels_function_and_the_system_call_agree() {
        const AT_SYSINFO_EHDR: usize = 33;
        let auxv = std::fs::read("/proc/self/auxv").unwrap();
        let entry = auxv.chunks_exact(16).find(|entry| word8(entry, 0) == Some(AT_SYSINFO_EHDR)).unwrap();
        // SAFETY: the kernel says so.
        let function = unsafe { clock_gettime(word8(entry, 8).unwrap()) }.expect("the kernel has it");
        let before = linux::clock(CLOCK_MONOTONIC);
        let mut time = [0; 2];
        // SAFETY: `time` is a timespec.
        assert_eq!(unsafe { function(CLOCK_MONOTONIC, &raw mut time) }, 0);
        let after = linux::clock(CLOCK_MONOTONIC);
        assert!((before..=after).contains(&(time[0] * 1_000_000_000 + time[1])));
    }
}
