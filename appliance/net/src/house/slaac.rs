//! IPv6 addresses of our own making, under prefixes that routers advertise (RFC 4862).
//!
//! Anybody on the wire can say that it is a router. What is believed is bounded in number; those that are in use stay
//! until their time is over, however many others speak; and a prefix that is in use cannot be taken away in less than
//! two hours (§5.5.3 e). Hop limits and timers that routers recommend are ignored. The second half of an address is
//! drawn, or follows from a secret that outlives us: it tells neither our hardware address nor the second half of another.

use super::routers::{Advertisement, Prefix};
use core::time::Duration;
use std::net::Ipv6Addr;
use world::Instant;

/// Routers, prefixes and resolvers at a time.
const ROUTERS: usize = 4;
const PREFIXES: usize = 4;
const RESOLVERS: usize = 3;
/// How long the question waits who else has an address.
pub(super) const DOUBT: Duration = Duration::from_secs(1);
/// Addresses that are tried in a row while others have them, and how long is waited then: until the next advertisement
/// after that, as Linux does. Whoever objects to everything costs three questions a minute.
pub(super) const TRIES: u8 = 3;
const PAUSE: Duration = Duration::from_secs(60);
/// Between the first two questions for routers, and the longest time between two.
const QUESTION: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// A prefix in use stays at least so long.
const TWO_HOURS: Duration = Duration::from_secs(7200);
/// Every IPv6 network carries this.
const NARROWEST: u32 = 1280;

/// What was learnt of the network.
pub(crate) struct Slaac {
    widest: usize,
    routers: Vec<(Ipv6Addr, Instant)>,
    homes: Vec<Home>,
    resolvers: Vec<(Ipv6Addr, Instant)>,
    mtu: Option<usize>,
    questions: u8,
    /// When to ask for routers again.
    ask: Instant,
    /// When something is to be done.
    due: Instant,
    /// What others were last told of.
    told: Seen,
}

/// What others can see of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    router: Option<Ipv6Addr>,
    mtu: Option<usize>,
    homes: Vec<(Ipv6Addr, bool, bool)>,
    resolvers: Vec<Ipv6Addr>,
}

/// An address under a prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    pub(crate) address: Ipv6Addr,
    pub(crate) on_link: bool,
    prefix: u64,
    preferred: Instant,
    valid: Instant,
    doubt: Doubt,
    /// How many others had before, and how many more may be tried in a row.
    tries: u8,
    left: u8,
}

/// Whether somebody else has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Nobody was asked yet.
    New,
    /// It is ours if nobody objects before.
    Until(Instant),
    /// It is ours.
    None,
    /// Others had every address that was tried by then.
    Lost(Instant),
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask routers to speak.
    Ask,
    /// Ask who has this address.
    Probe(Ipv6Addr),
    /// What is true of us has changed.
    Changed,
}

impl Slaac {
    pub(crate) fn new(widest: usize, now: Instant) -> Self {
        let (routers, homes, resolvers) = (Vec::new(), Vec::new(), Vec::new());
        let told = Seen::default();
        Self { widest, routers, homes, resolvers, mtu: None, questions: 0, ask: now, due: now, told }
    }

    /// The addresses that are ours, those first from which we like to speak.
    pub(crate) fn homes(&self, now: Instant) -> impl Iterator<Item = (&Home, bool)> {
        let ours = || self.homes.iter().filter(|home| home.doubt == Doubt::None);
        let fresh = ours().filter(move |home| home.preferred > now).map(|home| (home, true));
        fresh.chain(ours().filter(move |home| home.preferred <= now).map(|home| (home, false)))
    }

