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
    let headers = (0..count).map(move |place| {
        let at = with_exposed_provenance::<u8>(base + table + place * HEADER);
        // SAFETY: the ELF header, which the linker wrote, says that so many program headers lie there.
        unsafe { slice::from_raw_parts(at, HEADER) }
    });
    let loads = headers.filter(|header| number(header, 0, 4) == LOAD as usize);
    // The segment that starts with the ELF header tells how far all lie from where the linker put them.
    let first = loads.clone().find(|header| number(header, 8, 8) == 0);
    let linked = first.map_or(0, |header| number(header, 16, 8));
    loads.filter_map(move |header| {
        let (flags, address, length) =
            (number(header, 4, 4) as u32, number(header, 16, 8), number(header, 32, 8));
        (flags & WRITE == 0).then(|| {
            let start = with_exposed_provenance::<u8>(base + (address - linked));
            // SAFETY: the segment is loaded there, for ever, and mapped so that nobody writes to it.
            (address as u64, flags, unsafe { slice::from_raw_parts(start, length) })
        })
    })
}

fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    let bytes = bytes.get(at..at + length).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_parts_are_those_of_the_file() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let parts: Vec<_> = constant_parts().collect();
        assert!(parts.len() >= 2 && parts.iter().any(|(_, flags, _)| flags & 1 == 1), "code is among them");
        for (address, _, bytes) in parts {
            let at = file.windows(64).position(|window| bytes.starts_with(window));
            assert!(at.is_some_and(|at| file[at..].starts_with(bytes)), "{address:#x} is not in the file");
        }
    }
}
