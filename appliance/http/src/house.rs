//! The house: its sites, and where their pages lie.

use crate::books::Books;
use crate::crowd::Crowd;
use crate::dress::Dress;
use crate::figures::Figures;
use crate::limits::Limits;
use crate::relay::Relay;
use bundle::{Bundle, Coding, Estate, Network};
use bytes::Bytes;
use std::rc::Rc;
use tasks::{Bell, Tasks};

/// All that is served.
#[derive(Clone)]
pub struct House {
    /// The sites, in the order of the bundle.
    pub sites: Vec<Site>,
    /// The site for clients that name none.
    pub default_site: Option<usize>,
    /// What one connection may take.
    pub limits: Limits,
    /// The port at which the world reaches HTTPS: where redirects lead.
    pub https_port: u16,
    /// Pages are shown over plain HTTP too, instead of the way to HTTPS: where nothing is secret and nobody can know the
    /// certificate beforehand.
    pub plainly: bool,
    /// Whose word counts on whose behalf it asks.
    pub trusted: Vec<Network>,
    /// Who knows the live figures.
    pub figures: Option<Rc<dyn Figures>>,
    /// Who keeps the books.
    pub books: Option<Rc<dyn Books>>,
    /// Who counts what is under way for each source.
    pub crowd: Option<Rc<Crowd>>,
    /// What those hear who are in it.
    pub notice: Notice,
}

/// What the house lets those know who are in it. Nobody is cut off.
#[derive(Clone, Default)]
pub struct Notice {
    /// Another house takes this one's place: each connection ends after the answer that it gets next.
    pub moving: Bell,
    /// The house closes: those who ask for nothing leave at once, too.
    pub closing: Bell,
    /// Connections that were taken over end: they have no last answer after which they could.
    pub parting: Bell,
}

impl Notice {
    /// Closes the house.
    pub fn close(&self) {
        self.moving.ring();
        self.closing.ring();
    }

    /// The notice of the house that takes this one's place: whoever stays behind hears, too, when that one closes.
    #[must_use]
    pub fn of_the_next(&self) -> Self {
        Self { moving: Bell::default(), ..self.clone() }
    }
}

/// One site.
#[derive(Clone)]
pub struct Site {
    /// Its pages.
    pub shelf: Rc<dyn Shelf>,
    /// Its names and its rules.
    pub words: bundle::Site,
    /// Who answers in its place, and for which paths.
    pub relays: Vec<Rc<Relay>>,
    pub(crate) dress: Dress,
}

impl Site {
    /// A site that answers everything itself.
    #[must_use]
    pub fn new(words: bundle::Site, shelf: Rc<dyn Shelf>) -> Self {
        let dress = Dress::of(&words);
        Self { shelf, words, relays: Vec::new(), dress }
    }
}

/// Where the pages of a site lie.
pub trait Shelf {
    /// What lies at `path`, which begins with a slash and is decoded. No path leads out of the shelf.
    fn find(&self, path: &str) -> Found;

    /// The same for a request with words behind a question mark; most shelves have no ear for them.
    fn asked(&self, path: &str, _query: &str) -> Found {
        self.find(path)
    }
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
    /// When it was last changed, in seconds since 1970.
    pub modified: Option<u64>,
    /// The page as it is.
    pub identity: Variant,
    /// Its smaller encodings.
    pub smaller: Vec<Variant>,
}

/// One encoding of a page.
#[derive(Clone)]
pub struct Variant {
    /// How it is encoded.
    pub coding: Coding,
    /// Differs between any two contents and any two codings; none for what is never the same twice.
    pub tag: Option<[u8; 16]>,
    /// Where its bytes are.
    pub source: Source,
}

/// Where bytes are.
#[derive(Clone)]
pub enum Source {
    /// Here.
    Held(Bytes),
    /// In a bundle, which verifies them as they are read.
    Packed(Rc<Bundle>, bundle::Variant),
}

impl Source {
    /// How many bytes there are.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Packed(_, variant) => variant.length,
        }
    }
}

impl Leaf {
    /// A page that is made for one answer.
    #[must_use]
    pub fn fleeting(kind: &str, bytes: impl Into<Bytes>) -> Self {
        let identity = Variant { coding: Coding::Identity, tag: None, source: Source::Held(bytes.into()) };
        Self { kind: kind.into(), modified: None, identity, smaller: Vec::new() }
    }

    /// Every encoding.
    pub fn variants(&self) -> impl Iterator<Item = &Variant> {
        core::iter::once(&self.identity).chain(&self.smaller)
    }
}

impl House {
    /// The house that a bundle describes. Its relays are still to be added to its sites: they need somebody who dials.
    #[must_use]
    pub fn of(bundle: Rc<Bundle>) -> Self {
        let Estate { default_site, https_port, limits, trusted, sites, .. } = bundle.estate().clone();
        let shelf = |site| -> Rc<dyn Shelf> { Rc::new(Packed { bundle: bundle.clone(), site }) };
        let site = |(place, words)| Site::new(words, shelf(place));
        Self {
            sites: sites.into_iter().enumerate().map(site).collect(),
            default_site: default_site.and_then(|site| usize::try_from(site).ok()),
            limits: limits.into(),
            https_port,
            plainly: false,
            trusted,
            figures: None,
            books: None,
            crowd: None,
            notice: Notice::default(),
        }
    }

    /// A life begins: what relays kept of an earlier one is forgotten.
    pub fn begin(&self, tasks: &Tasks) {
        self.sites.iter().flat_map(|site| &site.relays).for_each(|relay| relay.begin(tasks));
    }

    /// The site of that name; exact names come before wildcards.
    #[must_use]
    pub fn site_named(&self, host: &str) -> Option<usize> {
        let place =
            |name: &str| self.sites.iter().position(|site| site.words.names.iter().any(|n| n == name));
        place(host).or_else(|| place(&format!("*.{}", host.split_once('.')?.1)))
    }
}

/// The pages of one site of a bundle.
struct Packed {
    bundle: Rc<Bundle>,
    site: usize,
}

impl Shelf for Packed {
    fn find(&self, path: &str) -> Found {
        match self.bundle.find(self.site, path) {
            bundle::Found::Leaf(leaf) => self.leaf(&leaf).map_or(Found::Nothing, Found::Page),
            bundle::Found::Folder => Found::Folder,
            bundle::Found::Nothing => Found::Nothing,
        }
    }
}

impl Packed {
    fn leaf(&self, leaf: &bundle::Leaf<'_>) -> Option<Leaf> {
        let mut variants = self.bundle.variants(leaf).map(|variant| Variant {
            coding: variant.coding,
            tag: Some(variant.tag),
            source: Source::Packed(self.bundle.clone(), variant),
        });
        let identity = variants.next()?;
        let smaller = variants.collect();
        Some(Leaf { kind: leaf.kind.into(), modified: Some(leaf.modified), identity, smaller })
    }
}
