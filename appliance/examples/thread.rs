//! Must not link: it starts a thread.
#![forbid(unsafe_code)]

use symbols as _;

fn main() {
    let other = std::thread::spawn(|| println!("another thread"));
    println!("{:?}", other.join().is_ok());
}
