//! The appliance: the loop and the wiring.
#![forbid(unsafe_code)]

// What std stands on.
use symbols as _;

fn main() {
    runtime::panic_in_one_line();
    println!("gatehouse {} (layout by {})", env!("CARGO_PKG_VERSION"), boot::layout());
}
