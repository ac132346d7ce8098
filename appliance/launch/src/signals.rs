//! Ctrl-C and its like, as bytes on a socket: a signal that comes while we fall asleep still wakes us.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io;
use std::os::unix::net::UnixStream;

/// From now on SIGINT, SIGTERM and SIGHUP no longer kill: each is one byte to read.
pub(crate) fn listen() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        pipe::register(signal, theirs.try_clone()?)?;
    }
    Ok(ours)
}
