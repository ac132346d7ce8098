//! Certificates made in memory: for the first page after boot, for `gatehouse init`, for the piñata.
//!
//! Keys are P-256. Nobody but the caller ever holds them, and what this module held of them is wiped.

use crate::Key;
use core::fmt;
use core::time::Duration;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use time::OffsetDateTime;
use zeroize::Zeroize;

/// A certification authority that lives in memory. It has no `Debug`.
pub struct Authority {
    issuer: Issuer<'static, Wiped>,
    certificate: Vec<u8>,
}

/// A certificate with its key. It has no `Debug`.
pub struct Minted {
    /// The certificate in DER, leaf first; the CA is not among them.
    pub chain: Vec<Vec<u8>>,
    /// Its key.
    pub key: Key,
}

/// From when to when a certificate is valid, as time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub from: Duration,
    /// Its last second.
    pub until: Duration,
}

impl Validity {
    /// So many days, counted from an hour before `now`: clocks differ.
    #[must_use]
    pub fn days(now: Duration, days: u32) -> Self {
        let from = now.saturating_sub(Duration::from_secs(3_600));
        Self { from, until: from + Duration::from_secs(u64::from(days) * 86_400) }
    }
}

/// A certificate could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmintable(String);

impl fmt::Display for Unmintable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no certificate could be made: {}", self.0)
    }
}

impl core::error::Error for Unmintable {}

impl From<rcgen::Error> for Unmintable {
    fn from(error: rcgen::Error) -> Self {
        Self(error.to_string())
    }
}

impl Authority {
    /// A new CA with a new key. It signs certificates, but no other CA.
    ///
    /// # Errors
    /// When there is no entropy or the dates are not on the calendar.
    pub fn new(name: &str, validity: Validity) -> Result<Self, Unmintable> {
        let key = Wiped(KeyPair::generate()?);
        let mut params = params(name, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.der().to_vec();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// A CA that [`Self::new`] made under this name once, out of its certificate and its key.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn again(name: &str, certificate: Vec<u8>, key: &Key) -> Result<Self, Unmintable> {
        let key = Wiped(KeyPair::try_from(key.der())?);
        let params = params(name, Validity { from: Duration::ZERO, until: Duration::ZERO })?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// A list that revokes the certificates with these serial numbers.
    ///
    /// # Errors
    /// When the dates are not on the calendar.
    pub fn revoke(&self, serials: &[&[u8]], validity: Validity) -> Result<Vec<u8>, Unmintable> {
        let (this_update, next_update) = (date(validity.from)?, date(validity.until)?);
        let revoked = |serial: &&[u8]| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: this_update,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.der().to_vec())
    }

    /// The CA's own certificate in DER: what others have to trust.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A copy of the CA's key, for whoever has to write it down.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(self.issuer.key().0.serialize_der())
    }

    /// A certificate for a server with these names (or addresses), the first of which is also its subject.
    ///
    /// # Errors
    /// When there is no entropy, a name is no name, or the dates are not on the calendar.
    pub fn server(&self, names: &[&str], validity: Validity) -> Result<Minted, Unmintable> {
        let mut params = params(names.first().unwrap_or(&"server"), validity)?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        self.leaf(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client of this name.
    ///
    /// # Errors
    /// When there is no entropy or the dates are not on the calendar.
    pub fn client(&self, name: &str, validity: Validity) -> Result<Minted, Unmintable> {
        self.leaf(params(name, validity)?, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn leaf(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Minted, Unmintable> {
        let key = Wiped(KeyPair::generate()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let chain = vec![params.signed_by(&key, &self.issuer)?.der().to_vec()];
        Ok(Minted { chain, key: Key::new(key.0.serialize_der()) })
    }
}

fn params(name: &str, validity: Validity) -> Result<CertificateParams, Unmintable> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date(validity.from)?;
    params.not_after = date(validity.until)?;
    Ok(params)
}

fn date(since_1970: Duration) -> Result<OffsetDateTime, Unmintable> {
    let seconds = i64::try_from(since_1970.as_secs()).map_err(|error| Unmintable(error.to_string()))?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| Unmintable(error.to_string()))
}

/// A key pair that is wiped when dropped.
struct Wiped(KeyPair);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl rcgen::PublicKeyData for Wiped {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        rcgen::PublicKeyData::algorithm(&self.0)
    }
}

impl rcgen::SigningKey for Wiped {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

/// Writes DER as PEM under a label such as `CERTIFICATE`, `PRIVATE KEY` or `X509 CRL`.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> zeroize::Zeroizing<String> {
    let mut text = zeroize::Zeroizing::new(String::with_capacity(der.len() * 3 / 2 + 128));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for line in der.chunks(48) {
        line.chunks(3).for_each(|three| quartet(three, &mut text));
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Up to three bytes as four characters of base64.
fn quartet(three: &[u8], text: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
    for at in 0..4 {
        let six = (bits >> (18 - 6 * at)) as usize & 63;
        let letter = ALPHABET.get(six).map_or('=', |letter| char::from(*letter));
        text.push(if at <= three.len() { letter } else { '=' });
    }
}
