//! The piñata: a secret on the open internet behind client-certificate authentication.
//!
//! Whoever shows a certificate of the piñata's CA, or has found a way around that, is told the secret.
//! There are three doors, a page with the rules, and a ledger of all who tried.
//!
//! * `doors`: the three ports, and what happens behind each.
//! * `secret`: what is inside, and the one way to it.
//! * `keys`: the CA and the three certificates, made in memory or given.
//! * `callback`: whom door 10001 calls, and how often.
//! * `ledger`: the attempts by kind, door and hour; no address is ever kept.
//! * `chain`: the ledger as lines of which none can be taken away unseen.
//! * `page`: what visitors read.
//! * `attest`: what visitors can check.
//!
//! Nothing here opens a socket, reads a clock or prints: streams, timers and the calendar are given, and
//! whoever owns the outside dials for door 10001. Nothing grows with the number of visitors.
#![forbid(unsafe_code)]

pub mod attest;
mod callback;
pub mod chain;
mod doors;
mod keys;
mod ledger;
mod page;
mod secret;

pub use callback::{CALLED, Rules, Uncalled};
pub use doors::{DOORS, Door, Pinata};
pub use keys::{BadPinata, Keys};
pub use ledger::{Ledger, Outcome};
pub use page::Sheet;
pub use secret::{Secret, is_key_pair};
