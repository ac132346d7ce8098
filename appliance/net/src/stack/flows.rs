//! Connections as records: how they come, sleep, wake and go, and what they cost.

use super::Stack;
use super::room::Mercy;
use crate::flow::live::{self, Live};
use crate::flow::{Flow, Life, Owner};
use crate::gate::sources::is_same;
use crate::gate::wait::Over;
use crate::wire::{ACK, Options, RST, Segment};
use std::io;
use std::net::IpAddr;
use world::Instant;

/// Bytes of a connection at rest: its record, its place in the table, its alarms and its source.
pub(crate) const RECORD: usize = size_of::<Flow>() + 160 + 56;

/// How many of the connections that have been at rest longest are looked at to find one of a source.
const LOOK: usize = 64;

impl Stack {
    /// Adds a connection that is at rest.
    pub(super) fn add(&mut self, mut flow: Flow) -> usize {
        flow.stamp_offset = self.secrets.stamp_offset(&flow.ends);
        let ends = flow.ends;
        let number = self.flows.insert(flow);
        self.places.insert(ends, number);
        self.sources.add(ends.remote.ip());
        self.used += self.record;
        self.set_resting(number, Some(self.now));
        self.tell_news(number);
        number
    }

    pub(super) fn set_alarm(&mut self, number: usize, at: Option<Instant>) {
        if let Some(flow) = self.flows.get_mut(number) {
            self.alarms.set(number, &mut flow.deadline, at);
        }
    }

    pub(super) fn set_resting(&mut self, number: usize, since: Option<Instant>) {
        if let Some(flow) = self.flows.get_mut(number) {
            self.resting.set(number, &mut flow.resting, since);
        }
    }

    /// Puts a connection into the queue of those with news.
    pub(super) fn tell_news(&mut self, number: usize) {
        if let Some(flow) = self.flows.get_mut(number)
            && !flow.has_news
        {
            flow.has_news = true;
            self.news.push_back(number);
        }
    }

    /// More than half of the room is taken.
    pub(crate) fn is_crowded(&self) -> bool {
        self.committed() > self.budget / 2
    }

    /// True if `source` may have one connection more. When more than half of the room is taken and it has its share, one
    /// of its own that has been at rest for long must go.
    pub(super) fn make_way(&mut self, source: IpAddr) -> bool {
        if !self.is_crowded() || self.sources.count(source) < self.share {
            return true;
        }
        self.figures.shared += 1;
        let of_source = |number: &usize| {
            self.flows.get(*number).is_some_and(|flow| is_same(flow.ends.remote.ip(), source))
        };
        let Some(number) = self.resting.earliest().take(LOOK).find(of_source) else { return false };
        self.reset(number, io::ErrorKind::ConnectionAborted);
        true
    }

    /// The socket of a connection: made now if it is at rest. `None` if it is over or there is no room.
    pub(super) fn awake(&mut self, number: usize) -> Option<&mut Live> {
        if matches!(self.flows.get(number)?.life, Life::Rest) {
            self.set_resting(number, None);
            if !self.bear(number) {
                self.set_resting(number, Some(self.now));
                return None;
            }
        }
        self.flows.get_mut(number)?.live()
    }

    fn bear(&mut self, number: usize) -> bool {
        let Some(birth) = self.flows.get(number).map(Flow::birth) else { return false };
        if !self.make_room(live::cost(birth.receive, birth.send), Mercy::None) {
            return false;
        }
        let Some(live) = self.engine.birth(self.now, &birth) else { return false };
        self.used += live.cost();
        let now = self.now;
        if let Some(flow) = self.flows.get_mut(number) {
            flow.life = Life::Live(Box::new(live));
            flow.progress = now;
        }
        true
    }

    /// Lets a connection sleep.
    pub(super) fn rest(&mut self, number: usize) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        let Life::Live(live) = &flow.life else { return };
        self.used = self.used.saturating_sub(live.cost());
        flow.rest();
        self.set_resting(number, Some(self.now));
    }

    /// Ends a connection and tells the peer.
    pub(super) fn reset(&mut self, number: usize, why: io::ErrorKind) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        if flow.is_over() {
            return self.end(number, why);
        }
        let calling = matches!(flow.life, Life::Calling { .. });
        let view = flow.view(self.now);
        let stamps = flow.stamps(self.now);
        let options = Options { stamps, ..Options::default() };
        // What lies beyond its window, a probe of an empty one too, the peer has not taken, nor a reset behind it.
        let edge = view.una + flow.peer.window;
        let seq = if flow.sent.is_after(edge) { edge } else { flow.sent };
        let (ends, ack) = (flow.ends, view.expected);
        if !calling {
            let segment = Segment { flags: RST | ACK, seq, ack, window: 0, options, payload: &[] };
            self.say(&ends, &segment);
        }
        self.end(number, why);
    }

    /// Ends a connection without a word.
    pub(super) fn end(&mut self, number: usize, why: io::ErrorKind) {
        self.leave(number, Life::Over(why));
    }

    /// Ends a connection whose both halves are closed; with `waits`, it may still hear echoes.
    pub(super) fn finish(&mut self, number: usize, waits: bool) {
        let Some(flow) = self.flows.get(number) else { return };
        if waits && flow.acked != flow.view(self.now).expected {
            // The socket goes before it has acknowledged the peer's FIN; the peer would say it again and wait.
            self.tell_where_we_are(number);
        }
        let Some(flow) = self.flows.get(number) else { return };
        if waits {
            let heard = flow.peer.stamp.map(|(stamp, _)| stamp);
            let over = Over::new(flow.sent, flow.view(self.now).expected, flow.stamp_offset, heard);
            self.waiting.keep(flow.ends, over, self.now);
        }
        self.leave(number, Life::Done);
    }

    fn leave(&mut self, number: usize, as_what: Life) {
        self.set_alarm(number, None);
        self.set_resting(number, None);
        let Some(flow) = self.flows.get_mut(number) else { return };
        if !flow.is_over() {
            let live = flow.live().map_or(0, |live| live.cost());
            self.used = self.used.saturating_sub(live + self.record);
            self.places.remove(&flow.ends);
            self.sources.remove(flow.ends.remote.ip());
            flow.life = as_what;
        }
        flow.wake();
        if flow.owner == Owner::Nobody {
            self.flows.try_remove(number);
        }
    }

    /// Says where we are: an empty acknowledgement, from the record alone.
    pub(super) fn tell_where_we_are(&mut self, number: usize) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        let (view, stamps) = (flow.view(self.now), flow.stamps(self.now));
        let options = Options { stamps, ..Options::default() };
        let window = flow.give(view.expected, view.edge.past(view.expected));
        let (ends, seq, ack) = (flow.ends, flow.sent, view.expected);
        self.say(&ends, &Segment { flags: ACK, seq, ack, window, options, payload: &[] });
    }
}

#[cfg(test)]
impl Stack {
    /// How many sources are counted.
    pub(crate) fn sources(&self) -> usize {
        self.sources.len()
    }

    /// The connection between `ends`, for tests to look at.
    pub(crate) fn flow(&self, ends: &crate::wire::Ends) -> Option<&Flow> {
        self.places.get(ends).and_then(|number| self.flows.get(*number))
    }
}
