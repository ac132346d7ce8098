//! What the process is given to read: the bundle's public part, mapped; and its secrets, read into the heap.

use crate::raw;
use crate::words::{BadStart, Store};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::pread;

/// More than this is not a set of keys and certificates.
const MOST_SECRETS: usize = 16 << 20;

/// Maps a bundle's public part, read-only and for ever. The file must not be cut short while we run: the kernel would
/// answer the next read of a page that is gone with SIGBUS. Replace a bundle by renaming a new file over it.
pub(crate) fn bundle(path: &str) -> Result<&'static [u8], BadStart> {
    let trouble = |errno| BadStart::file("--bundle", path, errno);
    let file = opened(path).map_err(trouble)?;
    let about = fstat(&file).map_err(trouble)?;
    let len = usize::try_from(about.st_size).unwrap_or(0);
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile || len == 0 {
        return Err(BadStart::NotABundle(path.to_owned()));
    }
    raw::map_for_ever(file.as_fd(), len).map_err(trouble)
}

/// Reads the secrets into one piece of the heap that never moves, so that wiping it wipes them all. They come from a
/// file or a memfd, whose length is known beforehand, never through a mapping.
pub(crate) fn secrets(store: &Store) -> Result<Vec<u8>, BadStart> {
    let name = store.to_string();
    let trouble = |errno| BadStart::file("--secrets", &name, errno);
    let file = match store {
        Store::Open(number) => raw::adopt(*number).map_err(trouble)?,
        Store::File(path) => opened(path).map_err(trouble)?,
    };
    let len = usize::try_from(fstat(&file).map_err(trouble)?.st_size).unwrap_or(0);
    if !(1..=MOST_SECRETS).contains(&len) {
        return Err(BadStart::NoSecrets(name));
    }
    let mut secrets = vec![0; len];
    let mut done = 0;
    while let Some(rest) = secrets.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match pread(&file, rest, done as u64).map_err(trouble)? {
            0 => return Err(BadStart::NoSecrets(name)),
            got => done += got,
        }
    }
    Ok(secrets)
}

fn opened(path: &str) -> Result<OwnedFd, rustix::io::Errno> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
