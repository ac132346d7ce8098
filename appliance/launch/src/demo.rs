//! What is served: what the operator named, or the demo: the example site, made for one run and gone after it.

use crate::publish::Publish;
use crate::run::Trouble;
use crate::{init, party};
use std::path::Path;
use tempfile::TempDir;

/// Where the site comes from.
pub(crate) enum Source<'a> {
    /// A folder, or a packed file.
    Named(&'a Path),
    /// The example in a folder that goes with this value.
    Demo(TempDir),
}

impl<'a> Source<'a> {
    /// What was named; without a name the demo is made.
    pub(crate) fn of(named: Option<&'a Path>, pinata: bool) -> Result<Self, Trouble> {
        if let Some(named) = named {
            return Ok(Self::Named(named));
        }
        let folder = tempfile::Builder::new().prefix("gatehouse-demo-").tempdir()?;
        let made = match pinata {
            true => party::init::make(folder.path(), &[], true),
            false => init::make(folder.path(), &[], false),
        };
        made.map_err(|trouble| Trouble::NoDemo(trouble.to_string()))?;
        Ok(Self::Demo(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Demo(folder) => folder.path(),
        }
    }

    /// Lines to copy into another terminal: the demo's certificate is good for whoever knows its CA.
    pub(crate) fn invitations(&self, published: &[Publish], pinata: bool) -> Vec<String> {
        let Self::Demo(folder) = self else { return Vec::new() };
        if pinata {
            let keep = folder.path().join("keep");
            let page = published.iter().find(|publish| publish.port == 80).map_or(80, |page| page.at.port());
            return vec![format!("gatehouse pinata whack 127.0.0.1 --page {page} --keep {}", keep.display())];
        }
        let authority = folder.path().join("tls/ca.pem");
        let secure = published.iter().filter(|publish| publish.port == 443);
        let line = |port| format!("curl --cacert {} https://localhost:{port}/", authority.display());
        secure.map(|publish| line(publish.at.port())).collect()
    }
}
