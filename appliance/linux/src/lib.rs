//! The Linux world: an ordinary process on a TAP device or a cable, locked in by seccomp before the first frame.
