//! Our address on this wire only (RFC 4862 §5.3): ours once nobody has objected for a second (§5.4).
//!
//! The first is made of our hardware address, as everybody expects. If somebody has it, others are drawn; when those are
//! taken too, there is none, and what needs none goes on.

use super::places::{LINK, link_local};
use super::slaac::{DOUBT, TRIES, join};
use std::net::Ipv6Addr;
use world::Instant;

/// The address, and whether it is ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Near {
    address: Ipv6Addr,
    state: State,
    tries: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody was asked yet.
    New,
    /// It is ours if nobody objects before.
    Until(Instant),
    Ours,
    /// Others have every address that was tried.
    Lost,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask who has this address.
    Probe(Ipv6Addr),
    /// It is ours from now on.
    Take,
}

impl Near {
    pub(crate) fn new(mac: [u8; 6]) -> Self {
        Self { address: link_local(mac), state: State::New, tries: 0 }
    }

    /// The address, once it is ours.
    pub(crate) fn ours(&self) -> Option<Ipv6Addr> {
        (self.state == State::Ours).then_some(self.address)
    }

    /// The address that is ours or that is to be.
    pub(crate) fn wanted(&self) -> Option<Ipv6Addr> {
        (self.state != State::Lost).then_some(self.address)
    }

    /// When [`Self::turn`] has something to do, if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::New => Some(Instant::START),
            State::Until(at) => Some(at),
            State::Ours | State::Lost => None,
        }
    }

    /// What is to be done now.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<Step> {
        match self.state {
            State::New => {
                self.state = State::Until(now + DOUBT);
                Some(Step::Probe(self.address))
            }
            State::Until(at) if at <= now => {
                self.state = State::Ours;
                Some(Step::Take)
            }
            _ => None,
        }
    }

    /// Hears that somebody has, or is about to take, an address: while we are in doubt about ours, it is not ours then.
    /// Says whether another is tried.
    pub(crate) fn hear_of(&mut self, address: Ipv6Addr, draw: impl Fn(u64, u8) -> u64) -> Option<bool> {
        if address != self.address || !matches!(self.state, State::Until(_)) {
            return None;
        }
        self.tries += 1;
        self.state = if self.tries < TRIES { State::New } else { State::Lost };
        self.address = join(LINK, draw(LINK, self.tries));
        Some(self.tries < TRIES)
    }
}
