//! Files that are nowhere but in memory, for children to read: what is secret never touches a disk.

use crate::child::inherited;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file in memory that the next children inherit.
pub(crate) struct MemoryFile(OwnedFd);

impl MemoryFile {
    /// A file that holds `parts`, one after the other.
    pub(crate) fn of(name: &str, parts: &[&[u8]]) -> io::Result<Self> {
        let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
        parts.iter().try_for_each(|part| file.write_all(part))?;
        inherited(&file)?;
        Ok(Self(file.into()))
    }

    /// The path under which a child finds it.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.0.as_raw_fd().to_string())
    }
}
