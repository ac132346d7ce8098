//! Handshakes, of both kinds, and segments of connections that do not exist.

use super::Stack;
use super::room::Mercy;
use crate::flow::{self, Flow, Life, Peer, RECEIVE, SCALE};
use crate::gate::{cache::Half, cookie, wait::Over};
use crate::wire::{ACK, Ends, Options, RST, SYN, Segment, Seq, Stamps};
use core::time::Duration;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Connections of one port that may wait to be accepted.
const BACKLOG: usize = 4096;
/// The first wait for an answer to a call, and how often it is doubled.
const PATIENCE: Duration = Duration::from_secs(1);
const CALLS: u8 = 6;

impl Stack {
    /// Takes a segment to its connection, if there is one.
    pub(super) fn arrive_segment(&mut self, ends: Ends, segment: &Segment<'_>) {
        if let Some(number) = self.places.get(&ends).copied() {
            return self.arrive_flow(number, segment);
        }
        if let Some(half) = self.cache.find(&ends).copied() {
            return self.arrive_half(&half, segment);
        }
        if let Some(over) = self.waiting.find(&ends, self.now).copied()
            && !self.arrive_over(&ends, &over, segment)
        {
            return;
        }
        self.arrive_stranger(ends, segment);
    }

    fn arrive_stranger(&mut self, ends: Ends, segment: &Segment<'_>) {
        if segment.has(RST) {
            return;
        }
        let open = self.doors.contains_key(&ends.local.port());
        if open && segment.has(SYN) && !segment.has(ACK) {
            return self.arrive_syn(ends, segment);
        }
        if !(open && !segment.has(SYN) && self.arrive_cookie(ends, segment)) {
            self.refuse(&ends, segment);
        }
    }

    /// The first step of a handshake: remembered if there is room, else baked into a cookie.
    fn arrive_syn(&mut self, ends: Ends, segment: &Segment<'_>) {
        let options = Options { sack: [None; 3], ..segment.options };
        let half = |ours| Half::new(ends, segment.seq, ours, segment.window, options);
        let spent = self.cache.is_spent(ends.remote.ip());
        if spent || self.cache.is_full() {
            self.figures.shared += u64::from(spent);
            self.figures.cookies += 1;
            self.baked = Some(self.now);
            let mss = options.mss.unwrap_or(536);
            let ours = cookie::bake(&self.secrets, &ends, segment.seq, mss, self.now);
            return self.answer_syn(&half(ours), true);
        }
        let half = half(self.secrets.sequence(&ends, self.now));
        self.cache.keep(half, self.now);
        self.accept_syn(&half);
    }

    /// The second step, said for the first time or again.
    pub(super) fn accept_syn(&mut self, half: &Half) {
        self.answer_syn(half, false);
    }

    fn answer_syn(&mut self, half: &Half, baked: bool) {
        let (clock, offset) = (flow::clock(self.now), self.secrets.stamp_offset(&half.ends));
        let clock = if baked { cookie::stamp(&half.options, clock) } else { clock };
        let value = clock.wrapping_add(offset);
        let stamps = half.options.stamps.map(|stamps| Stamps { value, echo: stamps.value });
        let remembered = !baked || stamps.is_some();
        let options = Options {
            mss: Some(self.our_mss(&half.ends)),
            scale: half.options.scale.filter(|_| remembered).map(|_| SCALE),
            sack_ok: half.options.sack_ok && remembered,
            stamps,
            sack: [None; 3],
        };
        let window = u16::try_from(RECEIVE).unwrap_or(u16::MAX);
        let answer =
            Segment { flags: SYN | ACK, seq: half.ours, ack: half.theirs + 1, window, options, payload: &[] };
        self.say(&half.ends, &answer);
    }

    /// The third step, or something else, of a handshake that we remember.
    fn arrive_half(&mut self, half: &Half, segment: &Segment<'_>) {
        let expected = half.theirs + 1;
        if segment.has(RST) {
            if segment.seq == expected {
                self.cache.forget(&half.ends);
            }
            return;
        }
        if segment.has(SYN) {
            return self.arrive_again(half, segment);
        }
        let window = u32::try_from(RECEIVE).unwrap_or(0);
        let inside = segment.seq - expected < window;
        if segment.ack != half.ours + 1 {
            return self.refuse(&half.ends, segment);
        }
        if inside && self.establish(half.ends, half.ours + 1, expected, &half.options, half.window) {
            self.cache.forget(&half.ends);
            self.arrive_segment(half.ends, segment);
        }
    }

