//! The PVH door: from the first instruction in 32-bit mode to `_start`, and what stays beneath it afterwards.
//!
//! Page tables, interrupts, timers and halt. It never allocates and never talks to a device that is not the CPU's own.
