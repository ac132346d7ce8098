//! The stack: everything that the handles share, and the turn that moves it.

mod address;
mod api;
mod arrive;
mod flows;
mod groups;
mod letters;
pub(crate) use flows::RECORD;
mod room;
mod serve;
mod shake;

use crate::account::Above;
use crate::alarms::Alarms;
use crate::config::{BadConfig, Config, Figures, Keys};
use crate::flow::engine::Engine;
use crate::flow::{Flow, LARGEST, LONGEST};
use crate::gate::{cache::Cache, limit::Limit, sources::Sources, wait::Waiting};
use crate::house::{neighbours::Neighbours, office::Office, places::Addresses};
use crate::out::Out;
use crate::secrets::{Places, Secrets};
use crate::wire::Ends;
use address::Estate;
use core::task::Waker;
use core::time::Duration;
use slab::Slab;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use world::{Instant, LARGEST_FRAME, Nic, NicFacts};

/// Frames taken, flows served and alarms heard in one turn.
const FRAMES: usize = 128;
const FLOWS: usize = 256;
/// How long to leave an interface alone whose queue is full.
const BREATH: Duration = Duration::from_micros(200);
/// The least that the largest buffer of a connection may be, however little memory there is.
const SMALLEST: usize = 64 * 1024;
/// Bytes of a half-done handshake and of one that is over, with their places in tables.
const HALF: usize = 256;

/// One stack.
pub(crate) struct Stack {
    now: Instant,
    /// Where we are, and how we know.
    estate: Estate,
    flows: Slab<Flow>,
    places: HashMap<Ends, usize, Places>,
    alarms: Alarms,
    resting: Alarms,
    news: VecDeque<usize>,
    engine: Engine,
    out: Out,
    neighbours: Neighbours,
    secrets: Secrets,
    cache: Cache,
    sources: Sources,
    share: usize,
    waiting: Waiting,
    doors: BTreeMap<u16, Door>,
    office: Office,
    /// A datagram was sent since the last turn.
    posted: bool,
    resets: Limit,
    echoes: Limit,
    answers: Limit,
    /// When a cookie was last given away.
    baked: Option<Instant>,
    made: u64,
    used: usize,
    budget: usize,
    /// What a connection costs while it is at rest, here and above.
    record: usize,
    /// What is held above beyond that.
    pub(crate) above: Rc<Above>,
    /// Bytes of the largest buffers of a connection: of what it hears, and of what we say.
    largest: usize,
    longest: usize,
    /// Where the next look around begins.
    hand: usize,
    figures: Figures,
    frame: Box<[u8]>,
}

/// A port that listens.
#[derive(Default)]
struct Door {
    ready: VecDeque<usize>,
    waiter: Option<Waker>,
}

impl Stack {
    pub(crate) fn new(config: &Config, facts: NicFacts, keys: Keys, now: Instant) -> Result<Self, BadConfig> {
        config.check(&facts)?;
        let secrets = Secrets::new(keys);
        let places = secrets.places();
        let addresses = Addresses::new(config);
        let halves = (config.budget / 8 / HALF).clamp(64, 16_384);
        let mut stack = Self {
            now,
            estate: Estate::new(config, &facts, now),
            flows: Slab::new(),
            places: HashMap::with_hasher(places),
            alarms: Alarms::default(),
            resting: Alarms::default(),
            news: VecDeque::new(),
            engine: Engine::new(secrets.seed(), now),
            out: Out::new(facts, config.budget / 16),
            neighbours: Neighbours::new(addresses, facts.mac, places),
            secrets,
            cache: Cache::new(halves, config.share.half_open, places),
            sources: Sources::new(places),
            share: config.share.connections,
            waiting: Waiting::new(halves, places),
            doors: BTreeMap::new(),
            office: Office::default(),
            posted: false,
            resets: Limit::a_second(200),
            echoes: Limit::a_second(200),
            answers: Limit::a_second(1000),
            baked: None,
            made: 0,
            used: 0,
            record: RECORD.saturating_add(config.above),
            above: Above::new(config.above, config.meter),
            largest: (config.budget / 64).clamp(SMALLEST, LARGEST),
            longest: (config.budget / 64).clamp(SMALLEST, LONGEST),
            hand: 0,
            budget: config.budget.saturating_sub(2 * halves * HALF),
            figures: Figures::default(),
            frame: vec![0; LARGEST_FRAME].into_boxed_slice(),
        };
        stack.announce_all();
        Ok(stack)
    }

    pub(crate) fn turn(&mut self, now: Instant, nic: &mut impl Nic) -> Option<Instant> {
        self.now = now.max(self.now);
        self.posted = false;
        self.out.flush(nic);
        let more = self.take_frames(nic);
        let house = self.keep_house();
        self.hear_alarms();
        self.serve_news();
        self.out.flush(nic);
        if !self.out.is_empty() {
            return Some(self.now + BREATH);
        }
        if more || !self.news.is_empty() {
            return Some(self.now);
        }
        let neighbours = self.neighbours.turn(self.now, &mut self.out);
        [self.alarms.next(), self.cache.next(), neighbours, house].into_iter().flatten().min()
    }

    /// True if the interface may have more.
    fn take_frames(&mut self, nic: &mut impl Nic) -> bool {
        let mut frame = core::mem::take(&mut self.frame);
        let more = (0..FRAMES).all(|_| {
            let Some(received) = nic.receive(&mut frame) else { return false };
            self.figures.frames_in += 1;
            self.arrive(frame.get(..received.len).unwrap_or_default(), received.checksum);
            true
        });
        self.frame = frame;
        more
    }

    fn hear_alarms(&mut self) {
        self.waiting.expire(self.now);
        for _ in 0..FLOWS {
            let Some(half) = self.cache.late(self.now) else { break };
            if !self.neighbours.addresses.has(half.ends.local.ip()) {
                self.cache.forget(&half.ends);
                continue;
            }
            self.figures.repeated += 1;
            self.accept_syn(&half);
        }
        for _ in 0..FLOWS {
            let Some(number) = self.alarms.due(self.now) else { break };
            self.set_alarm(number, None);
            self.tell_news(number);
        }
        self.neighbours.turn(self.now, &mut self.out);
    }

    fn serve_news(&mut self) {
        for _ in 0..FLOWS {
            if !self.out.has_room() {
                break;
            }
            let Some(number) = self.news.pop_front() else { break };
            if let Some(flow) = self.flows.get_mut(number) {
                flow.has_news = false;
                self.serve(number);
            }
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.posted || !self.news.is_empty()
    }

    /// New keys. What connections have drawn from the old ones they keep; half-done handshakes begin again.
    pub(crate) fn rekey(&mut self, keys: Keys) {
        self.secrets = Secrets::new(keys);
        self.baked = None;
        let places = self.secrets.places();
        let mut moved = HashMap::with_capacity_and_hasher(self.places.len(), places);
        moved.extend(self.places.drain());
        self.places = moved;
        self.cache = self.cache.emptied(places);
        self.sources.rekey(places);
        self.waiting.rekey(places);
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            frames_out: self.out.sent,
            frames_lost: self.out.lost,
            letters_lost: self.office.lost,
            open: self.places.len() as u64,
            half_open: self.cache.len() as u64,
            waiting: self.waiting.len() as u64,
            awake: (self.places.len().saturating_sub(self.resting.len())) as u64,
            bytes: self.committed() as u64,
            polls: self.engine.polls(),
            ..self.figures
        }
    }
}
