//! What can be asked of an appliance that runs.

use super::caller::{Caller, PATIENCE, Whom};
use crate::Outcome;
use control::Verb;
use std::process::ExitCode;
use std::time::Duration;

/// A question without words.
#[derive(clap::Args)]
pub(crate) struct Plain {
    #[command(flatten)]
    whom: Whom,
}

/// What `gatehouse stop` is told.
#[derive(clap::Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    whom: Whom,
    /// How long those who are inside may take to finish.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=3600))]
    within: u16,
}

/// Asks, and prints the answer.
pub(crate) fn ask(order: &Plain, verb: Verb) -> Outcome {
    print!("{}", Caller::dial(&order.whom)?.ask_whole(verb, "")?);
    Ok(ExitCode::SUCCESS)
}

/// Asks the appliance to end, and waits until it has.
pub(crate) fn stop(order: &Stop) -> Outcome {
    let mut caller = Caller::dial(&order.whom)?;
    caller.wait_at_most(Some(PATIENCE + Duration::from_secs(order.within.into())))?;
    caller.ask_whole(Verb::Stop, &order.within.to_string())?;
    Ok(ExitCode::SUCCESS)
}
