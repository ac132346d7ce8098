//! A connection's turn: what arrives for it, what it says, what it waits for.

use super::Stack;
use crate::flow::live::State;
use crate::flow::send::Due;
use crate::flow::{Flow, Life, Owner, RECEIVE, SEND};
use crate::gate::limit;
use crate::gate::verdict::{Verdict, judge};
use crate::house::report::{Report, Trouble};
use crate::wire::{ACK, FIN, Options, PSH, RST, Segment};
use core::task::Waker;
use core::time::Duration;
use std::io;
use world::Instant;

/// Segments that one connection may say in one turn.
const BREATH: usize = 16;
/// How long a connection must be quiet before it is put to sleep.
const DOZE: Duration = Duration::from_millis(200);
/// How long a peer may take nothing of what it is owed, and how long it may take over the rest when nobody reads any more.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long we wait for anything to be taken, or for the other half to be closed, when nobody reads any more.
const LINGER: Duration = Duration::from_secs(60);
/// How much may come after nobody reads any more.
const REFUSE: usize = 1 << 20;
/// When a silent peer is asked whether it lives, how often, and how many times.
const SILENCE: Duration = Duration::from_secs(120);
const PROBE: Duration = Duration::from_secs(30);
const PROBES: u8 = 5;
/// When a connection is stuck: what it has sent was not taken for so long.
const STUCK: Duration = Duration::from_secs(1);
/// Milliseconds after which an echo of ours says nothing of the way.
const LATE: u32 = 60_000;
/// How soon a connection is looked at again at the earliest.
const LATER: Duration = Duration::from_millis(1);

impl Stack {
    /// Takes a segment to a connection: the gate judges, then smoltcp may see it.
    pub(super) fn arrive_flow(&mut self, number: usize, segment: &Segment<'_>) {
        let Some(flow) = self.flows.get(number) else { return };
        if matches!(flow.life, Life::Calling { .. }) {
            return self.arrive_answer(number, segment);
        }
        let over = matches!(&flow.life, Life::Live(live) if live.state() == State::TimeWait);
        let (ends, verdict) = (flow.ends, judge(&flow.view(self.now), segment));
        // A probe whether we live names the right number, which nobody guesses.
        let right = matches!(verdict, Verdict::Pass | Verdict::Bare)
            || (verdict == Verdict::Answer && segment.len() == 0);
        if !right {
            self.seem_to_refuse(&ends, segment);
        }
        match verdict {
            // RFC 1337: both sides have said all; somebody may still be reading it.
            Verdict::Reset if over => {}
            Verdict::Pass => self.let_in(number, segment),
            Verdict::Bare => {
                self.let_in(number, &Segment { flags: segment.flags & !FIN, payload: &[], ..*segment });
                self.tell_where_we_are(number);
            }
            Verdict::Reset => {
                self.flows.get_mut(number).into_iter().for_each(Flow::keep_last_words);
                self.end(number, io::ErrorKind::ConnectionReset);
            }
            Verdict::Answer => {
                self.figures.challenges += 1;
                self.sign_of_life(number);
                self.tell_where_we_are(number);
            }
            Verdict::Challenge => self.challenge(number),
            Verdict::Drop => {}
        }
    }

    fn sign_of_life(&mut self, number: usize) {
        let now = self.now;
        if let Some(flow) = self.flows.get_mut(number) {
            (flow.heard, flow.probes) = (now, 0);
        }
    }

