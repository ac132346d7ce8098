//! The index, read where it lies: fixed records over the bundle's own bytes, every number checked at opening.

use crate::code::{Coded as _, Reader, read_all, written};
use crate::estate::{Coding, Estate};
use crate::packer::seal;
use crate::{Broken, CHUNK};
use bytes::Bytes;
use core::cell::Cell;
use sha2::{Digest, Sha256};

pub(crate) const MAGIC: &[u8; 16] = b"GATEHOUSE-BUNDLE";
pub(crate) const VERSION: u64 = 2;
/// The length of the seal, with which an index ends.
pub const SEAL: usize = 64;
pub(crate) const DIGEST: usize = 32;
/// Where the hash stands in a seal.
const HASH_AT: usize = SEAL - DIGEST;
/// The numbers of tables behind the length of the estate.
const COUNTS: usize = 5 * 8;
const SHELF: usize = 16;
const LEAF: usize = 32;
const VARIANT: usize = 48;

/// An opened bundle.
pub struct Bundle {
    contents: Contents,
    /// The index and its seal.
    index: Bytes,
    estate: Estate,
    tables: Tables,
    /// One per chunk: whether its bytes are those that were packed. Nobody has looked yet at most of them.
    seen: Vec<Cell<Option<bool>>>,
}

/// Where the contents are.
enum Contents {
    /// One behind the other, in front of the index.
    Whole(Bytes),
    /// Each chunk by itself, by the number of its digest: what is the same in two bundles is there once.
    Pieces(Vec<Bytes>),
}

/// Where each table lies in the index, and how many records it has.
#[derive(Clone, Copy)]
pub(crate) struct Tables {
    shelves: Table,
    leaves: Table,
    variants: Table,
    pub(crate) digests: Table,
    names: Table,
    /// Where the contents end.
    contents: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct Table {
    at: usize,
    pub(crate) count: usize,
    size: usize,
}

/// A page of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Its path, with the slash in front.
    pub path: &'a str,
    /// Its media type.
    pub kind: &'a str,
    /// When it was last changed, in seconds since 1970.
    pub modified: u64,
    first: usize,
    count: usize,
}

/// One encoding of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// How it is encoded.
    pub coding: Coding,
    /// Its length.
    pub length: u64,
    /// Differs between any two contents and any two codings.
    pub tag: [u8; 16],
    offset: usize,
    digest: usize,
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A page.
    Leaf(Leaf<'a>),
    /// Pages lie below it.
    Folder,
    /// Nothing.
    Nothing,
}

impl Bundle {
    /// Opens the public part of a bundle. The index is verified now, contents when they are first read.
    ///
    /// # Errors
    /// When the bytes are not a bundle, or not the one that was packed.
    pub fn open(public: Bytes) -> Result<Self, Broken> {
        let length = index_length(public.get(public.len().saturating_sub(SEAL)..).unwrap_or_default())?;
        let start = public.len().checked_sub(length).ok_or(Broken::Short)?;
        let index = public.slice(start..);
        Self::sealed(index, Contents::Whole(public.slice(..start)), start)
    }

    /// What it is made of, so that it can be let go piece by piece: to wipe all of a large one takes a while.
    #[must_use]
    pub fn into_pieces(self) -> Vec<Bytes> {
        match self.contents {
            Contents::Whole(bytes) => vec![bytes],
            Contents::Pieces(pieces) => pieces,
        }
    }

    /// The bundle of this index, whose chunks are `pieces`. Those that `seen` knows are good.
    pub(crate) fn of_pieces(
        index: Bytes,
        pieces: Vec<Bytes>,
        seen: Vec<Cell<Option<bool>>>,
    ) -> Result<Self, Broken> {
        Ok(Self { seen, ..Self::sealed(index, Contents::Pieces(pieces), usize::MAX)? })
    }

    fn sealed(index: Bytes, contents: Contents, start: usize) -> Result<Self, Broken> {
        let (words, seal) =
            index.split_at_checked(index.len().saturating_sub(SEAL)).ok_or(Broken::Stranger)?;
        if index_length(seal)? != index.len() {
            return Err(Broken::Short);
        }
        if Some(Sha256::digest(words).as_slice()) != seal.get(HASH_AT..) {
            return Err(Broken::Changed("index"));
        }
        let (estate, tables) = Tables::read(words, start)?;
        let seen = vec![Cell::new(None); tables.digests.count];
        let bundle = Self { contents, index, estate, tables, seen };
        bundle.check().map(|()| bundle)
    }

