//! The appliance as a Linux process: on a TAP device, or on a cable to us.

use crate::cable::{self, APPLIANCE, GATEWAY, Gateway, PREFIX};
use crate::child::{Ward, inherited, leashed};
use crate::control;
use crate::feeder::Feeder;
use crate::life::{Bench, Ear, Started};
use crate::load::Load;
use crate::pcap::Recorder;
use crate::relay;
use crate::run::{Order, Trouble};
use ::control::CHANNEL;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

/// What a process may use when nobody says how much, in MB: room for connections, and for a bundle with all of its pages
/// changed beside the one that is served, below the mark beyond which nobody is let in.
const USUAL: u64 = 256;
const FOR_EACH_OF_THE_BUNDLE: u64 = 3;

/// What both ways to start it need.
pub(crate) struct Start<'a> {
    pub(crate) elf: &'a Path,
    pub(crate) order: &'a Order,
    pub(crate) load: &'a Load,
    pub(crate) bench: &'a Bench,
}

impl Start<'_> {
    /// Starts it on a cable: no right is needed, and we carry its connections.
    pub(crate) fn on_a_cable(&self) -> Result<Started, Trouble> {
        let (order, bench) = (self.order, self.bench);
        let ports = cable::take_ports(&order.published())?;
        let recorder = Recorder::into(order.pcap.as_deref())?;
        let (ours, theirs) = cable::ends()?;
        let mut words = vec!["--cable".to_owned(), inherited(&theirs)?];
        words.extend(["--address".to_owned(), format!("{APPLIANCE}/{PREFIX}")]);
        words.extend(["--gateway".to_owned(), GATEWAY.to_string()]);
        words.extend(order.published_https());
        words.extend(order.own_share());
        words.extend(order.pinata_words());
        let started = self.with(words)?;
        drop(theirs);
        let bench_parts = (&bench.tasks, &bench.watch);
        let gateway = Gateway::open(ours, ports, &order.allow_out, recorder, bench_parts, bench.now())?;
        Ok(Started { gateway: Some(gateway), ..started })
    }

    /// Starts it on a TAP device: it is a neighbour in a real network, and we only watch.
    pub(crate) fn on_a_tap(&self, tap: &str) -> Result<Started, Trouble> {
        let mut words = vec!["--tap".to_owned(), tap.to_owned()];
        words.extend(self.order.own_words());
        words.extend(self.order.pinata_words());
        self.with(words)
    }

    /// Starts it with what every process has: a bundle, a source of entropy and a console.
    fn with(&self, words: Vec<String>) -> Result<Started, Trouble> {
        let feeder = Feeder::start(self.elf, self.order.entropy.as_deref())?;
        let (entropy, _listener) = self.entropy(&feeder)?;
        let mut command = leashed(self.elf)?;
        command.arg("--bundle").arg(self.load.path()?);
        command
            .args(words)
            .args(self.order.log_words())
            .args(["--limit", &self.memory().to_string()])
            .args(["--entropy", &entropy])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let (control, theirs) = control::channel()?;
        command.arg("--channel").arg(format!("{CHANNEL}={}", inherited(&theirs)?));
        let ward = Ward::start(&mut command)?;
        let addresses = self.order.addresses();
        let (control, is_well) = (Some(control), Box::new(ExitStatus::success));
        Ok(Started { ward, feeder, gateway: None, addresses, is_well, ear: Ear::Signal, control })
    }

    fn memory(&self) -> u64 {
        let enough = USUAL / 2 + FOR_EACH_OF_THE_BUNDLE * self.load.megabytes();
        self.order.mem.unwrap_or(enough.max(USUAL))
    }

    /// The appliance's end of its entropy channel: a name, or a listener to inherit, which must live until it has been.
    fn entropy(&self, feeder: &Feeder) -> io::Result<(String, Option<UnixListener>)> {
        let Feeder::Host(daemon) = feeder else { return Ok((feeder.end(), None)) };
        let (tasks, watch) = (&self.bench.tasks, &self.bench.watch);
        let (door, listener) = relay::door()?;
        tasks.spawn(relay::relay(daemon.clone(), door, watch.clone(), tasks.timers().clone()));
        Ok((inherited(&listener)?, Some(listener)))
    }
}
