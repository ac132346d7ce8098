//! The way from an appliance to an entropy daemon that may be restarted.
//!
//! A locked-in process cannot dial, so it inherits a socket that listens and we join that to the daemon's, again and
//! again. Nobody else finds the socket: its name is gone before the appliance starts, and we keep a handle to it.

use crate::bridge;
use crate::watch::{Watch, Watched};
use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tasks::Timers;

/// How long after the end of one connection the next is tried.
const AGAIN: Duration = Duration::from_secs(1);

/// The only way to a socket that has no name any more.
pub(crate) struct Door(OwnedFd);

/// A door, and the listener behind it, which the appliance inherits.
pub(crate) fn door() -> io::Result<(Door, UnixListener)> {
    let folder = tempfile::Builder::new().prefix("gatehouse-").tempdir()?;
    let path = folder.path().join("entropy");
    let listener = UnixListener::bind(&path)?;
    Ok((Door(open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?), listener))
}

/// Joins the daemon at `daemon` and the appliance for as long as the appliance lives.
pub(crate) async fn relay(daemon: PathBuf, door: Door, watch: Watch, timers: Timers) {
    let mut told = false;
    loop {
        match try_relay(&daemon, &door, &watch).await {
            Err(error) if !told => {
                eprintln!("gatehouse: the entropy daemon at {}: {error}; trying again", daemon.display());
                told = true;
            }
            outcome => told &= outcome.is_err(),
        }
        timers.after(AGAIN).await;
    }
}

async fn try_relay(daemon: &Path, door: &Door, watch: &Watch) -> io::Result<()> {
    let mut daemon = dialled(daemon, watch)?;
    let mut appliance = dialled(&Path::new("/proc/self/fd").join(door.0.as_raw_fd().to_string()), watch)?;
    bridge::join(&mut daemon, &mut appliance).await
}

fn dialled(path: &Path, watch: &Watch) -> io::Result<Watched<UnixStream>> {
    let socket = UnixStream::connect(path)?;
    socket.set_nonblocking(true)?;
    watch.socket(socket)
}
