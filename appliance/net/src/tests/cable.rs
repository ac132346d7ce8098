//! A cable with two ends, weather on it, and a clock that is a number.
//!
//! Everything that happens follows from the seed. Ten simulated minutes cost what their frames cost.

use crate::{Cidr, Config, Keys, Net};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use tasks::Tasks;
use world::{Checksum, Full, Help, Instant, Nic, NicFacts, Offload, Received};

/// What happens to frames on their way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) seed: u64,
    /// Of a thousand frames, so many are lost, doubled, damaged or overtaken.
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) damaged: u64,
    pub(super) late: u64,
    /// Milliseconds of the way.
    pub(super) delay: u64,
    pub(super) mtu: usize,
    pub(super) offload: Offload,
    /// Bytes of the largest packet that the router on the way lets through; it tells who sends a larger one.
    pub(super) narrow: usize,
    /// Every so many milliseconds, for so many, what carries data from the first to the second machine is lost.
    pub(super) bursts: [u64; 2],
    /// Of a thousand moments, so many last longer than they should: minutes or hours; and so many come again, or are
    /// followed by one that was before.
    pub(super) jumps: u64,
    pub(super) again: u64,
}

/// Turns at one moment, beyond which something is going round in circles.
const CIRCLES: u64 = 200_000;

pub(super) const FAIR: Weather = Weather {
    seed: 1,
    lost: 0,
    doubled: 0,
    damaged: 0,
    late: 0,
    delay: 0,
    mtu: 1500,
    offload: Offload { checksum: false, tcp4: false, tcp6: false },
    narrow: usize::MAX,
    bursts: [0; 2],
    jumps: 0,
    again: 0,
};

/// Numbers that follow from a seed (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn happens(&mut self, of_a_thousand: u64) -> bool {
        self.roll(1000) < of_a_thousand
    }
}

/// One end of a cable: what arrives, and what leaves.
pub(super) struct End {
    pub(super) facts: NicFacts,
    pub(super) arriving: VecDeque<Vec<u8>>,
    pub(super) leaving: VecDeque<Vec<u8>>,
    /// Frames that the queue takes before it is full.
    pub(super) room: usize,
}

impl End {
    pub(super) fn new(last: u8, weather: &Weather) -> Self {
        let facts = NicFacts { mac: [2, 0, 0, 0, 0, last], mtu: weather.mtu, offload: weather.offload };
        Self { facts, arriving: VecDeque::new(), leaving: VecDeque::new(), room: usize::MAX }
    }
}

impl Nic for End {
    fn facts(&self) -> NicFacts {
        self.facts
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        let arrived = self.arriving.pop_front()?;
        frame[..arrived.len()].copy_from_slice(&arrived);
        Some(Received { len: arrived.len(), checksum: Checksum::Unknown })
    }

    /// Does what an interface with these facts does, byte by byte.
    fn send(&mut self, frame: &[u8], help: Help) -> Result<(), Full> {
        if self.leaving.len() >= self.room {
            return Err(Full);
        }
        for mut piece in super::segments::cut(frame, &help) {
            if let Some((start, offset)) = help.checksum {
                super::segments::complete(&mut piece, usize::from(start), usize::from(offset));
            }
            assert!(piece.len() <= self.facts.mtu + 14, "a frame of {} bytes", piece.len());
            self.leaving.push_back(piece);
        }
        Ok(())
    }

    fn flush(&mut self) {}
}

/// Two machines, the tasks on both, and the time.
pub(super) struct Cable {
    pub(super) ends: [End; 2],
    pub(super) nets: [Net; 2],
    pub(super) tasks: Tasks,
    pub(super) now: Instant,
    pub(super) weather: Weather,
    pub(super) pcap: Option<super::pcap::Pcap>,
    pub(super) frames: u64,
    /// Turns since the time has moved.
    still: u64,
    dice: Dice,
    flying: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
}

/// The configuration of the end whose addresses end with `last`.
pub(super) fn config(last: u8) -> Config {
    let cidr = |address: String, prefix| Cidr { address: address.parse::<IpAddr>().unwrap(), prefix };
    let addresses = vec![cidr(format!("10.0.0.{last}"), 24), cidr(format!("fd00::{last}"), 64)];
    Config { addresses, budget: 64 << 20, ..Config::default() }
}

impl Cable {
    pub(super) fn new(weather: Weather) -> Self {
        Self::with(weather, config)
    }

