//! A piece of cable with weather on it, for kernels without netem: carries frames between two interfaces of one network
//! namespace, each of them late and some of them never.
//!
//! Usage: weather ONE OTHER MILLISECONDS LOST SEED
//! Each frame takes MILLISECONDS on its way; of a thousand frames from ONE to OTHER, LOST get lost. Both interfaces must be
//! up, without addresses, and carry whole frames only (no offloads). It ends with its standard input.
#![forbid(unsafe_code)]

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of frames that the kernel keeps until they are read.
const ROOM: usize = 32 << 20;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [one, other, delay, lost, seed] = &words[..] else {
        panic!("weather ONE OTHER MILLISECONDS LOST SEED")
    };
    let [one, other] = [one, other].map(|name| Arc::new(interface(name)));
    let number = |word: &str| word.parse::<u64>().expect("a number");
    let delay = Duration::from_millis(number(delay));
    carry(&one, &other, delay, number(lost), number(seed));
    carry(&other, &one, delay, 0, 1);
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// All frames of an interface, raw.
fn interface(name: &str) -> OwnedFd {
    let all = SockProtocol::EthAll;
    let wire = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), all).expect("root");
    let link = |address: nix::sys::socket::SockaddrStorage| address.as_link_addr().copied();
    let mut found = getifaddrs().expect("interfaces").filter(|found| found.interface_name == name);
    let place: LinkAddr =
        found.find_map(|found| found.address.and_then(link)).expect("an interface of that name");
    setsockopt(&wire, sockopt::RcvBufForce, &ROOM).expect("room");
    setsockopt(&wire, sockopt::SndBufForce, &ROOM).expect("room");
    bind(wire.as_raw_fd(), &place).expect("it can be bound");
    wire
}

fn carry(from: &Arc<OwnedFd>, to: &Arc<OwnedFd>, delay: Duration, lost: u64, seed: u64) {
    let (from, to, (into, out)) = (from.clone(), to.clone(), channel());
    thread::spawn(move || take(&from, delay, lost, seed, &into));
    thread::spawn(move || give(&to, &out));
}

fn take(from: &OwnedFd, delay: Duration, lost: u64, mut seed: u64, into: &Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = recv(from.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap_or(0);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if len > 0 && (seed >> 33) % 1000 >= lost {
            let _ = into.send((Instant::now() + delay, buffer[..len].to_vec()));
        }
    }
}

fn give(to: &OwnedFd, out: &Receiver<(Instant, Vec<u8>)>) {
    for (due, frame) in out {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let _ = send(to.as_raw_fd(), &frame, MsgFlags::empty());
    }
}
