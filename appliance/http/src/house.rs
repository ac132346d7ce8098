//! The house: its sites, and where their pages lie.

use crate::limits::Limits;
use std::rc::Rc;

/// All that is served.
pub struct House {
    /// The sites, in the order of the bundle.
    pub sites: Vec<Site>,
    /// What one connection may take.
    pub limits: Limits,
}

/// One site.
pub struct Site {
    /// The names that lead here, in lower case; `*.example.org` stands for one label in front.
    pub names: Vec<String>,
    /// Its pages.
    pub shelf: Rc<dyn Shelf>,
}

/// Where the pages of a site lie.
pub trait Shelf {
    /// What lies at `path`, which begins with a slash and is decoded. No path leads out of the shelf.
    fn find(&self, path: &str) -> Found;
}

/// What lies at a path.
pub enum Found {
    /// A page.
    Page(Leaf),
    /// A folder.
    Folder,
    /// Nothing.
    Nothing,
}

/// A page and its encodings.
#[derive(Clone)]
pub struct Leaf {
    /// The media type.
    pub kind: Box<str>,
    /// The encodings; the first is the identity.
    pub variants: Vec<Variant>,
}

/// One encoding of a page.
#[derive(Clone)]
pub struct Variant {
    /// How it is encoded.
    pub coding: Coding,
    /// A strong validator, with its quotation marks.
    pub etag: Box<str>,
    /// The bytes.
    pub bytes: bytes::Bytes,
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Identity,
    /// gzip.
    Gzip,
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
}

impl House {
    /// The site of that name.
    #[must_use]
    pub fn site_named(&self, host: &str) -> Option<usize> {
        let exact = self.sites.iter().position(|site| site.names.iter().any(|name| name == host));
        exact.or_else(|| {
            let (_, parent) = host.split_once('.')?;
            let is_wild = |name: &String| name.strip_prefix("*.") == Some(parent);
            self.sites.iter().position(|site| site.names.iter().any(is_wild))
        })
    }
}
