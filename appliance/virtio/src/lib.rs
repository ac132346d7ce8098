//! The KVM world: a guest on virtio network, console and random devices.
//!
//! [`Guest`] is the world. Beneath it stand the three drivers, each over any way to its device ([`dma::Transport`]),
//! and `search`, which finds the devices behind memory-mapped registers or PCI. The drivers know neither clock nor
//! interrupt: they look at their rings when they are asked, and say whether somebody must be waited for.
//!
//! It believes nothing that a device writes: lengths, ids and indices are claims until they are checked. One lie
//! shuts the device for good, and the console says which. Nothing here panics, spins or waits for a device.
#![forbid(unsafe_code)]

mod acpi;
mod bus;
mod button;
mod console;
mod device;
mod guest;
mod net;
mod rng;
mod search;
mod words;

pub use console::Console;
pub use device::{Memory, Refused};
pub use guest::{Guest, Unfit};
pub use net::{Lost, Net};
pub use rng::Rng;
