//! Must not link: it blocks elsewhere than in the world's `wait`.
#![forbid(unsafe_code)]

use symbols as _;

fn main() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}
