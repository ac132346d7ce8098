//! What an appliance is started with: a folder, packed on the way, or a file that `gatehouse pack` made.
//!
//! Either becomes an open file without a name: nothing with keys in it is left behind, whatever happens to us.

use crate::child::inherited;
use crate::pack;
use bundle::{Cargo, LayoutSeed, TRAILER, trailer, unload};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An open cargo and where its parts lie.
pub(crate) struct Load {
    file: File,
    len: u64,
    parts: Cargo,
}

/// Why there is nothing to start with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLoad {
    #[error("{0}")]
    NotPacked(String),
    #[error("{}: {cause}", path.display())]
    Unread { path: PathBuf, cause: io::Error },
    #[error("{}: {cause}", path.display())]
    NotACargo { path: PathBuf, cause: bundle::Broken },
}

impl Load {
    /// Packs a folder, or opens a file, into a copy of our own.
    pub(crate) fn of(path: &Path) -> Result<Self, NoLoad> {
        let unread = |cause| NoLoad::Unread { path: path.to_path_buf(), cause };
        // Root or not, only we can look into it; it goes with this value, and the file in it lives on without a name.
        let folder = tempfile::Builder::new().prefix("gatehouse-").tempdir().map_err(unread)?;
        let copy = folder.path().join("cargo");
        if path.is_dir() {
            pack::pack_into(path, &copy).map_err(|mistakes| NoLoad::NotPacked(mistakes.to_string()))?;
        } else {
            std::fs::copy(path, &copy).map_err(unread)?;
        }
        let file = File::options().read(true).write(true).open(&copy).map_err(unread)?;
        let len = file.metadata().map_err(unread)?.len();
        let mut end = [0; TRAILER];
        file.read_exact_at(&mut end, len.saturating_sub(TRAILER as u64)).map_err(unread)?;
        let parts =
            unload(&end, len).map_err(|cause| NoLoad::NotACargo { path: path.to_path_buf(), cause })?;
        Ok(Self { file, len, parts })
    }

    /// Gives this boot a memory layout that nobody has seen.
    pub(crate) fn reseed(&self) -> io::Result<()> {
        let mut seed: LayoutSeed = [0; 32];
        getrandom(&mut seed, GetRandomFlags::empty())?;
        let end = trailer(self.parts.public, self.parts.secret, &seed);
        self.file.write_all_at(&end, self.len - TRAILER as u64)
    }

    /// The path under which a child finds it.
    pub(crate) fn path(&self) -> io::Result<PathBuf> {
        Ok(Path::new("/proc/self/fd").join(inherited(&self.file)?))
    }

    /// Its length in MiB.
    pub(crate) const fn megabytes(&self) -> u64 {
        self.len.div_ceil(1 << 20)
    }
}
