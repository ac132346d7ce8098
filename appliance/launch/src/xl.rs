//! `gatehouse xl`: writes what `xl create` needs to start an appliance as a domU of Xen's, and starts nothing.

use crate::control::name_for;
use crate::domain::{self, Domain, ENTROPY};
use crate::load::Load;
use crate::{Outcome, appliance};
use std::fs::{self, Permissions};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where libxl makes the sockets of channels, and xentropyd looks for them.
const CHANNELS: &str = "/run/xen-channels";
/// Where root's appliances answer by name.
const RUNNING: &str = "/run/gatehouse";

/// What to write, and where.
#[derive(clap::Args)]
pub(crate) struct Order {
    /// A folder with gatehouse.toml, or a file that `gatehouse pack` made.
    bundle: PathBuf,
    /// The folder to write into; it is made if it is not there.
    #[arg(long, short = 'o', value_name = "DIR")]
    into: PathBuf,
    /// What the domain is called [default: the bundle's name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The appliance's address, or who gives one; may be repeated. Without it xenstore must say one.
    #[arg(long, value_name = "IP/BITS|dhcp|slaac")]
    address: Vec<String>,
    /// The way out of its network; once for each family.
    #[arg(long, value_name = "IP")]
    gateway: Vec<IpAddr>,
    /// The bridge of dom0 that it is plugged into.
    #[arg(long, value_name = "NAME", default_value = "xenbr0")]
    bridge: String,
    /// The domain's memory in MB; without it, what the bundle needs.
    #[arg(long, value_name = "MB")]
    mem: Option<u64>,
    /// It is a piñata.
    #[arg(long)]
    pinata: bool,
    /// Show each request on the console, without what stands behind its question mark.
    #[arg(long, value_name = "common|json", value_parser = ["common", "json"])]
    log: Option<String>,
    /// Send each request and event to this address, by UDP as RFC 5424 has it.
    #[arg(long, value_name = "IP:PORT")]
    syslog: Option<SocketAddr>,
    /// The appliance's ELF, when it is not beside this program.
    #[arg(long, value_name = "FILE")]
    appliance: Option<PathBuf>,
}

/// Writes the configuration and what it names.
pub(crate) fn write(order: &Order) -> Outcome {
    let name = order.name.clone().unwrap_or_else(|| name_for(Some(&order.bundle)));
    let elf = appliance::elf(order.appliance.as_deref())?;
    let load = Load::of(&order.bundle)?;
    load.reseed()?;
    fs::create_dir_all(&order.into)?;
    let folder = order.into.canonicalize()?;
    let [kernel, cargo, config] = ["appliance".to_owned(), format!("{name}.cargo"), format!("{name}.cfg")]
        .map(|file| folder.join(file));
    let domain = Domain {
        name: &name,
        uuid: None,
        kernel: &kernel,
        cargo: &cargo,
        words: &order.words(),
        megabytes: domain::memory(order.mem, &load),
        bridge: &order.bridge,
        entropy: Path::new(CHANNELS).join(format!("{name}.{ENTROPY}")),
        control: Path::new(RUNNING).join(format!("{name}.sock")),
        again: true,
    };
    let words = domain.config()?;
    fs::copy(elf, &kernel)?;
    // The keys are in it: closed before anything is.
    fs::File::create(&cargo)?.set_permissions(Permissions::from_mode(0o600))?;
    fs::copy(load.path()?, &cargo)?;
    fs::write(&config, words)?;
    println!("xl create {}", config.display());
    Ok(ExitCode::SUCCESS)
}

impl Order {
    /// The words that the appliance is told. Visitors of a domain come from their own addresses.
    fn words(&self) -> Vec<String> {
        let pair = |word: &str, value: String| [word.to_owned(), value];
        let addresses = self.address.iter().flat_map(|address| pair("--address", address.clone()));
        let gateways = self.gateway.iter().flat_map(|gateway| pair("--gateway", gateway.to_string()));
        let pinata = self.pinata.then(|| pair("--pinata", "direct".to_owned())).into_iter().flatten();
        let log = self.log.iter().flat_map(|style| pair("--log", style.clone()));
        let syslog = self.syslog.iter().flat_map(|to| pair("--syslog", to.to_string()));
        addresses.chain(gateways).chain(pinata).chain(log).chain(syslog).collect()
    }
}