    /// The addresses that are ours or that are to be.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.homes.iter().filter(|home| !matches!(home.doubt, Doubt::Lost(_))).map(|home| home.address)
    }

    /// The router that is used: the one that is known longest.
    pub(crate) fn router(&self) -> Option<Ipv6Addr> {
        self.routers.first().map(|(router, _)| *router)
    }

    pub(crate) fn resolvers(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.resolvers.iter().map(|(resolver, _)| *resolver)
    }

    pub(crate) fn mtu(&self) -> Option<usize> {
        self.mtu
    }

    /// Hears a router. `draw` gives the second half of an address for a prefix and a number of the try.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        from: Ipv6Addr,
        said: &Advertisement,
        draw: impl Fn(u64, u8) -> u64,
    ) {
        self.due = now;
        self.hear_router(now, from, said.lifetime);
        let fits = |mtu: &u32| *mtu >= NARROWEST && usize::try_from(*mtu).is_ok_and(|mtu| mtu <= self.widest);
        if let Some(mtu) = said.mtu.filter(fits) {
            self.mtu = usize::try_from(mtu).ok();
        }
        for prefix in &said.prefixes {
            self.hear_prefix(now, prefix, &draw);
        }
        for (resolver, seconds) in &said.resolvers {
            self.hear_resolver(now, *resolver, *seconds);
        }
    }

    fn hear_router(&mut self, now: Instant, from: Ipv6Addr, seconds: u16) {
        remember(&mut self.routers, ROUTERS, now, from, seconds.into());
        if self.routers.is_empty() {
            // Whoever said that in the router's name will be contradicted by it.
            (self.questions, self.ask) = (0, self.ask.min(now + QUESTION));
        }
    }

    fn hear_resolver(&mut self, now: Instant, resolver: Ipv6Addr, seconds: u32) {
        if !resolver.is_multicast() && !resolver.is_unspecified() && !resolver.is_loopback() {
            remember(&mut self.resolvers, RESOLVERS, now, resolver, seconds);
        }
    }

    fn hear_prefix(&mut self, now: Instant, said: &Prefix, draw: impl Fn(u64, u8) -> u64) {
        let (valid, preferred) = (after(now, said.valid), after(now, said.preferred));
        if let Some(home) = self.homes.iter_mut().find(|home| home.prefix == said.bits) {
            let least = home.valid.min(now + TWO_HOURS);
            (home.valid, home.preferred, home.on_link) = (valid.max(least), preferred, said.on_link);
            if matches!(home.doubt, Doubt::Lost(at) if now - at >= PAUSE) {
                (home.doubt, home.left) = (Doubt::New, TRIES);
            }
            return;
        }
        if said.valid > 0 && self.homes.len() < PREFIXES {
            let address = join(said.bits, draw(said.bits, 0));
            let (prefix, on_link, doubt, tries, left) = (said.bits, said.on_link, Doubt::New, 0, TRIES);
            self.homes.push(Home { address, on_link, prefix, preferred, valid, doubt, tries, left });
        }
    }

    /// Hears that somebody has, or is about to take, an address: one of which we are in doubt is not ours then. Says
    /// whether another is tried at once.
    pub(crate) fn hear_of(
        &mut self,
        now: Instant,
        address: Ipv6Addr,
        draw: impl Fn(u64, u8) -> u64,
    ) -> Option<bool> {
        let wanted = |home: &&mut Home| home.address == address && matches!(home.doubt, Doubt::Until(_));
        let home = self.homes.iter_mut().find(wanted)?;
        self.due = Instant::START;
        (home.tries, home.left) = (home.tries.wrapping_add(1), home.left.saturating_sub(1));
        home.doubt = if home.left > 0 { Doubt::New } else { Doubt::Lost(now) };
        home.address = join(home.prefix, draw(home.prefix, home.tries));
        Some(home.left > 0)
    }

    /// When [`Self::turn`] has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        self.due
    }

    fn next(&self, now: Instant) -> Instant {
        let routers = self.routers.iter().chain(&self.resolvers).map(|(_, until)| *until);
        let homes = self.homes.iter().flat_map(|home| {
            let doubt = match home.doubt {
                Doubt::New => now,
                Doubt::Until(at) => at,
                Doubt::None | Doubt::Lost(_) => home.valid,
            };
            let preferred = Some(home.preferred).filter(|at| *at > now);
            [Some(doubt), Some(home.valid), preferred].into_iter().flatten()
        });
        routers.chain(homes).chain(self.routers.is_empty().then_some(self.ask)).min().unwrap_or(self.ask)
    }

    /// What is to be done now, one step at a time.
    pub(crate) fn turn(&mut self, now: Instant) -> Option<Step> {
        if self.due > now {
            return None;
        }
        let step = self.do_something(now);
        self.due = if step.is_some() { now } else { self.next(now) };
        step
    }

    fn do_something(&mut self, now: Instant) -> Option<Step> {
        self.routers.retain(|(_, until)| *until > now);
        self.resolvers.retain(|(_, until)| *until > now);
        self.homes.retain(|home| home.valid > now);
        for home in &mut self.homes {
            if matches!(home.doubt, Doubt::Until(at) if at <= now) {
                home.doubt = Doubt::None;
            }
        }
        let seen = self.seen(now);
        if self.told != seen {
            self.told = seen;
            return Some(Step::Changed);
        }
        if let Some(home) = self.homes.iter_mut().find(|home| home.doubt == Doubt::New) {
            home.doubt = Doubt::Until(now + DOUBT);
            return Some(Step::Probe(home.address));
        }
        if !self.routers.is_empty() {
            self.questions = 0;
        } else if self.ask <= now {
            self.ask = now + (QUESTION * (1 << self.questions.min(12))).min(LONGEST);
            self.questions = self.questions.saturating_add(1);
            return Some(Step::Ask);
        }
        None
    }

    fn seen(&self, now: Instant) -> Seen {
        let homes = self.homes(now).map(|(home, fresh)| (home.address, home.on_link, fresh)).collect();
        Seen { router: self.router(), mtu: self.mtu, homes, resolvers: self.resolvers().collect() }
    }
}

/// Keeps somebody for so many seconds, or forgets who is worth none.
fn remember(list: &mut Vec<(Ipv6Addr, Instant)>, room: usize, now: Instant, who: Ipv6Addr, seconds: u32) {
    let until = after(now, seconds);
    if let Some((_, known)) = list.iter_mut().find(|(known, _)| *known == who) {
        *known = until;
    } else if list.len() < room {
        list.push((who, until));
    }
    list.retain(|(_, until)| *until > now);
}

/// The moment when that many seconds are over; all ones never are.
fn after(now: Instant, seconds: u32) -> Instant {
    match seconds {
        u32::MAX => Instant::from_nanos(u64::MAX),
        _ => now + Duration::from_secs(seconds.into()),
    }
}

pub(super) fn join(prefix: u64, id: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(prefix) << 64 | u128::from(id))
}