    /// A first step after the first step: the same one again, or another one. Whoever has begun anew resets what is here
    /// when it hears where we are; who only guesses does not hear it.
    fn arrive_again(&mut self, half: &Half, segment: &Segment<'_>) {
        if segment.has(ACK) {
            return self.refuse(&half.ends, segment);
        }
        if segment.seq == half.theirs {
            return self.accept_syn(half);
        }
        if self.cache.may_tell(&half.ends, self.now) {
            self.figures.challenges += 1;
            let value = flow::clock(self.now).wrapping_add(self.secrets.stamp_offset(&half.ends));
            let stamps = half.options.stamps.map(|told| Stamps { value, echo: told.value });
            let (options, seq, ack) =
                (Options { stamps, ..Options::default() }, half.ours + 1, half.theirs + 1);
            self.say(&half.ends, &Segment { flags: ACK, seq, ack, window: 0, options, payload: &[] });
        }
    }

    /// An acknowledgement that may bring a cookie back.
    fn arrive_cookie(&mut self, ends: Ends, segment: &Segment<'_>) -> bool {
        if self.baked.is_none_or(|at| self.now - at > cookie::GOOD_FOR) {
            return false;
        }
        let (ours, theirs) = (segment.ack - 1, segment.seq - 1);
        let Some(mss) = cookie::taste(&self.secrets, &ends, theirs, ours, self.now) else { return false };
        self.figures.cookies_good += 1;
        let offset = self.secrets.stamp_offset(&ends);
        let stamps = segment.options.stamps;
        let told = stamps.map(|stamps| Stamps { echo: stamps.echo.wrapping_sub(offset), ..stamps });
        let options = cookie::options(mss, told);
        if self.establish(ends, segment.ack, segment.seq, &options, segment.window) {
            self.arrive_segment(ends, segment);
        }
        true
    }

    /// Makes a connection of a handshake that is done. False if there is no room for it.
    fn establish(&mut self, ends: Ends, ours: Seq, theirs: Seq, options: &Options, window: u16) -> bool {
        let port = ends.local.port();
        let crowded = self.doors.get(&port).is_none_or(|door| door.ready.len() >= BACKLOG);
        if crowded || !self.make_way(ends.remote.ip()) || !self.make_room(self.record, Mercy::ForTheBusy) {
            self.figures.refused += 1;
            return false;
        }
        let mut flow = Flow::new(ends, ours, theirs, Peer::new(options, window, self.now), self.now);
        flow.mss = self.their_mss(&ends, options);
        let number = self.add(flow);
        self.figures.accepted += 1;
        if let Some(door) = self.doors.get_mut(&port) {
            door.ready.push_back(number);
            door.waiter.take().into_iter().for_each(core::task::Waker::wake);
        }
        true
    }

    /// A segment for a connection that is over. True if it begins a new one.
    fn arrive_over(&mut self, ends: &Ends, over: &Over, segment: &Segment<'_>) -> bool {
        let stamp = segment.options.stamps.map(|stamps| stamps.value);
        if segment.has(RST) {
            return false;
        }
        if segment.has(SYN) && !segment.has(ACK) && over.may_be_followed_by(segment.seq, stamp) {
            self.waiting.forget(ends);
            return true;
        }
        self.seem_to_refuse(ends, segment);
        let odd = segment.len() > 0 || segment.seq != over.expected;
        if odd && self.waiting.may_tell(ends, self.now) {
            let value = flow::clock(self.now).wrapping_add(over.stamp_offset);
            let stamps = over.heard.map(|echo| Stamps { value, echo });
            let options = Options { stamps, ..Options::default() };
            let (seq, ack) = (over.next, over.expected);
            self.say(ends, &Segment { flags: ACK, seq, ack, window: 0, options, payload: &[] });
        }
        false
    }

    /// Tells the sender of a segment that it has no connection here, if there was not too much of this.
    fn refuse(&mut self, ends: &Ends, segment: &Segment<'_>) {
        if segment.has(RST) || !self.resets.allows(self.now) {
            return;
        }
        self.figures.resets += 1;
        let answer = match segment.has(ACK) {
            true => (RST, segment.ack, Seq(0)),
            false => (RST | ACK, Seq(0), segment.end()),
        };
        let (flags, seq, ack) = answer;
        let options = Options::default();
        self.say(ends, &Segment { flags, seq, ack, window: 0, options, payload: &[] });
    }

    /// Counts what is wrong here as if nothing were here: a stranger who sees how many resets are left for its own
    /// segments must not learn from that which connections of others there are.
    pub(super) fn seem_to_refuse(&mut self, ends: &Ends, segment: &Segment<'_>) {
        let begins = segment.has(SYN) && !segment.has(ACK) && self.doors.contains_key(&ends.local.port());
        if !segment.has(RST) && !begins {
            self.resets.allows(self.now);
        }
    }

    /// Sends a segment that is no connection's.
    pub(super) fn say(&mut self, ends: &Ends, segment: &Segment<'_>) {
        self.out.segment(self.now, &mut self.neighbours, ends, segment, u16::MAX);
    }

