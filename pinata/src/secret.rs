//! What is inside the piñata, and the one way to it.

use crate::attest::Digits;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tls::{Admitted, Trust};
use zeroize::Zeroizing;

/// The secret. It is wiped when dropped, and nothing can copy or print it:
///
/// ```compile_fail,E0277
/// fn prints<T: core::fmt::Debug>() {}
/// prints::<pinata::Secret>();
/// ```
///
/// ```compile_fail,E0277
/// fn displays<T: core::fmt::Display>() {}
/// displays::<pinata::Secret>();
/// ```
///
/// ```compile_fail,E0277
/// fn copies<T: Clone>() {}
/// copies::<pinata::Secret>();
/// ```
pub struct Secret {
    words: Zeroizing<Vec<u8>>,
    /// The words once more, as what they can do, when they are an Ed25519 key. Boxed: what moves leaves copies behind.
    key: Option<Box<Ed25519KeyPair>>,
    trust: Trust,
}

impl Secret {
    /// Guards `words`; the vector becomes the only copy. Only peers that were verified under exactly
    /// `trust` are told.
    #[must_use]
    pub fn new(words: Vec<u8>, trust: Trust) -> Self {
        let words = Zeroizing::new(words);
        let key = key_pair(&words).map(Box::new);
        Self { words, key, trust }
    }

    /// The same secret for those whom another CA vouches for.
    #[must_use]
    pub fn under(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// Tells the secret to whoever brings the proof. Only a verified handshake makes one, and one of
    /// another CA is not good here.
    #[must_use]
    pub fn told_to(&self, proof: &Admitted<'_>) -> Option<&[u8]> {
        proof.is_under(&self.trust).then_some(&self.words)
    }

    /// The public key, when the secret is a private one.
    pub(crate) fn public_key(&self) -> Option<Digits> {
        Some(Digits(self.key.as_ref()?.public_key().as_ref().try_into().ok()?))
    }

    /// Signs an attestation: the only thing that is ever signed with the secret.
    pub(crate) fn sign(&self, statement: &str) -> Option<Vec<u8>> {
        Some(self.key.as_ref()?.sign(statement.as_bytes()).as_ref().to_vec())
    }
}

/// The Ed25519 key pair that the words are (PKCS #8, in PEM or DER), if they are one.
fn key_pair(words: &[u8]) -> Option<Ed25519KeyPair> {
    let read = |der: &[u8]| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok();
    read(words).or_else(|| read(tls::papers::key(words).ok()?.der()))
}

/// Whether a secret is an Ed25519 key, which can prove that it is there.
#[must_use]
pub fn is_key_pair(words: &[u8]) -> bool {
    key_pair(words).is_some()
}