    /// Where each chunk lies in contents that are whole, and how long it is, by the number of its digest.
    ///
    /// # Errors
    /// When two files say differently of one.
    pub(crate) fn places(&self) -> Result<Vec<(usize, usize)>, Broken> {
        let mut places = vec![(0, 0); self.tables.digests.count];
        for variant in (0..self.tables.variants.count).filter_map(|at| self.variant(at)) {
            let length = usize::try_from(variant.length).map_err(|_| VARIANTS)?;
            for (number, at) in (0..length).step_by(CHUNK).enumerate() {
                let place = (variant.offset.saturating_add(at), CHUNK.min(length.saturating_sub(at)));
                let known = places.get_mut(variant.digest.saturating_add(number)).ok_or(VARIANTS)?;
                if known.1 != 0 && *known != place {
                    return Err(VARIANTS);
                }
                *known = place;
            }
        }
        Ok(places)
    }

    /// The digest of that number.
    pub(crate) fn digest(&self, number: usize) -> Option<[u8; DIGEST]> {
        self.tables.digests.record(&self.index, number)?.try_into().ok()
    }

    /// The bytes of that chunk, which lies there if the contents are whole.
    pub(crate) fn chunk(&self, number: usize, (at, length): (usize, usize)) -> Option<Bytes> {
        let chunk = match &self.contents {
            Contents::Whole(bytes) => {
                let end = at.checked_add(length).filter(|end| *end <= bytes.len())?;
                bytes.slice(at..end)
            }
            Contents::Pieces(pieces) => pieces.get(number)?.clone(),
        };
        (chunk.len() == length).then_some(chunk)
    }

    /// What an operator wanted, by the index of a bundle alone.
    ///
    /// # Errors
    /// When it is not what was packed.
    pub fn estate_of(index: Bytes) -> Result<Estate, Broken> {
        Ok(Self::of_pieces(index, Vec::new(), Vec::new())?.estate)
    }

    /// What the operator wants.
    #[must_use]
    pub fn estate(&self) -> &Estate {
        &self.estate
    }

    /// What the secret part must name to belong to this bundle.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Self::fingerprint_of(&self.index).unwrap_or_default()
    }

    /// The fingerprint of the bundle that ends with these bytes: its index and seal, as
    /// [`crate::Packer::finish`] gave them.
    ///
    /// # Errors
    /// When they are too short.
    pub fn fingerprint_of(end: &[u8]) -> Result<[u8; 32], Broken> {
        let seal = end.len().checked_sub(SEAL).and_then(|at| end.get(at..)).ok_or(Broken::Short)?;
        Ok(Sha256::digest(seal).into())
    }

    /// What lies at `path` of the site at that place.
    #[must_use]
    pub fn find(&self, site: usize, path: &str) -> Found<'_> {
        let Some((first, count)) = self.shelf(site) else { return Found::Nothing };
        let at = lower_bound(first, count, |at| self.path(at) < path);
        match self.leaf(at).filter(|leaf| at < first.saturating_add(count) && leaf.path == path) {
            Some(leaf) => Found::Leaf(leaf),
            None if self.has_below(first, count, path) => Found::Folder,
            None => Found::Nothing,
        }
    }

    /// Every page of the site at that place, in the order of their paths.
    pub fn leaves(&self, site: usize) -> impl Iterator<Item = Leaf<'_>> {
        let (first, count) = self.shelf(site).unwrap_or_default();
        (first..first.saturating_add(count)).filter_map(|at| self.leaf(at))
    }

    /// The encodings of a page of this bundle: the identity, and those that are smaller.
    pub fn variants(&self, leaf: &Leaf<'_>) -> impl Iterator<Item = Variant> {
        (leaf.first..leaf.first.saturating_add(leaf.count)).filter_map(|at| self.variant(at))
    }

    /// The bytes of a variant from `at` to the end of its chunk, verified and not copied. Empty at the end.
    ///
    /// # Errors
    /// When the chunk is not the one that was packed.
    pub fn read(&self, variant: &Variant, at: u64) -> Result<Bytes, Broken> {
        let Some(at) = usize::try_from(at).ok().filter(|at| (*at as u64) < variant.length) else {
            return Ok(Bytes::new());
        };
        let length = usize::try_from(variant.length).unwrap_or(usize::MAX);
        let (number, within) = (at / CHUNK, at % CHUNK);
        let from = number.saturating_mul(CHUNK);
        let place = (variant.offset.saturating_add(from), CHUNK.min(length.saturating_sub(from)));
        let number = variant.digest.saturating_add(number);
        let chunk = self.chunk(number, place).ok_or(Broken::Short)?;
        if !self.is_good(number, &chunk) {
            return Err(Broken::Changed("file"));
        }
        Ok(chunk.slice(within..))
    }

    /// Verified now, or before.
    fn is_good(&self, digest: usize, chunk: &[u8]) -> bool {
        let Some(seen) = self.seen.get(digest) else { return false };
        seen.get().unwrap_or_else(|| {
            let good = self.tables.digests.record(&self.index, digest) == Some(&Sha256::digest(chunk));
            seen.set(Some(good));
            good
        })
    }

    fn has_below(&self, first: usize, count: usize, path: &str) -> bool {
        let folder = path.strip_suffix('/').unwrap_or(path);
        let before = |at| self.path(at).bytes().lt(folder.bytes().chain([b'/']));
        let at = lower_bound(first, count, before);
        let below = self.path(at).strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        at < first.saturating_add(count) && below
    }

    fn shelf(&self, site: usize) -> Option<(usize, usize)> {
        let mut record = Reader(self.tables.shelves.record(&self.index, site)?);
        Some((number(&mut record).ok()?, number(&mut record).ok()?))
    }

    fn path(&self, at: usize) -> &str {
        self.leaf(at).map_or("", |leaf| leaf.path)
    }

    fn leaf(&self, at: usize) -> Option<Leaf<'_>> {
        let mut record = Reader(self.tables.leaves.record(&self.index, at)?);
        let path = self.name(&mut record)?;
        let kind = self.name(&mut record)?;
        let modified = read_all(record.take(8).ok()?).ok()?;
        let (first, count) = (small(&mut record)?, small(&mut record)?);
        Some(Leaf { path, kind, modified, first, count })
    }

    fn name(&self, record: &mut Reader<'_>) -> Option<&str> {
        let (at, length) = (small(record)?, small(record)?);
        let names = self.index.get(self.tables.names.at..)?.get(..self.tables.names.count)?;
        core::str::from_utf8(names.get(at..)?.get(..length)?).ok()
    }

    fn variant(&self, at: usize) -> Option<Variant> {
        let mut record = Reader(self.tables.variants.record(&self.index, at)?);
        let coding = *Coding::ALL.get(number(&mut record).ok()?)?;
        let offset = number(&mut record).ok()?;
        let length = number(&mut record).ok()? as u64;
        let digest = number(&mut record).ok()?;
        Some(Variant { coding, length, tag: record.array().ok()?, offset, digest })
    }
}

