//! Where the network is plugged in: follows a back end through its states in xenstore, and finds the next one.
//!
//! A back end that begins anew may take up the rings that it finds written down, ours of before, at any moment after it
//! has said that it waits. So new rings are only shown to one that was told that we are closed, has closed itself, and
//! holds nothing of ours any more: then both sides begin at the beginning.

use crate::net::{Net, Offer, Reach, Refused};
use crate::papers::{Papers, state};
use crate::store::{Store, Subject, Unanswered};

const DEVICES: &str = "device/vif";
const MOST: usize = 16;
const HELD: &str = "the network's last back end still holds our memory: it is waited for";

/// The network's place in xenstore.
pub(crate) struct Plug {
    papers: Option<Papers>,
    stage: Stage,
    said: &'static str,
}

/// How far we are with the back end of these papers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is lent to it: it is met when it waits.
    Free,
    /// It was told how we are reached.
    Told,
    /// It is connected.
    Met,
    /// We have said that we are closed, and wait for the same.
    Closing,
    /// It is closed too, and holds memory of ours: that is looked at again and again.
    Held,
    /// It lied: these papers are not used any more.
    Shut,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connect,
    Met,
    Close(&'static str),
    Begin,
    Unplug,
    Nothing,
}

/// What its state asks for.
fn decide(stage: Stage, now: Option<u32>) -> Step {
    match (stage, now) {
        (Stage::Shut, Some(_)) => Step::Nothing,
        (_, None) => Step::Unplug,
        (Stage::Free, Some(state::WAITS)) => Step::Connect,
        (Stage::Told, Some(state::CONNECTED)) => Step::Met,
        (Stage::Met, Some(state::WAITS)) => Step::Close("the network's back end began anew"),
        (Stage::Free | Stage::Closing | Stage::Held, Some(state::CLOSED)) => Step::Begin,
        (Stage::Told | Stage::Met, Some(state::CLOSES..)) => Step::Close("the network's back end left"),
        (_, Some(_)) => Step::Nothing,
    }
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
        let plug = Self { papers: Some(papers), stage: Stage::Free, said: "" };
        Some(First { plug, mac, mtu: mtu.unwrap_or(1500), offer, address })
    }

    /// Does what the back end's state asks for, and gives a line to say.
    pub(crate) fn turn(&mut self, store: &mut Store, net: &mut Net) -> Option<String> {
        self.replace(store, net);
        let papers = self.papers.clone()?;
        let now = papers.state(store);
        match decide(self.stage, now) {
            Step::Connect => self.connect(&papers, store, net),
            Step::Met => {
                self.stage = Stage::Met;
                None
            }
            Step::Close(why) => self.close(&papers, store, net, now, why),
            Step::Begin => self.begin(&papers, store, net),
            Step::Unplug => {
                net.detach();
                if self.stage != Stage::Shut {
                    self.stage = Stage::Free;
                }
                self.line("the network is unplugged")
            }
            Step::Nothing => None,
        }
    }

    /// Nobody tells when memory is let go of: [`Plug::turn`] wants to be called again in a while.
    pub(crate) fn is_held(&self) -> bool {
        self.stage == Stage::Held
    }

    /// The back end lied and is not to be used any more.
    pub(crate) fn shut(&mut self, store: &mut Store) {
        self.stage = Stage::Shut;
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
        self.stage = Stage::Free;
        if let Some(papers) = &self.papers {
            papers.watch(store, Subject::Network, true);
        }
    }

    fn connect(&mut self, papers: &Papers, store: &mut Store, net: &mut Net) -> Option<String> {
        let offer = offer(papers, store);
        let line = match net.attach(papers.domain, offer) {
            Ok(reach) if tell(papers, store, reach).is_ok() => {
                self.stage = Stage::Told;
                "the network is plugged in"
            }
            Ok(_) => {
                net.detach();
                "the network's back end cannot be told how to reach us: xenstore does not answer"
            }
            Err(Refused::Less) => "the network's back end offers less than the one before: it is not used",
            Err(Refused::Held(_)) => return self.close(papers, store, net, None, HELD),
            Err(Refused::Nothing) => {
                "the network's back end cannot be reached: Xen has no port or grant for it"
            }
        };
        self.line(line)
    }

    /// Lets go of the back end and says so. One that is closed already says no more.
    fn close(
        &mut self,
        papers: &Papers,
        store: &mut Store,
        net: &mut Net,
        now: Option<u32>,
        why: &'static str,
    ) -> Option<String> {
        net.detach();
        let _ = papers.say(store, state::CLOSED);
        self.stage = Stage::Closing;
        let line = self.line(why);
        if now != Some(state::CLOSED) {
            return line;
        }
        self.begin(papers, store, net).or(line)
    }

    /// Both sides are closed: begins again if the back end means to, and everything is ours again.
    fn begin(&mut self, papers: &Papers, store: &mut Store, net: &mut Net) -> Option<String> {
        if papers.feature(store, "online") != 1 {
            return None;
        }
        if net.recover().is_err() {
            self.stage = Stage::Held;
            return self.line(HELD);
        }
        self.stage = Stage::Free;
        // Said once: we hear of what we write ourselves.
        if store.number(&format!("{}/state", papers.path)) != Ok(state::BEGINS) {
            let _ = papers.say(store, state::BEGINS);
        }
        None
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
