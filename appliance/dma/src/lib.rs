//! Host memory as copies and claims, and everything that tells a device where to find it.
//!
//! A number that the host wrote is a [`Claim`], not a fact. Memory that the host can write is [`Pages`]: it is copied
//! in and out, never borrowed. Device registers are [`Registers`]: they have no public way to be written, because
//! some of them aim the device at memory; the transports [`Mmio`] and [`Pci`] write them, and the only addresses
//! that they ever write are those of a [`Ring`]. A [`Ring`] in turn lends the device [`Pages`] and nothing else.
//!
//! So code without `unsafe` cannot make a device touch memory that was not set aside for it: pages and registers
//! come from two unsafe constructors, which only the room beneath (the one that owns the page tables) calls, and
//! that room never takes them back. A device that keeps writing after it was shut therefore hurts nobody.

mod claim;
mod grants;
mod mmio;
mod pages;
mod pci;
#[cfg(any(test, feature = "pretend"))]
pub mod pretend;
mod registers;
mod ring;
mod transport;

pub use claim::{Claim, HostLied};
pub use grants::{Grants, Ungrantable};
pub use mmio::{Found, Mmio};
pub use pages::Pages;
pub use pci::{Messages, Pci};
pub use registers::Registers;
pub use ring::{Lent, Ring, Used, Way};
pub use transport::{Transport, status};
