//! TLS policy, the one shell for every TLS connection, client identity, and proofs of who the peer is.
//!
//! The only crate that names rustls. rustls and webpki decide whom to trust; x509-parser describes, and says one more
//! no: to keys that are used for what their certificate does not say (`usage`).
//! There is one shell ([`Session`]) for both sides of a connection, one way into it per side ([`Front`] for
//! those who call us, [`Caller`] for those whom we call), and one verification path.
//!
//! * `front`, `caller`: the two ways into a session.
//! * `shake`: the handshake itself, the same for both.
//! * `session`, `wire`, `engine`: the shell, the bytes under it, and rustls as a step function.
//! * `trust`, `site`, `terms`: what the operator wants, as plain values, and what becomes of it on a port.
//! * `tickets`: sessions that are taken up again, and never elsewhere.
//! * `refusal`: why a handshake did not become a session, by kind.
//! * `identity`: who the peer is, in words, and the proof that it was verified.
//! * `provider`, `hybrid`: which cryptography is offered.
//! * `papers`: PEM, and a look at what the operator has.
//! * `mint`: certificates made in memory.
//!
//! Nothing here opens a socket, starts a thread or reads a clock: streams, timers and [`Calendar`] are given.
#![forbid(unsafe_code)]

mod calendar;
mod caller;
mod engine;
mod front;
mod hybrid;
mod identity;
pub mod mint;
pub mod papers;
mod provider;
mod refusal;
mod session;
mod shake;
mod site;
mod terms;
mod tickets;
mod trust;
mod usage;
mod wire;

pub use calendar::Calendar;
pub use caller::{Caller, Expected};
pub use front::{Front, SiteId};
pub use identity::{Admitted, Fingerprint, Identity};
pub use provider::Profile;
pub use refusal::{Kind, Refused};
pub use session::{Facts, Session};
pub use site::{ClientPolicy, Key, Site};
pub use tickets::{TicketSecret, TooShort};
pub use trust::{Flaw, Trust};