    fn challenge(&mut self, number: usize) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(number) else { return };
        if !limit::once(&mut flow.challenged, now) {
            return;
        }
        self.figures.challenges += 1;
        self.tell_where_we_are(number);
    }

    fn let_in(&mut self, number: usize, segment: &Segment<'_>) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(number) else { return };
        let before = flow.peer.window;
        flow.note(segment, now);
        if segment.len() == 0 && matches!(flow.life, Life::Rest) {
            return;
        }
        if self.awake(number).is_none() {
            return;
        }
        let Some(flow) = self.flows.get_mut(number) else { return };
        let finished = flow.hear(segment, before, now);
        let Life::Live(live) = &mut flow.life else { return };
        if segment.len() > 0 || finished {
            // smoltcp cuts what is past its window, but would still believe the FIN at the end of it.
            let past = segment.end().is_after(live.edge);
            let flags = if past { segment.flags & !FIN } else { segment.flags };
            self.engine.feed(now, live, &Segment { flags, ..*segment });
            self.speak(number);
        }
        self.tell_news(number);
    }

    /// Sends the acknowledgement that smoltcp has just said. Its FIN is said by our sender.
    fn speak(&mut self, number: usize) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(number) else { return };
        let Life::Live(live) = &flow.life else { return };
        let Some(said) = self.engine.said(live) else { return };
        let (ack, sack) = (said.segment.ack, said.segment.options.sack);
        let news = ack != flow.acked || (ack + said.window).is_after(flow.edge);
        if said.segment.has(RST) || (said.segment.has(FIN) && !news) {
            return;
        }
        let options = Options { stamps: flow.stamps(now), sack, ..Options::default() };
        let window = flow.give(ack, said.window);
        let (ends, seq) = (flow.ends, flow.sent);
        self.say(&ends, &Segment { flags: ACK, seq, ack, window, options, payload: &[] });
    }

    /// Sends the next piece of what we have to say, with an acknowledgement if one was due. False if there is none.
    fn say_piece(&mut self, number: usize) -> bool {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(number) else { return false };
        let (edge, acked) = (flow.peer.edge(), flow.acked);
        let Some(live) = flow.live() else { return false };
        let Some(piece) = live.sender.piece(edge) else { return false };
        let due = acked != live.expected() && self.engine.ask_all(now, live);
        if let (true, Some(said)) = (due, self.engine.said(live)) {
            flow.give(said.segment.ack, said.window);
        }
        let (view, options) = (flow.view(now), Options { stamps: flow.stamps(now), ..Options::default() });
        let window = flow.give(view.expected, view.edge.past(view.expected));
        let (ends, mss) = (flow.ends, flow.mss);
        let Some(live) = flow.live() else { return false };
        let flags = match (piece.fin, live.sender.is_last(&piece)) {
            (true, _) => ACK | FIN,
            (false, true) => ACK | PSH,
            (false, false) => ACK,
        };
        let (seq, ack, payload) = (piece.from, view.expected, live.sender.part(&piece));
        let segment = Segment { flags, seq, ack, window, options, payload };
        self.out.segment(now, &mut self.neighbours, &ends, &segment, mss);
        live.sender.said(now, &piece);
        flow.sent = flow.sent.later(piece.until);
        true
    }

    /// Hears what became of a segment on its way. That it carries less than ways do is believed only when nothing has
    /// arrived for a while: who guesses the right numbers cannot cut a stream to shreds that flows.
    pub(super) fn arrive_report(&mut self, report: &Report) {
        let Some(seq) = report.seq else { return self.arrive_bounce(report) };
        let Some(number) = self.places.get(&report.ends).copied() else { return };
        let Some(flow) = self.flows.get_mut(number) else { return };
        let calling = matches!(flow.life, Life::Calling { .. });
        if calling && seq == flow.una && !matches!(report.trouble, Trouble::TooBig(_)) {
            return self.end(number, io::ErrorKind::HostUnreachable);
        }
        let view = flow.view(self.now);
        let under_way = !seq.is_before(view.una) && seq.is_before(view.sent);
        let Trouble::TooBig(mtu) = report.trouble else { return };
        let stuck = self.now - flow.progress >= STUCK;
        let least = match report.ends.remote.is_ipv4() {
            true if stuck => 68,
            true => 552,
            false => 1280,
        };
        let stamps = if flow.peer.stamp.is_some() { 12 } else { 0 };
        let mss = mtu.max(least).saturating_sub(report.ends.headers() + stamps);
        if under_way && mss < usize::from(flow.mss) {
            flow.mss = u16::try_from(mss).unwrap_or(flow.mss);
            self.figures.narrowed += 1;
            let mss = flow.mss;
            if let Some(live) = flow.live() {
                live.sender.narrow(mss);
            }
            self.tell_news(number);
        }
    }

    /// Gives a connection its turn.
    pub(super) fn serve(&mut self, number: usize) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        if core::mem::take(&mut flow.stirred) {
            flow.progress = self.now;
        }
        match &mut flow.life {
            Life::Calling { .. } => self.call_again(number),
            Life::Live(live) if flow.owner == Owner::Nobody => {
                flow.discarded += live.discard();
                if flow.discarded > REFUSE {
                    return self.reset(number, io::ErrorKind::ConnectionAborted);
                }
                self.listen_to(number);
            }
            Life::Live(_) => self.listen_to(number),
            Life::Rest | Life::Over(_) | Life::Done => {}
        }
        self.settle(number);
    }

    /// Sends what there is to say, as long as there is room.
    fn listen_to(&mut self, number: usize) {
        for _ in 0..BREATH {
            let state = self.flows.get_mut(number).and_then(Flow::live).map(|live| live.state());
            if matches!(state, None | Some(State::TimeWait | State::Closed)) {
                return;
            }
            if !self.out.has_room() {
                break;
            }
            if !self.say_piece(number) {
                return self.acknowledge(number);
            }
        }
        self.tell_news(number);
    }

    /// Sends an acknowledgement if smoltcp thinks that it is time for one.
    fn acknowledge(&mut self, number: usize) {
        let now = self.now;
        let Some(live) = self.flows.get_mut(number).and_then(Flow::live) else { return };
        if self.engine.ask(now, live) {
            self.speak(number);
        }
    }

    /// Wakes who waits, ends what is over, and sets the next alarm.
    fn settle(&mut self, number: usize) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(number) else { return };
        wake_who_can(flow);
        if let Life::Live(live) = &flow.life {
            let state = live.state();
            let gone = live.unread() == 0 || flow.owner == Owner::Nobody;
            if gone && matches!(state, State::TimeWait | State::Closed) {
                return self.finish(number, state == State::TimeWait);
            }
        }
        if flow.is_quiet() {
            let dozes = now - flow.heard.max(flow.progress) >= DOZE;
            if dozes {
                flow.forget_sizes();
            }
            if dozes || flow.wants_to_grow() {
                self.rest(number);
            }
        }
        if !self.keep_alive(number) {
            return;
        }
        let at = self.next_alarm(number);
        self.set_alarm(number, at);
    }

    /// Asks a silent peer whether it lives, and ends the connection of one that does not, or takes nothing.
    fn keep_alive(&mut self, number: usize) -> bool {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(number) else { return false };
        if !flow.is_owed() && flow.owner != Owner::Nobody {
            flow.progress = flow.progress.max(flow.heard);
        }
        if flow.patience_ends().is_some_and(|at| at <= now) || flow.probes > PROBES {
            self.figures.vanished += 1;
            self.reset(number, io::ErrorKind::TimedOut);
            return false;
        }
        match flow.live().and_then(|live| live.sender.ring(now)) {
            Some(Due::Speech) => self.listen_to(number),
            Some(Due::Probe) => self.probe(number),
            None => {}
        }
        let Some(flow) = self.flows.get_mut(number) else { return false };
        if flow.next_probe().is_some_and(|at| at <= now) {
            flow.probes += 1;
            self.probe(number);
        }
        true
    }

    fn probe(&mut self, number: usize) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        let (sent, una) = (flow.sent, flow.view(self.now).una);
        flow.sent = una - 1;
        self.tell_where_we_are(number);
        if let Some(flow) = self.flows.get_mut(number) {
            flow.sent = sent;
        }
    }

    /// When this connection has to be looked at again, if nothing happens before.
    fn next_alarm(&mut self, number: usize) -> Option<Instant> {
        let now = self.now;
        let flow = self.flows.get_mut(number)?;
        let doze = flow.is_quiet().then(|| flow.heard.max(flow.progress) + DOZE);
        let limits = [flow.patience_ends(), flow.next_probe(), doze];
        let own = match &mut flow.life {
            Life::Calling { next, .. } => return Some(*next),
            Life::Live(live) if matches!(live.state(), State::TimeWait | State::Closed) => None,
            // What would be said at once was said already, or there was no room and it has news.
            Life::Live(live) => {
                let own = [self.engine.deadline(now, live), live.sender.deadline(now)];
                own.into_iter().flatten().min().map(|at| at.max(now + LATER))
            }
            Life::Rest => None,
            Life::Over(_) | Life::Done => return None,
        };
        limits.into_iter().chain([own]).flatten().min()
    }
}

