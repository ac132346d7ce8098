//! A walk through the page tables, as the CPU would walk them.

use super::*;
use crate::spans::Span;
use crate::tables::PAGE;

/// One page that is mapped: its address, its memory, and whether it may be written and executed.
pub(super) struct Page {
    pub(super) at: u64,
    pub(super) memory: Span,
    pub(super) write: bool,
    pub(super) execute: bool,
}

/// Shows every page that is mapped, and every table.
pub(super) fn walk(plan: &Plan, mut page: impl FnMut(&Page), mut table: impl FnMut(u64)) {
    descend(plan, crate::cpu::cr3(), 3, 0, (true, true), &mut page, &mut table);
}

fn descend(
    plan: &Plan,
    of: u64,
    level: u32,
    at: u64,
    rights: (bool, bool),
    page: &mut impl FnMut(&Page),
    table: &mut impl FnMut(u64),
) {
    table(of);
    let size = PAGE << (9 * level);
    for slot in 0..512 {
        // SAFETY: the window shows every page table, for reading.
        let entry =
            unsafe { with_exposed_provenance::<u64>((plan.window + of + slot * 8) as usize).read_volatile() };
        let (at, memory) = (at + slot * size, entry & 0x000f_ffff_ffff_f000);
        let rights = (rights.0 && entry & 2 != 0, rights.1 && entry >> 63 == 0);
        match entry {
            _ if entry & 1 == 0 => {}
            _ if entry & 4 != 0 => fail("a page belongs to the user"),
            _ if level == 0 || entry & 0x80 != 0 => {
                page(&Page { at, memory: Span::of(memory, size), write: rights.0, execute: rights.1 });
            }
            _ => descend(plan, memory, level - 1, at, rights, page, table),
        }
    }
}
