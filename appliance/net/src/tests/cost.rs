//! What a packet costs when there are many connections: figures, not a test. `tests/bench/flows` runs it.

use super::cable::{FAIR, config};
use super::raw::{Hand, PORT, Wire, ends_from, now};
use crate::wire::{ACK, Options};
use crate::{Config, Listener, Stream};
use core::pin::Pin;
use futures_io::AsyncRead;
use std::net::Ipv4Addr;
use std::time::Instant;

/// Connections that have traffic, and segments for all of them together.
const HOT: usize = 1000;
const SEGMENTS: usize = 100_000;

fn open(wire: &mut Wire, listener: &Listener, count: usize) -> Vec<(Hand, Stream)> {
    let options = Options { mss: Some(1460), ..Options::default() };
    let one = |number: usize| {
        let [_, a, b, c] = (number as u32).to_be_bytes();
        let address = Ipv4Addr::new(10, 0, 0, 2 + a * 4 + b / 64);
        let hand = wire.connect_as(ends_from(address, 1 + u16::from_be_bytes([b % 64, c])), options);
        (hand, now(listener.accept()).unwrap())
    };
    (0..count).map(one).collect()
}

/// Nanoseconds for a segment that comes, is read and is acknowledged, on the connections of `places` in turn.
fn cost(wire: &mut Wire, held: &mut [(Hand, Stream)], places: &[usize]) -> u128 {
    let (start, mut count) = (Instant::now(), 0);
    for _ in 0..SEGMENTS / places.len() {
        for place in places {
            let (hand, stream) = &mut held[*place];
            wire.say(&hand.ends, &hand.segment(ACK, b"12345678"));
            hand.seq = hand.seq + 8;
            let mut into = [0; 64];
            let heard =
                now(core::future::poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut into)));
            assert_eq!(heard.unwrap().unwrap(), 8, "{:?}", wire.handle().figures());
            count += 1;
        }
    }
    start.elapsed().as_nanos() / count
}

#[test]
#[ignore = "figures: `tests/bench/flows` runs it"]
fn what_a_packet_costs() {
    println!(
        "| established | ns for a segment, 1,000 have traffic | ns, all have traffic in turn |\n|---|---|---|"
    );
    for count in [1, 1000, 10_000, 100_000] {
        let mut wire = Wire::with(FAIR, Config { budget: 4 << 30, ..config(1) });
        let listener = wire.handle().listen(PORT).unwrap();
        let mut held = open(&mut wire, &listener, count);
        // Those that have traffic are spread over all.
        let hot: Vec<usize> = (0..HOT.min(count)).map(|number| number * (count / HOT.min(count))).collect();
        cost(&mut wire, &mut held, &hot);
        let fixed = cost(&mut wire, &mut held, &hot);
        let spread = cost(&mut wire, &mut held, &(0..count).collect::<Vec<_>>());
        println!("| {count} | {fixed} | {spread} |");
    }
}
