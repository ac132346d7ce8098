//! Where the programs are that we start: built here when we stand in the workspace, beside us otherwise.

use std::env::{current_exe, var_os};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why there is no appliance to start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAppliance {
    #[error("the appliance is not at {}: put it there or name it with --appliance FILE", .0.display())]
    NotThere(PathBuf),
    #[error("cargo could not be started ({0}): build with `cargo build --release -p appliance`")]
    NoCargo(std::io::Error),
    #[error("the appliance does not build: see cargo's words above")]
    DoesNotBuild,
    #[error("xentropyd is not at {}: put it there, or name the socket of the host's with --entropy PATH", .0.display())]
    NoDaemon(PathBuf),
    #[error("this program does not know its own place ({0}): name the appliance with --appliance FILE")]
    Lost(#[from] std::io::Error),
}

/// The appliance's ELF, by the operator's word, freshly built, or found.
pub(crate) fn elf(named: Option<&Path>) -> Result<PathBuf, NoAppliance> {
    let file = match (named, var_os("CARGO"), var_os("CARGO_MANIFEST_DIR")) {
        (Some(file), _, _) => file.to_path_buf(),
        (None, Some(cargo), Some(workspace)) => built(Path::new(&cargo), Path::new(&workspace))?,
        (None, _, _) => current_exe()?.with_file_name("appliance"),
    };
    if file.is_file() { Ok(file) } else { Err(NoAppliance::NotThere(file)) }
}

/// The entropy daemon, which lies beside the appliance.
pub(crate) fn daemon(elf: &Path) -> Result<PathBuf, NoAppliance> {
    let places = [elf.to_path_buf(), current_exe()?].map(|place| place.with_file_name("xentropyd"));
    let [first, _] = &places;
    places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| NoAppliance::NoDaemon(first.clone()))
}

/// Cargo started us, so the sources are here: build what ships and take it from cargo's folder.
fn built(cargo: &Path, workspace: &Path) -> Result<PathBuf, NoAppliance> {
    eprintln!("gatehouse: building the appliance (cargo build --release -p appliance -p xentropyd)");
    let words = ["build", "--quiet", "--release", "--package", "appliance", "--package", "xentropyd"];
    let mut command = Command::new(cargo);
    // What cargo tells us of our own package would make ring's build script run again, and with it half of the build.
    let of_our_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars().filter(|(name, _)| of_our_package(name)) {
        command.env_remove(name);
    }
    let status = command.args(words).current_dir(workspace).status().map_err(NoAppliance::NoCargo)?;
    if !status.success() {
        return Err(NoAppliance::DoesNotBuild);
    }
    let me = current_exe()?;
    let profiles = me.ancestors().nth(2).unwrap_or(&me);
    Ok(profiles.join("release").join("appliance"))
}
