//! Private keys that nobody has told the test, found by what they do: a number that gives a known public key is the
//! private one, wherever it lies and in whatever form.

use crate::memory::Run;
use crate::numbers::{ORDER, big, fits, inverse, montgomery, read, times};
use memchr::memmem;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING as ECDSA, EcdsaKeyPair};
use std::collections::{BTreeSet, HashSet};

/// What stands before a public key of P-256 in every certificate.
const BEFORE: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// A private key that lies somewhere.
#[derive(Debug)]
pub struct Found {
    /// Its public half.
    pub public: Vec<u8>,
    /// How it lies there.
    pub form: &'static str,
    /// Where.
    pub at: u64,
}

/// How ring keeps a key: the only form in which one may be anywhere.
pub const AS_RING_HAS_IT: &str = "Montgomery's form";

/// The public keys of P-256 in some bytes that hold certificates.
#[must_use]
pub fn public_keys(bytes: &[u8]) -> BTreeSet<Vec<u8>> {
    let key = |at: usize| bytes.get(at + BEFORE.len()..)?.get(..65).map(<[u8]>::to_vec);
    memmem::find_iter(bytes, BEFORE).filter_map(key).collect()
}

/// Every private key in memory that belongs to one of these public ones, `most` in each form at any byte and all others
/// as words. What is in `known` to everybody is no key.
#[must_use]
pub fn private_keys(memory: &[Run], most: &[u8], others: &BTreeSet<Vec<u8>>, known: &[&[u8]]) -> Vec<Found> {
    let known: HashSet<&[u8]> = known.iter().flat_map(|bytes| bytes.windows(8)).collect();
    let candidates: Vec<(u64, &[u8])> = memory.iter().flat_map(|run| candidates(run, &known)).collect();
    let all: Vec<&[u8]> = others.iter().map(Vec::as_slice).filter(|key| *key != most).collect();
    let shift = inverse(montgomery([1, 0, 0, 0]), ORDER);
    let look = |(at, bytes): &(u64, &[u8])| {
        let mut found = matches("big-endian", *at, bytes, &[most]);
        if at.is_multiple_of(4) {
            let mut backwards = bytes.to_vec();
            backwards.reverse();
            let every = [&[most], &all[..]].concat();
            found.extend(matches("little-endian", *at, &backwards, &every));
            let number = read(&backwards);
            if fits(number, ORDER) {
                found.extend(matches(AS_RING_HAS_IT, *at, &big(times(number, shift, ORDER)), &every));
            }
        }
        found
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = candidates.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let shares = candidates.chunks(share);
        let looking: Vec<_> = shares
            .map(|share| scope.spawn(move || share.iter().flat_map(look).collect::<Vec<_>>()))
            .collect();
        looking.into_iter().flat_map(|looking| looking.join().expect("it looks")).collect()
    })
}

/// 32 bytes that could be a key, and where they lie: neither too even nor known to everybody.
fn candidates<'a>(run: &'a Run, known: &HashSet<&[u8]>) -> Vec<(u64, &'a [u8])> {
    let could_be = |bytes: &[u8]| {
        let mut seen = [false; 256];
        bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        seen.iter().filter(|seen| **seen).count() >= 20 && bytes.chunks(8).any(|word| !known.contains(word))
    };
    let windows = (run.start..).zip(run.bytes.windows(32));
    windows.filter(|(_, bytes)| bytes[..8] != [0; 8] && could_be(bytes)).collect()
}

fn matches(form: &'static str, at: u64, key: &[u8], publics: &[&[u8]]) -> Vec<Found> {
    let random = SystemRandom::new();
    let is_of =
        |public: &&&[u8]| EcdsaKeyPair::from_private_key_and_public_key(&ECDSA, key, public, &random).is_ok();
    publics.iter().filter(is_of).map(|public| Found { public: public.to_vec(), form, at }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::little;

    #[test]
    fn a_key_is_found_in_every_form_and_what_everybody_knows_is_not() {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA, &SystemRandom::new()).unwrap();
        let (key, public) = (read(&pkcs8.as_ref()[36..68]), pkcs8.as_ref()[73..138].to_vec());
        let noise: Vec<u8> = (0..400_u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        let bytes =
            [&noise[..101], &big(key), &noise[..159], &little(key), &noise[..20], &little(montgomery(key))];
        let memory = [Run { start: 0x1000, bytes: bytes.concat() }];
        let found = |most: &[u8], others: &BTreeSet<Vec<u8>>, known: &[&[u8]]| {
            let found = private_keys(&memory, most, others, known);
            found.iter().map(|found| (found.form, found.at)).collect::<Vec<_>>()
        };
        let all = [("big-endian", 0x1065), ("little-endian", 0x1124), (AS_RING_HAS_IT, 0x1158)];
        assert_eq!(found(&public, &BTreeSet::new(), &[]), all);
        let other = EcdsaKeyPair::generate_pkcs8(&ECDSA, &SystemRandom::new()).unwrap();
        let others = BTreeSet::from([public.clone()]);
        assert_eq!(found(&other.as_ref()[73..138], &others, &[]), all[1..]);
        assert_eq!(found(&public, &others, &[&bytes.concat()]), []);
    }
}
