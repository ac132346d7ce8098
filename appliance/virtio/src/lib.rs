//! The KVM world: a guest on virtio network, console and random devices.
//!
//! It believes nothing that a device writes: lengths, ids and indices are claims until they are checked.
#![forbid(unsafe_code)]
