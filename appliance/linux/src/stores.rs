//! What the process is given to read: the bundle's public part, mapped; and its secrets, read into the heap.

use crate::raw;
use crate::words::{BadStart, Store, Words};
use bundle::{Broken, TRAILER, unload};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{Errno, pread};

/// More than this is not a set of keys and certificates.
const MOST_SECRETS: usize = 16 << 20;

/// All that there is to read.
pub(crate) struct Stores {
    pub(crate) bundle: Option<&'static [u8]>,
    pub(crate) secrets: Option<Vec<u8>>,
}

impl Stores {
    /// What the words name; secrets come from one place only.
    pub(crate) fn of(words: &Words) -> Result<Self, BadStart> {
        let apart = words.secrets.as_ref().map(secrets).transpose()?;
        let Some(path) = &words.bundle else { return Ok(Self { bundle: None, secrets: apart }) };
        match (bundle(path)?, apart) {
            ((_, Some(_)), Some(_)) => Err(BadStart::SecretsTwice(path.clone())),
            ((public, own), apart) => Ok(Self { bundle: Some(public), secrets: own.or(apart) }),
        }
    }
}

/// Maps a bundle's public part, read-only and for ever, and reads its secret part if it lies in the same file. The
/// secret part begins on a page of its own and is never mapped.
///
/// The file must not be cut short while we run: the kernel would answer the next read of a page that is gone with
/// SIGBUS. Replace a bundle by renaming a new file over it.
fn bundle(path: &str) -> Result<(&'static [u8], Option<Vec<u8>>), BadStart> {
    let trouble = |errno| BadStart::file("--bundle", path, errno);
    let file = opened(path).map_err(trouble)?;
    let about = fstat(&file).map_err(trouble)?;
    let len = usize::try_from(about.st_size).unwrap_or(0);
    let mut end = [0; TRAILER];
    pread(&file, &mut end, (len as u64).saturating_sub(TRAILER as u64)).map_err(trouble)?;
    let (public, secret) = match unload(&end, len as u64) {
        Ok(cargo) => (cargo.public, (cargo.secret_at, cargo.secret)),
        // A public part alone.
        Err(Broken::Stranger) => (len, (len, 0)),
        Err(broken) => return Err(BadStart::Broken(path.to_owned(), broken)),
    };
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile || public == 0 {
        return Err(BadStart::NotABundle(path.to_owned()));
    }
    let secrets = match secret {
        (_, 0) => None,
        (at, len) => Some(read_at(&file, at, len, path)?),
    };
    Ok((raw::map_for_ever(file.as_fd(), public).map_err(trouble)?, secrets))
}

/// Reads secrets that lie by themselves, in a file or a memfd.
fn secrets(store: &Store) -> Result<Vec<u8>, BadStart> {
    let name = store.to_string();
    let trouble = |errno| BadStart::file("--secrets", &name, errno);
    let file = match store {
        Store::Open(number) => raw::adopt(*number).map_err(trouble)?,
        Store::File(path) => opened(path).map_err(trouble)?,
    };
    let len = usize::try_from(fstat(&file).map_err(trouble)?.st_size).unwrap_or(0);
    read_at(&file, 0, len, &name)
}

/// Reads into one piece of the heap that never moves, so that wiping it wipes all that there is.
fn read_at(file: &OwnedFd, at: usize, len: usize, name: &str) -> Result<Vec<u8>, BadStart> {
    if !(1..=MOST_SECRETS).contains(&len) {
        return Err(BadStart::NoSecrets(name.to_owned()));
    }
    let mut secrets = vec![0; len];
    let mut done = 0;
    while let Some(rest) = secrets.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match pread(file, rest, (at + done) as u64) {
            Ok(0) => return Err(BadStart::NoSecrets(name.to_owned())),
            Ok(got) => done += got,
            Err(errno) => return Err(BadStart::file("--secrets", name, errno)),
        }
    }
    Ok(secrets)
}

fn opened(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