    pub(super) fn with(weather: Weather, config: impl Fn(u8) -> Config) -> Self {
        let ends = [End::new(1, &weather), End::new(2, &weather)];
        let nets = [1, 2].map(|last| {
            let facts = ends[usize::from(last) - 1].facts();
            Net::new(config(last), facts, Keys::new([last; 64]), Instant::START).unwrap()
        });
        let pcap = super::pcap::Pcap::wanted();
        let (tasks, now, dice) = (Tasks::new(), Instant::START, Dice(weather.seed));
        Self { ends, nets, tasks, now, weather, pcap, frames: 0, still: 0, dice, flying: BTreeMap::new() }
    }

    /// Runs until `done`; false after that long.
    pub(super) fn run_for(&mut self, long: Duration, done: impl Fn() -> bool) -> bool {
        let end = self.now + long;
        while !done() {
            if self.now >= end {
                return false;
            }
            self.step(end);
        }
        true
    }

    /// Runs until `done`, or fails after an hour.
    pub(super) fn run(&mut self, done: impl Fn() -> bool) {
        let weather = self.weather;
        assert!(self.run_for(Duration::from_secs(3600), done), "an hour passed in {weather:?}");
    }

    /// One turn of both machines; then the time moves to the next event.
    fn step(&mut self, end: Instant) {
        let awake = self.tasks.turn(self.now, 1000) > 0;
        let now = self.clock();
        let deadlines = [0, 1].map(|side| self.nets[side].turn(now, &mut self.ends[side]));
        self.carry();
        let awake = awake | (self.tasks.turn(self.now, 1000) > 0);
        let arriving = self.ends.iter().any(|end| !end.arriving.is_empty());
        self.still += 1;
        assert!(self.still < CIRCLES, "round in circles at {:?} in {:?}", self.now, self.weather);
        if awake || arriving || self.nets.iter().any(Net::is_busy) {
            return;
        }
        let frame = self.flying.keys().next().map(|(at, _)| *at);
        let alarm = self.tasks.timers().deadline();
        let next = deadlines.into_iter().chain([alarm, frame]).flatten().min();
        self.pass(next.map_or(end, |next| next.min(end)));
        self.deliver();
    }

    /// What the clock shows: now, or, when moments come again, something before.
    fn clock(&mut self) -> Instant {
        let again = self.weather.again > 0 && self.dice.happens(self.weather.again);
        if again { Instant::from_nanos(self.now.nanos() / 2) } else { self.now }
    }

    /// Lets the time pass until `next`, or, as the weather is, not at all, or for much longer.
    fn pass(&mut self, next: Instant) {
        if self.weather.again > 0 && self.dice.happens(self.weather.again) {
            return;
        }
        let before = self.now;
        self.now = next.max(self.now);
        if self.weather.jumps > 0 && self.dice.happens(self.weather.jumps) {
            self.now = self.now + Duration::from_secs(1 << self.dice.roll(14));
        }
        if self.now > before {
            self.still = 0;
        }
    }

    fn carry(&mut self) {
        for side in [0, 1] {
            while let Some(frame) = self.ends[side].leaving.pop_front() {
                self.frames += 1;
                if let Some(pcap) = &mut self.pcap {
                    pcap.write(self.now, &frame);
                }
                self.fly(1 - side, frame);
            }
        }
        self.deliver();
    }

    fn fly(&mut self, to: usize, mut frame: Vec<u8>) {
        if frame.len() > self.weather.narrow.saturating_add(14)
            && let Some(report) = super::narrow::too_big(&frame, self.weather.narrow)
        {
            self.ends[1 - to].arriving.push_back(report);
            return;
        }
        let [every, long] = self.weather.bursts;
        let burst = every > 0 && to == 1 && frame.len() > 100 && self.now.millis() % every < long;
        if burst || self.dice.happens(self.weather.lost) {
            return;
        }
        if self.dice.happens(self.weather.damaged) {
            let at = self.dice.roll(frame.len() as u64) as usize;
            frame[at] ^= 1 << self.dice.roll(8);
        }
        let mut at = self.now + Duration::from_millis(self.weather.delay);
        if self.dice.happens(self.weather.late) {
            at = at + Duration::from_micros(self.dice.roll(20_000));
        }
        if self.dice.happens(self.weather.doubled) {
            let later = at + Duration::from_micros(self.dice.roll(5_000));
            self.flying.insert((later, self.dice.roll(u64::MAX)), (to, frame.clone()));
        }
        let number = self.frames << 32;
        self.flying.insert((at, number), (to, frame));
    }

    fn deliver(&mut self) {
        while let Some(first) = self.flying.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let (to, frame) = first.remove();
            self.ends[to].arriving.push_back(frame);
        }
    }
}
