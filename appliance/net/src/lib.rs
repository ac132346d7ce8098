//! The stack: the gate that decides what a packet may do, and flows and streams over smoltcp's TCP.
//!
//! Sans-IO: frames and `now` go in, frames and deadlines come out. The only crate that names smoltcp.
#![forbid(unsafe_code)]
