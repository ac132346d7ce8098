//! What is inside the piñata, and the one way to it.

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
    trust: Trust,
}

impl Secret {
    /// Guards `words`; the vector becomes the only copy. Only peers that were verified under exactly
    /// `trust` are told.
    #[must_use]
    pub fn new(words: Vec<u8>, trust: Trust) -> Self {
        Self { words: Zeroizing::new(words), trust }
    }

    /// Tells the secret to whoever brings the proof. Only a verified handshake makes one, and one of
    /// another CA is not good here.
    #[must_use]
    pub fn told_to(&self, proof: &Admitted<'_>) -> Option<&[u8]> {
        proof.is_under(&self.trust).then_some(&self.words)
    }
}