/// What is checked once, so that it need not be believed later.
impl Bundle {
    fn check(&self) -> Result<(), Broken> {
        if self.tables.shelves.count != self.estate.sites.len() {
            return Err(Broken::Nonsense("list of sites"));
        }
        let default = self.estate.default_site.map(|site| usize::try_from(site).unwrap_or(usize::MAX));
        if default.is_some_and(|site| site >= self.estate.sites.len()) {
            return Err(Broken::Nonsense("default site"));
        }
        self.check_shelves().and_then(|()| self.check_leaves()).and_then(|()| self.check_variants())
    }

    /// The shelves share out all leaves, one behind the other; on each the paths ascend.
    fn check_shelves(&self) -> Result<(), Broken> {
        let mut next = 0usize;
        for site in 0..self.tables.shelves.count {
            let (first, count) = self.shelf(site).filter(|(first, _)| *first == next).ok_or(SHELVES)?;
            next =
                first.checked_add(count).filter(|next| *next <= self.tables.leaves.count).ok_or(SHELVES)?;
            let ascends = |at: usize| self.path(at.saturating_sub(1)) < self.path(at);
            if !(first.saturating_add(1)..next).all(ascends) {
                return Err(SHELVES);
            }
        }
        if next == self.tables.leaves.count { Ok(()) } else { Err(SHELVES) }
    }

    /// The leaves share out all variants; the first of each is the identity.
    fn check_leaves(&self) -> Result<(), Broken> {
        let mut next = 0usize;
        for at in 0..self.tables.leaves.count {
            let leaf = self.leaf(at).filter(|leaf| leaf.first == next && leaf.count > 0).ok_or(LEAVES)?;
            next = next
                .checked_add(leaf.count)
                .filter(|next| *next <= self.tables.variants.count)
                .ok_or(LEAVES)?;
            let mut codings = self.variants(&leaf).map(|variant| variant.coding);
            if codings.next() != Some(Coding::Identity) || !codings.is_sorted_by(|one, two| one < two) {
                return Err(LEAVES);
            }
            if !leaf.path.starts_with('/') || leaf.path.split('/').any(|step| step == ".." || step == ".") {
                return Err(LEAVES);
            }
        }
        if next == self.tables.variants.count { Ok(()) } else { Err(LEAVES) }
    }

