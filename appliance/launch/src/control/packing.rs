//! Packing beside the launcher's work: a folder is read and squeezed on a thread of its own, and the loop goes on.

use crate::load::Load;
use crate::watch::{Watch, Watched};
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::AsyncRead;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// What is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// All that lies there.
    Everything,
    /// Its certificates, keys and client policies, with the pages that are served now.
    Certificates,
}

impl What {
    /// The order as it goes over the socket: one word, a blank and the path.
    pub(super) fn words(self, path: &Path) -> Option<String> {
        let word = if self == Self::Everything { "everything" } else { "certificates" };
        path.to_str().map(|path| format!("{word} {path}"))
    }

    pub(super) fn read(words: &str) -> Option<(Self, &Path)> {
        let (word, path) = words.split_once(' ')?;
        let what = if word == "certificates" { Self::Certificates } else { Self::Everything };
        Some((what, Path::new(path)))
    }
}

/// A bundle that is being packed.
pub(super) struct Packing {
    outcome: Receiver<Result<Load, String>>,
    done: Watched<UnixStream>,
}

impl Packing {
    /// Begins; `present` is what is served now.
    pub(super) fn begin(watch: &Watch, what: What, path: &Path, present: Option<Load>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (tell, outcome) = channel();
        let path = path.to_path_buf();
        thread::Builder::new().name("packing".to_owned()).spawn(move || {
            // Whoever asked may have gone meanwhile.
            let _ = tell.send(pack(what, &path, present));
            drop(theirs);
        })?;
        Ok(Self { outcome, done: watch.socket(ours)? })
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Load, String>> {
        match Pin::new(&mut self.done).poll_read(context, &mut [0]) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                let outcome = self.outcome.recv();
                Poll::Ready(outcome.unwrap_or_else(|_| Err("packing it came to nothing".to_owned())))
            }
        }
    }
}

/// Packs now.
pub(super) fn pack(what: What, path: &Path, present: Option<Load>) -> Result<Load, String> {
    let load = Load::of(path).map_err(|trouble| trouble.to_string())?;
    match (what, present) {
        (What::Everything, _) => Ok(load),
        (What::Certificates, Some(present)) => {
            present.with_papers_of(&load).map_err(|trouble| format!("{}: {trouble}", path.display()))
        }
        (What::Certificates, None) => {
            Err("only the launcher that started an appliance knows its pages: reload the whole bundle"
                .to_owned())
        }
    }
}
