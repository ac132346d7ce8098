//! What glibc would otherwise be, as far as it is Rust: the ground beneath, the start, the heap, the source of randomness.
//!
//! Two grounds carry the same program: Linux, and nothing at all (then the boot path says what it offers, in a [`Bare`]).
//! The C symbols that std calls are a crate of their own, `symbols`, which only the appliance's `main` links; this one
//! can be linked by anybody, for its words and for its tests.
//!
//! It never starts a thread, opens a file or takes a signal, and it never draws a random byte from anywhere but the
//! one source that was set with [`draw_from`].

mod ground;
pub mod heap;
pub mod image;
mod line;
mod linux;
mod random;
mod relocate;
pub mod stack;
mod start;
mod vdso;

pub use ground::{Bare, close, is_linux, leave, monotonic, say, since_1970, stand_on, write};
pub use line::{ABORT, FAULT, PANIC, fault, panic_in_one_line};
pub use linux::{ignore_signal, kernel_random, standard_descriptors_are_open};
pub use random::{Refused, Source, draw, draw_from};
pub use start::begin;
