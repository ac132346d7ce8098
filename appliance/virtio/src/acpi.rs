//! What we ask of ACPI: where the host keeps the machine's generation (vmgenid), and where `microvm` tells of events.
//!
//! The tables are firmware's, and the firmware is the host's: lengths and addresses in them are claims, the number of
//! tables is bounded, and no byte code is run. QEMU's tables name both addresses in a fixed form, which is looked for.

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
/// Byte code for "the registers of events lie in memory at this 32-bit address", which is in the table that another one
/// names: at these places, with 64 bits or with 32.
const EREG: &[u8; 6] = b"EREG\x00\x0c";
const DSDT_AT: [usize; 2] = [140, 40];
/// The generation lies so far behind the address that the table names.
const GUID_AT: u64 = 40;

/// Where the sixteen bytes of the generation lie, if the tables that start at `root` tell of any.
pub(crate) fn generation(root: u64, read: Read<'_>) -> Option<u64> {
    let named = |header: &[u8]| header.get(NAME_AT..NAME_AT + NAME.len()) == Some(NAME);
    let table = table(root, read, |header| header.starts_with(b"SSDT") && named(header))?;
    address(table, VGIA).map(|address| address + GUID_AT)
}

/// Where a board without ACPI's event register tells of events, if it does.
pub(crate) fn events(root: u64, read: Read<'_>) -> Option<u64> {
    let facts = table(root, read, |header| header.starts_with(b"FACP"))?;
    let [wide, narrow] = DSDT_AT;
    let wide = le64(facts, wide).filter(|at| *at != 0);
    address(whole(wide.or_else(|| le32(facts, narrow).map(u64::from))?, read)?, EREG)
}

/// The address that stands behind these words of byte code.
fn address(table: &[u8], words: &[u8; 6]) -> Option<u64> {
    let at = table.windows(words.len()).position(|bytes| bytes == words)?;
    le32(table, at + words.len()).filter(|address| *address != 0).map(u64::from)
}

/// The first table whose header is the one.
fn table(root: u64, read: Read<'_>, is_it: impl Fn(&[u8]) -> bool) -> Option<&'static [u8]> {
    let its = |at: &u64| read(*at, HEADER).is_some_and(&is_it);
    whole(tables(root, read)?.into_iter().find(its)?, read)
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
        let list: Vec<u8> = [0x1200_u64, 0x1500, 0x1300]
            .iter()
            .flat_map(|at| at.to_le_bytes().into_iter().take(if wide { 8 } else { 4 }))
            .collect();
        let aml = [&b"\x10\x3f\x5c\x00"[..], VGIA, &vgia.to_le_bytes(), b"\xff"].concat();
        let events = [&b"\x5b\x80"[..], EREG, &0xfea0_0000_u32.to_le_bytes(), b"\x0a\x04"].concat();
        let mut facts = vec![0; 120];
        facts[if wide { 104 } else { 4 }..][..4].copy_from_slice(&0x1600_u32.to_le_bytes());
        for (at, table) in [
            (0x500, table(b"FACP", b"BXPC    ", &facts)),
            (0x600, table(b"DSDT", b"BXPC    ", &events)),
            (0x100, table(b"XSDT", b"BXPC    ", &list)),
            (0x200, table(b"SSDT", b"BXPC    ", &aml)),
            (0x300, table(b"SSDT", NAME, &aml)),
        ] {
            memory[at..at + table.len()].copy_from_slice(&table);
        }
        memory
    }

    fn find(memory: Vec<u8>) -> (Option<u64>, Option<u64>) {
        let memory: &'static [u8] = memory.leak();
        let read = |at: u64, len: usize| {
            let at = usize::try_from(at.checked_sub(ROOT)?).ok()?;
            memory.get(at..at.checked_add(len)?)
        };
        (generation(ROOT, &read), events(ROOT, &read))
    }

    #[test]
    fn both_are_found_through_lists_and_tables_of_both_widths() {
        for wide in [false, true] {
            assert_eq!(find(firmware(wide, 0x7fe_0000)), (Some(0x7fe_0028), Some(0xfea0_0000)));
            assert_eq!(find(firmware(wide, 0)), (None, Some(0xfea0_0000)), "the host keeps none");
        }
        assert_eq!(find(vec![0; 0x1000]), (None, None));
        assert_eq!(find(Vec::new()), (None, None));
    }

    proptest! {
        #[test]
        fn firmware_that_lies_finds_nothing_or_something_but_never_panics(
            wide in any::<bool>(),
            lies in proptest::collection::vec((0_usize..0x700, any::<u8>()), 0..60),
        ) {
            let mut memory = firmware(wide, 0x7fe_0000);
            lies.iter().for_each(|(at, byte)| memory[*at] = *byte);
            let _ = find(memory);
        }
    }
}
