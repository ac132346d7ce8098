//! What an appliance is started with: a folder, packed on the way, or a file that `gatehouse pack` made.
//!
//! Either becomes an open file without a name: nothing with keys in it is left behind, whatever happens to us.

use crate::child::inherited;
use crate::pack;
use bundle::{
    Bundle, Cargo, Estate, LayoutSeed, PAGE, SEAL, SecretWriter, Secrets, TRAILER, index_length, trailer,
    unload, with_estate,
};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

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

/// Why a file is no load.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error(transparent)]
    Unread(#[from] io::Error),
    #[error(transparent)]
    NotACargo(bundle::Broken),
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
        Self::in_file(file).map_err(|cause| match cause {
            Unfit::Unread(cause) => unread(cause),
            Unfit::NotACargo(cause) => NoLoad::NotACargo { path: path.to_path_buf(), cause },
        })
    }

    fn in_file(file: File) -> Result<Self, Unfit> {
        let len = file.metadata()?.len();
        let mut end = [0; TRAILER];
        file.read_exact_at(&mut end, len.saturating_sub(TRAILER as u64))?;
        let parts = unload(&end, len).map_err(Unfit::NotACargo)?;
        Ok(Self { file, len, parts })
    }

    /// The same load once more.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, len: self.len, parts: self.parts })
    }

    /// The index of the public part, with its seal.
    pub(crate) fn index(&self) -> io::Result<Vec<u8>> {
        let mut seal = [0; SEAL];
        self.read_at(&mut seal, self.parts.public.saturating_sub(SEAL))?;
        let length = index_length(&seal).map_err(io::Error::other)?;
        let mut index = vec![0; length];
        self.read_at(&mut index, self.parts.public.checked_sub(length).ok_or(io::ErrorKind::InvalidData)?)?;
        Ok(index)
    }

    /// The secret part.
    pub(crate) fn secret(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut secret = Zeroizing::new(vec![0; self.parts.secret]);
        self.read_at(&mut secret, self.parts.secret_at)?;
        Ok(secret)
    }

    /// Bytes of it.
    pub(crate) fn read_at(&self, into: &mut [u8], at: usize) -> io::Result<()> {
        self.file.read_exact_at(into, at as u64)
    }

    /// The same pages with the certificates, keys and client policies of `papers`, whose sites must be the same.
    pub(crate) fn with_papers_of(
        &self,
        papers: &Self,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (ours, theirs) = (self.index()?, papers.index()?);
        let estate = |index: &[u8]| Bundle::estate_of(index.to_vec().into());
        let (mut estate, other) = (estate(&ours)?, estate(&theirs)?);
        let names = |estate: &Estate| estate.sites.iter().map(|site| site.names.clone()).collect::<Vec<_>>();
        if names(&estate) != names(&other) {
            return Err("its sites are not those that are served: reload the whole bundle".into());
        }
        for (site, other) in estate.sites.iter_mut().zip(other.sites) {
            (site.chain, site.ocsp, site.clients) = (other.chain, other.ocsp, other.clients);
        }
        let index = with_estate(&ours, &estate)?;
        let secret = papers.secret()?;
        let secrets = Secrets::open(&secret, &Bundle::fingerprint_of(&theirs)?)?;
        let mut writer = SecretWriter::new(&Bundle::fingerprint_of(&index)?);
        secrets.all().for_each(|(name, value)| writer.add(name, value));
        let secret = Zeroizing::new(writer.done());
        let contents = self.parts.public.saturating_sub(ours.len());
        let mut file = tempfile::tempfile()?;
        let mut from = &self.file;
        from.seek(SeekFrom::Start(0))?;
        io::copy(&mut from.take(contents as u64), &mut file)?;
        let public = contents + index.len();
        file.write_all(&index)?;
        file.write_all(&vec![0; public.next_multiple_of(PAGE) - public])?;
        file.write_all(&secret)?;
        file.write_all(&trailer(public, secret.len(), &[0; 32]))?;
        Ok(Self::in_file(file)?)
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
