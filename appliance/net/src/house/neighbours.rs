//! The neighbours: hardware addresses of those on the same wire.
//!
//! Nobody gets in who was not asked for: an entry is made when we have a packet for somebody, and filled by an answer.
//! The packets that wait for the answer are kept, a few for each, and sent when it comes.

use super::arp::{self, Arp};
use super::ndp::{self, Ndp};
use super::places::{ALL_NODES, Addresses};
use crate::config::Cidr;
use crate::gate::limit::Limit;
use crate::out::{Out, Parcel, direct};
use crate::secrets::Places;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use world::{Help, Instant};

/// Entries: a /22 and some more.
const ROOM: usize = 1280;
/// Entries that wait for an answer.
const ASKING: usize = 256;
/// Packets that wait for one answer, and for all.
const WAITING: usize = 4;
const WAITING_AT_ALL: usize = 512;
/// Bytes of a packet that may wait: TCP sends longer ones again, one by one.
const LONGEST: usize = 9018;
/// How long an answer is believed without asking again.
const FRESH: Duration = Duration::from_secs(30);
/// Between two questions.
const PATIENCE: Duration = Duration::from_secs(1);
/// Questions before we give up.
const TRIES: u8 = 3;
/// Neighbours that have looked for us lately.
const CALLERS: usize = 64;

/// Who is on the wire.
pub(crate) struct Neighbours {
    mac: [u8; 6],
    pub(crate) addresses: Addresses,
    known: HashMap<IpAddr, Neighbour, Places>,
    asking: usize,
    waiting: usize,
    questions: Limit,
    /// Who has looked for us lately, the last first: only somebody on this wire can.
    callers: VecDeque<IpAddr>,
    /// When somebody is to be asked again, at the earliest.
    due: Option<Instant>,
}

struct Neighbour {
    mac: Option<[u8; 6]>,
    /// Until when the answer is believed, or when to ask again.
    until: Instant,
    used: Instant,
    tries: u8,
    waiting: Vec<Parcel>,
}

impl Neighbours {
    pub(crate) fn new(addresses: Addresses, mac: [u8; 6], places: Places) -> Self {
        let known = HashMap::with_hasher(places);
        let (questions, callers) = (Limit::a_second(500), VecDeque::new());
        Self { mac, addresses, known, asking: 0, waiting: 0, questions, callers, due: None }
    }

    pub(crate) fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The parcel, addressed to the next on the way to `to`; or nothing, if it has to wait or cannot go.
    pub(crate) fn address(
        &mut self,
        now: Instant,
        to: IpAddr,
        mut parcel: Parcel,
        out: &mut Out,
    ) -> Option<Parcel> {
        let hop = self.addresses.next_hop(to)?;
        let Some(neighbour) = self.known.get_mut(&hop) else {
            self.meet(now, hop, parcel, out);
            return None;
        };
        neighbour.used = now;
        let Some(mac) = neighbour.mac else {
            let fits = parcel.frame.len() <= LONGEST && neighbour.waiting.len() < WAITING;
            if fits && self.waiting < WAITING_AT_ALL {
                neighbour.waiting.push(parcel);
                self.waiting += 1;
            }
            return None;
        };
        direct(&mut parcel.frame, mac);
        if neighbour.until <= now {
            neighbour.tries += 1;
            neighbour.until = now + PATIENCE;
            let lost = neighbour.tries > TRIES;
            self.question(hop, (!lost).then_some(mac), out);
            if lost {
                self.forget(hop);
            }
        }
        Some(parcel)
    }

    /// Makes an entry for somebody new and asks for it.
    fn meet(&mut self, now: Instant, hop: IpAddr, parcel: Parcel, out: &mut Out) {
        // Behind the way out is everybody else: it is asked for whoever else is. So is who has just looked for us: of the
        // neighbours that somebody afar makes up, nobody does.
        let looks = self.callers.contains(&hop) && self.asking < ASKING + CALLERS;
        let first = self.addresses.gateways.contains(&hop) || looks;
        let asked = first || self.may_ask(now);
        if parcel.frame.len() > LONGEST || !asked {
            return;
        }
        if self.known.len() >= ROOM {
            self.forget_oldest();
        }
        let until = now + PATIENCE;
        let neighbour = Neighbour { mac: None, until, used: now, tries: 1, waiting: vec![parcel] };
        self.known.insert(hop, neighbour);
        self.asking += 1;
        self.waiting += 1;
        self.due = self.due.or(Some(until));
        self.question(hop, None, out);
    }

    fn may_ask(&mut self, now: Instant) -> bool {
        self.asking < ASKING && self.waiting < WAITING_AT_ALL && self.questions.allows(now)
    }

    fn forget_oldest(&mut self) {
        let gateways = &self.addresses.gateways;
        let others = self.known.iter().filter(|(address, _)| !gateways.contains(address));
        let oldest = others.min_by_key(|(_, neighbour)| neighbour.used).map(|(address, _)| *address);
        oldest.into_iter().for_each(|address| self.forget(address));
    }

