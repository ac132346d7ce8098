//! Floods of packets of one kind from addresses that nobody has: run in a network namespace, by the tests and by hand.
//!
//! Usage: flood KIND ADDRESS PORT COUNT RATE
//! It sends COUNT packets (0: until its standard input ends), no more than RATE a second, and says how many it sent in
//! how many seconds. The kernel routes them, so that they go wherever packets for ADDRESS go.
#![forbid(unsafe_code)]

use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, SockaddrIn, sendmmsg, socket,
};
use std::io::{IoSlice, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Packets for each call of the kernel.
const BATCH: usize = 256;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

type Kind = (&'static str, u8, usize, u16, bool);

/// What is sent: flags, bytes behind the header, the fragment field of IP, and whether the source is the target.
const KINDS: [Kind; 7] = [
    ("syn", SYN, 0, 0, false),
    ("ack", ACK, 0, 0, false),
    ("data", ACK, 512, 0, false),
    ("fin", FIN | ACK, 0, 0, false),
    ("rst", RST, 0, 0, false),
    ("fragment", ACK, 64, 0x2000, false),
    ("land", SYN, 0, 0, true),
];

struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 24
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kind, address, port, count, rate] = &words[..] else { panic!("flood KIND ADDRESS PORT COUNT RATE") };
    let kind = KINDS.iter().find(|(name, ..)| name == kind).expect("a kind of the table");
    let target = SocketAddrV4::new(address.parse().expect("an address"), port.parse().expect("a port"));
    let (sent, took) = flood(kind, target, count.parse().expect("a number"), rate.parse().expect("a number"));
    println!("sent {sent} in {:.2} s: {:.0} a second", took.as_secs_f64(), sent as f64 / took.as_secs_f64());
}

static OVER: AtomicBool = AtomicBool::new(false);

/// One thread came to 88,000 a second: each of them does its part, and half of the machine is for those who are flooded.
fn flood(kind: &'static Kind, target: SocketAddrV4, count: u64, rate: f64) -> (u64, Duration) {
    if count == 0 {
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            OVER.store(true, SeqCst);
        });
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let senders = (cores / 2).clamp(1, 4);
    let start = Instant::now();
    let part = move |number: u64| {
        std::thread::spawn(move || send(kind, target, number, count.div_ceil(senders), rate / senders as f64))
    };
    let threads: Vec<_> = (0..senders).map(part).collect();
    let sent = threads.into_iter().map(|sender| sender.join().expect("it ends")).sum();
    (sent, start.elapsed())
}

fn send(kind: &Kind, target: SocketAddrV4, number: u64, count: u64, rate: f64) -> u64 {
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).expect("root");
    let seed = u64::from(std::process::id()) << 8 | number;
    let (mut dice, mut sent, start) = (Dice(seed), 0_u64, Instant::now());
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let to = [Some(SockaddrIn::from(target)); BATCH];
    let mut packets: Vec<Vec<u8>> = (0..BATCH).map(|_| packet(kind, target)).collect();
    while (count == 0 || sent < count) && !OVER.load(SeqCst) {
        packets.iter_mut().for_each(|packet| renew(packet, kind, &mut dice));
        let slices: Vec<[IoSlice<'_>; 1]> = packets.iter().map(|packet| [IoSlice::new(packet)]).collect();
        let done = sendmmsg(raw.as_raw_fd(), &mut headers, slices.iter(), to, [], MsgFlags::empty());
        sent += done.map_or(0, |results| results.count() as u64);
        let ahead = Duration::from_secs_f64(sent as f64 / rate).saturating_sub(start.elapsed());
        if ahead > Duration::from_millis(1) {
            std::thread::sleep(ahead);
        }
    }
    sent
}

/// An IPv4 packet with a TCP segment in it, from where it goes.
fn packet(kind: &Kind, target: SocketAddrV4) -> Vec<u8> {
    let &(_, flags, len, fragment, _) = kind;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&(40 + len as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&fragment.to_be_bytes());
    packet.extend_from_slice(&[64, 6, 0, 0]);
    packet.extend_from_slice(&target.ip().octets());
    packet.extend_from_slice(&target.ip().octets());
    packet.extend_from_slice(&target.port().to_be_bytes());
    packet.extend_from_slice(&target.port().to_be_bytes());
    packet.extend_from_slice(&[0; 8]);
    packet.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet.resize(40 + len, 0x55);
    packet
}

/// Makes it another packet, from somewhere in 10.128.0.0/9.
fn renew(packet: &mut [u8], kind: &Kind, dice: &mut Dice) {
    let (places, numbers) = (dice.roll(), dice.roll());
    let &(.., land) = kind;
    if !land {
        let somewhere = Ipv4Addr::from_bits(10 << 24 | 1 << 23 | (places as u32 & 0x7f_ffff));
        packet[12..16].copy_from_slice(&somewhere.octets());
        packet[20..22].copy_from_slice(&((places >> 23) as u16 | 1024).to_be_bytes());
    }
    packet[4..6].copy_from_slice(&(numbers as u16).to_be_bytes());
    packet[24..28].copy_from_slice(&(numbers as u32).to_be_bytes());
    packet[28..32].copy_from_slice(&((numbers >> 8) as u32).to_be_bytes());
    packet[36..38].fill(0);
    let sum = checksum(packet);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum of the segment, with the addresses, the protocol and the length before it.
fn checksum(packet: &[u8]) -> u16 {
    let words =
        packet[12..].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum = words.sum::<u32>() + 6 + (packet.len() - 20) as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
