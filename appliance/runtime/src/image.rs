//! This program as it lies in memory, as far as nobody can have written to it.

use core::ptr::with_exposed_provenance;
use core::slice;

const LOAD: u32 = 1;
const WRITE: u32 = 2;
/// The length of a program header of ELF64.
const HEADER: usize = 56;

unsafe extern "C" {
    static __ehdr_start: [u8; 64];
}

/// What is loaded and never written, code and constants: where the linker put each part, the flags of its program
/// header, and its bytes. What relocation writes is not among it.
pub fn constant_parts() -> impl Iterator<Item = (u64, u32, &'static [u8])> {
    // SAFETY: the linker puts the ELF header there, and it is read-only.
    let header = unsafe { &__ehdr_start };
    let (table, count) = (number(header, 32, 8), number(header, 56, 2));
    let base = (&raw const __ehdr_start).expose_provenance();
    (0..count).filter_map(move |place| {
        // SAFETY: the ELF header, which the linker wrote, says that so many program headers lie there.
        let header = unsafe {
            slice::from_raw_parts(with_exposed_provenance::<u8>(base + table + place * HEADER), HEADER)
        };
        let (kind, flags) = (number(header, 0, 4) as u32, number(header, 4, 4) as u32);
        let (address, length) = (number(header, 16, 8), number(header, 32, 8));
        (kind == LOAD && flags & WRITE == 0).then(|| {
            // SAFETY: the segment is loaded there, for ever, and mapped so that nobody writes to it. The image is
            // linked from address 0.
            let bytes = unsafe { slice::from_raw_parts(with_exposed_provenance(base + address), length) };
            (address as u64, flags, bytes)
        })
    })
}

fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    let bytes = bytes.get(at..at + length).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
