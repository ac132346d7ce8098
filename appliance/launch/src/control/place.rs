//! Where the sockets of running appliances are: one folder of the user's, one socket for each appliance.

use rustix::fs::{AtFlags, CWD, Mode, chmodat};
use rustix::process::getuid;
use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Says where the folder is, if it is not where it usually is.
const VARIABLE: &str = "GATEHOUSE_RUN_DIR";
const LONGEST_NAME: usize = 40;

/// Why there is no way to an appliance, and what would help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoPlace {
    #[error("{} cannot hold control sockets: {why}; name another folder with {VARIABLE}", folder.display())]
    Folder { folder: PathBuf, why: String },
    #[error("{} cannot be a control socket: {cause}", path.display())]
    Socket { path: PathBuf, cause: io::Error },
    #[error("an appliance named {0} is running already: stop it, or give this one another name with --name")]
    Taken(String),
    #[error("{0:?} is no name: letters, digits, dots, dashes and underscores, up to {LONGEST_NAME}")]
    BadName(String),
    #[error("no appliance is running that was started by you: `gatehouse run` starts one")]
    NobodyRuns,
    #[error("no appliance named {0} is running; these are: {1}")]
    NotThatOne(String, String),
    #[error("several appliances are running: name one of {0}")]
    Several(String),
    #[error("{} does not answer: {cause}", path.display())]
    NoAnswer { path: PathBuf, cause: io::Error },
}

/// A socket that is there for as long as this value is.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
}

impl Place {
    /// Takes the place of that name, or a path that the operator chose. A name that nobody insists on gives way.
    pub(crate) fn take(
        name: &str,
        insist: bool,
        path: Option<&Path>,
    ) -> Result<(Self, UnixListener), NoPlace> {
        check(name)?;
        if let Some(path) = path {
            return Self::at(path.to_path_buf(), name);
        }
        let folder = folder()?;
        match Self::at(folder.join(format!("{name}.sock")), name) {
            Err(NoPlace::Taken(_)) if !insist => {
                let other = format!("{name}-{}", std::process::id());
                Self::at(folder.join(format!("{other}.sock")), &other)
            }
            taken => taken,
        }
    }

    fn at(path: PathBuf, name: &str) -> Result<(Self, UnixListener), NoPlace> {
        let trouble = |cause| NoPlace::Socket { path: path.clone(), cause };
        match UnixStream::connect(&path) {
            Ok(_) => return Err(NoPlace::Taken(name.to_owned())),
            // One that a launcher left behind which was killed.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                std::fs::remove_file(&path).map_err(trouble)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(trouble)?;
        let place = Self { path: path.clone(), name: name.to_owned() };
        chmodat(CWD, &path, Mode::RUSR | Mode::WUSR, AtFlags::empty()).map_err(|no| trouble(no.into()))?;
        listener.set_nonblocking(true).map_err(trouble)?;
        Ok((place, listener))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever took it away before us has done what we wanted.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The name of an appliance that serves this; the demo has one too.
pub(crate) fn name_for(bundle: Option<&Path>) -> String {
    let stem = bundle.and_then(|path| path.canonicalize().ok());
    let stem = stem.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
    stem.filter(|stem| check(stem).is_ok())
        .unwrap_or_else(|| if bundle.is_some() { "site" } else { "demo" }.to_owned())
}

/// Dials the appliance of that name, or the only one.
pub(crate) fn dial(name: Option<&str>, path: Option<&Path>) -> Result<UnixStream, NoPlace> {
    if let Some(path) = path {
        let trouble = |cause| NoPlace::NoAnswer { path: path.to_path_buf(), cause };
        return UnixStream::connect(path).map_err(trouble);
    }
    let mut running = running(&folder()?);
    let names = |running: &[(String, UnixStream)]| {
        running.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    match name {
        Some(name) => match running.iter().position(|(known, _)| known == name) {
            Some(at) => Ok(running.swap_remove(at).1),
            None if running.is_empty() => Err(NoPlace::NobodyRuns),
            None => Err(NoPlace::NotThatOne(name.to_owned(), names(&running))),
        },
        None if running.len() > 1 => Err(NoPlace::Several(names(&running))),
        None => running.pop().map(|(_, socket)| socket).ok_or(NoPlace::NobodyRuns),
    }
}

/// Every appliance that answers, by name.
fn running(folder: &Path) -> Vec<(String, UnixStream)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut running: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?.strip_suffix(".sock")?.to_owned();
            Some((name, UnixStream::connect(entry.path()).ok()?))
        })
        .collect();
    running.sort_by(|(one, _), (other, _)| one.cmp(other));
    running
}

/// The folder, which is ours alone.
fn folder() -> Result<PathBuf, NoPlace> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = getuid();
    let usual = || match named("XDG_RUNTIME_DIR") {
        _ if user.is_root() => PathBuf::from("/run/gatehouse"),
        Some(runtime) => runtime.join("gatehouse"),
        None => PathBuf::from(format!("/tmp/gatehouse-{}", user.as_raw())),
    };
    let folder = named(VARIABLE).unwrap_or_else(usual);
    let trouble = |why: String| NoPlace::Folder { folder: folder.clone(), why };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(trouble(error.to_string())),
        _ => {}
    }
    let about = std::fs::symlink_metadata(&folder).map_err(|error| trouble(error.to_string()))?;
    if !about.is_dir() || about.uid() != user.as_raw() || about.mode() & 0o022 != 0 {
        return Err(trouble("it is not a folder that only you may write to".to_owned()));
    }
    Ok(folder)
}

fn check(name: &str) -> Result<(), NoPlace> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let good = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(letter) && !name.starts_with('.');
    if good { Ok(()) } else { Err(NoPlace::BadName(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_ours_alone_and_goes_with_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.sock");
        let (place, _listener) = Place::take("shop", true, Some(&path)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(Place::take("shop", true, Some(&path)), Err(NoPlace::Taken(_))));
        assert!(dial(None, Some(&path)).is_ok());
        drop(place);
        assert!(!path.exists() && dial(None, Some(&path)).is_err());
    }

    #[test]
    fn what_a_dead_launcher_left_behind_is_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists() && Place::take("shop", true, Some(&path)).is_ok());
    }

    #[test]
    fn names_are_plain() {
        for name in ["", ".hidden", "a/b", "a b", "ü", &"x".repeat(41)] {
            assert!(check(name).is_err(), "{name}");
        }
        assert!(check("shop-1.example").is_ok());
        assert_eq!((name_for(None), name_for(Some(Path::new("/"))).as_str()), ("demo".to_owned(), "site"));
    }
}
