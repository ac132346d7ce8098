//! The bundle: a site's configuration, certificates and files in one image.
//!
//! It has a public part, which the appliance maps read-only and reads without copying, and a small secret
//! part, which is read once and wiped. This crate knows the format from both sides and does no I/O.
//!
//! ```text
//! public part:  contents of files, one behind the other ‖ index ‖ seal
//! seal:         "GATEHOUSE-BUNDLE" ‖ length of the index ‖ version ‖ SHA-256 of the index          (64 bytes)
//! index:        how many of each ‖ estate ‖ shelves ‖ leaves ‖ variants ‖ digests ‖ names
//! secret part:  "GATEHOUSE-SECRET" ‖ the SHA-256 of the seal it belongs to ‖ names and values
//! cargo:        public part ‖ zeros to a page ‖ secret part ‖ trailer         (one file, or one boot module)
//! trailer:      "GATEHOUSE-CARGO1" ‖ length of the public part ‖ of the secret part ‖ layout seed   (64 bytes)
//! ```
//!
//! All numbers are little-endian. The index is verified when a bundle is opened: its hash first, then every
//! number in it, so that nothing read later can point outside. Contents are hashed in chunks of [`CHUNK`]
//! bytes and each chunk is verified when it is first read; a bundle of a gigabyte opens as fast as one of a
//! page.
#![forbid(unsafe_code)]

mod cargo;
mod code;
mod estate;
mod index;
mod packer;
mod renewal;
mod secrets;

pub use cargo::{Cargo, LayoutSeed, PAGE, TRAILER, cargo, trailer, unload};
pub use estate::{
    Authority, Clients, Coding, Estate, HeaderRule, Health, Hsts, Limits, Network, Profile, Proxy, Redirect,
    Site, Target, Verified, Waits, matches,
};
pub use index::{Bundle, Found, Leaf, SEAL, Variant, index_length, with_estate};
pub use packer::{Measure, Measured, Packer, Placed};
pub use renewal::Renewal;
pub use secrets::{SecretWriter, Secrets};

/// Contents are hashed in pieces of this size.
pub const CHUNK: usize = 256 * 1024;

/// A bundle that cannot be used: what is wrong with it, and what would help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is not a bundle at all.
    #[error("this is not a bundle: make one with `gatehouse pack`")]
    Stranger,
    /// It was packed by another version.
    #[error("this bundle was packed by another version: pack it again")]
    Version,
    /// It is shorter than it says.
    #[error("the bundle is cut off: copy it again")]
    Short,
    /// What it says of itself does not hold together.
    #[error("the bundle contradicts itself at its {0}: pack it again")]
    Nonsense(&'static str),
    /// Its bytes are not those that were packed.
    #[error("the bundle was changed after it was packed ({0}): copy it again")]
    Changed(&'static str),
    /// The secret part belongs to another public part.
    #[error("the secrets belong to another bundle: pack both again")]
    Mismatch,
}
