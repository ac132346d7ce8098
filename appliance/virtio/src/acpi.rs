//! The one thing that we ask of ACPI: where the host keeps the machine's generation (vmgenid).
//!
//! The tables are firmware's, and the firmware is the host's: lengths and addresses in them are claims, the number of
//! tables is bounded, and no byte code is run. QEMU's table names the address in a fixed form, which is looked for.

/// Reads memory of the firmware; None where there is none.
type Read<'a> = &'a dyn Fn(u64, usize) -> Option<&'static [u8]>;

const HEADER: usize = 36;
const MOST_TABLES: usize = 64;
const LONGEST: usize = 1 << 18;
/// The table that tells of the generation: its own name, at this place in its header (old QEMU adds a blank, new a 0).
const NAME: &[u8; 7] = b"VMGENID";
const NAME_AT: usize = 16;
/// Byte code for "the name VGIA means this 32-bit number".
const VGIA: &[u8; 6] = b"\x08VGIA\x0c";
/// The generation lies so far behind the address that the table names.
const GUID_AT: u64 = 40;

/// Where the sixteen bytes of the generation lie, if the tables that start at `root` tell of any.
pub(crate) fn generation(root: u64, read: Read<'_>) -> Option<u64> {
    let table = tables(root, read)?.into_iter().find_map(|at| {
        let header = read(at, HEADER)?;
        let is_it = header.starts_with(b"SSDT") && header.get(NAME_AT..NAME_AT + NAME.len()) == Some(NAME);
        is_it.then(|| whole(at, read))?
    })?;
    let at = table.windows(VGIA.len()).position(|bytes| bytes == VGIA)?;
    let address = le32(table, at + VGIA.len())?;
    (address != 0).then(|| u64::from(address) + GUID_AT)
}

/// The addresses of all tables that the root names: 64-bit ones where there are any.
fn tables(root: u64, read: Read<'_>) -> Option<Vec<u64>> {
    let pointer = read(root, HEADER)?;
    if !pointer.starts_with(b"RSD PTR ") {
        return None;
    }
    let wide = if pointer.get(15).is_some_and(|revision| *revision >= 2) { le64(pointer, 24)? } else { 0 };
    let (list, step) = if wide != 0 { (wide, 8) } else { (u64::from(le32(pointer, 16)?), 4) };
    let entries = whole(list, read)?.get(HEADER..)?.chunks_exact(step).take(MOST_TABLES);
    Some(entries.filter_map(|entry| le64(entry, 0).or_else(|| le32(entry, 0).map(u64::from))).collect())
}

/// A table with its body, as long as it says it is.
fn whole(at: u64, read: Read<'_>) -> Option<&'static [u8]> {
    let len = le32(read(at, HEADER)?, 4)? as usize;
    read(at, (HEADER..=LONGEST).contains(&len).then_some(len)?)
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOT: u64 = 0x1000;

    fn table(name: &[u8; 4], own: &[u8], body: &[u8]) -> Vec<u8> {
        let mut table = vec![0; HEADER];
        table[..4].copy_from_slice(name);
        table[4..8].copy_from_slice(&((HEADER + body.len()) as u32).to_le_bytes());
        table[NAME_AT..NAME_AT + own.len()].copy_from_slice(own);
        table.extend(body);
        table
    }

    /// Firmware with a root, a list, another table and QEMU's table about the generation.
    fn firmware(wide: bool, vgia: u32) -> Vec<u8> {
        let mut memory = vec![0; 0x1000];
        memory[..8].copy_from_slice(b"RSD PTR ");
        let at = if wide { 24 } else { 16 };
        memory[15] = if wide { 2 } else { 0 };
        memory[at..at + 4].copy_from_slice(&0x1100_u32.to_le_bytes());
        let list: Vec<u8> = [0x1200_u64, 0x1300]
            .iter()
            .flat_map(|at| at.to_le_bytes().into_iter().take(if wide { 8 } else { 4 }))
            .collect();
        let aml = [&b"\x10\x3f\x5c\x00"[..], VGIA, &vgia.to_le_bytes(), b"\xff"].concat();
        for (at, table) in [
            (0x100, table(b"XSDT", b"BXPC    ", &list)),
            (0x200, table(b"SSDT", b"BXPC    ", &aml)),
            (0x300, table(b"SSDT", NAME, &aml)),
        ] {
            memory[at..at + table.len()].copy_from_slice(&table);
        }
        memory
    }

    fn find(memory: Vec<u8>) -> Option<u64> {
        let memory: &'static [u8] = memory.leak();
        generation(ROOT, &|at, len| {
            let at = usize::try_from(at.checked_sub(ROOT)?).ok()?;
            memory.get(at..at.checked_add(len)?)
        })
    }

    #[test]
    fn the_generation_is_found_through_lists_of_both_widths() {
        for wide in [false, true] {
            assert_eq!(find(firmware(wide, 0x7fe_0000)), Some(0x7fe_0028));
            assert_eq!(find(firmware(wide, 0)), None, "the host keeps none");
        }
        assert_eq!(find(vec![0; 0x1000]), None);
        assert_eq!(find(Vec::new()), None);
    }

    proptest! {
        #[test]
        fn firmware_that_lies_finds_nothing_or_something_but_never_panics(
            wide in any::<bool>(),
            lies in proptest::collection::vec((0_usize..0x400, any::<u8>()), 0..40),
        ) {
            let mut memory = firmware(wide, 0x7fe_0000);
            lies.iter().for_each(|(at, byte)| memory[*at] = *byte);
            let _ = find(memory);
        }
    }
}
