//! How a byte of entropy becomes a key: the protocol (both ends), the health tests, the stream and the pool.
//!
//! * [`protocol`] carries bytes from the host's daemon to a guest: versions 1 and 2, two state machines;
//! * [`egd`] is the other protocol, for machines that QEMU's `rng-egd` feeds;
//! * [`health`] decides whether bytes may count, and is the only maker of the proof that they may;
//! * [`stream`] makes many bytes of one key and forgets that key with every draw;
//! * [`pool`] mixes everything a guest hears and answers no draw before the host has fed it.
//!
//! Nothing here does I/O, reads a clock or draws randomness: bytes and the time go in, bytes, deadlines and
//! meaning come out. The last point is a duty and no accident: in the guest this crate lies *beneath* the C
//! symbol `getrandom`, so a `HashMap` or a lazily seeded dependency in here would call itself.
//!
//! Why SHA-512 of `sha2` and `ChaCha20` of `chacha20` and not ring, which the appliance links anyway: ring
//! wipes neither its digest contexts nor its cipher keys and offers no bare `ChaCha20`; both of these are
//! computations only, are wiped when dropped, and bring no C into the host's daemon.
#![forbid(unsafe_code)]

pub mod egd;
pub mod health;
pub mod pool;
pub mod protocol;
pub mod stream;

/// A moment: the time since some start that never changes while the program lives.
pub type Moment = core::time::Duration;
