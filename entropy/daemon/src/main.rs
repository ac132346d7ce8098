//! `xentropyd`: the daemon that feeds entropy to every guest of this host.
#![forbid(unsafe_code)]

fn main() {
    println!("xentropyd {}", env!("CARGO_PKG_VERSION"));
}
