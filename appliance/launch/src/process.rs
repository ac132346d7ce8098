//! The appliance as a Linux process: on a TAP device, or on a cable to us.

use crate::cable::{self, APPLIANCE, GATEWAY, Gateway, PREFIX};
use crate::child::{Ward, inherited, leashed};
use crate::feeder::Feeder;
use crate::life::{Bench, Started};
use crate::load::Load;
use crate::run::{Order, Trouble};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Starts it on a cable: no right is needed, and we carry its connections.
pub(crate) fn on_a_cable(
    elf: &Path,
    order: &Order,
    load: Option<&Load>,
    bench: &Bench,
) -> Result<Started, Trouble> {
    let feeder = Feeder::start(elf, order.entropy.as_deref())?;
    let ports = cable::take_ports(&order.published())?;
    let (ours, theirs) = cable::ends()?;
    let mut command = command(elf, load)?;
    command.arg("--cable").arg(inherited(&theirs)?);
    command.arg("--address").arg(format!("{APPLIANCE}/{PREFIX}"));
    command.arg("--gateway").arg(GATEWAY.to_string());
    command.args(order.published_https()).args(["--entropy", &feeder.end()]);
    let ward = Ward::start(&mut command)?;
    drop(theirs);
    let gateway = Gateway::open(ours, ports, &order.allow_out, (&bench.tasks, &bench.watch), bench.now())?;
    let gateway = Some(gateway);
    Ok(Started { ward, feeder, gateway, addresses: order.addresses(), is_well: ExitStatus::success })
}

/// Starts it on a TAP device: it is a neighbour in a real network, and we only watch.
pub(crate) fn on_a_tap(
    elf: &Path,
    tap: &str,
    order: &Order,
    load: Option<&Load>,
) -> Result<Started, Trouble> {
    let feeder = Feeder::start(elf, order.entropy.as_deref())?;
    let mut command = command(elf, load)?;
    command.args(["--tap", tap]).args(order.own_words()).args(["--entropy", &feeder.end()]);
    let ward = Ward::start(&mut command)?;
    Ok(Started { ward, feeder, gateway: None, addresses: order.addresses(), is_well: ExitStatus::success })
}

fn command(elf: &Path, load: Option<&Load>) -> std::io::Result<Command> {
    let mut command = leashed(elf)?;
    if let Some(load) = load {
        command.arg("--bundle").arg(load.path()?);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}
