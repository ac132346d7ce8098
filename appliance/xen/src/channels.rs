//! The named channels: consoles beyond the first, by the name that the host gave them and not by their number.
//!
//! The host is not told to whom it must not listen, and does not tell us when somebody sits down: a channel is open from
//! the moment that its back end is there. What speaks over it must say hello by itself, and again when nobody answers.

use crate::beneath::{Beneath, Memory, Port};
use crate::console::Console;
use crate::papers::{Papers, state};
use crate::store::{Store, Subject, Unanswered};
use dma::{Grants, HostLied, Pages, Way};
use std::collections::VecDeque;
use std::rc::Rc;
use world::{ChannelId, Heard};

const DEVICES: &str = "device/console";
/// More than any machine needs.
const MOST: usize = 8;
const PAGE: usize = 4096;

/// All of them.
pub(crate) struct Channels {
    beneath: Rc<dyn Beneath>,
    grants: Rc<Grants>,
    memory: Memory,
    all: Vec<Channel>,
}

struct Channel {
    name: String,
    papers: Papers,
    page: Pages,
    grant: u32,
    /// The other end, while there is one.
    end: Option<Console>,
    /// What was not told yet.
    untold: VecDeque<Heard>,
    /// Somebody asked for it: what comes is waited for.
    wanted: bool,
    starved: bool,
    /// It lied, and is not used again.
    shut: bool,
}

impl Channels {
    /// No channels yet.
    pub(crate) fn new(beneath: Rc<dyn Beneath>, grants: Rc<Grants>, memory: Memory) -> Self {
        Self { beneath, grants, memory, all: Vec::new() }
    }

    /// Looks which channels there are, and which have somebody at the other end.
    pub(crate) fn look(&mut self, store: &mut Store) {
        let found = Papers::all(store, DEVICES, 4 * MOST);
        for papers in &found {
            if !self.all.iter().any(|channel| channel.papers == *papers) {
                self.meet(papers, store);
            }
        }
        for channel in &mut self.all {
            let there = found.contains(&channel.papers);
            let state = channel.papers.state(store).filter(|_| there);
            match (state, &channel.end) {
                (Some(state::BEGINS..=state::CONNECTED), None) if !channel.shut => {
                    channel.open(&self.beneath, &self.grants, store);
                }
                (Some(state::BEGINS..=state::CONNECTED), _) => {}
                (_, Some(_)) => {
                    channel.close(&self.beneath, &self.grants);
                    let _ = if there { channel.papers.say(store, state::CLOSED) } else { Ok(()) };
                }
                (_, None) => {}
            }
        }
    }

    /// The channel of that name.
    pub(crate) fn find(&mut self, name: &str) -> Option<ChannelId> {
        let at = self.all.iter().position(|channel| channel.name == name)?;
        self.all.get_mut(at)?.wanted = true;
        u16::try_from(at).ok().map(ChannelId)
    }

    /// Reads from a channel.
    pub(crate) fn hear(&mut self, channel: ChannelId, into: &mut [u8]) -> Heard {
        let Some(channel) = self.all.get_mut(usize::from(channel.0)) else { return Heard::Nothing };
        if let Some(news) = channel.untold.pop_front() {
            return news;
        }
        let heard = channel.end.as_mut().map_or(Ok(0), |end| end.hear(into));
        match channel.judge(heard, &self.beneath, &self.grants) {
            Some(count @ 1..) => Heard::Bytes(count),
            _ => channel.untold.pop_front().unwrap_or(Heard::Nothing),
        }
    }

    /// Writes to a channel and says how many bytes it took.
    pub(crate) fn tell(&mut self, channel: ChannelId, bytes: &[u8]) -> usize {
        let Some(channel) = self.all.get_mut(usize::from(channel.0)) else { return 0 };
        let told = channel.end.as_mut().map_or(Ok(0), |end| end.tell(bytes));
        let told = channel.judge(told, &self.beneath, &self.grants).unwrap_or(0);
        channel.starved = told < bytes.len();
        told
    }

    /// True when somebody should look at one of them.
    pub(crate) fn listen(&self) -> bool {
        self.all.iter().any(|channel| {
            let more =
                |end: &Console| end.has_more() != Ok(false) || (channel.starved && end.room() != Ok(0));
            channel.wanted && (!channel.untold.is_empty() || channel.end.as_ref().is_some_and(more))
        })
    }

    /// The ports of those that are in use.
    pub(crate) fn ports(&self) -> impl Iterator<Item = Port> {
        self.all.iter().filter_map(|channel| channel.end.as_ref().map(Console::port))
    }

    /// The next channel that lied, and how.
    fn meet(&mut self, papers: &Papers, store: &mut Store) {
        let name = store.read(&format!("{}/name", papers.path)).unwrap_or_default();
        // A name that came back, with another back end.
        if let Some(known) = self.all.iter_mut().find(|channel| channel.name == name && channel.end.is_none())
        {
            known.papers.watch(store, Subject::Consoles, false);
            known.papers = papers.clone();
        } else if name.is_empty() || self.all.len() >= MOST {
            return;
        } else if let (Some(page), Some(grant)) = ((self.memory)(PAGE), self.grants.reserve(1)) {
            let (papers, untold) = (papers.clone(), VecDeque::new());
            let [wanted, starved, shut] = [false; 3];
            self.all.push(Channel { name, papers, page, grant, end: None, untold, wanted, starved, shut });
        }
        papers.watch(store, Subject::Consoles, true);
    }
}

impl Channel {
    fn open(&mut self, beneath: &Rc<dyn Beneath>, grants: &Grants, store: &mut Store) {
        let Some(port) = self.offer(beneath, grants) else { return };
        match self.say(store, port) {
            Ok(()) => {
                self.end = Some(Console::new(beneath.clone(), self.page.clone(), port));
                self.untold.push_back(Heard::Opened);
            }
            Err(_) => {
                beneath.close(port);
                let _ = grants.take_back(self.grant);
            }
        }
    }

    /// Lends the page, unless somebody still holds it, and gives it a port.
    fn offer(&self, beneath: &Rc<dyn Beneath>, grants: &Grants) -> Option<Port> {
        grants.take_back(self.grant).ok()?;
        self.page.wipe();
        let port = beneath.allocate(self.papers.domain)?;
        let lent = grants.lend(self.grant, &self.page, self.papers.domain, Way::FromDevice);
        if lent.is_err() {
            beneath.close(port);
        }
        lent.ok().map(|()| port)
    }

    fn say(&self, store: &mut Store, port: Port) -> Result<(), Unanswered> {
        self.papers.write(store, "ring-ref", self.grant)?;
        self.papers.write(store, "port", port.0)?;
        self.papers.say(store, state::CONNECTED)
    }

    fn close(&mut self, beneath: &Rc<dyn Beneath>, grants: &Grants) {
        let Some(end) = self.end.take() else { return };
        beneath.close(end.port());
        let _ = grants.take_back(self.grant);
        // Who never heard of an opening need not hear of its end.
        if self.untold.back() == Some(&Heard::Opened) {
            self.untold.pop_back();
        } else {
            self.untold.push_back(Heard::Closed);
        }
    }

    /// Gives an answer of the other end, unless it is a lie: then the channel is shut for good.
    fn judge<A>(
        &mut self,
        answer: Result<A, HostLied>,
        beneath: &Rc<dyn Beneath>,
        grants: &Grants,
    ) -> Option<A> {
        if answer.is_err() {
            self.shut = true;
            self.close(beneath, grants);
        }
        answer.ok()
    }
}

#[cfg(test)]
mod tests;
