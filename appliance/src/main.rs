//! The appliance: the loop and the wiring.
#![forbid(unsafe_code)]

fn main() {
    println!("gatehouse {}", env!("CARGO_PKG_VERSION"));
}
