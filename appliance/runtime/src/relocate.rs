//! Relocation, before any Rust: see `relocate.s`, which says what it wants and what it changes.

core::arch::global_asm!(include_str!("relocate.s"));
