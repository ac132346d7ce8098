//! What a visitor can check from outside: an attestation is a short text that answers the visitor's nonce, signed
//! with the bounty's own key when the bounty is a key pair.
//!
//! ```text
//! gatehouse piñata attestation 1
//! nonce <the visitor's, in hexadecimal digits>
//! ca <SHA-256 of the CA's certificate>
//! code <SHA-256 of the code that runs, as it says itself>
//! key ed25519 <the bounty's public key>
//! signature <over all lines above, with their ends>
//! ```
//!
//! Its first line is why nobody can have a transaction signed here: whatever the nonce is, the text begins with it. The
//! signature proves that the secret is here and answers today. The code is what the program says of itself: the
//! program that lies about it would say the same.

use core::fmt;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

/// The first line of every attestation.
const TITLE: &str = "gatehouse piñata attestation 1";

/// What a visitor wants to be answered: 16 to 64 bytes in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// Reads a nonce as it stands in an address.
    #[must_use]
    pub fn read(digits: &str) -> Option<Self> {
        let good = (32..=128).contains(&digits.len()) && digits.len().is_multiple_of(2);
        (good && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .then(|| Self(digits.to_ascii_lowercase()))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// 32 bytes that are shown in hexadecimal digits: a hash, or a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits(pub [u8; 32]);

impl Digits {
    /// The SHA-256 of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 digits.
    #[must_use]
    pub fn read(digits: &str) -> Option<Self> {
        Some(Self(bytes(digits)?.try_into().ok()?))
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A part of a program that is loaded and never written: code, constants, and the linker's tables.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// Where the linker put it.
    pub address: u64,
    /// The flags of its program header.
    pub flags: u32,
    /// What lies there.
    pub bytes: &'a [u8],
}

/// Where an ELF header speaks of sections, which are not loaded and go when a file is stripped.
const SECTIONS: [core::ops::Range<usize>; 2] = [40..48, 60..64];

/// The measurement of a program: one number for all its parts, the same in memory and in the file.
#[must_use]
pub fn measure<'a>(parts: impl IntoIterator<Item = Part<'a>>) -> Digits {
    let mut hash = Sha256::new_with_prefix("gatehouse measurement 1\n");
    for part in parts {
        hash.update(part.address.to_le_bytes());
        hash.update(part.flags.to_le_bytes());
        hash.update((part.bytes.len() as u64).to_le_bytes());
        let (mut header, length) = ([0; 64], if part.bytes.starts_with(b"\x7fELF") { 64 } else { 0 });
        let (head, rest) = part.bytes.split_at(length.min(part.bytes.len()));
        header.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
        for gap in SECTIONS {
            header.get_mut(gap).into_iter().for_each(|gap| gap.fill(0));
        }
        hash.update(header.get(..head.len()).unwrap_or_default());
        hash.update(rest);
    }
    Digits(hash.finalize().into())
}

/// The lines that are signed.
pub(crate) fn statement(nonce: &Nonce, ca: Digits, code: Option<Digits>, key: Option<Digits>) -> String {
    let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
    let key = key.map_or_else(|| "none".to_owned(), |key| format!("ed25519 {key}"));
    format!("{TITLE}\nnonce {nonce}\nca {ca}\ncode {code}\nkey {key}\n")
}

/// The last line.
pub(crate) fn last_line(signature: Option<&[u8]>) -> String {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let words: String = signature.map_or_else(|| "none".to_owned(), digits);
    format!("signature {words}\n")
}

/// An attestation as a visitor has it, after every check that can be made from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The CA of the piñata that answered.
    pub ca: Digits,
    /// The code that it says it runs; nothing when it does not know.
    pub code: Option<Digits>,
    /// The bounty's public key, whose owner has signed; nothing when the bounty is no key pair.
    pub key: Option<Digits>,
}

/// Why an attestation proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproved {
    /// It is no attestation, or of another version.
    Unreadable,
    /// It answers another nonce: somebody has kept it.
    Stale,
    /// Its signature is not the key's.
    Forged,
}

impl fmt::Display for Unproved {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unreadable => "this is no attestation, or one of another version",
            Self::Stale => "this answers another nonce: somebody has kept it",
            Self::Forged => "the signature is not the key's: whoever answered does not hold the bounty",
        })
    }
}

impl core::error::Error for Unproved {}

impl Attestation {
    /// Reads the answer to `nonce` and checks it.
    ///
    /// # Errors
    /// When it is not an answer to that nonce, or not signed by the key that it names.
    pub fn read(text: &str, nonce: &Nonce) -> Result<Self, Unproved> {
        let mut lines = text.lines();
        let mut next = |name: &str| lines.next()?.strip_prefix(name);
        let read = (|| {
            next(TITLE).filter(|rest| rest.is_empty())?;
            Some((next("nonce ")?, next("ca ")?, next("code ")?, next("key ")?, next("signature ")?))
        })();
        let (answered, ca, code, key, signature) = read.ok_or(Unproved::Unreadable)?;
        let ca = Digits::read(ca).ok_or(Unproved::Unreadable)?;
        let key = key.strip_prefix("ed25519 ").and_then(Digits::read);
        // What is signed is made anew from what was understood: nothing else can be in it.
        let said = Self { ca, code: Digits::read(code), key };
        if text
            != statement(&Nonce(answered.to_owned()), ca, said.code, key) + "signature " + signature + "\n"
        {
            return Err(Unproved::Unreadable);
        }
        if answered != nonce.0 {
            return Err(Unproved::Stale);
        }
        said.signed(nonce, signature)
    }

    fn signed(self, nonce: &Nonce, signature: &str) -> Result<Self, Unproved> {
        let Some(key) = self.key else { return Ok(self) };
        let signature = bytes(signature).ok_or(Unproved::Forged)?;
        let words = statement(nonce, self.ca, self.code, self.key);
        let verified = UnparsedPublicKey::new(&ED25519, key.0).verify(words.as_bytes(), &signature);
        verified.map(|()| self).map_err(|_| Unproved::Forged)
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_hexadecimal_and_neither_short_nor_long() {
        assert_eq!(Nonce::read(&"aB".repeat(16)).map(|nonce| nonce.to_string()), Some("ab".repeat(16)));
        for bad in ["", "00", &"0".repeat(31), &"0".repeat(33), &"0".repeat(130), &"0g".repeat(16)] {
            assert_eq!(Nonce::read(bad), None, "{bad}");
        }
        assert_eq!(Nonce::read(&"é".repeat(16)), None);
    }

    #[test]
    fn a_measurement_minds_every_byte_and_not_the_sections() {
        let mut file = [&b"\x7fELF"[..], &[7; 96]].concat();
        let of = |bytes: &[u8], address, flags| measure([Part { address, flags, bytes }]);
        let first = of(&file, 0, 4);
        for at in 4..file.len() {
            file[at] ^= 1;
            let sections = (40..48).contains(&at) || (60..64).contains(&at);
            assert_eq!(of(&file, 0, 4) == first, sections, "byte {at}");
            file[at] ^= 1;
        }
        assert_ne!(of(&file, 1, 4), first);
        assert_ne!(of(&file, 0, 5), first);
        assert_ne!(of(b"\x7fELF", 0, 4), of(b"\x7fELG", 0, 4));
        let cut = |at: usize| file.split_at(at);
        let two =
            |at: usize| measure([cut(at).0, cut(at).1].map(|bytes| Part { address: 0, flags: 4, bytes }));
        assert_ne!(two(70), two(71), "where a part ends counts");
    }
}
