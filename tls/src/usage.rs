//! What the key of a certificate is for (RFC 5280 §4.2.1.3): the one thing that webpki does not look at.
//!
//! It is asked about chains that webpki has accepted, and it can only refuse: nobody comes in through here. A key
//! usage that is not there forbids nothing; one that is there must allow what was done.

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, Error};
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::KeyUsage;
use x509_parser::prelude::FromDer;

/// What a verifier says of signatures when it leaves them to the one within (`self.0`).
macro_rules! signatures_as_within {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            leaf: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls12_signature(message, leaf, signed)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &rustls::pki_types::CertificateDer<'_>,
            signed: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls13_signature(message, leaf, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.supported_verify_schemes()
        }
    };
}
pub(crate) use signatures_as_within;

/// A verifier that also looks at what the keys are for.
#[derive(Debug)]
pub(crate) struct Strict<V: ?Sized>(pub(crate) Arc<V>);

/// Refuses a leaf whose key may sign no handshake, and a chain with a CA whose key may sign no certificates.
fn look(leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
    allows(leaf, |_, usage| usage.digital_signature())?;
    others.iter().try_for_each(|other| may_sign_certificates(other))
}

/// Refuses the certificate of a CA whose key may sign no certificates.
pub(crate) fn may_sign_certificates(der: &[u8]) -> Result<(), Error> {
    allows(der, |certificate, usage| !certificate.is_ca() || usage.key_cert_sign())
}

fn allows(der: &[u8], what: impl FnOnce(&X509Certificate<'_>, &KeyUsage) -> bool) -> Result<(), Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding)?;
    let usage = certificate.key_usage().map_err(|_| CertificateError::BadEncoding)?;
    match usage {
        Some(usage) if !what(&certificate, usage.value) => Err(CertificateError::InvalidPurpose.into()),
        _ => Ok(()),
    }
}

impl<V: ClientCertVerifier + ?Sized> ClientCertVerifier for Strict<V> {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(leaf, others, now)?;
        look(leaf, others).map(|()| verified)
    }

    signatures_as_within!();
}

impl<V: ServerCertVerifier + ?Sized> ServerCertVerifier for Strict<V> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(leaf, others, name, ocsp, now)?;
        look(leaf, others).map(|()| verified)
    }

    signatures_as_within!();
}
