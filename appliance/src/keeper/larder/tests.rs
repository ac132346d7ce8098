//! A larder and whatever may sit at the other end of its channel, in simulated time.

use super::*;
use core::cell::Cell;
use entropy::protocol::{BANNER_1, Host};
use entropy::stream::Stream;
use runtime::Refused;
use std::collections::VecDeque;
use std::rc::Rc;
use world::{Boot, Full, Generation, Help, Nic, NicFacts, Offload, Received};

/// Who sits at the other end.
enum Other {
    Nobody,
    /// xentropyd, and what it feeds.
    Daemon(Box<Host>, Stream),
    Says(&'static [u8]),
    /// Says its line and then this one byte for ever.
    SaysForEver(&'static [u8], u8),
}

struct Bench {
    now: Duration,
    name: &'static str,
    other: Other,
    under_way: VecDeque<u8>,
    opening: bool,
    closing: bool,
    said: Vec<String>,
    heard: usize,
    generation: Rc<Cell<u128>>,
    stop_at: Duration,
    boot: Boot,
    nic: NoNic,
}

struct NoNic;

impl Nic for NoNic {
    fn facts(&self) -> NicFacts {
        NicFacts { mac: [2, 0, 0, 0, 0, 1], mtu: 1500, offload: Offload::default() }
    }

    fn receive(&mut self, _frame: &mut [u8]) -> Option<Received> {
        None
    }

    fn send(&mut self, _frame: &[u8], _help: Help) -> Result<(), Full> {
        Ok(())
    }

    fn flush(&mut self) {}
}

fn daemon(generation: u128, food: u8) -> Other {
    Other::Daemon(Box::new(Host::new(generation, 1024)), Stream::new(&[food; 32]))
}

impl Bench {
    fn with(other: Other) -> Self {
        Self {
            now: Duration::from_secs(1),
            name: CHANNEL_2,
            opening: !matches!(other, Other::Nobody),
            other,
            under_way: VecDeque::new(),
            closing: false,
            said: Vec::new(),
            heard: 0,
            generation: Rc::new(Cell::new(7)),
            stop_at: Duration::MAX,
            boot: Boot::default(),
            nic: NoNic,
        }
    }

    /// The one that was there goes, another comes.
    fn replace(&mut self, other: Other) {
        self.closing = true;
        self.opening = !matches!(other, Other::Nobody);
        self.other = other;
        self.under_way.clear();
    }

    fn talk(&mut self) {
        match &mut self.other {
            Other::Daemon(host, stream) => {
                while host.appetite() > 0 && host.outbox().is_empty() {
                    let mut piece = [0; 256];
                    stream.draw(&mut piece);
                    host.pour(&piece);
                    self.under_way.extend(host.outbox());
                    host.sent(host.outbox().len());
                }
            }
            Other::SaysForEver(_, byte) => self.under_way.extend([*byte; 8192]),
            Other::Nobody | Other::Says(_) => {}
        }
    }

    fn count(&self, word: &str) -> usize {
        self.said.iter().filter(|line| line.contains(word)).count()
    }

    /// Lives with the larder for so long; the loop turns at least once a second.
    fn live(&mut self, larder: &mut Larder, seconds: u64) -> bool {
        let end = self.now + Duration::from_secs(seconds);
        let mut forked = false;
        while self.now < end {
            forked |= larder.turn(self).forked;
            self.wait(Some(Instant::START + self.now + Duration::from_secs(1)));
        }
        forked
    }

    fn starves(&mut self, word: &str) {
        self.stop_at = self.now + Duration::from_secs(100);
        let mut larder = Larder::open(self, || None);
        assert!(larder.fill(self).is_none(), "it was seeded: {:?}", self.said);
        assert_eq!(self.count(word), 1, "{word}: {:?}", self.said);
        assert!(self.said.len() < 4, "{:?}", self.said);
    }
}

impl World for Bench {
    type Nic = NoNic;

    fn nic(&mut self) -> &mut NoNic {
        &mut self.nic
    }

    fn now(&self) -> Instant {
        Instant::START + self.now
    }

    fn wall_clock(&self) -> Duration {
        self.now
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        self.talk();
        if self.under_way.is_empty() && !self.opening && !self.closing {
            let until = deadline.map_or(self.stop_at, |deadline| deadline - Instant::START);
            self.now = until.min(self.stop_at).max(self.now);
        }
        self.now += Duration::from_millis(1);
    }

    fn channel(&mut self, name: &str) -> Option<ChannelId> {
        (name == self.name).then_some(ChannelId(0))
    }

    fn hear(&mut self, _channel: ChannelId, into: &mut [u8]) -> Heard {
        if core::mem::take(&mut self.closing) {
            return Heard::Closed;
        }
        if core::mem::take(&mut self.opening) {
            if let Other::Says(line) | Other::SaysForEver(line, _) = self.other {
                self.under_way.extend(line);
            }
            return Heard::Opened;
        }
        let count = self.under_way.len().min(into.len());
        self.heard += count;
        into.iter_mut().zip(self.under_way.drain(..count)).for_each(|(to, byte)| *to = byte);
        if count == 0 { Heard::Nothing } else { Heard::Bytes(count) }
    }

    fn tell(&mut self, _channel: ChannelId, bytes: &[u8]) -> usize {
        if let Other::Daemon(host, _) = &mut self.other {
            host.receive(bytes, self.now).unwrap();
            self.under_way.extend(host.outbox());
            host.sent(host.outbox().len());
        }
        bytes.len()
    }

    fn boot(&self) -> &Boot {
        &self.boot
    }

    fn memory(&self, limit: Option<usize>) -> usize {
        limit.unwrap_or(usize::MAX)
    }

    fn take_secrets(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn host_random(&mut self, _into: &mut [u8]) -> usize {
        0
    }

    fn generation(&self) -> Generation {
        let number = self.generation.clone();
        Rc::new(move || Some(number.get()))
    }

    fn asked_to_stop(&mut self) -> bool {
        self.now >= self.stop_at
    }

    fn say(&mut self, line: &str) {
        self.said.push(line.to_owned());
    }
}

fn fed(bench: &mut Bench) -> Larder {
    let mut larder = Larder::open(bench, || None);
    assert!(larder.fill(bench).is_some());
    larder
}

#[test]
fn a_daemon_feeds_and_the_console_says_so_once() {
    let mut bench = Bench::with(daemon(1, 1));
    let mut larder = fed(&mut bench);
    assert!(!bench.live(&mut larder, 3600));
    assert_eq!((bench.count("waiting"), bench.count("seeded by the host"), bench.said.len()), (1, 1, 2));
}

#[test]
fn without_a_channel_it_waits_says_what_it_lacks_and_takes_one_that_comes_late() {
    let mut bench = Bench::with(daemon(1, 1));
    bench.name = "something else";
    bench.starves("no key is made and no port opens");
    let mut larder = Larder::open(&mut bench, || None);
    (bench.name, bench.stop_at) = (CHANNEL_2, Duration::MAX);
    assert!(larder.fill(&mut bench).is_some());
}

#[test]
fn whoever_is_no_daemon_feeds_nothing_and_is_complained_of_once() {
    Bench::with(Other::Nobody).starves("waiting for the host's first seed");
    Bench::with(Other::Says(b"")).starves("waiting for the host's first seed");
    Bench::with(Other::Says(b"SSH-2.0-OpenSSH_9.2\r\n")).starves("waiting for the host's first seed");
    Bench::with(Other::SaysForEver(b"hello", 0)).starves("none of them was the answer to our hello");
    let mut first = Bench::with(Other::Says(b"SSH-2.0-OpenSSH_9.2\r\n"));
    first.name = CHANNEL_1;
    first.starves("something else is connected");
}

#[test]
fn a_stuck_daemon_of_version_1_is_caught() {
    for byte in [0, 0xff, 0x5a] {
        let mut bench = Bench::with(Other::SaysForEver(BANNER_1, byte));
        bench.name = CHANNEL_1;
        bench.starves("is not random and counts for nothing: the source is stuck");
    }
}

#[test]
fn a_flood_holds_no_turn() {
    let mut bench = Bench::with(Other::SaysForEver(b"", 1));
    let mut larder = Larder::open(&mut bench, || None);
    bench.under_way.extend(vec![1; 1 << 20]);
    let news = larder.turn(&mut bench);
    assert!(bench.heard <= PIECES * PIECE, "{} bytes in one turn", bench.heard);
    assert_eq!(news.deadline, Some(bench.now()), "and the rest is heard in the next");
}

#[test]
fn a_daemon_that_went_is_missed_after_ten_minutes_and_one_that_comes_again_feeds_again() {
    let mut bench = Bench::with(daemon(1, 1));
    let mut larder = fed(&mut bench);
    bench.replace(Other::Nobody);
    // What was waiting is taken up after a minute, so the pool was last fed then.
    bench.live(&mut larder, 650);
    assert_eq!(bench.count("not fed for ten minutes"), 0, "{:?}", bench.said);
    let sleep = larder.turn(&mut bench).deadline.map(|deadline| deadline - bench.now());
    assert!(sleep.is_some_and(|sleep| sleep < Duration::from_secs(15)), "the alarm ends a sleep: {sleep:?}");
    bench.live(&mut larder, 3600);
    assert_eq!(bench.count("not fed for ten minutes"), 1);
    assert_eq!(well::draw(&mut [0; 8]), Ok(()), "it serves on");
    bench.replace(daemon(1, 2));
    bench.live(&mut larder, 5);
    assert_eq!(bench.count("fed again"), 1, "{:?}", bench.said);
}

#[test]
fn a_copy_draws_nothing_before_a_host_has_answered_a_new_hello() {
    let mut bench = Bench::with(daemon(1, 1));
    let mut larder = fed(&mut bench);
    // Bytes that were under way when the machine was saved reach each of its copies.
    let Other::Daemon(host, stream) = &mut bench.other else { panic!() };
    host.receive(larder.guest.outbox(), bench.now).unwrap();
    larder.guest.ask(bench.now);
    host.receive(larder.guest.outbox(), bench.now).unwrap();
    larder.guest.sent(larder.guest.outbox().len());
    let mut piece = [0; 256];
    stream.draw(&mut piece);
    host.pour(&piece);
    let stale: Vec<u8> = host.outbox().to_vec();
    assert!(stale.len() > 256);
    bench.other = daemon(1, 9);
    bench.under_way = stale.into();
    bench.generation.set(8);
    assert!(larder.turn(&mut bench).forked);
    assert_eq!(well::draw(&mut [0; 8]), Err(Refused), "what both copies hold was counted");
    assert!(bench.under_way.iter().next().is_some(), "the new host has answered the new hello");
    assert!(larder.fill(&mut bench).is_some());
    assert_eq!(well::draw(&mut [0; 8]), Ok(()));
}

#[test]
fn the_daemons_word_that_the_machine_was_copied_counts_as_much() {
    let mut bench = Bench::with(daemon(1, 1));
    let mut larder = fed(&mut bench);
    assert!(!bench.live(&mut larder, 60));
    bench.replace(daemon(1, 2));
    assert!(!bench.live(&mut larder, 60), "another daemon, the same generation");
    bench.replace(daemon(2, 3));
    assert!(bench.live(&mut larder, 60));
    assert_eq!(well::draw(&mut [0; 8]), Ok(()), "fed apart by now");
}
