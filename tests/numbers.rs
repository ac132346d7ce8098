//! Numbers of 256 bits, least significant word first: as much of P-256 as it takes to know what an appliance has in its
//! memory, and slowly.

/// A number below 2^256.
pub type Number = [u64; 4];

/// The order of P-256.
pub const ORDER: Number =
    [0xf3b9_cac2_fc63_2551, 0xbce6_faad_a717_9e84, 0xffff_ffff_ffff_ffff, 0xffff_ffff_0000_0000];

/// The order of Ed25519.
pub const ED25519: Number = [0x5812_631a_5cf5_d3ed, 0x14de_f9de_a2f7_9cd6, 0, 0x1000_0000_0000_0000];

/// Reads 32 bytes, or fewer, most significant byte first.
#[must_use]
pub fn read(big: &[u8]) -> Number {
    let mut bytes = [0; 32];
    bytes[32 - big.len()..].copy_from_slice(big);
    let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    [word(24), word(16), word(8), word(0)]
}

/// Writes it most significant byte first.
#[must_use]
pub fn big(number: Number) -> Vec<u8> {
    number.iter().rev().flat_map(|word| word.to_be_bytes()).collect()
}

/// Writes it least significant byte first.
#[must_use]
pub fn little(number: Number) -> Vec<u8> {
    number.map(u64::to_le_bytes).concat()
}

/// Whether it is smaller than the modulus.
#[must_use]
pub fn fits(number: Number, modulus: Number) -> bool {
    number.iter().rev().lt(modulus.iter().rev())
}

fn less(number: Number, other: Number) -> Number {
    let (mut out, mut borrow) = ([0; 4], false);
    for ((out, number), other) in out.iter_mut().zip(number).zip(other) {
        let (difference, first) = number.overflowing_sub(other);
        let (difference, second) = difference.overflowing_sub(u64::from(borrow));
        (*out, borrow) = (difference, first || second);
    }
    out
}

/// The sum of two numbers that fit.
#[must_use]
pub fn plus(one: Number, other: Number, modulus: Number) -> Number {
    let (mut sum, mut carry) = ([0; 4], false);
    for ((sum, one), other) in sum.iter_mut().zip(one).zip(other) {
        let (all, first) = one.overflowing_add(other);
        let (all, second) = all.overflowing_add(u64::from(carry));
        (*sum, carry) = (all, first || second);
    }
    if carry || !fits(sum, modulus) { less(sum, modulus) } else { sum }
}

/// Bits, the highest first.
fn bits(number: Number) -> impl Iterator<Item = bool> {
    (0..256).rev().map(move |at| number[at / 64] >> (at % 64) & 1 == 1)
}

/// The product of two numbers that fit.
#[must_use]
pub fn times(one: Number, other: Number, modulus: Number) -> Number {
    bits(other).fold([0; 4], |sum, bit| {
        let doubled = plus(sum, sum, modulus);
        if bit { plus(doubled, one, modulus) } else { doubled }
    })
}

/// A power.
#[must_use]
pub fn power(base: Number, exponent: Number, modulus: Number) -> Number {
    bits(exponent).fold([1, 0, 0, 0], |so_far, bit| {
        let squared = times(so_far, so_far, modulus);
        if bit { times(squared, base, modulus) } else { squared }
    })
}

/// The inverse, when the modulus is prime.
#[must_use]
pub fn inverse(number: Number, modulus: Number) -> Number {
    power(number, less(modulus, [2, 0, 0, 0]), modulus)
}

/// Any number of bytes, least significant first, reduced.
#[must_use]
pub fn reduced(little: &[u8], modulus: Number) -> Number {
    let bits = little.iter().rev().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1));
    bits.fold([0; 4], |sum, bit| {
        let doubled = plus(sum, sum, modulus);
        if bit { plus(doubled, [1, 0, 0, 0], modulus) } else { doubled }
    })
}

/// A number times 2^256, modulo the order of P-256: as ring multiplies with it.
#[must_use]
pub fn montgomery(number: Number) -> Number {
    (0..256).fold(number, |number, _| plus(number, number, ORDER))
}

/// The number that was drawn for a signature (ECDSA on P-256 with SHA-256, in DER), from the signer's key.
#[must_use]
pub fn drawn(key: Number, message: &[u8], signature: &[u8]) -> Number {
    use sha2::Digest;
    let mut hash = sha2::Sha256::digest(message).to_vec();
    hash.reverse();
    let (r, s) = halves(signature);
    let sum = plus(reduced(&hash, ORDER), times(r, key, ORDER), ORDER);
    times(inverse(s, ORDER), sum, ORDER)
}

/// Both numbers of a signature in DER.
fn halves(signature: &[u8]) -> (Number, Number) {
    let number = |at: usize| {
        let length = usize::from(signature[at + 1]);
        let bytes = &signature[at + 2..][..length];
        (read(&bytes[bytes.len().saturating_sub(32)..]), at + 2 + length)
    };
    let (r, next) = number(2);
    (r, number(next).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING as ECDSA, EcdsaKeyPair};

    /// The field of P-256, and b of its equation.
    const FIELD: Number = [0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_ffff, 0, 0xffff_ffff_0000_0001];
    const B: Number =
        [0x3bce_3c3e_27d2_604b, 0x651d_06b0_cc53_b0f6, 0xb3eb_bd55_7698_86bc, 0x5ac6_35d8_aa3a_93e7];

    /// Both points with this x, as ring reads a public key.
    fn points(x: Number) -> [Vec<u8>; 2] {
        let cube = times(times(x, x, FIELD), x, FIELD);
        let square = plus(plus(cube, B, FIELD), times(x, less(FIELD, [3, 0, 0, 0]), FIELD), FIELD);
        let shifted = |at: usize| FIELD[at] >> 2 | FIELD.get(at + 1).unwrap_or(&0) << 62;
        let quarter = plus([0, 1, 2, 3].map(shifted), [1, 0, 0, 0], FIELD);
        let y = power(square, quarter, FIELD);
        [y, less(FIELD, y)].map(|y| [vec![4], big(x), big(y)].concat())
    }

    #[test]
    fn montgomerys_form_of_one_is_two_to_the_256_less_the_order() {
        let one = montgomery([1, 0, 0, 0]);
        assert_eq!(one, [0x0c46_353d_039c_daaf, 0x4319_0552_58e8_617b, 0, 0x0000_0000_ffff_ffff]);
        assert_eq!(times(one, inverse(one, ORDER), ORDER), [1, 0, 0, 0]);
    }

    #[test]
    fn a_number_that_was_drawn_is_known_from_the_signature_and_the_key() {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA, pkcs8.as_ref(), &random).unwrap();
        let key = read(&pkcs8.as_ref()[36..68]);
        for message in ["one", "other"] {
            let signature = pair.sign(&random, message.as_bytes()).unwrap();
            let k = big(drawn(key, message.as_bytes(), signature.as_ref()));
            let is = |point: &Vec<u8>| {
                EcdsaKeyPair::from_private_key_and_public_key(&ECDSA, &k, point, &random).is_ok()
            };
            assert_eq!(points(halves(signature.as_ref()).0).iter().filter(|point| is(point)).count(), 1);
            let wrong = big(drawn(key, b"another", signature.as_ref()));
            assert_ne!(k, wrong);
        }
    }
}
