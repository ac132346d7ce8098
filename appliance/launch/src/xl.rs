//! `gatehouse xl`: writes what `xl create` needs to start an appliance as a domU of Xen's, and starts nothing.

use crate::control::name_for;
use crate::load::Load;
use crate::{Outcome, appliance};
use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where libxl makes the sockets of channels, and xentropyd looks for them.
const CHANNELS: &str = "/run/xen-channels";
const ENTROPY: &str = "org.openmirage.entropy.2";
/// What the appliance works with, beside its bundle, in MiB.
const WORKING_MEMORY: u64 = 64;

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
    let words = domain(order, &name, &kernel, &cargo, load.megabytes())?;
    fs::copy(elf, &kernel)?;
    // The keys are in it: closed before anything is.
    fs::File::create(&cargo)?.set_permissions(Permissions::from_mode(0o600))?;
    fs::copy(load.path()?, &cargo)?;
    fs::write(&config, words)?;
    println!("xl create {}", config.display());
    Ok(ExitCode::SUCCESS)
}

/// The configuration, as xl reads it.
fn domain(order: &Order, name: &str, kernel: &Path, cargo: &Path, megabytes: u64) -> Result<String, String> {
    let memory = order.mem.unwrap_or(WORKING_MEMORY + megabytes + megabytes / 8);
    let (kernel, cargo) = (kernel.display().to_string(), cargo.display().to_string());
    let words = words(order);
    for text in [name, &kernel, &cargo, &words, &order.bridge] {
        plain(text)?;
    }
    Ok(format!(
        "name = \"{name}\"\n\
         type = \"pvh\"\n\
         kernel = \"{kernel}\"\n\
         ramdisk = \"{cargo}\"\n\
         cmdline = \"{words}\"\n\
         memory = {memory}\n\
         vcpus = 1\n\
         vif = [\"bridge={bridge}\"]\n\
         # Xen 4.17 loses the first channel.\n\
         channel = [\"connection=pty,name=none\",\n\
         \x20          \"connection=socket,path={CHANNELS}/{name}.{ENTROPY},name={ENTROPY}\"]\n\
         on_poweroff = \"destroy\"\n\
         on_reboot = \"restart\"\n\
         on_crash = \"restart\"\n",
        bridge = order.bridge,
    ))
}

fn words(order: &Order) -> String {
    let addresses = order.address.iter().map(|address| format!("--address {address}"));
    let gateways = order.gateway.iter().map(|gateway| format!("--gateway {gateway}"));
    addresses.chain(gateways).collect::<Vec<_>>().join(" ")
}

/// xl has no way to write some characters.
fn plain(text: &str) -> Result<(), String> {
    let odd = text.chars().find(|character| character.is_control() || "\"'\\,".contains(*character));
    odd.map_or(Ok(()), |odd| {
        Err(format!("{text:?}: {odd:?} cannot stand in a configuration of xl: use another name"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        order: Order,
    }

    fn written(words: &str) -> Result<String, String> {
        let order = Line::try_parse_from(words.split(' ')).unwrap().order;
        domain(&order, "web", Path::new("/srv/appliance"), Path::new("/srv/web.cargo"), 8)
    }

    #[test]
    fn a_domain_has_what_it_needs() {
        let words =
            written("xl site -o /srv --address 192.0.2.7/24 --gateway 192.0.2.1 --bridge br1").unwrap();
        for line in [
            "type = \"pvh\"\nkernel = \"/srv/appliance\"\nramdisk = \"/srv/web.cargo\"\n",
            "cmdline = \"--address 192.0.2.7/24 --gateway 192.0.2.1\"\nmemory = 73\n",
            "vif = [\"bridge=br1\"]\n",
            "path=/run/xen-channels/web.org.openmirage.entropy.2,name=org.openmirage.entropy.2\"]\n",
        ] {
            assert!(words.contains(line), "{words}");
        }
    }

    #[test]
    fn what_xl_would_read_as_something_else_is_refused() {
        for words in
            ["xl site -o /srv --bridge br1,script=x", "xl site -o /srv --address 192.0.2.7/24\"\nname"]
        {
            assert!(written(words).unwrap_err().contains("cannot stand in a configuration of xl"));
        }
    }
}
