//! How a byte of entropy becomes a key: the protocol (both ends), the health tests and the pool. No I/O.
#![forbid(unsafe_code)]
