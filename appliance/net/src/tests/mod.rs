//! Tests that need more than one file of the stack.

mod cable;
mod echo;
mod pcap;
mod segments;
mod talk;
mod weather;
