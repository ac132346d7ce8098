//! Whom to trust: certification authorities and what they have revoked.

use crate::provider::provider;
use crate::usage::{Strict, may_sign_certificates};
use core::fmt;
use ring::digest::{Context, SHA256};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use std::sync::Arc;

/// Certification authorities, and the lists of what they have revoked.
///
/// With lists, every certificate of a chain must be covered by one that is in date; without, nothing is
/// revoked.
#[derive(Clone)]
pub struct Trust(Arc<Roots>);

struct Roots {
    store: Arc<RootCertStore>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    digest: [u8; 32],
}

/// What is wrong with what the operator gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// There is no CA certificate to trust.
    NoCa,
    /// This CA certificate (counted from 0) cannot be used.
    BadCa(usize, String),
    /// A revocation list cannot be used.
    BadCrl(String),
    /// There is no certificate.
    NoCertificate,
    /// The certificate cannot be used.
    BadCertificate(String),
    /// The private key cannot be used.
    BadKey(String),
    /// The private key is not the certificate's.
    KeyMismatch,
    /// What shall be stapled cannot be.
    BadStaple(String),
    /// This is no name that a site can have.
    BadName(String),
    /// Two sites have this name.
    TwoSites(String),
    /// The default site does not exist.
    NoSuchSite(usize),
    /// There is no entropy for a ticket secret.
    NoEntropy,
}

impl fmt::Display for Flaw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCa => write!(out, "there is no CA certificate to trust"),
            Self::BadCa(at, why) => write!(out, "CA certificate {} cannot be used: {why}", at + 1),
            Self::BadCrl(why) => write!(out, "the revocation list cannot be used: {why}"),
            Self::NoCertificate => write!(out, "there is no certificate"),
            Self::BadCertificate(why) => write!(out, "the certificate cannot be used: {why}"),
            Self::BadKey(why) => write!(out, "the private key cannot be used: {why}"),
            Self::BadStaple(why) => write!(out, "what shall be stapled {why}"),
            Self::KeyMismatch => write!(out, "the private key is not the key of the certificate"),
            Self::BadName(name) => {
                write!(out, "{name:?} is no name of a host; write example.org or *.example.org")
            }
            Self::TwoSites(name) => write!(out, "two sites have the name {name}"),
            Self::NoSuchSite(at) => write!(out, "there is no site {at} to be the default"),
            Self::NoEntropy => write!(out, "there is no entropy for a ticket secret"),
        }
    }
}

impl core::error::Error for Flaw {}

impl Trust {
    /// Trusts these CA certificates, except what these lists revoke (all DER).
    ///
    /// # Errors
    /// When there is no CA, or when one of them or a list cannot be read.
    pub fn new(ca: &[Vec<u8>], crls: Vec<Vec<u8>>) -> Result<Self, Flaw> {
        let mut store = RootCertStore::empty();
        for (at, der) in ca.iter().enumerate() {
            may_sign_certificates(der).map_err(|error| Flaw::BadCa(at, not_for_certificates(&error)))?;
            store
                .add(CertificateDer::from_slice(der).into_owned())
                .map_err(|e| Flaw::BadCa(at, e.to_string()))?;
        }
        if store.is_empty() {
            return Err(Flaw::NoCa);
        }
        let digest = digest(ca, &crls);
        let crls = crls.into_iter().map(CertificateRevocationListDer::from).collect();
        let trust = Self(Arc::new(Roots { store: Arc::new(store), crls, digest }));
        trust.client_verifier(true)?;
        Ok(trust)
    }

    /// Whether both trust the same and revoke the same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }

    /// What stands for this trust in keys and comparisons.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    pub(crate) fn client_verifier(&self, required: bool) -> Result<Arc<dyn ClientCertVerifier>, Flaw> {
        let builder = WebPkiClientVerifier::builder_with_provider(self.0.store.clone(), provider());
        let builder = builder.with_crls(self.0.crls.iter().cloned()).enforce_revocation_expiration();
        let builder = if required { builder } else { builder.allow_unauthenticated() };
        let verifier = builder.build().map_err(|error| Flaw::BadCrl(error.to_string()))?;
        Ok(Arc::new(Strict(verifier)))
    }

    pub(crate) fn server_verifier(&self) -> Result<Arc<WebPkiServerVerifier>, Flaw> {
        let builder = WebPkiServerVerifier::builder_with_provider(self.0.store.clone(), provider());
        let builder = builder.with_crls(self.0.crls.iter().cloned()).enforce_revocation_expiration();
        builder.build().map_err(|error| Flaw::BadCrl(error.to_string()))
    }
}

fn not_for_certificates(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::InvalidPurpose) => {
            "its keyUsage does not let it sign certificates".to_owned()
        }
        error => error.to_string(),
    }
}

/// Both lists with their lengths, so that nothing can pass for something else.
fn digest(ca: &[Vec<u8>], crls: &[Vec<u8>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for list in [ca, crls] {
        context.update(&list.len().to_be_bytes());
        for der in list {
            context.update(&der.len().to_be_bytes());
            context.update(der);
        }
    }
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    bytes
}
