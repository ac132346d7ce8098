//! The DHCP client: an address from a server, for as long as the server lets us have it (RFC 2131).
//!
//! Anybody on the wire can answer. An answer counts only if it repeats a number of 32 bits that was drawn for this
//! question, names our hardware address, is of the kind that we wait for, and, once a server was chosen, names it. An
//! address that somebody else has is declined.

use super::lease::Lease;
use crate::wire::dhcp::{Heard, Kind, Said};
use core::time::Duration;
use std::net::Ipv4Addr;
use world::Instant;

/// The first wait for an answer; it doubles up to the longest.
const PATIENCE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(64);
/// Requests for an offer before another one is sought.
const REQUESTS: u8 = 4;
/// Between two repeated requests for more time, at least, unless the lease is short.
const RENEWAL: Duration = Duration::from_secs(60);
/// Questions who has the address before it is used, the time between them and after the last (RFC 5227, in a hurry).
const PROBES: u8 = 3;
const PROBE: Duration = Duration::from_millis(200);
/// How long nothing is asked after a refusal, and after a conflict (RFC 2131 §3.1.5); longer with each in a row.
const REFUSED: Duration = Duration::from_secs(1);
const CONFLICT: Duration = Duration::from_secs(10);

/// The client.
pub(crate) struct Dhcp {
    mac: [u8; 6],
    mtu: usize,
    state: State,
    xid: u32,
    /// When it began to look, for the servers' logs.
    began: Instant,
    /// Refusals in a row.
    refused: u32,
    /// When to do something.
    next: Instant,
}

/// What it does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It looks for a server.
    Looking { tries: u8 },
    /// It has chosen an offer.
    Asking { offer: Lease, asked: Instant, tries: u8 },
    /// It looks if the address is free.
    Probing { lease: Lease, asked: Instant, probes: u8 },
    /// It has an address since it asked at that moment, and asks for more time when that is due.
    Bound { lease: Lease, asked: Instant, asking: Option<Instant> },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Say this to everybody.
    Shout(Said),
    /// Say this from our address to the server.
    Say(Said, Ipv4Addr),
    /// Ask who has this address.
    Probe(Ipv4Addr),
    /// The address is ours from now on, or what comes with it has changed.
    Take(Lease),
    /// The address is ours no longer.
    Leave(Why),
}

/// Why an address is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The time is up.
    Expired,
    /// The server wants it so.
    Refused,
}

impl Dhcp {
    pub(crate) fn new(mac: [u8; 6], mtu: usize, now: Instant) -> Self {
        let state = State::Looking { tries: 0 };
        Self { mac, mtu, state, xid: 0, began: now, refused: 0, next: now }
    }

