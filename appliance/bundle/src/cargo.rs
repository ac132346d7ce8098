//! Cargo: both parts of a bundle in one file or one boot module.

use crate::Broken;
use crate::code::{Reader, read_all};

const MAGIC: &[u8; 16] = b"GATEHOUSE-CARGO1";

/// The secret part begins at a multiple of this, so that the public part can be mapped without it.
pub const PAGE: usize = 4096;

/// The length of what stands behind both parts.
pub const TRAILER: usize = 64;

/// What the launcher gives for the image's layout, fresh for each boot; zeros in a file.
pub type LayoutSeed = [u8; 32];

/// Where the parts of a cargo lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cargo {
    /// The length of the public part, which begins at 0.
    pub public: usize,
    /// Where the secret part begins.
    pub secret_at: usize,
    /// The length of the secret part, which the trailer follows.
    pub secret: usize,
    /// The layout seed.
    pub seed: LayoutSeed,
}

/// Both parts in one piece. For large bundles write the parts one after the other: public part, zeros to a
/// multiple of [`PAGE`], secret part, [`trailer`].
#[must_use]
pub fn cargo(public: &[u8], secret: &[u8], seed: &LayoutSeed) -> Vec<u8> {
    let mut cargo = public.to_vec();
    cargo.resize(public.len().next_multiple_of(PAGE), 0);
    cargo.extend_from_slice(secret);
    cargo.extend_from_slice(&trailer(public.len(), secret.len(), seed));
    cargo
}

/// What stands behind both parts.
#[must_use]
pub fn trailer(public: usize, secret: usize, seed: &LayoutSeed) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    let fields = MAGIC.iter().copied();
    let fields = fields.chain((public as u64).to_le_bytes()).chain((secret as u64).to_le_bytes());
    trailer.iter_mut().zip(fields.chain(*seed)).for_each(|(to, from)| *to = from);
    trailer
}

/// Where the parts of a cargo of `length` bytes lie, by its last [`TRAILER`] bytes.
///
/// # Errors
/// When the bytes are not a cargo's trailer or do not fit its length.
pub fn unload(trailer: &[u8], length: u64) -> Result<Cargo, Broken> {
    let mut reader = Reader(trailer);
    if reader.take(MAGIC.len()) != Ok(MAGIC) {
        return Err(Broken::Stranger);
    }
    let mut number =
        || read_all::<u64>(reader.take(8)?).and_then(|n| usize::try_from(n).map_err(|_| Broken::Short));
    let (public, secret) = (number()?, number()?);
    let seed = reader.array()?;
    let secret_at = public.checked_next_multiple_of(PAGE).ok_or(Broken::Short)?;
    let whole =
        secret_at.checked_add(secret).and_then(|end| end.checked_add(TRAILER)).ok_or(Broken::Short)?;
    if whole as u64 != length || !reader.0.is_empty() {
        return Err(Broken::Short);
    }
    Ok(Cargo { public, secret_at, secret, seed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_loaded_is_unloaded() {
        for (public, secret) in [(0, 0), (1, 1), (4096, 5), (4097, 4096)] {
            let (public, secret) = (vec![1; public], vec![2; secret]);
            let cargo = cargo(&public, &secret, &[7; 32]);
            let parts = unload(&cargo[cargo.len() - TRAILER..], cargo.len() as u64).unwrap();
            assert_eq!(&cargo[..parts.public], &public);
            assert_eq!(&cargo[parts.secret_at..][..parts.secret], &secret);
            assert_eq!((parts.secret_at % PAGE, parts.seed), (0, [7; 32]));
        }
    }

    #[test]
    fn a_trailer_that_lies_about_its_cargo_is_refused() {
        let good = trailer(5, 6, &[0; 32]);
        assert!(unload(&good, 4096 + 6 + 64).is_ok());
        for length in [0, 64, 4096 + 5 + 64, 4096 + 7 + 64, u64::MAX] {
            assert_eq!(unload(&good, length), Err(Broken::Short));
        }
        assert_eq!(unload(&good[..63], 4166), Err(Broken::Nonsense("configuration")));
        assert_eq!(unload(&trailer(usize::MAX, 1, &[0; 32]), 64), Err(Broken::Short));
        assert_eq!(unload(&trailer(1, usize::MAX, &[0; 32]), 64), Err(Broken::Short));
        assert_eq!(unload(&[0; 64], 64), Err(Broken::Stranger));
    }
}
