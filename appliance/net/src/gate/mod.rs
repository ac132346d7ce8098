//! The gate: who may become a connection, and what a connection's segments may do.

pub(crate) mod cache;
pub(crate) mod cookie;
pub(crate) mod limit;
pub(crate) mod sources;
pub(crate) mod verdict;
pub(crate) mod wait;