    /// When [`Self::turn`] has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        self.next
    }

    /// What is to be done now, one step at a time; `draw` gives numbers that nobody can foresee.
    pub(crate) fn turn(&mut self, now: Instant, mut draw: impl FnMut() -> u32) -> Option<Step> {
        if self.next > now {
            return None;
        }
        match self.state.clone() {
            State::Looking { tries } => Some(self.look(now, tries, &mut draw)),
            State::Asking { tries: REQUESTS.., .. } => {
                self.begin(now);
                self.turn(now, draw)
            }
            State::Asking { offer, asked, tries } => Some(self.ask(now, (offer, asked), tries, draw())),
            State::Probing { lease, asked, probes: PROBES } => {
                self.refused = 0;
                Some(self.bind(lease, asked))
            }
            State::Probing { lease, asked, probes } => {
                let address = lease.address;
                self.state = State::Probing { lease, asked, probes: probes + 1 };
                self.next = now + PROBE;
                Some(Step::Probe(address))
            }
            State::Bound { lease, asked, .. } => self.keep(now, lease, asked, draw()),
        }
    }

    fn look(&mut self, now: Instant, tries: u8, draw: &mut impl FnMut() -> u32) -> Step {
        self.xid = draw();
        self.state = State::Looking { tries: tries.saturating_add(1) };
        self.next = now + wait(tries, draw());
        Step::Shout(self.said(Kind::Discover, now))
    }

    fn ask(&mut self, now: Instant, (offer, asked): (Lease, Instant), tries: u8, drawn: u32) -> Step {
        let (wants, server) = (Some(offer.address), Some(offer.server));
        self.state = State::Asking { offer, asked, tries: tries + 1 };
        self.next = now + wait(tries, drawn);
        Step::Shout(Said { wants, server, ..self.said(Kind::Request, now) })
    }

    /// Asks for more time when it is due: the server first, then anybody; or gives up.
    fn keep(&mut self, now: Instant, lease: Lease, asked: Instant, drawn: u32) -> Option<Step> {
        let times = lease.times?;
        let (rebind, end) = (asked + times.rebind, asked + times.end);
        if now >= end {
            self.begin(now);
            return Some(Step::Leave(Why::Expired));
        }
        let until = if now < rebind { rebind } else { end };
        let rest = (until - now) / 2;
        self.next = (now + rest.max(RENEWAL.min(times.end / 20))).min(until);
        (self.xid, self.began) = (drawn, now);
        let said = Said { has: Some(lease.address), ..self.said(Kind::Request, now) };
        let server = lease.server;
        self.state = State::Bound { lease, asked, asking: Some(now) };
        Some(if now < rebind { Step::Say(said, server) } else { Step::Shout(said) })
    }

    /// Hears a server.
    pub(crate) fn hear(&mut self, now: Instant, heard: &Heard) -> Option<Step> {
        if heard.xid != self.xid {
            return None;
        }
        let given = Lease::of(heard, self.mtu);
        match (self.state.clone(), heard.kind) {
            (State::Looking { tries: 1.. }, Kind::Offer) => {
                self.state = State::Asking { offer: given?, asked: now, tries: 0 };
                self.next = now;
                None
            }
            (State::Asking { offer, asked, tries: 1.. }, Kind::Ack) => {
                let lease = given.filter(|lease| same(lease, &offer))?;
                self.state = State::Probing { lease, asked, probes: 0 };
                self.next = now;
                None
            }
            (State::Asking { offer, tries: 1.., .. }, Kind::Nak) if offer.server == heard.server => {
                self.pause(now, REFUSED);
                None
            }
            (State::Bound { lease, asking: Some(asked), .. }, Kind::Ack) => {
                let renewed =
                    given.filter(|given| given.address == lease.address && self.may(&lease, heard, now))?;
                Some(self.bind(renewed, asked))
            }
            (State::Bound { lease, asking: Some(_), .. }, Kind::Nak) if lease.server == heard.server => {
                self.pause(now, REFUSED);
                Some(Step::Leave(Why::Refused))
            }
            _ => None,
        }
    }

    /// Hears that somebody uses, or is about to use, an address.
    pub(crate) fn hear_of(&mut self, now: Instant, address: Ipv4Addr, mac: [u8; 6]) -> Option<Step> {
        let State::Probing { lease, .. } = &self.state else { return None };
        if lease.address != address || mac == self.mac {
            return None;
        }
        let (wants, server) = (Some(lease.address), Some(lease.server));
        let said = Said { wants, server, ..self.said(Kind::Decline, now) };
        self.pause(now, CONFLICT);
        Some(Step::Shout(Said { seconds: 0, ..said }))
    }

    /// True if this server may speak about the lease: the one that gave it, and any once anybody was asked.
    fn may(&self, lease: &Lease, heard: &Heard, now: Instant) -> bool {
        let State::Bound { asked, .. } = &self.state else { return false };
        let anybody = lease.times.is_some_and(|times| now >= *asked + times.rebind);
        heard.server == lease.server || anybody
    }

    fn bind(&mut self, lease: Lease, asked: Instant) -> Step {
        // A lease without an end is never asked for again.
        self.next = lease.times.map_or(Instant::from_nanos(u64::MAX), |times| asked + times.renew);
        self.state = State::Bound { lease: lease.clone(), asked, asking: None };
        Step::Take(lease)
    }

    fn begin(&mut self, now: Instant) {
        (self.state, self.began, self.next) = (State::Looking { tries: 0 }, now, now);
    }

    /// Begins again, later with each refusal in a row.
    fn pause(&mut self, now: Instant, least: Duration) {
        self.refused = self.refused.saturating_add(1);
        self.begin(now);
        self.next = now + (least * (1 << (self.refused - 1).min(6))).min(LONGEST);
    }

    fn said(&self, kind: Kind, now: Instant) -> Said {
        let seconds = u16::try_from((now - self.began).as_secs()).unwrap_or(u16::MAX);
        let most = u16::try_from(self.mtu.saturating_sub(28)).unwrap_or(u16::MAX).max(576);
        Said { kind, xid: self.xid, mac: self.mac, seconds, has: None, wants: None, server: None, most }
    }
}

/// True if what is given is what was offered, by the same server.
fn same(given: &Lease, offer: &Lease) -> bool {
    (given.address, given.server) == (offer.address, offer.server)
}

/// Doubles with each try, up to the longest, a bit more or less.
fn wait(tries: u8, drawn: u32) -> Duration {
    let wait = (PATIENCE * (1 << tries.min(6))).min(LONGEST);
    wait + Duration::from_millis(u64::from(drawn % 500))
}
