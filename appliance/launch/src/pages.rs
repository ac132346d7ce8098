//! `gatehouse man` and `gatehouse completions`: pages and completions, made from the command line itself.

use crate::{Gatehouse, Outcome};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where the manual's pages go.
#[derive(clap::Args)]
pub(crate) struct Man {
    /// An existing folder.
    folder: PathBuf,
}

/// For which shell.
#[derive(clap::Args)]
pub(crate) struct Completions {
    shell: Shell,
}

/// Writes `gatehouse.1` and one page for each verb.
pub(crate) fn man(order: &Man) -> Outcome {
    clap_mangen::generate_to(Gatehouse::command(), &order.folder)
        .map_err(|cause| format!("{}: {cause}", order.folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what the shell reads.
pub(crate) fn completions(order: &Completions) -> Outcome {
    clap_complete::generate(order.shell, &mut Gatehouse::command(), "gatehouse", &mut stdout());
    Ok(ExitCode::SUCCESS)
}
