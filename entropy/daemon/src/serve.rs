//! The loop: one thread, one epoll, one list of alarms.
//!
//! Whatever becomes ready, or due, gets one turn; a turn never waits. A number is not given out again soon,
//! so an event that comes too late finds nobody.

mod guests;
mod operators;

use crate::doors::Door;
use crate::guest::Guest;
use crate::log::{Level, Log};
use crate::metrics::{Reader, Tally};
use crate::notify::Notify;
use crate::settings::{BadConfig, Config, OnFailure};
use crate::spring::Well;
use crate::users;
use crate::watch::Watch;
use entropy::Moment;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::low_level::pipe;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Connections taken from one door in one turn.
const AT_ONCE: usize = 32;
/// After an error at a door nobody is let in for so long.
const PAUSE: Duration = Duration::from_millis(500);
/// What is said to guests when a source fails may take so long to leave.
const FAREWELL: Duration = Duration::from_millis(500);
/// Full buckets of guests that are gone are forgotten this often.
const SWEEP: Duration = Duration::from_secs(10);

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Signal(i32),
    Watch,
    Well,
    Door(u32),
    Guest(u32),
    Reader(u32),
    Watchdog,
    Sweep,
    Farewell,
}

impl Who {
    fn number(self) -> u64 {
        let (kind, number) = match self {
            Self::Signal(signal) => (0, signal.cast_unsigned()),
            Self::Watch => (1, 0),
            Self::Well => (2, 0),
            Self::Door(number) => (3, number),
            Self::Guest(number) => (4, number),
            Self::Reader(number) => (5, number),
            Self::Watchdog => (6, 0),
            Self::Sweep => (7, 0),
            Self::Farewell => (8, 0),
        };
        kind << 32 | u64::from(number)
    }

    fn from_number(number: u64) -> Self {
        let low = (number & u64::from(u32::MAX)) as u32;
        match number >> 32 {
            0 => Self::Signal(low.cast_signed()),
            1 => Self::Watch,
            2 => Self::Well,
            3 => Self::Door(low),
            4 => Self::Guest(low),
            5 => Self::Reader(low),
            6 => Self::Watchdog,
            7 => Self::Sweep,
            _ => Self::Farewell,
        }
    }
}

/// The daemon.
pub(crate) struct Daemon {
    config: Config,
    log: Log,
    notify: Notify,
    start: Instant,
    boot: String,
    uid: u32,
    epoch: u64,
    epoll: OwnedFd,
    alarms: BTreeSet<(Moment, Who)>,
    due: BTreeMap<Who, Moment>,
    signals: Vec<(i32, UnixStream)>,
    well: Well,
    was_good: bool,
    doors: BTreeMap<u32, Door>,
    guests: BTreeMap<u32, Guest>,
    readers: BTreeMap<u32, Reader>,
    watch: Option<Watch>,
    /// Buckets of guests that are gone: coming back does not fill them. A machine that is started again is a process
    /// that was not there before, and has its own.
    resting: BTreeMap<(String, Option<users::Peer>), crate::bucket::Bucket>,
    tally: Tally,
    last: u32,
    ending: Option<u8>,
}

type ReadAgain<'a> = &'a dyn Fn() -> Result<Config, BadConfig>;

impl Daemon {
    /// Everything open and nothing served yet.
    pub(crate) fn new(
        config: Config,
        well: Well,
        doors: Vec<Door>,
        log: Log,
        notify: Notify,
    ) -> std::io::Result<Self> {
        let watch = if config.watch.is_empty() { None } else { Some(Watch::over(config.watch.clone())?) };
        let mut daemon = Self {
            config,
            log,
            notify,
            start: Instant::now(),
            boot: users::boot_id(),
            uid: 0,
            epoch: 0,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            alarms: BTreeSet::new(),
            due: BTreeMap::new(),
            signals: Vec::new(),
            well,
            was_good: false,
            doors: BTreeMap::new(),
            guests: BTreeMap::new(),
            readers: BTreeMap::new(),
            watch,
            resting: BTreeMap::new(),
            tally: Tally::default(),
            last: 0,
            ending: None,
        };
        daemon.listen(doors)?;
        Ok(daemon)
    }

    fn listen(&mut self, doors: Vec<Door>) -> std::io::Result<()> {
        for signal in [SIGHUP, SIGINT, SIGTERM, SIGUSR1] {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            pipe::register(signal, theirs)?;
            self.add(&ours, Who::Signal(signal))?;
            self.signals.push((signal, ours));
        }
        for door in doors {
            self.open(door)?;
        }
        if let Some(watch) = &self.watch {
            self.add(&watch.inotify, Who::Watch)?;
            self.alarm(Who::Watch, Some(Moment::ZERO));
        }
        self.alarm(Who::Well, Some(Moment::ZERO));
        self.alarm(Who::Sweep, Some(SWEEP));
        let dog = self.notify.watchdog;
        self.alarm(Who::Watchdog, dog.map(|_| Moment::ZERO));
        Ok(())
    }

    /// Whom we have become: our own processes are served.
    pub(crate) fn is_now(&mut self, uid: u32) {
        self.uid = uid;
    }

