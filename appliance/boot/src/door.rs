//! The door itself is assembly: see `door.s`, which says what it wants and what it leaves.

core::arch::global_asm!(
    include_str!("door.s"),
    plan = sym crate::plan::plan,
    risen = sym crate::rise::risen,
    options(att_syntax)
);
