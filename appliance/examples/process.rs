//! Must not link: it starts a process.
#![forbid(unsafe_code)]

use symbols as _;

fn main() {
    println!("{:?}", std::process::Command::new("true").status().is_ok());
}
