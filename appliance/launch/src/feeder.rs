//! Who feeds the appliance: the host's own xentropyd, or a private one that lives as long as the appliance.
//!
//! The appliance listens and the daemon comes to it, so that a daemon that was started again finds its way back.

use crate::appliance;
use crate::child::{Ward, leashed};
use crate::guest::quoted;
use crate::run::Trouble;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// Where the appliance's entropy comes from.
pub(crate) enum Feeder {
    /// A socket of the host's daemon.
    Host(PathBuf),
    /// A daemon of our own, and the folder in which it looks for the appliance's socket; they go in this order.
    Private(#[allow(dead_code, reason = "held, not read: it ends when this value goes")] Ward, TempDir),
}

impl Feeder {
    /// Takes what the operator named, or starts a daemon.
    pub(crate) fn start(elf: &Path, named: Option<&Path>) -> Result<Self, Trouble> {
        if let Some(socket) = named {
            return Ok(Self::Host(socket.to_path_buf()));
        }
        let folder = tempfile::Builder::new().prefix("gatehouse-").tempdir()?;
        let daemon = appliance::daemon(elf)?;
        let ward = watching(&daemon, folder.path())?;
        Ok(Self::Private(ward, folder))
    }

    /// Where a domain's end of the channel is to be: in a folder that the host's daemon watches, or ours does.
    pub(crate) fn channel(&self, name: &str) -> PathBuf {
        match self {
            Self::Host(folder) => folder.join(name),
            Self::Private(_, folder) => folder.path().join(name),
        }
    }

    /// The appliance's end of the channel, as QEMU's command line names it.
    pub(crate) fn chardev(&self) -> String {
        match self {
            Self::Host(socket) => format!("path={},reconnect=1", quoted(socket)),
            Self::Private(_, folder) => {
                format!("path={},server=on,wait=off", quoted(&folder.path().join("appliance.entropy")))
            }
        }
    }

    /// The appliance's end of the channel, as a process's command line names it.
    pub(crate) fn end(&self) -> String {
        match self {
            Self::Host(socket) => socket.display().to_string(),
            Self::Private(_, folder) => {
                format!("listen:{}", folder.path().join("appliance.entropy").display())
            }
        }
    }
}

/// A daemon that feeds whatever appears in `folder`. Its log is ours to keep quiet: the appliance says what it lacks.
fn watching(daemon: &Path, folder: &Path) -> io::Result<Ward> {
    let mut command = leashed(daemon)?;
    command.arg("--watch").arg(folder).args(["--log", "error"]);
    if rustix::process::getuid().is_root() {
        // Root's folder is closed to the user that the daemon would become.
        command.args(["--user", "root"]);
    }
    Ward::start(command.stdin(Stdio::null()).stdout(Stdio::null()))
}