    /// What we tell peers to cut their segments to.
    fn our_mss(&self, ends: &Ends) -> u16 {
        u16::try_from(self.mtu(ends.remote.ip()).saturating_sub(ends.headers())).unwrap_or(u16::MAX)
    }

    /// Payload of the largest segment for a peer of which we know `options`.
    fn their_mss(&self, ends: &Ends, options: &Options) -> u16 {
        let told =
            options.mss.filter(|mss| *mss > 0).unwrap_or(if ends.remote.is_ipv4() { 536 } else { 1220 });
        let stamps = if options.stamps.is_some() { 12 } else { 0 };
        told.max(88).min(self.our_mss(ends)) - stamps
    }

    /// Calls `remote`. `None` if there is no address or no port to call from.
    pub(crate) fn call(&mut self, local: Option<IpAddr>, remote: SocketAddr) -> Option<(usize, Ends)> {
        let ends = self.free_ends(local, remote)?;
        if !ends.has_a_peer() || ends.is_land() || !self.make_room(self.record, Mercy::ForTheBusy) {
            return None;
        }
        let ours = self.secrets.sequence(&ends, self.now);
        let peer = Peer::new(&Options::default(), 0, self.now);
        let mut flow = Flow::new(ends, ours, Seq(0), peer, self.now);
        flow.life = Life::Calling { tries: 0, next: self.now };
        flow.owner = flow::Owner::Stream;
        let number = self.add(flow);
        self.tell_news(number);
        Some((number, ends))
    }

    fn free_ends(&mut self, local: Option<IpAddr>, remote: SocketAddr) -> Option<Ends> {
        let addresses = &self.neighbours.addresses;
        let local = local.or_else(|| addresses.source(remote.ip()))?;
        if !addresses.has(local) || local.is_ipv4() != remote.is_ipv4() || addresses.is_broadcast(remote.ip())
        {
            return None;
        }
        self.made += 1;
        let ends = |port| Ends { local: SocketAddr::new(local, port), remote };
        let first = self.secrets.port(&ends(0), self.made);
        let ports = (0..=0x3fff).map(|step| 49152 | (first.wrapping_add(step) & 0x3fff));
        let taken =
            |ends: &Ends| self.places.contains_key(ends) || self.waiting.find(ends, self.now).is_some();
        ports.map(ends).find(|ends| !taken(ends))
    }

    /// Calls again, or gives up. Returns when to come back.
    pub(super) fn call_again(&mut self, number: usize) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        let Life::Calling { tries, next } = &mut flow.life else { return };
        if *next > self.now {
            return;
        }
        if *tries >= CALLS {
            return self.end(number, io::ErrorKind::TimedOut);
        }
        *next = self.now + PATIENCE * (1 << *tries);
        *tries += 1;
        let (ends, seq) = (flow.ends, flow.una);
        let value = flow::clock(self.now).wrapping_add(flow.stamp_offset);
        let stamps = Some(Stamps { value, echo: 0 });
        let mss = Some(self.our_mss(&ends));
        let options = Options { mss, scale: Some(SCALE), sack_ok: true, stamps, sack: [None; 3] };
        let window = u16::try_from(RECEIVE).unwrap_or(u16::MAX);
        self.say(&ends, &Segment { flags: SYN, seq, ack: Seq(0), window, options, payload: &[] });
    }

    /// An answer to a call.
    pub(super) fn arrive_answer(&mut self, number: usize, segment: &Segment<'_>) {
        let Some(flow) = self.flows.get_mut(number) else { return };
        let (ends, ours) = (flow.ends, flow.una + 1);
        if segment.has(ACK) && segment.ack != ours {
            return self.refuse(&ends, segment);
        }
        if !segment.has(ACK) {
            return;
        }
        if segment.has(RST) {
            return self.end(number, io::ErrorKind::ConnectionRefused);
        }
        if !segment.has(SYN) {
            return;
        }
        let mss = self.their_mss(&ends, &segment.options);
        let now = self.now;
        let Some(flow) = self.flows.get_mut(number) else { return };
        let peer = Peer::new(&segment.options, segment.window, now);
        let mut answered = Flow::new(ends, ours, segment.seq + 1, peer, now);
        (answered.mss, answered.stamp_offset) = (mss, flow.stamp_offset);
        (answered.owner, answered.has_news) = (flow.owner, flow.has_news);
        (answered.deadline, answered.resting) = (flow.deadline, flow.resting);
        answered.account = flow.account.take();
        answered.called = true;
        (answered.reader, answered.writer) = (flow.reader.take(), flow.writer.take());
        *flow = answered;
        flow.wake();
        self.figures.connected += 1;
        self.tell_where_we_are(number);
        self.tell_news(number);
    }
}
