//! The life of an appliance that we started: its console, its network on a cable, and its end.

use crate::Outcome;
use crate::cable::Gateway;
use crate::child::{Ward, described};
use crate::control::Broker;
use crate::dom0::Guard;
use crate::feeder::Feeder;
use crate::watch::Watch;
use crate::{console, signals};
use std::cell::Cell;
use std::io;
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, ExitStatus};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tasks::Tasks;

/// How long an appliance may take to finish what it was doing when it is asked to end.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a process may take to be gone once its console has ended.
const LAST_BREATH: Duration = Duration::from_secs(2);
/// Steps of our tasks between two looks at the cable.
const STEPS: usize = 256;

/// The one thread's clock, tasks and sockets.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) tasks: Tasks,
    pub(crate) watch: Watch,
    born: Instant,
}

impl Bench {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { tasks: Tasks::new(), watch: Watch::new()?, born: Instant::now() })
    }

    /// The time since we began.
    pub(crate) fn now(&self) -> world::Instant {
        world::Instant::START + self.born.elapsed()
    }
}

/// An appliance that was started.
pub(crate) struct Started {
    pub(crate) ward: Ward,
    /// What feeds it; it ends when this value goes.
    #[allow(dead_code, reason = "held, not read")]
    pub(crate) feeder: Feeder,
    pub(crate) gateway: Option<Gateway>,
    /// What to show when it serves.
    pub(crate) addresses: Vec<String>,
    /// Which ends of the process are good ones.
    pub(crate) is_well: Box<dyn Fn(&ExitStatus) -> bool>,
    /// How it is asked to finish.
    pub(crate) ear: Ear,
    /// Our end of its control channel.
    pub(crate) control: Option<UnixStream>,
}

/// How an appliance is asked to finish.
pub(crate) enum Ear {
    /// The process knows what a signal means.
    Signal,
    /// Over its control channel; a machine's process would end at once.
    Channel,
    /// The same, and Xen's tools where it does not answer.
    Xen(Guard),
}

/// What has happened so far.
#[derive(Clone, Default)]
struct Fate {
    ended: Rc<Cell<bool>>,
    stops: Rc<Cell<u8>>,
}

/// Stays with the appliance until it ends, or until we are asked to end and it has finished.
pub(crate) fn stay(mut started: Started, bench: &Bench, broker: &Broker) -> Outcome {
    let fate = Fate::default();
    started.control.take().map_or(Ok(()), |channel| broker.attach(channel))?;
    let stops = bench.watch.socket(signals::listen()?)?;
    let console = started.ward.console().ok_or("the appliance has no console")?;
    let news = bench.watch.socket(console::follow(console)?)?;
    let addresses = core::mem::take(&mut started.addresses);
    bench.tasks.spawn(fate.clone().hear_of_stops(stops));
    bench.tasks.spawn(fate.clone().hear_from_the_console(news, addresses));
    let asked = live(&mut started, bench, &fate, broker);
    broker.detach();
    let status = started.ward.end(LAST_BREATH)?;
    if asked || (started.is_well)(&status) {
        return Ok(ExitCode::SUCCESS);
    }
    // Xen's tools end well however the domain did.
    let how = if status.success() { "fell".to_owned() } else { described(status) };
    Err(format!("the appliance {how}").into())
}

/// Turns the loop until the console ends. True if the end was asked for.
fn live(started: &mut Started, bench: &Bench, fate: &Fate, broker: &Broker) -> bool {
    let mut asked: Option<world::Instant> = None;
    while !fate.ended.get() {
        let wake = turn(started.gateway.as_mut(), bench);
        let now = bench.now();
        match asked {
            None if fate.stops.get() > 0 => {
                started.ask_to_finish(broker);
                asked = Some(now);
            }
            Some(since) if fate.stops.get() > 1 || now - since >= PATIENCE => return true,
            _ => bench
                .watch
                .sleep(sooner(wake.map(|wake| wake - now), asked.map(|since| since + PATIENCE - now))),
        }
    }
    asked.is_some()
}

/// Frames in, tasks, frames out. When to come again, if nothing happens before.
fn turn(gateway: Option<&mut Gateway>, bench: &Bench) -> Option<world::Instant> {
    let next = gateway.and_then(|gateway| gateway.turn(bench.now()));
    match bench.tasks.turn(bench.now(), STEPS) {
        0 => sooner(next, bench.tasks.timers().deadline()),
        _ => Some(bench.now()),
    }
}

fn sooner<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

impl Started {
    fn ask_to_finish(&self, broker: &Broker) {
        match &self.ear {
            Ear::Signal => self.ward.ask_to_finish(),
            Ear::Channel | Ear::Xen(_) if broker.ask_to_finish() => {}
            Ear::Channel => self.ward.ask_to_finish(),
            Ear::Xen(domain) => domain.ask_to_finish(),
        }
    }
}

impl Fate {
    async fn hear_of_stops(self, stops: crate::watch::Watched<UnixStream>) {
        let mut one = [0];
        while stops.read(&mut one).await.is_ok_and(|len| len > 0) {
            self.stops.set(self.stops.get().saturating_add(1));
        }
    }

    async fn hear_from_the_console(self, news: crate::watch::Watched<UnixStream>, addresses: Vec<String>) {
        let mut one = [0];
        let mut addresses = Some(addresses);
        while news.read(&mut one).await.is_ok_and(|len| len > 0) {
            for address in addresses.take().into_iter().flatten() {
                println!("  {address}");
            }
        }
        self.ended.set(true);
    }
}
