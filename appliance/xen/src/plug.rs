//! Where the network is plugged in: follows a back end through its states in xenstore, and finds the next one.

use crate::net::{Net, Offer, Reach, Refused};
use crate::papers::{Papers, state};
use crate::store::{Store, Subject, Unanswered};

const DEVICES: &str = "device/vif";
const MOST: usize = 16;

/// The network's place in xenstore.
pub(crate) struct Plug {
    papers: Option<Papers>,
    /// The back end has seen how we are reached.
    met: bool,
    /// The back end lied: these papers are not used any more.
    shut: bool,
    said: &'static str,
}

/// What the first back end is found to be.
pub(crate) struct First {
    pub(crate) plug: Plug,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: usize,
    pub(crate) offer: Offer,
    /// Our address, if the host says one.
    pub(crate) address: Option<String>,
}

impl Plug {
    /// The first network device whose back end waits for us.
    pub(crate) fn find(store: &mut Store) -> Option<First> {
        let papers = Papers::all(store, DEVICES, MOST).into_iter();
        let mut ready =
            papers.filter(|papers| papers.state(store) == Some(state::WAITS)).collect::<Vec<_>>().into_iter();
        let papers = ready.next()?;
        let mac = mac(&store.read(&format!("{}/mac", papers.path)).ok()?)?;
        let mtu =
            store.number(&format!("{}/mtu", papers.path)).ok().filter(|mtu| (68..=65_535).contains(mtu));
        let address = store.read(&format!("{}/ip", papers.backend)).ok().filter(|ip| !ip.is_empty());
        let offer = offer(&papers, store);
        papers.watch(store, Subject::Network, true);
        let plug = Self { papers: Some(papers), met: false, shut: false, said: "" };
        Some(First { plug, mac, mtu: mtu.unwrap_or(1500), offer, address })
    }

    /// Does what the back end's state asks for, and gives a line to say.
    pub(crate) fn turn(&mut self, store: &mut Store, net: &mut Net) -> Option<String> {
        self.replace(store, net);
        let papers = self.papers.clone()?;
        let now = papers.state(store);
        self.met |= now == Some(state::CONNECTED) && net.port().is_some();
        match now {
            Some(state::WAITS) if self.shut => None,
            Some(state::WAITS) if net.port().is_none() => self.connect(&papers, store, net),
            // It began anew without a word: so do we.
            Some(state::WAITS) if self.met => {
                net.detach();
                self.met = false;
                let _ = papers.say(store, state::CLOSED).and_then(|()| papers.say(store, state::BEGINS));
                self.line("the network's back end began anew")
            }
            Some(..=state::CONNECTED) => None,
            Some(now) => self.part(&papers, now, store, net),
            None => {
                net.detach();
                self.line("the network is unplugged")
            }
        }
    }

    /// The back end lied and is not to be used any more.
    pub(crate) fn shut(&mut self, store: &mut Store) {
        self.shut = true;
        if let Some(papers) = &self.papers {
            let _ = papers.say(store, state::CLOSED);
        }
    }

    /// Looks for other papers when ours are gone.
    fn replace(&mut self, store: &mut Store, net: &mut Net) {
        if let Some(papers) = &self.papers {
            if Papers::read(store, papers.path.clone()).as_ref() == Some(papers) {
                return;
            }
            papers.watch(store, Subject::Network, false);
            net.detach();
        }
        self.papers = Papers::all(store, DEVICES, MOST).into_iter().next();
        self.shut = false;
        if let Some(papers) = &self.papers {
            papers.watch(store, Subject::Network, true);
        }
    }

    fn connect(&mut self, papers: &Papers, store: &mut Store, net: &mut Net) -> Option<String> {
        self.met = false;
        let offer = offer(papers, store);
        let line = match net.attach(papers.domain, offer) {
            Ok(reach) if tell(papers, store, reach).is_ok() => "the network is plugged in",
            Ok(_) => {
                net.detach();
                "the network's back end cannot be told how to reach us: xenstore does not answer"
            }
            Err(Refused::Less) => "the network's back end offers less than the one before: it is not used",
            Err(Refused::Held(_)) => "the network's last back end still holds our memory: no other is used",
            Err(Refused::Nothing) => {
                "the network's back end cannot be reached: Xen has no port or grant for it"
            }
        };
        self.line(line)
    }

    /// The back end leaves: we let go of it, and are there again if it means to come back.
    fn part(&mut self, papers: &Papers, now: u32, store: &mut Store, net: &mut Net) -> Option<String> {
        if net.port().is_some() {
            net.detach();
            let _ = papers.say(store, state::CLOSED);
        }
        if now == state::CLOSED && !self.shut && papers.feature(store, "online") == 1 {
            let ours: u32 = store.number(&format!("{}/state", papers.path)).unwrap_or(0);
            if ours == state::CLOSED {
                let _ = papers.say(store, state::BEGINS);
            }
        }
        self.line("the network's back end left")
    }

    /// A line, unless it was the last one too.
    fn line(&mut self, line: &'static str) -> Option<String> {
        (core::mem::replace(&mut self.said, line) != line).then(|| line.to_owned())
    }
}

fn offer(papers: &Papers, store: &mut Store) -> Offer {
    let mut has = |name| papers.feature(store, name) == 1;
    Offer {
        spread: has("feature-sg"),
        checksum: !has("feature-no-csum-offload") && has("feature-ipv6-csum-offload"),
        tcp4: has("feature-gso-tcpv4"),
        tcp6: has("feature-gso-tcpv6"),
    }
}

/// Writes down how we are reached and what we take; the back end looks when our state changes.
fn tell(papers: &Papers, store: &mut Store, reach: Reach) -> Result<(), Unanswered> {
    let takes = [
        "request-rx-copy",
        "feature-rx-notify",
        "feature-sg",
        "feature-gso-tcpv4",
        "feature-gso-tcpv6",
        "feature-ipv6-csum-offload",
    ];
    papers.write(store, "tx-ring-ref", reach.outward)?;
    papers.write(store, "rx-ring-ref", reach.inward)?;
    papers.write(store, "event-channel", reach.port.0)?;
    takes.iter().try_for_each(|name| papers.write(store, name, 1))?;
    papers.say(store, state::CONNECTED)
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.trim().split(':');
    for byte in &mut mac {
        *byte =
            parts.next().filter(|part| part.len() == 2).and_then(|part| u8::from_str_radix(part, 16).ok())?;
    }
    let [first, ..] = mac;
    (parts.next().is_none() && first & 1 == 0 && mac != [0; 6]).then_some(mac)
}

#[cfg(test)]
mod tests;
