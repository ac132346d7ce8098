//! Sockets that others make: QEMU and libxl put one into a folder for each guest, and we connect.
//!
//! inotify only wakes us; what is true is what lies in the folder. A socket that refuses (QEMU has bound it
//! and does not listen yet, or is gone and left it behind) is tried again, ever more patiently.

use entropy::Moment;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder is looked at once in this time at least, and at most once in the other.
const LOOK: Duration = Duration::from_secs(5);
const BREATH: Duration = Duration::from_millis(50);
/// A socket that refuses is tried again after so long, and at most so long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(5);
/// A machine that says nothing is called again after so long, and ever more seldom, but at least so often. One that is
/// being restored may not have loaded its state when we first came: it then believes that it talks to whoever fed it
/// before it was saved, and only a new connection tells it otherwise.
const FIRST_SILENCE: Duration = Duration::from_secs(3);
const LAST_SILENCE: Duration = Duration::from_secs(24);

/// The endings by which a socket is known, and whether EGD is spoken there.
const ENDINGS: [(&str, bool); 6] = [
    (".org.openmirage.entropy.1", false),
    (".org.openmirage.entropy.2", false),
    (".entropy", false),
    (".entropy.sock", false),
    (".egd", true),
    (".egd.sock", true),
];

/// The folders and what lies in them.
pub(crate) struct Watch {
    pub(crate) inotify: OwnedFd,
    folders: Vec<PathBuf>,
    sockets: BTreeMap<PathBuf, Found>,
    looked: Option<Moment>,
    stirred: bool,
}

/// A socket that we know of.
struct Found {
    /// The guest that we are connected to.
    guest: Option<u32>,
    retry: Moment,
    wait: Duration,
    silence: Duration,
}

/// What a connection was like that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Bytes were fed over it.
    Good,
    /// None were.
    Bad,
    /// The guest never said a word, and we hung up.
    Silent,
}

/// A connection that was made.
pub(crate) struct Met {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) is_egd: bool,
    pub(crate) socket: OwnedFd,
    /// How long it may say nothing.
    pub(crate) silence: Duration,
}

impl Watch {
    /// Begins to watch; folders that are not there yet are waited for.
    pub(crate) fn over(folders: Vec<PathBuf>) -> rustix::io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify, folders, sockets: BTreeMap::new(), looked: None, stirred: true })
    }

    /// Something moved in a folder: it will be looked at.
    pub(crate) fn stir(&mut self) {
        let mut bytes = [0; 4096];
        while rustix::io::read(&self.inotify, &mut bytes).is_ok_and(|count| count > 0) {}
        self.stirred = true;
    }

    /// When [`Watch::turn`] has something to do.
    pub(crate) fn deadline(&self) -> Moment {
        let wait = if self.stirred { BREATH } else { LOOK };
        let look = self.looked.map_or(Moment::ZERO, |looked| looked + wait);
        let retries = self.sockets.values().filter(|found| found.guest.is_none()).map(|found| found.retry);
        retries.fold(look, Moment::min)
    }

    /// Looks at the folders if it is time, and connects where it can. Says who was met, and which folder is
    /// no good.
    pub(crate) fn turn(&mut self, now: Moment) -> (Vec<Met>, Vec<String>) {
        let wait = if self.stirred { BREATH } else { LOOK };
        let mut faults = Vec::new();
        if self.looked.is_none_or(|looked| now >= looked + wait) {
            (self.looked, self.stirred) = (Some(now), false);
            faults = self.look(now);
        }
        (self.connect(now), faults)
    }

    /// The connection to that socket is in use by this guest.
    pub(crate) fn took(&mut self, path: &Path, guest: u32) {
        if let Some(found) = self.sockets.get_mut(path) {
            found.guest = Some(guest);
        }
    }

    /// That guest is gone; its socket is tried again, soon if the connection was a good one, and at once if it was we
    /// who hung up.
    pub(crate) fn lost(&mut self, guest: u32, how: Lost, now: Moment) {
        for found in self.sockets.values_mut().filter(|found| found.guest == Some(guest)) {
            found.guest = None;
            found.wait = if how == Lost::Bad { later(found.wait) } else { FIRST_WAIT };
            found.retry = if how == Lost::Silent { now } else { now + found.wait };
            let silence = found.silence.saturating_mul(2).min(LAST_SILENCE);
            found.silence = if how == Lost::Silent { silence } else { FIRST_SILENCE };
        }
    }

    /// What is in the folders becomes what we know; what went is forgotten.
    fn look(&mut self, now: Moment) -> Vec<String> {
        let mut there = Vec::new();
        let mut faults = Vec::new();
        for folder in &self.folders {
            match self.list(folder) {
                Ok(paths) => there.extend(paths),
                Err(fault) => faults.push(format!("{}: {fault}", folder.display())),
            }
        }
        self.sockets.retain(|path, _| there.contains(path));
        for path in there {
            let new = || Found { guest: None, retry: now, wait: FIRST_WAIT, silence: FIRST_SILENCE };
            self.sockets.entry(path).or_insert_with(new);
        }
        faults
    }

    /// Sockets of a folder whose names we know. Adding a watch twice is no harm: inotify knows the folder.
    fn list(&self, folder: &Path) -> Result<Vec<PathBuf>, String> {
        check(folder)?;
        let events = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM;
        inotify::add_watch(&self.inotify, folder, events | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR)
            .map_err(|why| why.to_string())?;
        let entries = std::fs::read_dir(folder).map_err(|why| why.to_string())?;
        let sockets = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
        Ok(sockets.map(|entry| entry.path()).filter(|path| understand(path).is_some()).collect())
    }

    fn connect(&mut self, now: Moment) -> Vec<Met> {
        let mut met = Vec::new();
        for (path, found) in &mut self.sockets {
            if found.guest.is_some() || now < found.retry {
                continue;
            }
            found.wait = later(found.wait);
            found.retry = now + found.wait;
            if let (Ok(socket), Some((name, is_egd))) = (reach(path), understand(path)) {
                met.push(Met { path: path.clone(), name, is_egd, socket, silence: found.silence });
            }
        }
        met
    }
}

fn later(wait: Duration) -> Duration {
    wait.saturating_mul(2).min(LAST_WAIT)
}

/// Whoever can write to the folder can pose as a guest.
pub(crate) fn check(folder: &Path) -> Result<(), String> {
    let stat = std::fs::metadata(folder).map_err(|why| why.to_string())?;
    if stat.mode() & 0o002 != 0 {
        return Err("everybody may write to this folder, so anybody could pose as a guest: chmod o-w".into());
    }
    Ok(())
}

/// Connects without waiting: on a unix socket that succeeds or fails at once.
fn reach(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// The guest's name, and whether it speaks EGD there.
fn understand(path: &Path) -> Option<(String, bool)> {
    let file = path.file_name()?.to_str()?;
    let known = |(ending, is_egd): &(&str, bool)| Some((file.strip_suffix(ending)?.to_owned(), *is_egd));
    ENDINGS.iter().find_map(known).filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_known_by_their_endings_and_others_left_alone() {
        let name = |file: &str| understand(&Path::new("/run/qemu").join(file));
        assert_eq!(name("web.org.openmirage.entropy.2"), Some(("web".into(), false)));
        assert_eq!(name("web.entropy.sock"), Some(("web".into(), false)));
        assert_eq!(name("a.b.egd"), Some(("a.b".into(), true)));
        for other in ["web.qmp", "web.sock", ".entropy", "monitor", "web.entropy.sock.bak"] {
            assert_eq!(name(other), None, "{other}");
        }
    }
}