    fn forget(&mut self, address: IpAddr) {
        if let Some(gone) = self.known.remove(&address) {
            self.asking -= usize::from(gone.mac.is_none());
            self.waiting -= gone.waiting.len();
        }
    }

    /// Asks who has `hop`: everybody, or the one who had it.
    fn question(&mut self, hop: IpAddr, mac: Option<[u8; 6]>, out: &mut Out) {
        let source = self.addresses.source(hop);
        let frame = match (hop, source) {
            (IpAddr::V4(target), Some(IpAddr::V4(sender))) => {
                let arp = Arp { is_reply: false, mac: self.mac, sender, target };
                arp.frame(mac.unwrap_or(arp::EVERYBODY))
            }
            (IpAddr::V6(target), Some(IpAddr::V6(from))) => {
                let group = ndp::group(target);
                let to = if mac.is_some() { target } else { group };
                let ndp = Ndp { is_answer: false, target, mac: None };
                ndp.frame(self.mac, mac.unwrap_or(ndp::group_mac(group)), from, to)
            }
            _ => return,
        };
        out.push(Parcel { frame, help: Help::default() });
    }

    /// Remembers that somebody on this wire looks for us.
    pub(crate) fn note_caller(&mut self, address: IpAddr) {
        if !self.callers.contains(&address) {
            self.callers.truncate(CALLERS - 1);
            self.callers.push_front(address);
        }
    }

    /// Hears that `address` is at `mac`: an answer to our question, or a sign of life of one that we know there. Who is
    /// known stays where it is while it answers; at another's word it is asked, and forgotten if it does not.
    pub(crate) fn hear(&mut self, now: Instant, address: IpAddr, mac: [u8; 6], answers: bool, out: &mut Out) {
        let Some(neighbour) = self.known.get_mut(&address) else { return };
        let nobody = mac == self.mac || mac == [0; 6];
        if nobody || (neighbour.mac.is_none() && !answers) {
            return;
        }
        if neighbour.mac.is_some_and(|known| known != mac) {
            let long_ago = neighbour.until + PATIENCE < now + FRESH;
            if answers && neighbour.tries == 0 && long_ago {
                neighbour.until = now;
            }
            return;
        }
        self.asking -= usize::from(neighbour.mac.is_none());
        neighbour.mac = Some(mac);
        neighbour.until = now + FRESH;
        neighbour.tries = 0;
        for mut parcel in neighbour.waiting.drain(..) {
            self.waiting -= 1;
            direct(&mut parcel.frame, mac);
            out.push(parcel);
        }
    }

    /// Asks again for those who did not answer, and gives up on those who never do. Returns the next time to come back.
    pub(crate) fn turn(&mut self, now: Instant, out: &mut Out) -> Option<Instant> {
        if self.due.is_none_or(|due| due > now) {
            return self.due;
        }
        let late = |(_, one): &(&IpAddr, &Neighbour)| one.mac.is_none() && one.until <= now;
        let late: Vec<IpAddr> = self.known.iter().filter(late).map(|(address, _)| *address).collect();
        for address in late {
            self.ask_again(now, address, out);
        }
        self.due = self.known.values().filter(|one| one.mac.is_none()).map(|one| one.until).min();
        self.due
    }

    fn ask_again(&mut self, now: Instant, address: IpAddr, out: &mut Out) {
        let Some(neighbour) = self.known.get_mut(&address) else { return };
        neighbour.tries += 1;
        neighbour.until = now + PATIENCE;
        if neighbour.tries > TRIES {
            return self.forget(address);
        }
        self.question(address, None, out);
    }

    /// Forgets those on a network that we have left, with what waits for them. The gateway of an IPv4 network may have
    /// any address; IPv6 networks share theirs, and one may be gone that a liar made up.
    pub(crate) fn forget_network(&mut self, left: &Cidr) {
        let gone = |one: &IpAddr| left.contains(*one) || (one.is_ipv4() && left.address.is_ipv4());
        let gone: Vec<IpAddr> = self.known.keys().copied().filter(gone).collect();
        gone.into_iter().for_each(|address| self.forget(address));
    }

    /// Tells everybody on the wire where an address of ours is.
    pub(crate) fn announce(&self, address: IpAddr, out: &mut Out) {
        let frame = match address {
            IpAddr::V4(ours) => {
                Arp { is_reply: false, mac: self.mac, sender: ours, target: ours }.frame(arp::EVERYBODY)
            }
            IpAddr::V6(ours) => {
                let ndp = Ndp { is_answer: true, target: ours, mac: None };
                ndp.frame(self.mac, ndp::group_mac(ALL_NODES), ours, ALL_NODES)
            }
        };
        out.push(Parcel { frame, help: Help::default() });
    }
}
