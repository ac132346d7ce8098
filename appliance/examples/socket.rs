//! Must not link: it asks a host for a connection.
#![forbid(unsafe_code)]

use symbols as _;

fn main() {
    println!("{:?}", std::net::TcpListener::bind("127.0.0.1:0").is_ok());
}
