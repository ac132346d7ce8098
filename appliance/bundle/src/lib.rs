//! The bundle: a site's configuration, certificates and files in one image.
//!
//! It has a public part, which the appliance maps read-only and reads without copying, and a small secret part, which
//! is read once and wiped. This crate knows the format from both sides and does no I/O.
#![forbid(unsafe_code)]
