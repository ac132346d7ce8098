//! `gatehouse run`: starts an appliance, prints its console, and ends everything it started.

use crate::child::{Ward, described, leashed};
use crate::signals::Stop;
use crate::{Outcome, appliance};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// What to run, and on what.
#[derive(clap::Args)]
pub(crate) struct Order {
    /// Use this TAP device; it must exist and belong to you, or you must be root.
    #[arg(long, value_name = "NAME", requires = "address")]
    tap: String,
    /// The appliance's address.
    #[arg(long, value_name = "ADDRESS/BITS")]
    address: String,
    /// The way out of the appliance's network.
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<IpAddr>,
    /// The appliance's ELF, when it is not beside this program.
    #[arg(long, value_name = "FILE")]
    appliance: Option<PathBuf>,
}

/// Without a verb: what there is to see.
pub(crate) fn demo() -> Outcome {
    Err("say what to run: `gatehouse run --help` has the words".into())
}

/// Starts the appliance and stays with it.
pub(crate) fn run(order: &Order) -> Outcome {
    let elf = appliance::elf(order.appliance.as_deref())?;
    let stop = Stop::listen()?;
    let mut command = leashed(elf)?;
    command.args(["--tap", &order.tap, "--address", &order.address]);
    if let Some(gateway) = order.gateway {
        command.arg("--gateway").arg(gateway.to_string());
    }
    watch(Ward::start(&mut command)?, &stop)
}

/// Until it ends or we are asked to end.
fn watch(mut ward: Ward, stop: &Stop) -> Outcome {
    loop {
        if let Some(status) = ward.ended()? {
            eprintln!("gatehouse: the appliance {}", described(status));
            return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        if stop.asked() {
            ward.finish()?;
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(Duration::from_millis(50));
    }
}
