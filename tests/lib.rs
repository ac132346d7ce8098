//! The bench that the tests stand on: where the workspace is and how to start what it makes.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The workspace's top folder.
#[must_use]
pub fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}

/// The appliance as it ships.
#[must_use]
pub fn appliance() -> PathBuf {
    shipped("appliance")
}

/// The entropy daemon as it ships.
#[must_use]
pub fn xentropyd() -> PathBuf {
    shipped("xentropyd")
}

/// The operator's tool as it ships.
#[must_use]
pub fn gatehouse() -> PathBuf {
    shipped("gatehouse")
}

/// The operator's tool, as an operator runs it. Told of cargo it would build an appliance of its own, with other features of
/// what both link, and put it in the place of the one that ships.
#[must_use]
pub fn tool() -> Command {
    let mut command = Command::new(gatehouse());
    command.env_remove("CARGO");
    command
}

/// One of the programs that ship; all are built by the first test that asks for one, as `tests/run` builds them.
fn shipped(name: &str) -> PathBuf {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let packages = ["--package=appliance", "--package=xentropyd", "--package=gatehouse"];
        let output = cargo(&[&["build", "--release"], &packages[..]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    built("release").join(name)
}

/// What cargo put under this name into the target folder.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top().join("target"), PathBuf::from);
    target.join("x86_64-unknown-linux-gnu").join(name)
}

/// Runs cargo in the workspace, as if from a shell: what our own cargo tells us of our package would make ring's build
/// script run again, and with it everything that stands on ring.
#[must_use]
pub fn cargo(arguments: &[&str]) -> Output {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let of_our_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars().filter(|(name, _)| of_our_package(name)) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(top()).output().expect("cargo runs")
}

pub mod deaths;
pub mod dom0;
pub mod horde;
pub mod house;
pub mod hunt;
pub mod launched;
pub mod machine;
pub mod memory;
pub mod numbers;
pub mod outer;
pub mod party;
pub mod running;
pub mod tap;
pub mod upstream;
pub mod visitor;
