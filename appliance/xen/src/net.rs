//! The network: frames in and out of a back end (Xen's `io/netif.h`).
//!
//! Frames are copied at the border, both ways, between pages that are only ever used for this. A page is lent for one
//! frame and taken back when the back end says that it is done; one that it still holds then ends the connection. The
//! interface outlives its back ends: between two of them it is an unplugged cable.

mod receive;
mod transmit;

use crate::beneath::{Beneath, Memory, Port};
use dma::{Grants, HostLied};
use receive::{Arrival, Inbox};
use std::rc::Rc;
use transmit::Outbox;
use world::{Full, Help, Nic, NicFacts, Offload, Received, Segment};

const PAGE: usize = 4096;

/// What a back end offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// It takes frames that are spread over several pages.
    pub spread: bool,
    /// It completes checksums, of IPv4 and IPv6.
    pub checksum: bool,
    /// It cuts large TCP segments over IPv4.
    pub tcp4: bool,
    /// It cuts large TCP segments over IPv6.
    pub tcp6: bool,
}

/// A front end of a network device.
pub struct Net {
    beneath: Rc<dyn Beneath>,
    facts: NicFacts,
    spread: bool,
    inbox: Inbox,
    outbox: Outbox,
    port: Option<Port>,
    lie: Option<HostLied>,
    lost: Lost,
    /// Nobody has read since frames were last said to wait.
    unread: bool,
}

/// How a back end reaches us: the numbers of the two rings' grants, and the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The ring of frames that go out.
    pub outward: u32,
    /// The ring of frames that come in.
    pub inward: u32,
    /// The event channel for both.
    pub port: Port,
}

/// Why a back end is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It offers less than the one before it: connections count on that.
    Less,
    /// The one before it still holds memory of ours.
    Held(HostLied),
    /// There is no port or grant left for it.
    Nothing,
}

/// Frames that went nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Incoming ones that were too long or that the back end gave up.
    pub incoming: u64,
    /// Outgoing ones that were too long, or asked for help that the back end does not give.
    pub outgoing: u64,
}

impl Net {
    /// An interface with this hardware address, no back end yet, and what the first one offers. `None` when there is no
    /// memory for it.
    pub fn new(
        beneath: Rc<dyn Beneath>,
        grants: &Rc<Grants>,
        memory: &Memory,
        mac: [u8; 6],
        mtu: usize,
        offer: Offer,
    ) -> Option<Self> {
        let offload = Offload {
            checksum: offer.checksum,
            tcp4: offer.tcp4 && offer.checksum && offer.spread,
            tcp6: offer.tcp6 && offer.checksum && offer.spread,
        };
        let facts = NicFacts { mac, mtu, offload };
        let (inbox, outbox) = (Inbox::new(grants.clone(), memory)?, Outbox::new(grants.clone(), memory)?);
        let (port, lie, lost) = (None, None, Lost::default());
        let unread = false;
        Some(Self { beneath, facts, spread: offer.spread, inbox, outbox, port, lie, lost, unread })
    }

    /// Makes itself reachable for a back end in that domain.
    ///
    /// # Errors
    /// When it cannot be used; then nothing has changed.
    pub fn attach(&mut self, domain: u16, offer: Offer) -> Result<Reach, Refused> {
        self.detach();
        let Offload { checksum, tcp4, tcp6 } = self.facts.offload;
        let less =
            [(self.spread, offer.spread), (checksum, offer.checksum), (tcp4, offer.tcp4), (tcp6, offer.tcp6)];
        if less.into_iter().any(|(before, now)| before && !now) {
            return Err(Refused::Less);
        }
        self.recover().map_err(Refused::Held)?;
        let inward = self.inbox.begin(domain).ok_or(Refused::Nothing)?;
        let outward = self.outbox.begin(domain).ok_or(Refused::Nothing)?;
        let port = self.beneath.allocate(domain).ok_or(Refused::Nothing)?;
        self.port = Some(port);
        Ok(Reach { outward, inward, port })
    }

    /// Lets go of the back end, if there is one.
    pub fn detach(&mut self) {
        if let Some(port) = self.port.take() {
            self.beneath.close(port);
        }
    }

    /// Takes back everything that a back end of the past was lent.
    ///
    /// # Errors
    /// When it still holds some of it.
    pub fn recover(&mut self) -> Result<(), HostLied> {
        self.inbox.recover()?;
        self.outbox.recover()
    }

    /// The port of the back end, if there is one.
    pub fn port(&self) -> Option<Port> {
        self.port
    }

    /// True when something has come that nobody may tell of. From now on somebody will. Frames that nobody reads are
    /// told of once: before there is a seed nobody does, and they must not end every sleep.
    pub fn listen(&mut self) -> bool {
        let Some(_) = self.port else { return false };
        let reclaimed = self.outbox.reclaim();
        self.judge(reclaimed);
        let frames = self.inbox.ring.listen() && !core::mem::replace(&mut self.unread, true);
        self.port.is_some() && (frames | self.outbox.listen())
    }

    /// The lie that ended the last connection, told once.
    pub fn lie(&mut self) -> Option<HostLied> {
        self.lie.take()
    }

    /// Frames that went nowhere so far.
    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// Gives an answer of the back end, unless it is a lie: then the connection is over.
    fn judge<A>(&mut self, answer: Result<A, HostLied>) -> Option<A> {
        if let Err(lie) = answer {
            self.lie = Some(lie);
            self.detach();
        }
        answer.ok()
    }

    fn refill(&mut self) {
        let refilled = self.inbox.refill();
        if self.judge(refilled) == Some(true) {
            self.tell();
        }
    }

    fn tell(&self) {
        if let Some(port) = self.port {
            self.beneath.notify(port);
        }
    }
}

impl Nic for Net {
    fn facts(&self) -> NicFacts {
        self.facts
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        self.unread = false;
        for _ in 0..self.inbox.ring.size() {
            self.port?;
            let next = self.inbox.next(frame);
            match self.judge(next)? {
                Arrival::Frame(received) => {
                    if self.inbox.due() {
                        self.refill();
                    }
                    return Some(received);
                }
                Arrival::Lost => self.lost.incoming += 1,
                Arrival::Nothing => break,
            }
        }
        self.refill();
        None
    }

    fn send(&mut self, frame: &[u8], help: Help) -> Result<(), Full> {
        if self.port.is_none() {
            return Ok(());
        }
        let whole = self.spread || frame.len() <= PAGE;
        if !whole || !self.gives(help) || !transmit::fits(frame, help) {
            self.lost.outgoing += 1;
            return Ok(());
        }
        let reclaimed = self.outbox.reclaim();
        match self.judge(reclaimed) {
            Some(()) => self.outbox.send(frame, help),
            None => Ok(()),
        }
    }

    fn flush(&mut self) {
        if self.port.is_some() && self.outbox.ring.publish() {
            self.tell();
        }
    }
}

impl Net {
    /// Whether the back end gives the help that is asked for.
    fn gives(&self, help: Help) -> bool {
        let segment = match help.segment.map(|segments| segments.kind) {
            None => true,
            Some(Segment::Tcp4) => self.facts.offload.tcp4,
            Some(Segment::Tcp6) => self.facts.offload.tcp6,
        };
        segment && (help.checksum.is_none() || self.facts.offload.checksum)
    }
}

#[cfg(test)]
mod tests;
