//! The Xen world: a PVH domU with event channels, grants, xenstore, netfront and named consoles.
