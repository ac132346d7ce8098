//! One source under pressure, and a NAT when there is none.

use super::cable::{FAIR, config};
use super::raw::{PORT, Wire, ends_from, now};
use crate::wire::{Ends, Options, SYN, Segment, Seq};
use crate::{Config, Listener, Share, Stream};
use std::net::Ipv4Addr;

const GREEDY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 66);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const BUDGET: usize = 1 << 20;

fn wire(share: Share) -> (Wire, Listener) {
    let wire = Wire::with(FAIR, Config { budget: BUDGET, share, ..config(1) });
    let listener = wire.handle().listen(PORT).unwrap();
    (wire, listener)
}

fn syn(wire: &mut Wire, ends: &Ends) {
    let options = Options { mss: Some(1460), ..Options::default() };
    let syn = Segment { flags: SYN, seq: Seq(7), ack: Seq(0), window: 1000, options, payload: &[] };
    assert_eq!(wire.say(ends, &syn).len(), 1);
}

/// So many connections that are made and say nothing.
fn connect(wire: &mut Wire, listener: &Listener, from: Ipv4Addr, count: u16) -> Vec<Stream> {
    let mut made = Vec::new();
    for port in 1..=count {
        wire.connect_as(ends_from(from, port), Options::default());
        made.extend(now(listener.accept()));
    }
    made
}

fn alive(wire: &Wire, from: Ipv4Addr, count: u16) -> usize {
    let stack = wire.net.stack.borrow();
    (1..=count).filter(|port| stack.flow(&ends_from(from, *port)).is_some()).count()
}

#[test]
fn who_takes_all_the_room_takes_it_from_itself() {
    let (mut wire, listener) = wire(Share::default());
    let others = connect(&mut wire, &listener, OTHER, 40);
    let greedy = connect(&mut wire, &listener, GREEDY, 5000);
    assert_eq!((others.len(), greedy.len()), (40, 5000));
    assert_eq!(alive(&wire, OTHER, 40), 40, "those who came first and say nothing are still there");
    assert!(alive(&wire, GREEDY, 5000) >= Share::default().connections);
    let figures = wire.handle().figures();
    assert!(figures.bytes <= BUDGET as u64 * 5 / 8 && figures.evicted == 0, "{figures:?}");
    assert!(figures.shared > 3000, "{figures:?}");
    drop((others, greedy));
}

#[test]
fn without_shares_the_quiet_ones_pay() {
    let (mut wire, listener) = wire(Share { connections: usize::MAX, ..Share::default() });
    let others = connect(&mut wire, &listener, OTHER, 40);
    let greedy = connect(&mut wire, &listener, GREEDY, 5000);
    assert_eq!(alive(&wire, OTHER, 40), 0, "this test sees nothing");
    drop((others, greedy));
}

#[test]
fn a_flood_of_one_source_leaves_half_of_the_cache_to_others() {
    let (mut wire, _listener) = wire(Share::default());
    (1..5000).for_each(|port| syn(&mut wire, &ends_from(GREEDY, port)));
    let (before, cookies) = (wire.handle().figures().half_open, wire.handle().figures().cookies);
    assert!(before <= 257 && cookies > 4000, "{before} {cookies}");
    (1..=60).for_each(|port| syn(&mut wire, &ends_from(OTHER, port)));
    let figures = wire.handle().figures();
    assert_eq!((figures.half_open, figures.cookies), (before + 60, cookies), "{figures:?}");
}

#[test]
fn a_thousand_connections_behind_one_address_live_while_there_is_room() {
    let mut wire = Wire::with(FAIR, config(1));
    let listener = wire.handle().listen(PORT).unwrap();
    let nat = connect(&mut wire, &listener, OTHER, 1000);
    assert_eq!((nat.len(), alive(&wire, OTHER, 1000)), (1000, 1000));
    let figures = wire.handle().figures();
    assert_eq!((figures.shared, figures.cookies, figures.evicted), (0, 0, 0));
    drop(nat);
    wire.pass(core::time::Duration::from_secs(300));
    assert_eq!(wire.handle().figures().open, 0);
    assert_eq!(wire.net.stack.borrow().sources(), 0, "who has nothing is not remembered");
}
