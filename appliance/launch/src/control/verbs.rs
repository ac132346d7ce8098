//! What can be asked of an appliance that runs.

use super::caller::{Caller, PATIENCE, Whom, show};
use super::offer::Offer;
use super::packing::{What, pack};
use super::scrape;
use crate::Outcome;
use control::{Verb, Who};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long a bundle may take to be packed and carried.
const RELOADING: Duration = Duration::from_secs(3600);

/// A question without words.
#[derive(clap::Args)]
pub(crate) struct Plain {
    #[command(flatten)]
    whom: Whom,
}

/// What `gatehouse metrics` is told.
#[derive(clap::Args)]
pub(crate) struct Metrics {
    #[command(flatten)]
    whom: Whom,
    /// Serve them to a scraper at this address of the host, instead of printing them once.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
}

/// Prints the metrics, or serves them.
pub(crate) fn metrics(order: &Metrics) -> Outcome {
    match order.listen {
        Some(at) => scrape::serve(at, &order.whom),
        None => answered(&order.whom, Verb::Metrics, ""),
    }
}

/// What `gatehouse drain` is told.
#[derive(clap::Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    whom: Whom,
    /// When connections that were taken over, as by WebSocket, are ended: they have no last answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(0..=3600))]
    within: u16,
}

/// Shuts the doors, and shows how it is then.
pub(crate) fn drain(order: &Drain) -> Outcome {
    answered(&order.whom, Verb::Drain, &order.within.to_string())
}

/// What `gatehouse stop` is told.
#[derive(clap::Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    whom: Whom,
    /// How long those who are inside may take to finish; connections that were taken over have a little less.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=3600))]
    within: u16,
}

/// What `gatehouse log` is told.
#[derive(clap::Args)]
pub(crate) struct Log {
    #[command(flatten)]
    whom: Whom,
    /// Each line as one JSON object, instead of the format that web servers share.
    #[arg(long)]
    json: bool,
    /// Go on until Ctrl-C or the appliance's end, which it does in any case.
    #[arg(short, long)]
    follow: bool,
}

/// Prints the log from now on.
pub(crate) fn log(order: &Log) -> Outcome {
    let mut caller = Caller::dial(&order.whom)?;
    caller.wait_at_most(None)?;
    let style = if order.json { "json" } else { "common" };
    caller.ask(Verb::Log, style, show)?;
    Ok(ExitCode::SUCCESS)
}

/// What `gatehouse reload` is told.
#[derive(clap::Args)]
pub(crate) struct Reload {
    /// A folder with gatehouse.toml, or a file that `gatehouse pack` made.
    bundle: PathBuf,
    #[command(flatten)]
    whom: Whom,
    /// Only the certificates, keys and client policies; pages and rules stay as they are served.
    #[arg(long)]
    certificates: bool,
}

/// Puts another bundle in the place of the one that is served: all of it or nothing.
pub(crate) fn reload(order: &Reload) -> Outcome {
    let what = if order.certificates { What::Certificates } else { What::Everything };
    let path = order.bundle.canonicalize().map_err(|cause| format!("{}: {cause}", order.bundle.display()))?;
    let mut caller = Caller::dial(&order.whom)?;
    caller.wait_at_most(Some(RELOADING))?;
    let said = match caller.who {
        Who::Launcher => {
            let words = what.words(&path).ok_or("the path is not in UTF-8: rename it")?;
            caller.ask_whole(Verb::Reload, &words)?
        }
        Who::Appliance => caller.offer(Offer::of(pack(what, &path, None)?)?)?,
    };
    show(said.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Asks, and prints the answer.
pub(crate) fn ask(order: &Plain, verb: Verb) -> Outcome {
    answered(&order.whom, verb, "")
}

fn answered(whom: &Whom, verb: Verb, words: &str) -> Outcome {
    show(Caller::dial(whom)?.ask_whole(verb, words)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the appliance to end, and waits until it has.
pub(crate) fn stop(order: &Stop) -> Outcome {
    let mut caller = Caller::dial(&order.whom)?;
    caller.wait_at_most(Some(PATIENCE + Duration::from_secs(order.within.into())))?;
    caller.ask_whole(Verb::Stop, &order.within.to_string())?;
    Ok(ExitCode::SUCCESS)
}
