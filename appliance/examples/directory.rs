//! Must not link: it looks at files.
#![forbid(unsafe_code)]

use symbols as _;

fn main() {
    println!("{:?}", std::fs::read_dir(".").is_ok());
}
