//! `gatehouse run`: starts an appliance, prints its console, and ends everything it started.

use crate::cable::NoCable;
use crate::control::{Broker, NoPlace, Place, name_for};
use crate::demo::Source;
use crate::guest::{self, Board};
use crate::life::{Bench, stay};
use crate::load::{Load, NoLoad};
use crate::pcap::Recorder;
use crate::process::Start;
use crate::publish::{DEMO, PINATA, Publish};
use crate::tapped::{NoSight, Sight};
use crate::{Outcome, appliance, dom0, supervise};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// What to run, and on what. Without a word: the demo, on this host's loopback.
#[derive(clap::Args, Default)]
pub(crate) struct Order {
    /// A folder with gatehouse.toml, or a file that `gatehouse pack` made; without it, the demo.
    bundle: Option<PathBuf>,
    /// Where the appliance lives.
    #[arg(long, value_enum, default_value_t)]
    world: World,
    /// Let clients of this host's port reach a port of the appliance; may be repeated
    /// [default: 127.0.0.1:8443:443 and 127.0.0.1:8080:80].
    #[arg(long, value_name = "HOST:PORT:GUESTPORT", conflicts_with = "tap")]
    publish: Vec<Publish>,
    /// Let the appliance connect to this address; without it, it reaches nobody. May be repeated.
    #[arg(long, value_name = "IP:PORT", conflicts_with = "tap")]
    pub(crate) allow_out: Vec<SocketAddr>,
    /// Use this TAP device; it must exist and belong to you, or you must be root.
    #[arg(long, value_name = "NAME", requires = "address")]
    pub(crate) tap: Option<String>,
    /// The appliance's address on the TAP device or Xen's bridge, or who gives one: a DHCP server or IPv6 routers; may be
    /// repeated.
    #[arg(long, value_name = "IP/BITS|dhcp|slaac")]
    address: Vec<String>,
    /// The way out of that network; once for each family.
    #[arg(long, value_name = "IP")]
    gateway: Vec<IpAddr>,
    /// The bridge of dom0 that it is plugged into, with --world xen [default: xenbr0].
    #[arg(long, value_name = "NAME")]
    pub(crate) bridge: Option<String>,
    /// Connections that one address, or IPv6 network of 64 bits, may have once memory is short [default: 512].
    #[arg(long, value_name = "NUMBER")]
    share: Option<u32>,
    /// Take entropy from the host's xentropyd at this socket, with --world xen: in this folder that it watches. Without
    /// it, the appliance has a daemon of its own.
    #[arg(long, value_name = "PATH")]
    pub(crate) entropy: Option<PathBuf>,
    /// The memory of the appliance in MB; without it, what the bundle needs. A process takes no more than it uses.
    #[arg(long, value_name = "MB")]
    pub(crate) mem: Option<u64>,
    /// The board, with --world qemu [default: microvm].
    #[arg(long, value_enum)]
    pub(crate) machine: Option<Board>,
    /// Write every frame of the appliance's network to this file, for wireshark; with --tap it needs CAP_NET_RAW.
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,
    /// What the appliance is called by those who ask for it [default: the bundle's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Answer the operator at this socket, instead of one in the folder of running appliances.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Show each request on the console, without what stands behind its question mark.
    #[arg(long, value_name = "common|json", value_parser = ["common", "json"])]
    log: Option<String>,
    /// Send each request and event to this address, by UDP as RFC 5424 has it.
    #[arg(long, value_name = "IP:PORT")]
    syslog: Option<SocketAddr>,
    /// Start again when the appliance falls, once it was ready, with pauses that grow to a minute.
    #[arg(long)]
    supervise: bool,
    /// How often it was started again.
    #[arg(long, hide = true, default_value_t)]
    restarts: u64,
    /// What it said before it fell last.
    #[arg(long, hide = true, default_value = "")]
    last_words: String,
    /// The appliance's ELF, when it is not beside this program.
    #[arg(long, value_name = "FILE")]
    appliance: Option<PathBuf>,
    /// It is a piñata.
    #[arg(skip)]
    pub(crate) pinata: bool,
}

/// The worlds that this program can start.
#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum World {
    /// A locked-in process of this host.
    #[default]
    Linux,
    /// A guest of QEMU, with nothing beneath it.
    Qemu,
    /// A domU of Xen's; this must be dom0.
    Xen,
}

