//! The Xen world: a PVH domU with event channels, grants, xenstore, netfront and named consoles.
//!
//! [`Guest`] is the world. Beneath it: `call` makes hypercalls, `shared` is the page of events and clocks, `store` asks
//! xenstore, and `pipe` and `ring` are the two ways in which a page is shared with another domain. The drivers know
//! only [`Beneath`] and a grant table ([`dma::Grants`]), so a test can be the host.
//!
//! There are no interrupts here: every port is masked for ever, and [`world::World::wait`] is one hypercall that sleeps
//! until a port is marked. Nothing that a back end, xenstore or a console writes is believed before it was checked.

#![deny(unsafe_code)]

mod beneath;
#[allow(unsafe_code)]
mod call;
mod channels;
mod console;
mod control;
mod guest;
mod net;
mod papers;
mod pipe;
mod plug;
mod ring;
mod shared;
mod store;

pub use beneath::{Beneath, Memory, Port};
pub use guest::{Guest, Unfit, is_beneath};
pub use net::{Lost, Net, Offer, Reach, Refused};
