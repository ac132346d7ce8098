//! The control channel: what an operator asks and an appliance answers.
//!
//! Both ends are state machines: bytes go in, meaning comes out, and what is to be sent waits in an outbox.
//! [`Steward`] is the end that answers, in the appliance and in the launcher that stands before it; [`Operator`]
//! is the end that asks. Who may sit at the channel is the host's to say: nothing here reaches the network.
//!
//! ```text
//! frame:    0xc7 ‖ kind ‖ line ‖ length ‖ payload            (1, 1, 2, 2 and up to 16384 bytes, big-endian)
//! greeting: the operator says HELLO with a number of its own, the steward says WELCOME with the same number
//! ```
//!
//! A *line* is one conversation: a question and its answer. The operator numbers them, and many may be open. A
//! greeting starts everything afresh, and both ends look for one in what else they hear: bytes that were under
//! way for somebody before do no harm.
#![forbid(unsafe_code)]

mod frame;
mod operator;
mod outbox;
mod steward;
#[cfg(test)]
mod tests;

pub use frame::{Malformed, PIECE, Verb, Who};
pub use operator::{Operator, Told};
pub use steward::{Asked, Full, LINES, Steward, WAITING};

/// What the channel is called, where channels have names.
pub const CHANNEL: &str = "gatehouse.control";

/// The version of the protocol. An end that hears another one says so and goes.
pub const VERSION: u16 = 1;
