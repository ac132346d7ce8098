//! Packing: contents go out as they come, the index follows when all are out.
//!
//! The packer holds the index and nothing of the contents, so a bundle of a gigabyte is packed in little
//! memory. The same pages in the same order give the same bytes.

use crate::code::{Coded, written};
use crate::estate::{Coding, Estate};
use crate::index::{MAGIC, VERSION};
use crate::{Broken, CHUNK};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// The length and the digests of what was seen, chunk by chunk.
#[derive(Clone, Default)]
pub struct Measure {
    length: u64,
    chunk: Sha256,
    digests: Vec<[u8; 32]>,
}

/// What a [`Measure`] comes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Measured {
    /// How many bytes there were.
    pub length: u64,
    digests: Vec<[u8; 32]>,
}

/// One encoding of a page that lies in the contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    coding: Coding,
    offset: u64,
    what: Measured,
}

/// Makes the index of a bundle.
pub struct Packer {
    estate: Estate,
    /// Where the next content will lie.
    next: u64,
    placed: HashMap<Measured, u64>,
    shelves: Vec<Vec<Entry>>,
}

struct Entry {
    path: String,
    kind: String,
    modified: u64,
    variants: Vec<Placed>,
}

impl Measure {
    /// Sees more bytes.
    pub fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = usize::try_from(self.length % CHUNK as u64).unwrap_or(0);
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK.saturating_sub(within)));
            self.chunk.update(now);
            self.length = self.length.saturating_add(now.len() as u64);
            bytes = rest;
            if self.length.is_multiple_of(CHUNK as u64) {
                self.digests.push(self.chunk.finalize_reset().into());
            }
        }
    }

    /// There is no more.
    #[must_use]
    pub fn done(mut self) -> Measured {
        if !self.length.is_multiple_of(CHUNK as u64) {
            self.digests.push(self.chunk.finalize().into());
        }
        Measured { length: self.length, digests: self.digests }
    }

    /// Of bytes that are all there.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Measured {
        let mut measure = Self::default();
        measure.see(bytes);
        measure.done()
    }
}

impl Packer {
    /// A bundle of this estate, without pages.
    #[must_use]
    pub fn new(estate: Estate) -> Self {
        let shelves = estate.sites.iter().map(|_| Vec::new()).collect();
        Self { estate, next: 0, placed: HashMap::new(), shelves }
    }

    /// Finds a place for a content. True means that its bytes have to go out now; false that the same bytes
    /// already lie there.
    pub fn place(&mut self, coding: Coding, what: Measured) -> (Placed, bool) {
        let fresh = !self.placed.contains_key(&what);
        let offset = *self.placed.entry(what.clone()).or_insert(self.next);
        if fresh {
            self.next = self.next.saturating_add(what.length);
        }
        (Placed { coding, offset, what }, fresh)
    }

    /// Puts a page on a site's shelf: the identity and, in the order of [`Coding::ALL`], its other encodings.
    pub fn shelve(&mut self, site: usize, path: &str, kind: &str, modified: u64, variants: Vec<Placed>) {
        let (path, kind) = (path.to_owned(), kind.to_owned());
        if let Some(shelf) = self.shelves.get_mut(site) {
            shelf.push(Entry { path, kind, modified, variants });
        }
    }

    /// What goes out behind the contents: the index and the seal.
    ///
    /// # Errors
    /// When there is more than an index can hold.
    pub fn finish(mut self) -> Result<Vec<u8>, Broken> {
        let mut tables = Columns::default();
        for shelf in &mut self.shelves {
            shelf.sort_by(|one, two| one.path.cmp(&two.path));
            tables.shelve(shelf)?;
        }
        let mut index = Vec::new();
        let estate = written(&self.estate);
        for count in [estate.len(), self.shelves.len(), tables.leaf_count, tables.variant_count] {
            (count as u64).write(&mut index);
        }
        (tables.digest_count as u64).write(&mut index);
        (tables.names.len() as u64).write(&mut index);
        let Columns { shelves, leaves, variants, digests, names, .. } = tables;
        for part in [estate, shelves, leaves, variants, digests, names] {
            index.extend(part);
        }
        let seal = seal(&index);
        index.extend(seal);
        Ok(index)
    }
}

/// The tables of an index as they grow.
#[derive(Default)]
struct Columns {
    shelves: Vec<u8>,
    leaves: Vec<u8>,
    leaf_count: usize,
    variants: Vec<u8>,
    variant_count: usize,
    digests: Vec<u8>,
    digest_count: usize,
    names: Vec<u8>,
    known: HashMap<String, usize>,
}

const FULL: Broken = Broken::Nonsense("number of files, which is too large");

impl Columns {
    fn shelve(&mut self, shelf: &[Entry]) -> Result<(), Broken> {
        (self.leaf_count as u64).write(&mut self.shelves);
        (shelf.len() as u64).write(&mut self.shelves);
        shelf.iter().try_for_each(|entry| self.leaf(entry))
    }

    fn leaf(&mut self, entry: &Entry) -> Result<(), Broken> {
        self.name(&entry.path)?;
        self.name(&entry.kind)?;
        entry.modified.write(&mut self.leaves);
        small(self.variant_count, &mut self.leaves)?;
        small(entry.variants.len(), &mut self.leaves)?;
        self.leaf_count = self.leaf_count.saturating_add(1);
        entry.variants.iter().for_each(|placed| self.variant(placed));
        Ok(())
    }

    /// A name is written once, however often it is used.
    fn name(&mut self, name: &str) -> Result<(), Broken> {
        let fresh = self.names.len();
        let at = *self.known.entry(name.to_owned()).or_insert(fresh);
        if at == fresh {
            self.names.extend_from_slice(name.as_bytes());
        }
        small(at, &mut self.leaves)?;
        small(name.len(), &mut self.leaves)
    }

    fn variant(&mut self, placed: &Placed) {
        (placed.coding as u64).write(&mut self.variants);
        placed.offset.write(&mut self.variants);
        placed.what.length.write(&mut self.variants);
        (self.digest_count as u64).write(&mut self.variants);
        self.variants.extend(tag(placed));
        self.digests.extend(placed.what.digests.iter().flatten());
        self.variant_count = self.variant_count.saturating_add(1);
        self.digest_count = self.digest_count.saturating_add(placed.what.digests.len());
    }
}

fn small(number: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
    u32::try_from(number).map(|number| number.write(out)).map_err(|_| FULL)
}

/// What differs between any two contents and any two codings.
fn tag(placed: &Placed) -> impl Iterator<Item = u8> {
    let mut hash = Sha256::new();
    hash.update([placed.coding as u8]);
    placed.what.digests.iter().for_each(|digest| hash.update(digest));
    let hash: [u8; 32] = hash.finalize().into();
    hash.into_iter().take(16)
}

pub(crate) fn seal(index: &[u8]) -> Vec<u8> {
    let mut seal = MAGIC.to_vec();
    (index.len() as u64).write(&mut seal);
    VERSION.write(&mut seal);
    seal.extend_from_slice(&Sha256::digest(index));
    seal
}
