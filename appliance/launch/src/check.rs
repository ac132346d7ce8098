//! `gatehouse check`: everything that is wrong with a folder, in one go.

use crate::Outcome;
use crate::pack::now;
use crate::plan::complaints::Complaints;
use crate::plan::{self, Ground};
use std::path::PathBuf;
use std::process::ExitCode;

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Order {
    /// The folder with gatehouse.toml.
    folder: PathBuf,
}

/// The verb. It exits with 0 when the folder can be packed, hints or not, and with 1 when it cannot.
pub(crate) fn check(order: &Order) -> Outcome {
    let complaints = Complaints::default();
    let plan = plan::read(&Ground { folder: &order.folder, now: now(), complaints: &complaints });
    print!("{complaints}");
    let mistakes = complaints.mistakes();
    if mistakes > 0 {
        println!("{}", count(mistakes, "mistake"));
        return Ok(ExitCode::FAILURE);
    }
    let pages: usize = plan.pages.iter().map(Vec::len).sum();
    let (sites, folder) = (plan.estate.sites.len(), order.folder.display());
    println!("{folder}: {}, {}, no mistake", count(sites, "site"), count(pages, "page"));
    Ok(ExitCode::SUCCESS)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
