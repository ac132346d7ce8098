//! The sockets on which guests come in: made here with mode 0600, or handed over by systemd.

use crate::log::{Level, Log};
use crate::settings::{Config, Where};
use crate::users::User;
use entropy::Moment;
use listenfd::ListenFd;
use rustix::fs::{FileType, Gid, Mode, Uid};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use vsock::{VMADDR_CID_ANY, VsockListener};

/// What comes in through a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any guest.
    Any,
    /// The guest of that name.
    Named(String),
    /// A client that speaks EGD.
    Egd,
    /// A guest on vsock.
    Vsock,
    /// Somebody who reads the metrics.
    Metrics,
}

impl Kind {
    /// The setting that asks for it.
    fn word(&self) -> &'static str {
        match self {
            Self::Any | Self::Named(_) => "listen",
            Self::Egd => "egd",
            Self::Vsock => "vsock",
            Self::Metrics => "metrics",
        }
    }
}

/// One socket that listens.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) kind: Kind,
    pub(crate) socket: OwnedFd,
    /// The file that is ours to remove.
    path: Option<PathBuf>,
}

/// A door that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Stuck {
    what: String,
    why: String,
}

impl Stuck {
    fn new(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self { what: what.to_string(), why: why.to_string() }
    }
}

impl Door {
    /// Makes a socket that only its owner may use.
    pub(crate) fn at(kind: Kind, path: &Path, owner: Option<&User>) -> Result<Self, Stuck> {
        let what = format!("{} {}", kind.word(), path.display());
        let fail = |why: std::io::Error| match why.kind() {
            ErrorKind::NotFound => Stuck::new(&what, "its folder does not exist: make it first"),
            _ => Stuck::new(&what, why),
        };
        clear(path)?;
        let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let socket = UnixListener::bind(path);
        rustix::process::umask(mask);
        let socket = socket.map_err(fail)?;
        socket.set_nonblocking(true).map_err(fail)?;
        if let Some(user) = owner {
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            rustix::fs::chown(path, Some(uid), Some(gid)).map_err(|why| fail(why.into()))?;
        }
        Ok(Self { kind, socket: socket.into(), path: Some(path.to_owned()) })
    }

    /// Closes the door and removes its file, if that is ours.
    pub(crate) fn close(self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes a socket that nobody listens on any more, and nothing else.
fn clear(path: &Path) -> Result<(), Stuck> {
    match rustix::fs::lstat(path) {
        Err(_) => Ok(()),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Socket => {
            Err(Stuck::new(path.display(), "something that is not a socket is in the way"))
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            Err(Stuck::new(path.display(), "somebody listens there already: is another xentropyd running?"))
        }
        Ok(_) => std::fs::remove_file(path).map_err(|why| Stuck::new(path.display(), why)),
    }
}

/// The socket of a named guest.
pub(crate) fn named(folder: &Path, name: &str, owner: Option<&User>) -> Result<Door, Stuck> {
    Door::at(Kind::Named(name.to_owned()), &folder.join(format!("{name}.sock")), owner)
}

/// Opens every door of the configuration; those that systemd holds already are not opened again.
pub(crate) fn open(config: &Config, log: &mut Log) -> Result<Vec<Door>, Stuck> {
    let mut doors = handed_over(log)?;
    let held = |doors: &[Door], kind| doors.iter().any(|door: &Door| door.kind == kind);
    let owner = config.socket_user.as_ref();
    if let Some(folder) = &config.listen {
        std::fs::create_dir_all(folder)
            .map_err(|why| Stuck::new(format!("listen {}", folder.display()), why))?;
        if !held(&doors, Kind::Any) {
            doors.push(Door::at(Kind::Any, &folder.join("entropy.sock"), owner)?);
        }
        for name in &config.guests {
            doors.push(named(folder, name, owner)?);
        }
    }
    if let Some(path) = config.egd.as_ref().filter(|_| !held(&doors, Kind::Egd)) {
        doors.push(Door::at(Kind::Egd, path, owner)?);
    }
    if let Some(port) = config.vsock {
        doors.push(vsock(port)?);
    }
    if let Some(place) = config.metrics.as_ref().filter(|_| !held(&doors, Kind::Metrics)) {
        doors.push(metrics(place)?);
    }
    Ok(doors)
}

/// Sockets from systemd, told apart by `FileDescriptorName=`: `egd`, `metrics`, and anything else for guests.
fn handed_over(log: &mut Log) -> Result<Vec<Door>, Stuck> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = ListenFd::from_env();
    let mut doors = Vec::new();
    for index in 0..sockets.len() {
        let name = names.next().unwrap_or_default();
        let kind = match name {
            "egd" => Kind::Egd,
            "metrics" => Kind::Metrics,
            _ => Kind::Any,
        };
        let taken = sockets.take_unix_listener(index).ok().flatten();
        let socket =
            taken.ok_or_else(|| Stuck::new("socket activation", "only unix stream sockets are served"))?;
        socket.set_nonblocking(true).map_err(|why| Stuck::new("socket activation", why))?;
        log.say(Moment::ZERO, Level::Info, "handed-over", &[("name", name), ("kind", &format!("{kind:?}"))]);
        doors.push(Door { kind, socket: socket.into(), path: None });
    }
    Ok(doors)
}

fn vsock(port: u32) -> Result<Door, Stuck> {
    let fail = |why: std::io::Error| Stuck::new(format!("vsock port {port}"), why);
    let socket = VsockListener::bind_with_cid_port(VMADDR_CID_ANY, port).map_err(fail)?;
    socket.set_nonblocking(true).map_err(fail)?;
    Ok(Door { kind: Kind::Vsock, socket: socket.into(), path: None })
}

fn metrics(place: &Where) -> Result<Door, Stuck> {
    match place {
        Where::Socket(path) => Door::at(Kind::Metrics, path, None),
        Where::Loopback(address) => {
            let socket =
                TcpListener::bind(address).map_err(|why| Stuck::new(format!("metrics {address}"), why))?;
            socket.set_nonblocking(true).map_err(|why| Stuck::new(format!("metrics {address}"), why))?;
            Ok(Door { kind: Kind::Metrics, socket: socket.into(), path: None })
        }
    }
}
