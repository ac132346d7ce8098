//! A client, the relay and upstreams of all kinds, on a clock that the test winds.

use super::*;
use crate::bench::{Client, End, Pipe, house, visit};
use crate::wire::{Dialed, Trunk};
use bundle::{Target, Waits};
use core::cell::RefCell;
use std::io;

mod bodies;
mod early;
mod faults;
mod heads;
mod leaving;
mod over;
mod turns;

const GET: &str = "GET /x?y=%2F HTTP/1.1\r\nHost: a.example\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Somebody who is called: the other ends of all connections, in their order.
#[derive(Default)]
pub(crate) struct Far {
    pipes: RefCell<Vec<Rc<RefCell<Pipe>>>>,
    pub(crate) refuses: Cell<bool>,
    never: Cell<bool>,
    room: Cell<usize>,
}

impl Dial for Rc<Far> {
    fn dial(&self, preface: Vec<u8>) -> Dialed {
        if self.never.get() {
            return Box::pin(core::future::pending());
        }
        if self.refuses.get() {
            return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
        }
        let mut pipe = Pipe { room: self.room.get(), ..Pipe::default() };
        pipe.down.bytes = preface;
        let pipe = Rc::new(RefCell::new(pipe));
        self.pipes.borrow_mut().push(pipe.clone());
        Box::pin(async move { Ok(Box::new(End(pipe)) as Trunk) })
    }
}

impl Far {
    pub(crate) fn new() -> Rc<Self> {
        let far = Self::default();
        far.room.set(1 << 30);
        Rc::new(far)
    }

    pub(crate) fn calls(&self) -> usize {
        self.pipes.borrow().len()
    }

    pub(crate) fn pipe(&self, call: usize) -> Rc<RefCell<Pipe>> {
        self.pipes.borrow()[call].clone()
    }

    /// What was heard on a connection since the last time.
    pub(crate) fn hear(&self, call: usize) -> String {
        let pipe = self.pipe(call);
        let heard = core::mem::take(&mut pipe.borrow_mut().down.bytes);
        Pipe::stir(&pipe);
        String::from_utf8_lossy(&heard).into_owned()
    }

    pub(crate) fn say(&self, call: usize, bytes: impl AsRef<[u8]>) {
        let pipe = self.pipe(call);
        pipe.borrow_mut().up.bytes.extend_from_slice(bytes.as_ref());
        Pipe::stir(&pipe);
    }

    /// Says nothing more.
    fn close(&self, call: usize) {
        let pipe = self.pipe(call);
        pipe.borrow_mut().up.closed = true;
        Pipe::stir(&pipe);
    }

    fn reset(&self, call: usize) {
        let pipe = self.pipe(call);
        pipe.borrow_mut().reset = true;
        Pipe::stir(&pipe);
    }

    /// Nobody holds the other end of a connection.
    pub(crate) fn is_gone(&self, call: usize) -> bool {
        Rc::strong_count(&self.pipes.borrow()[call]) == 1
    }
}

pub(crate) fn words() -> Proxy {
    let target = |number: u8| Target { host: format!("192.0.2.{number}"), port: 80 };
    Proxy {
        path: "/".into(),
        targets: vec![target(10), target(11)],
        least: false,
        strip: false,
        host: None,
        verified: None,
        announce: false,
        upgrades: true,
        identity: false,
        health: None,
        waits: Waits::default(),
        most: 4,
        body: 1 << 20,
    }
}

/// A client before a relay with one upstream.
fn one(words: Proxy) -> (Client, Rc<Far>, Rc<Relay>) {
    let far = Far::new();
    let (client, relay) = many(words, core::slice::from_ref(&far));
    (client, far, relay)
}

/// A client before a relay with these upstreams.
fn many(words: Proxy, far: &[Rc<Far>]) -> (Client, Rc<Relay>) {
    let dials = far.iter().map(|far| Rc::new(far.clone()) as Rc<dyn Dial>).collect();
    let relay = Relay::new(words, dials);
    (before(&relay), relay)
}

/// One more client before a relay.
fn before(relay: &Rc<Relay>) -> Client {
    let mut house = house();
    house.sites[0].relays = vec![relay.clone()];
    Client::of(Rc::new(house), visit())
}

fn ended(answer: &str, status: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
}

/// Nothing is under way, and of these calls nothing is left.
#[track_caller]
fn nothing_is_left(client: &mut Client, relay: &Relay, far: &Far) {
    client.turn();
    assert_eq!(relay.standings().map(|standing| standing.in_flight).sum::<u32>(), 0);
    for call in 0..far.calls() {
        assert!(far.is_gone(call), "connection {call} is still held");
    }
}
