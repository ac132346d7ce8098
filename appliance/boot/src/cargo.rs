//! What the launcher packed into the PVH module: `public, zeros up to a page, secret, trailer`.
//!
//! Without a valid trailer the whole module is public: nothing in it is ever taken for a secret by guess.

use crate::bytes::{le64, seed_at};

/// The page that the secret part starts on its own of.
const PAGE: u64 = 4096;
const TRAILER: usize = 64;
const MAGIC: &[u8; 16] = b"GATEHOUSE-CARGO1";

/// The parts of a module, as offsets into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) public: usize,
    pub(crate) secret: (usize, usize),
    pub(crate) seed: Option<[u8; 32]>,
}

impl Parts {
    pub(crate) fn of(module: &[u8]) -> Self {
        sealed(module).unwrap_or(Self { public: module.len(), secret: (0, 0), seed: None })
    }
}

fn sealed(module: &[u8]) -> Option<Parts> {
    let body = module.len().checked_sub(TRAILER)?;
    let trailer = module.get(body..)?;
    if !trailer.starts_with(MAGIC) {
        return None;
    }
    let (public, secret) = (le64(trailer, 16)?, le64(trailer, 24)?);
    let start = public.checked_next_multiple_of(PAGE)?;
    let end = start.checked_add(secret)?;
    (end == body as u64).then_some(Parts {
        public: usize::try_from(public).ok()?,
        secret: (usize::try_from(start).ok()?, usize::try_from(secret).ok()?),
        seed: seed_at(trailer, 32),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(public: &[u8], secret: &[u8], lengths: (u64, u64)) -> Vec<u8> {
        let mut module = public.to_vec();
        module.resize(module.len().next_multiple_of(4096), 0);
        module.extend(secret);
        module.extend(MAGIC);
        module.extend(lengths.0.to_le_bytes());
        module.extend(lengths.1.to_le_bytes());
        module.extend([9; 32]);
        module
    }

    #[test]
    fn every_length_comes_back_as_it_was_packed() {
        for public in [0, 1, 4095, 4096, 4097, 10_000] {
            for secret in [0, 1, 4096, 5_000] {
                let module = pack(&vec![1; public], &vec![2; secret], (public as u64, secret as u64));
                let parts = Parts::of(&module);
                assert_eq!((parts.public, parts.secret.1), (public, secret));
                assert_eq!(parts.secret.0 % 4096, 0);
                assert!(module[parts.secret.0..][..secret].iter().all(|byte| *byte == 2));
                assert_eq!(parts.seed, Some([9; 32]));
            }
        }
    }

    #[test]
    fn a_module_whose_lengths_do_not_add_up_is_all_public() {
        for lengths in
            [(3, 5), (3, 3), (5_000, 4), (0, 4), (u64::MAX, 5), (u64::MAX - 4095, 0), (3, u64::MAX)]
        {
            let module = pack(b"abc", b"wxyz", lengths);
            assert_eq!(Parts::of(&module), Parts { public: module.len(), secret: (0, 0), seed: None });
        }
    }

    #[test]
    fn a_module_without_a_whole_trailer_is_all_public() {
        let whole = pack(b"abc", b"wxyz", (3, 4));
        assert_eq!(Parts::of(&whole).public, 3);
        for cut in 1..whole.len() {
            let (front, back) = (&whole[..whole.len() - cut], &whole[cut..]);
            assert_eq!(Parts::of(front), Parts { public: front.len(), secret: (0, 0), seed: None });
            assert_eq!(Parts::of(back), Parts { public: back.len(), secret: (0, 0), seed: None });
        }
        assert_eq!(Parts::of(&[]).public, 0);
    }
}
