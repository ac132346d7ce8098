//! The Linux world: an ordinary process on a TAP device or a cable, locked in before the first frame.
//!
//! No libc stands beneath it: system calls go through rustix, and the few that rustix lacks through [`raw`], the only
//! file here with unsafe code. Everything that needs a right is done in [`Process::start`]; then
//! [`Process::close_sandbox`] gives all rights up, and what is left can move frames and bytes, sleep, and end.
#![deny(unsafe_code)]

mod channels;
mod filter;
mod link;
#[cfg(feature = "probes")]
mod probes;
mod process;
#[allow(unsafe_code)]
mod raw;
mod sandbox;
mod stores;
mod vnet;
mod words;

pub use link::{Dropped, Link};
pub use process::Process;
pub use sandbox::{BadSandbox, Draws, Locked};
pub use words::{BadStart, WORDS, Word};