    /// Every variant lies in the contents and has a digest for each chunk.
    fn check_variants(&self) -> Result<(), Broken> {
        let whole = |at: usize| {
            let variant = self.variant(at)?;
            let length = usize::try_from(variant.length).ok()?;
            let end = variant.offset.checked_add(length).filter(|end| *end <= self.tables.contents);
            let last = variant.digest.checked_add(length.div_ceil(CHUNK));
            end.and(last.filter(|last| *last <= self.tables.digests.count))
        };
        if (0..self.tables.variants.count).all(|at| whole(at).is_some()) { Ok(()) } else { Err(VARIANTS) }
    }
}

const SHELVES: Broken = Broken::Nonsense("shelves");
const LEAVES: Broken = Broken::Nonsense("pages");
const VARIANTS: Broken = Broken::Nonsense("contents");
const TABLES: Broken = Broken::Nonsense("tables");

impl Tables {
    /// Reads an index, behind contents of so many bytes.
    fn read(index: &[u8], contents: usize) -> Result<(Estate, Self), Broken> {
        let mut reader = Reader(index);
        let mut counts = [0; 6];
        for count in &mut counts {
            *count = number(&mut reader)?;
        }
        let [estate, shelves, leaves, variants, digests, names] = counts;
        let estate = read_all(reader.take(estate)?)?;
        let whole = reader.0.len();
        let base = index.len().saturating_sub(whole);
        let mut at = base;
        let mut table = |count: usize, size: usize| {
            let table = Table { at, count, size };
            at = count.checked_mul(size).and_then(|length| at.checked_add(length))?;
            (at <= base.saturating_add(whole)).then_some(table)
        };
        let tables = Self {
            shelves: table(shelves, SHELF).ok_or(TABLES)?,
            leaves: table(leaves, LEAF).ok_or(TABLES)?,
            variants: table(variants, VARIANT).ok_or(TABLES)?,
            digests: table(digests, DIGEST).ok_or(TABLES)?,
            names: table(names, 1).ok_or(TABLES)?,
            contents,
        };
        if at == base.saturating_add(whole) { Ok((estate, tables)) } else { Err(TABLES) }
    }
}

impl Table {
    fn record<'a>(&self, public: &'a Bytes, at: usize) -> Option<&'a [u8]> {
        if at >= self.count {
            return None;
        }
        public.get(self.at.checked_add(at.checked_mul(self.size)?)?..)?.get(..self.size)
    }
}

/// How long the index is, with its seal, by its last 64 bytes.
///
/// # Errors
/// When they are no seal of this version.
pub fn index_length(seal: &[u8]) -> Result<usize, Broken> {
    let mut seal = Reader(seal);
    if seal.0.len() != SEAL || seal.take(MAGIC.len()) != Ok(MAGIC) {
        return Err(Broken::Stranger);
    }
    let (length, version) = (number(&mut seal)?, number(&mut seal)?);
    if version as u64 != VERSION {
        return Err(Broken::Version);
    }
    length.checked_add(SEAL).ok_or(Broken::Short)
}

/// The same index with other words of the operator's.
///
/// # Errors
/// When it is none.
pub fn with_estate(index: &[u8], estate: &Estate) -> Result<Vec<u8>, Broken> {
    let words = index.get(..index.len().saturating_sub(SEAL)).unwrap_or_default();
    let mut reader = Reader(words);
    let before = number(&mut reader)?;
    let counts = reader.take(COUNTS)?;
    reader.take(before)?;
    let estate = written(estate);
    let mut other = Vec::new();
    (estate.len() as u64).write(&mut other);
    other.extend_from_slice(counts);
    other.extend_from_slice(&estate);
    other.extend_from_slice(reader.0);
    let seal = seal(&other);
    other.extend(seal);
    Bundle::of_pieces(other.clone().into(), Vec::new(), Vec::new())?;
    Ok(other)
}

fn number(reader: &mut Reader<'_>) -> Result<usize, Broken> {
    usize::try_from(read_all::<u64>(reader.take(8)?)?).map_err(|_| TABLES)
}

fn small(reader: &mut Reader<'_>) -> Option<usize> {
    usize::try_from(read_all::<u32>(reader.take(4).ok()?).ok()?).ok()
}

/// The first place from `first` on, of `count`, for which `before` is false.
fn lower_bound(first: usize, count: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut left) = (first, count);
    while left > 0 {
        let half = left / 2;
        let middle = low.saturating_add(half);
        if before(middle) {
            low = middle.saturating_add(1);
            left = left.saturating_sub(half).saturating_sub(1);
        } else {
            left = half;
        }
    }
    low
}

#[cfg(test)]
mod tests;
