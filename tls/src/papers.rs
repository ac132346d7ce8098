//! Certificates and keys as an operator has them: PEM in, DER out, and a look at what they say.
//!
//! This is for the launcher's `check`, which explains mistakes before anything is served. What is served is
//! decided by rustls and webpki alone.

use crate::identity::Identity;
use crate::site::{Key, certified};
use crate::trust::Flaw;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use webpki::EndEntityCert;
use x509_parser::asn1_rs::{Enumerated, Sequence};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroize;

/// The certificates of a PEM file, in its order.
///
/// # Errors
/// When it has none or cannot be read.
pub fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, Flaw> {
    let read = |result: Result<CertificateDer<'_>, _>| match result {
        Ok(der) => Ok(der.to_vec()),
        Err(error) => Err(Flaw::BadCertificate(format!("{error:?}"))),
    };
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).map(read).collect::<Result<_, _>>()?;
    if all.is_empty() { Err(Flaw::NoCertificate) } else { Ok(all) }
}

/// The revocation lists of a PEM file.
///
/// # Errors
/// When one cannot be read.
pub fn revocations(pem: &[u8]) -> Result<Vec<Vec<u8>>, Flaw> {
    let read = |result: Result<CertificateRevocationListDer<'_>, _>| match result {
        Ok(der) => Ok(der.to_vec()),
        Err(error) => Err(Flaw::BadCrl(format!("{error:?}"))),
    };
    CertificateRevocationListDer::pem_slice_iter(pem).map(read).collect()
}

/// The private key of a PEM file. The caller wipes the file's bytes.
///
/// # Errors
/// When it has none or cannot be read.
pub fn key(pem: &[u8]) -> Result<Key, Flaw> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(mut der) => {
            let key = Key::new(der.secret_der().to_vec());
            der.zeroize();
            Ok(key)
        }
        Err(error) => Err(Flaw::BadKey(format!("{error:?}"))),
    }
}

/// What a server's chain says, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The leaf.
    pub identity: Identity,
    /// The first second of its validity, since 1970.
    pub not_before: i64,
    /// Whether its issuer is missing among the certificates that follow it: right where clients know that
    /// issuer (a CA of one's own), and a mistake where they know only the issuer's issuer.
    pub alone: bool,
    /// Whether it signed itself.
    pub self_signed: bool,
}

/// Looks at a chain and its key.
///
/// # Errors
/// When rustls could not serve them.
pub fn look(chain: &[Vec<u8>], key: &Key) -> Result<Looked, Flaw> {
    certified(chain, key, None)?;
    let leaf = chain.first().ok_or(Flaw::NoCertificate)?;
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| Flaw::BadCertificate(e.to_string()))?;
    let self_signed = parsed.issuer().as_raw() == parsed.subject().as_raw();
    let followed = chain.iter().skip(1).filter_map(|der| X509Certificate::from_der(der).ok());
    let alone = !followed.into_iter().any(|(_, next)| next.subject().as_raw() == parsed.issuer().as_raw());
    let not_before = parsed.validity().not_before.timestamp();
    Ok(Looked { identity: Identity::describe(leaf), not_before, alone, self_signed })
}

/// Looks at what shall be stapled (RFC 6960, 4.2.1). A responder that could not answer says so in five bytes, which is a
/// response too, and of no use to anybody.
///
/// # Errors
/// When it is no response, or says nothing of a certificate.
pub fn staple(der: &[u8]) -> Result<(), Flaw> {
    let unread = |_| Flaw::BadStaple("is no OCSP response in DER".to_owned());
    let (behind, response) = Sequence::from_der(der).map_err(unread)?;
    let (_, status) = Enumerated::from_der(&response.content).map_err(unread)?;
    match status.0 {
        0 if behind.is_empty() => Ok(()),
        0 => Err(Flaw::BadStaple("is an OCSP response with something behind it".to_owned())),
        status => Err(Flaw::BadStaple(format!("has no answer: the responder's status is {status}"))),
    }
}

