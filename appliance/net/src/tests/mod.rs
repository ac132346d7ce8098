//! Tests that need more than one file of the stack.

mod address;
mod attacks;
mod cable;
mod cost;
mod echo;
mod forecast;
mod gate;
mod groups;
mod letters;
mod narrow;
mod pcap;
mod raw;
mod replay;
mod room;
mod segments;
mod shares;
mod smoltcp;
mod stock;
mod talk;
mod weather;