impl Flow {
    /// When the patience with this peer ends: it takes nothing of what it is owed, or does not close its half.
    fn patience_ends(&self) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        if self.owner == Owner::Nobody {
            // Whoever takes a byte now and then would otherwise keep it for ever.
            return Some((self.left + PATIENCE).min(self.progress + LINGER));
        }
        self.is_owed().then(|| self.progress + PATIENCE)
    }

    /// Takes what a segment acknowledges. True if that was our FIN.
    fn hear(&mut self, segment: &Segment<'_>, before: u32, now: Instant) -> bool {
        let stamps = segment.options.stamps.zip(self.stamps(now));
        let echoed = stamps.map(|(theirs, ours)| ours.value.wrapping_sub(theirs.echo));
        // An answer to what was not said yet, or to what was said long ago, tells nothing of the way.
        let echoed =
            echoed.filter(|millis| *millis < LATE).map(|millis| Duration::from_millis(millis.into()));
        let Life::Live(live) = &mut self.life else { return false };
        let again = segment.len() == 0 && self.peer.window == before;
        if before == 0 && self.peer.window > 0 {
            live.sender.opened();
        }
        let was = live.sender.is_finished();
        let ranges = segment.options.sack.into_iter().flatten().filter(|_| self.peer.sack);
        if live.sender.hear(now, segment.ack, ranges, again, echoed) {
            (self.progress, self.una) = (now, live.sender.una());
        }
        live.sender.is_finished() != was
    }

    /// When to ask this peer whether it lives. Who owes us an acknowledgement is judged by that.
    fn next_probe(&self) -> Option<Instant> {
        let silent = !self.is_over() && !self.is_owed() && !matches!(self.life, Life::Calling { .. });
        silent.then(|| self.heard + SILENCE + PROBE * u32::from(self.probes))
    }

    /// Buffers follow use: after a rest they start small again.
    fn forget_sizes(&mut self) {
        let small = |bytes: usize| u32::try_from(bytes).unwrap_or(0);
        (self.receive, self.send) = (small(RECEIVE), small(SEND));
    }

    /// True if it should be born again with more room to hear.
    fn wants_to_grow(&self) -> bool {
        let Life::Live(live) = &self.life else { return false };
        self.birth().receive > live.capacity()
    }
}

/// Wakes the tasks that can go on.
fn wake_who_can(flow: &mut Flow) {
    let Life::Live(live) = &flow.life else { return };
    let state = live.state();
    let over = state == State::Closed;
    if over || live.unread() > 0 || live.heard_all() {
        flow.reader.take().into_iter().for_each(Waker::wake);
    }
    let room = live.sender.room() >= live.sender.capacity() / 3 || live.sender.waiting() == 0;
    if over || room || live.heard_all() {
        flow.writer.take().into_iter().for_each(Waker::wake);
    }
}
