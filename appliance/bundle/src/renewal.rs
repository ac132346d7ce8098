//! A renewal: a bundle that takes another one's place and shares with it what is the same.
//!
//! It begins with the index alone. Chunks whose digest the present bundle has are taken from there, without being
//! copied; the others are wanted, come in the order of their numbers, and each is verified before it counts.

use crate::index::Bundle;
use crate::{Broken, CHUNK};
use bytes::Bytes;
use core::cell::Cell;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// A bundle that is not whole yet.
pub struct Renewal {
    index: Bytes,
    digests: Vec<[u8; 32]>,
    places: Vec<(usize, usize)>,
    pieces: Vec<Bytes>,
    seen: Vec<Cell<Option<bool>>>,
    /// The numbers of the chunks that are wanted, and how many of them have come.
    missing: Vec<usize>,
    come: usize,
    /// The chunk that is coming.
    coming: Vec<u8>,
}

impl Renewal {
    /// Begins with an index and its seal, in the place of `present`.
    ///
    /// # Errors
    /// When the index is not what was packed.
    pub fn open(index: Bytes, present: Option<&Bundle>) -> Result<Self, Broken> {
        let bundle = Bundle::of_pieces(index.clone(), Vec::new(), Vec::new())?;
        let places = bundle.places()?;
        let digests: Vec<[u8; 32]> =
            (0..places.len()).map(|number| bundle.digest(number).unwrap_or_default()).collect();
        let here = present.map_or(Ok(HashMap::new()), known)?;
        let found = |(number, (_, length)): (usize, &(usize, usize))| {
            let here = here.get(digests.get(number)?)?;
            (here.len() == *length).then(|| here.clone())
        };
        let found: Vec<Option<Bytes>> = places.iter().enumerate().map(found).collect();
        let wanted = |(number, found): (usize, &Option<Bytes>)| {
            let length = places.get(number).map_or(0, |(_, length)| *length);
            (found.is_none() && length > 0).then_some(number)
        };
        let missing = found.iter().enumerate().filter_map(wanted).collect();
        let pieces: Vec<Bytes> = found.into_iter().map(Option::unwrap_or_default).collect();
        let seen = vec![Cell::new(None); pieces.len()];
        Ok(Self { index, digests, places, pieces, seen, missing, come: 0, coming: Vec::new() })
    }

    /// The chunks that are wanted: from which number on, and how many.
    pub fn missing(&self) -> impl Iterator<Item = (u32, u32)> {
        let mut spans: Vec<(u32, u32)> = Vec::new();
        for number in self.missing.iter().filter_map(|number| u32::try_from(*number).ok()) {
            match spans.last_mut() {
                Some((first, count)) if first.checked_add(*count) == Some(number) => *count += 1,
                _ => spans.push((number, 1)),
            }
        }
        spans.into_iter()
    }

    /// How many bytes are wanted.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.missing.iter().map(|number| self.place(*number).1).sum()
    }

    /// Where a chunk lies in contents that are whole, and how long it is.
    #[must_use]
    pub fn place(&self, number: usize) -> (usize, usize) {
        self.places.get(number).copied().unwrap_or_default()
    }

    /// Nothing is wanted any more.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.come >= self.missing.len()
    }

    /// Takes bytes of what is wanted, one chunk behind the other, however they are cut.
    ///
    /// # Errors
    /// When a chunk is not the one that was packed, or nothing is wanted.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            let number = *self.missing.get(self.come).ok_or(Broken::Nonsense("end, which comes too late"))?;
            let (_, length) = self.place(number);
            if self.coming.is_empty() {
                self.coming.reserve_exact(length.min(CHUNK));
            }
            let (now, rest) = bytes.split_at(bytes.len().min(length.saturating_sub(self.coming.len())));
            self.coming.extend_from_slice(now);
            bytes = rest;
            if self.coming.len() == length {
                self.keep(number)?;
            }
        }
        Ok(())
    }

    /// A chunk is whole.
    fn keep(&mut self, number: usize) -> Result<(), Broken> {
        let chunk = core::mem::take(&mut self.coming);
        if self.digests.get(number).map(<[u8; 32]>::as_slice) != Some(Sha256::digest(&chunk).as_slice()) {
            return Err(Broken::Changed("file"));
        }
        if let (Some(piece), Some(seen)) = (self.pieces.get_mut(number), self.seen.get(number)) {
            *piece = chunk.into();
            seen.set(Some(true));
        }
        self.come += 1;
        Ok(())
    }

    /// The bundle.
    ///
    /// # Errors
    /// When something is still wanted.
    pub fn done(self) -> Result<Bundle, Broken> {
        if self.is_whole() {
            Bundle::of_pieces(self.index, self.pieces, self.seen)
        } else {
            Err(Broken::Short)
        }
    }
}

/// Every chunk of a bundle, by its digest.
fn known(bundle: &Bundle) -> Result<HashMap<[u8; 32], Bytes>, Broken> {
    let places = bundle.places()?.into_iter().enumerate();
    let chunk = |(number, place)| Some((bundle.digest(number)?, bundle.chunk(number, place)?));
    Ok(places.filter_map(chunk).collect())
}
