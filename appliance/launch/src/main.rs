//! `gatehouse`: the operator's tool on the host.
#![forbid(unsafe_code)]

fn main() {
    println!("gatehouse {}", env!("CARGO_PKG_VERSION"));
}