    /// Serves until told to stop or until a source fails.
    pub(crate) fn serve(&mut self, again: ReadAgain<'_>) -> ExitCode {
        self.say(Level::Info, "started", &[("version", env!("CARGO_PKG_VERSION"))]);
        let mut events = Vec::with_capacity(256);
        while self.ending.is_none() {
            events.clear();
            let wait = self.alarms.first().map(|(at, _)| timespec(at.saturating_sub(self.now())));
            let ready = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), wait.as_ref());
            if let Err(why) = ready
                && why != rustix::io::Errno::INTR
            {
                self.say(Level::Error, "epoll-failed", &[("why", &why.to_string())]);
                self.ending = Some(1);
            }
            for event in &events {
                let Event { data, .. } = *event;
                self.turn(Who::from_number(data.u64()), again);
            }
            self.ring(again);
        }
        self.stop()
    }

    /// Gives a turn to everyone who is due. Who sets an alarm for now is served in the next round.
    fn ring(&mut self, again: ReadAgain<'_>) {
        let now = self.now();
        let due: Vec<Who> =
            self.alarms.iter().take_while(|(at, _)| *at <= now).map(|(_, who)| *who).collect();
        for who in due {
            self.alarm(who, None);
            self.turn(who, again);
        }
    }

    fn turn(&mut self, who: Who, again: ReadAgain<'_>) {
        let now = self.now();
        match who {
            Who::Signal(signal) => self.signal(signal, again),
            Who::Watch => self.look(now),
            Who::Well => self.flow(now),
            Who::Door(number) => self.let_in(number, now),
            Who::Guest(number) => self.guest(number, now),
            Who::Reader(number) => self.reader(number, now),
            Who::Watchdog => self.bark(now),
            Who::Sweep => self.sweep(now),
            Who::Farewell => self.ending = Some(3),
        }
    }

    fn flow(&mut self, now: Moment) {
        if let Err(failure) = self.well.turn(now) {
            self.say(Level::Error, "source-failed", &[("why", &failure.to_string()), ("fed", "nobody")]);
            self.notify.say(&format!("STATUS=No entropy: {failure}\n"));
            self.everyone(now);
            let leave = (self.config.on_failure == OnFailure::Exit).then_some(now + FAREWELL);
            self.alarm(Who::Farewell, leave);
        }
        let good = self.well.is_good();
        if good && !self.was_good {
            let names: Vec<&str> = self.well.springs.iter().map(|spring| spring.name.as_str()).collect();
            self.say(Level::Info, "feeding", &[("sources", &names.join(","))]);
            self.notify.say("READY=1\nSTATUS=Feeding\n");
            self.everyone(now);
        }
        self.was_good = good;
        let next = self.well.deadline();
        self.alarm(Who::Well, next);
    }

    /// Everybody gets a turn: something changed for all.
    fn everyone(&mut self, now: Moment) {
        let all: Vec<u32> = self.guests.keys().copied().collect();
        all.into_iter().for_each(|number| self.guest(number, now));
    }

    fn bark(&mut self, now: Moment) {
        self.notify.say("WATCHDOG=1\n");
        let next = self.notify.watchdog.map(|pause| now + pause);
        self.alarm(Who::Watchdog, next);
    }

    fn stop(&mut self) -> ExitCode {
        self.notify.say("STOPPING=1\n");
        std::mem::take(&mut self.doors).into_values().for_each(Door::close);
        let failed = self.well.failed;
        let code = match self.ending {
            Some(0) | None if failed => 3,
            code => code.unwrap_or(0),
        };
        let guests = self.guests.len().to_string();
        self.say(Level::Info, "stopped", &[("guests", &guests), ("status", &code.to_string())]);
        ExitCode::from(code)
    }

    fn now(&self) -> Moment {
        self.start.elapsed()
    }

    fn say(&mut self, level: Level, event: &str, words: &[(&str, &str)]) {
        let now = self.now();
        self.log.say(now, level, event, words);
    }

    fn open(&mut self, door: Door) -> std::io::Result<()> {
        let number = self.number();
        self.add(&door.socket, Who::Door(number))?;
        self.doors.insert(number, door);
        Ok(())
    }

    /// A number that nobody has, nor had for the last four thousand million connections.
    fn number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            let last = &self.last;
            if !(self.doors.contains_key(last)
                || self.guests.contains_key(last)
                || self.readers.contains_key(last))
            {
                return self.last;
            }
        }
    }

    fn add(&self, socket: &impl AsFd, who: Who) -> std::io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(who.number()), EventFlags::IN)?)
    }

    /// Sets, moves or clears an alarm.
    fn alarm(&mut self, who: Who, at: Option<Moment>) {
        let before = match at {
            Some(at) => self.due.insert(who, at),
            None => self.due.remove(&who),
        };
        if let Some(before) = before {
            self.alarms.remove(&(before, who));
        }
        if let Some(at) = at {
            self.alarms.insert((at, who));
        }
    }
}

/// A moment too early would only turn the loop once for nothing: rounded up to a microsecond.
fn timespec(wait: Duration) -> Timespec {
    let nanos = i64::from(wait.subsec_nanos());
    Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: nanos }
}
