//! The C symbols that std calls, and no more: what makes the appliance link without glibc.
//!
//! Only the appliance's `main` links this crate. What is not here (threads, sockets, `dlsym`) is a link error, and the
//! few calls on files that std's own panic path names always answer that there is no such thing. A symbol that does
//! something real asks the ground for it (crate `runtime`).
//!
//! When this crate's own tests are built no C symbol is defined, or the test program would run on them.

#[cfg(not(test))]
mod malloc;
mod memory;
#[cfg(not(test))]
mod start;
#[cfg(not(test))]
mod std_needs;
#[cfg(not(test))]
mod unwind;