/// Whether the leaf is for `name`, as clients see it. A wildcard is asked for with any one label in its
/// place.
#[must_use]
pub fn covers(leaf: &[u8], name: &str) -> bool {
    let asked = name.strip_prefix("*.").map_or_else(|| name.to_owned(), |rest| format!("any.{rest}"));
    let leaf = CertificateDer::from_slice(leaf);
    let (Ok(leaf), Ok(asked)) = (EndEntityCert::try_from(&leaf), ServerName::try_from(asked)) else {
        return false;
    };
    leaf.verify_is_valid_for_subject_name(&asked).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mint::{Authority, Minted, Validity, pem};
    use core::time::Duration;

    fn minted(names: &[&str]) -> (Authority, Minted) {
        let days = Validity::days(Duration::from_secs(1_790_000_000), 9);
        let ca = Authority::new("CA", days).unwrap();
        let minted = ca.server(names, days).unwrap();
        (ca, minted)
    }

    #[test]
    fn what_was_minted_and_written_down_is_read_again() {
        let (ca, minted) = minted(&["example.org"]);
        let text =
            [&minted.chain[0][..], ca.certificate()].map(|der| pem("CERTIFICATE", der).to_string()).concat();
        assert_eq!(
            certificates(text.as_bytes()).unwrap(),
            [minted.chain[0].clone(), ca.certificate().to_vec()]
        );
        let text = pem("PRIVATE KEY", minted.key.der());
        assert_eq!(key(text.as_bytes()).unwrap().der(), minted.key.der());
        assert_eq!(certificates(b"").unwrap_err(), Flaw::NoCertificate);
        assert!(matches!(key(b"-----BEGIN NOTHING-----"), Err(Flaw::BadKey(_))));
    }

    #[test]
    fn a_certificate_is_told_from_another_ones_key_and_a_lone_leaf_from_a_chain() {
        let ((ca, one), (_, other)) = (minted(&["example.org"]), minted(&["example.org"]));
        assert_eq!(look(&one.chain, &other.key).unwrap_err(), Flaw::KeyMismatch);
        let looked = look(&one.chain, &one.key).unwrap();
        assert_eq!((looked.alone, looked.self_signed), (true, false));
        assert_eq!(looked.identity.not_after - looked.not_before, 9 * 86_400);
        let whole = [one.chain[0].clone(), ca.certificate().to_vec()];
        assert!(!look(&whole, &one.key).unwrap().alone);
    }

    #[test]
    fn a_leaf_covers_its_names_and_no_other() {
        let (_, minted) = minted(&["example.org", "*.example.net", "192.0.2.7"]);
        let all = [
            ("example.org", true),
            ("EXAMPLE.ORG", true),
            ("www.example.org", false),
            ("a.example.net", true),
            ("*.example.net", true),
            ("*.example.org", false),
            ("a.b.example.net", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("", false),
        ];
        for (name, covered) in all {
            assert_eq!(covers(&minted.chain[0], name), covered, "{name}");
        }
    }

    #[test]
    fn a_staple_that_says_nothing_is_none() {
        assert_eq!(staple(&[0x30, 3, 10, 1, 0]), Ok(()));
        for (der, why) in [
            (&[0x30, 3, 10, 1, 3][..], "status is 3"),
            (&[0x30, 3, 10, 1, 0, 0], "behind it"),
            (&[0x30, 4, 10, 1, 0], "no OCSP response"),
            (&[0x30, 3, 2, 1, 0], "no OCSP response"),
            (&[0x30, 0], "no OCSP response"),
            (b"-----BEGIN", "no OCSP response"),
            (&[], "no OCSP response"),
        ] {
            let flaw = staple(der).unwrap_err().to_string();
            assert!(flaw.contains(why), "{der:?}: {flaw}");
        }
    }
}
