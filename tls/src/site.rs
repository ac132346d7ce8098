//! What the operator wants of one site, as plain values.

use crate::Profile;
use crate::trust::{Flaw, Trust};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A private key in DER (PKCS #8, SEC 1 or PKCS #1). Wiped when dropped; it has no `Debug`.
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// Takes the key; the vector becomes the only copy.
    #[must_use]
    pub fn new(der: Vec<u8>) -> Self {
        Self(Zeroizing::new(der))
    }

    /// The key itself, for whoever has to write it down.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

/// Whether clients have to show a certificate.
#[derive(Clone, Default)]
pub enum ClientPolicy {
    /// They are not asked.
    #[default]
    None,
    /// They are asked and may decline; what they show must be good.
    Optional(Trust),
    /// They must.
    Required(Trust),
}

impl ClientPolicy {
    pub(crate) fn trust(&self) -> Option<&Trust> {
        match self {
            Self::None => None,
            Self::Optional(trust) | Self::Required(trust) => Some(trust),
        }
    }
}

/// One site: its names and how it speaks TLS.
pub struct Site {
    /// `example.org` or `*.example.org` (one label); none is right for a site that is only the default.
    pub names: Vec<String>,
    /// The certificate and its intermediates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The key of the certificate.
    pub key: Key,
    /// What is offered.
    pub profile: Profile,
    /// Whether clients have to show a certificate.
    pub clients: ClientPolicy,
    /// An OCSP response in DER, to be stapled.
    pub ocsp: Option<Vec<u8>>,
    /// Application protocols in our order, such as `h2` and `http/1.1`.
    pub alpn: Vec<Vec<u8>>,
    /// Whether sessions can be taken up again.
    pub tickets: bool,
}

impl Site {
    /// A site with one certificate and nothing special.
    #[must_use]
    pub fn new(names: Vec<String>, chain: Vec<Vec<u8>>, key: Key) -> Self {
        let (profile, clients) = (Profile::default(), ClientPolicy::None);
        Self { names, chain, key, profile, clients, ocsp: None, alpn: Vec::new(), tickets: true }
    }
}

/// The certificate with its key, ready to sign; the key's bytes are not copied.
pub(crate) fn certified(
    chain: &[Vec<u8>],
    key: &Key,
    ocsp: Option<Vec<u8>>,
) -> Result<Arc<CertifiedKey>, Flaw> {
    let certified = paired(chain, key, ocsp)?;
    match certified.keys_match() {
        Ok(()) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Flaw::KeyMismatch),
        Err(error) => Err(Flaw::BadCertificate(error.to_string())),
    }
}

/// A certificate with any key, whether that is its own or not.
pub(crate) fn paired(chain: &[Vec<u8>], key: &Key, ocsp: Option<Vec<u8>>) -> Result<CertifiedKey, Flaw> {
    if chain.is_empty() {
        return Err(Flaw::NoCertificate);
    }
    let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let der = PrivateKeyDer::try_from(key.der()).map_err(|error| Flaw::BadKey(error.into()))?;
    let signer =
        rustls::crypto::ring::sign::any_supported_type(&der).map_err(|e| Flaw::BadKey(e.to_string()))?;
    let mut certified = CertifiedKey::new(chain, signer);
    certified.ocsp = ocsp;
    Ok(certified)
}