/// Why the appliance does not start, and what would help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    NoAppliance(#[from] appliance::NoAppliance),
    #[error(transparent)]
    NoCable(#[from] NoCable),
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    #[error(transparent)]
    NoLoad(#[from] NoLoad),
    #[error("the demo cannot be made: {0}")]
    NoDemo(String),
    #[error(transparent)]
    NoSight(#[from] NoSight),
    #[error("QEMU is not installed: `apt-get install qemu-system-x86`, or run without --world qemu")]
    NoQemu,
    #[error("QEMU's user network cannot be held to --allow-out: use --world linux, or a --tap of your own")]
    NotInQemu,
    #[error("{0} means something with {1} only: leave it out, or add that")]
    OnlyWith(&'static str, &'static str),
    #[error("a domain has an address of its own and nothing of dom0's: leave {0} out. {1}")]
    NotInXen(&'static str, &'static str),
    #[error("a domain needs an address: --address IP/BITS, or --address dhcp or slaac")]
    NoAddress,
    #[error("Xen's tools do not answer ({0}): --world xen is for dom0 and for root, where xl works")]
    NoXen(io::Error),
    #[error("{0}")]
    NoDomain(String),
    #[error("the host refuses: {0}")]
    Host(#[from] io::Error),
}

/// Starts the appliance and stays with it.
pub(crate) fn run(order: &Order) -> Outcome {
    order.check()?;
    if order.supervise {
        return supervise::supervise();
    }
    let elf = appliance::elf(order.appliance.as_deref())?;
    let bench = Bench::new()?;
    let source = Source::of(order.bundle.as_deref(), order.pinata)?;
    let load = Load::of(source.path())?;
    let (place, broker) = order.answer(&bench, &load)?;
    order.record(&bench)?;
    let process = Start { elf: &elf, order, load: &load, bench: &bench };
    let mut started = match (order.world, &order.tap) {
        (World::Linux, None) => process.on_a_cable()?,
        (World::Linux, Some(tap)) => process.on_a_tap(tap)?,
        (World::Qemu, _) => guest::start(&elf, order, &load)?,
        (World::Xen, _) => {
            let name = place.as_ref().map_or("gatehouse", |place| &place.name);
            dom0::start(&elf, order, &load, name, &bench, &broker)?
        }
    };
    if !order.is_a_neighbour() {
        started.addresses.extend(source.invitations(&order.published(), order.pinata));
    }
    if let Some(place) = &place {
        eprintln!("gatehouse: this appliance is {}: `gatehouse status {}`", place.name, place.name);
        let words =
            format!("launcher     process {}, as {}{}\n", std::process::id(), place.name, order.history());
        let numbers = format!(
            "# HELP gatehouse_restarts_total How often the launcher has started the appliance again.\n\
             # TYPE gatehouse_restarts_total counter\ngatehouse_restarts_total {}\n",
            order.restarts
        );
        broker.tell_about(words, numbers);
    }
    stay(started, &bench, &broker)
}

impl Order {
    /// What one world has must not be asked of another.
    fn check(&self) -> Result<(), Trouble> {
        let (qemu, xen) = (self.world == World::Qemu, self.world == World::Xen);
        let given = !self.address.is_empty() || !self.gateway.is_empty();
        for (word, given, fits, with) in [
            ("--machine", self.machine.is_some(), qemu, "--world qemu"),
            ("--bridge", self.bridge.is_some(), xen, "--world xen"),
            ("--address or --gateway", given, self.is_a_neighbour(), "--tap or --world xen"),
            ("--syslog", self.syslog.is_some(), self.is_a_neighbour(), "--tap or --world xen"),
        ] {
            if given && !fits {
                return Err(Trouble::OnlyWith(word, with));
            }
        }
        if xen { self.check_for_xen() } else { Ok(()) }
    }

    fn check_for_xen(&self) -> Result<(), Trouble> {
        for (word, given, instead) in [
            (
                "--publish",
                !self.publish.is_empty(),
                "To lead a port of dom0's to it: iptables -t nat -A PREROUTING -p tcp --dport 443 -j DNAT --to ADDRESS",
            ),
            ("--allow-out", !self.allow_out.is_empty(), "What it may reach is for dom0's iptables to say"),
            ("--tap", self.tap.is_some(), "It is plugged into a --bridge"),
            ("--pcap", self.pcap.is_some(), "tcpdump on its vif shows its frames"),
        ] {
            if given {
                return Err(Trouble::NotInXen(word, instead));
            }
        }
        if self.address.is_empty() { Err(Trouble::NoAddress) } else { Ok(()) }
    }

    /// It has an address of its own in a network of the host's.
    fn is_a_neighbour(&self) -> bool {
        self.tap.is_some() || self.world == World::Xen
    }

    /// Records what passes over the TAP device, from before the appliance says its first word.
    fn record(&self, bench: &Bench) -> Result<(), Trouble> {
        if let (Some(tap), Some(file)) = (&self.tap, &self.pcap) {
            let sight = Sight::of(tap)?;
            bench.tasks.spawn(sight.record(Recorder::into(Some(file))?, &bench.watch)?);
        }
        Ok(())
    }

    /// Opens the socket at which the operator is answered. Without one the appliance runs all the same, unless the
    /// operator insists.
    fn answer(&self, bench: &Bench, load: &Load) -> Result<(Option<Place>, Broker), Trouble> {
        let insist = self.name.is_some() || self.control.is_some();
        let name = self.name.clone().unwrap_or_else(|| name_for(self.bundle.as_deref()));
        let (place, listener) = match Place::take(&name, insist, self.control.as_deref()) {
            Ok((place, listener)) => (Some(place), Some(listener)),
            Err(trouble) if insist => return Err(trouble.into()),
            Err(trouble) => {
                eprintln!("gatehouse: {trouble}");
                (None, None)
            }
        };
        let broker = Broker::new(&bench.watch, listener, load.again()?)?;
        bench.tasks.spawn(broker.clone().serve());
        Ok((place, broker))
    }

    /// What became of earlier lives.
    fn history(&self) -> String {
        match self.restarts {
            0 => String::new(),
            count => {
                format!(", started again {count} times; the last words before were {:?}", self.last_words)
            }
        }
    }

    /// What is published: the demo's ports if nothing else is said.
    pub(crate) fn published(&self) -> Vec<Publish> {
        match (self.publish.is_empty(), self.pinata) {
            (false, _) => self.publish.clone(),
            (true, false) => DEMO.to_vec(),
            (true, true) => PINATA.to_vec(),
        }
    }

    /// The words that the appliance is told of a piñata: a neighbour's visitors come from their own addresses.
    pub(crate) fn pinata_words(&self) -> Vec<String> {
        let visitors = if self.is_a_neighbour() { "direct" } else { "forwarded" };
        if self.pinata { ["--pinata", visitors].map(str::to_owned).to_vec() } else { Vec::new() }
    }

    /// The words that a neighbour is told of its network.
    pub(crate) fn own_words(&self) -> Vec<String> {
        let addresses = self.address.iter().flat_map(|address| ["--address".to_owned(), address.clone()]);
        let gateways = self.gateway.iter().flat_map(|gateway| ["--gateway".to_owned(), gateway.to_string()]);
        addresses.chain(gateways).chain(self.own_share()).collect()
    }

    /// The word that tells the appliance what one source may have.
    pub(crate) fn own_share(&self) -> Vec<String> {
        self.share.map(|share| vec!["--share".to_owned(), share.to_string()]).unwrap_or_default()
    }

    /// The word that tells the appliance at which port the world reaches its HTTPS, for redirects.
    pub(crate) fn published_https(&self) -> Vec<String> {
        let https = self.published().into_iter().find(|publish| publish.port == 443);
        https.map(|https| vec!["--published".to_owned(), https.at.port().to_string()]).unwrap_or_default()
    }

    /// The words that tell the appliance what to do with its log.
    pub(crate) fn log_words(&self) -> Vec<String> {
        let log = self.log.iter().flat_map(|style| ["--log".to_owned(), style.clone()]);
        let syslog = self.syslog.iter().flat_map(|to| ["--syslog".to_owned(), to.to_string()]);
        log.chain(syslog).collect()
    }

    /// What to type into a browser.
    pub(crate) fn addresses(&self) -> Vec<String> {
        match self.is_a_neighbour() {
            false => self.published().iter().map(Publish::to_string).collect(),
            true => self.address.iter().filter_map(|address| url(address)).collect(),
        }
    }
}

fn url(address: &str) -> Option<String> {
    let (address, _) = address.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    Some(format!("https://{}/", SocketAddr::new(address, 443)).replace(":443/", "/"))
}
