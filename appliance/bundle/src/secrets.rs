//! The secret part: keys and other values by name. It is read once; who reads it wipes it.

use crate::Broken;
use crate::code::{Coded, Reader};
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 16] = b"GATEHOUSE-SECRET";

/// An opened secret part. It borrows its bytes and copies none. It has no `Debug`.
pub struct Secrets<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Secrets<'a> {
    /// Opens the secret part that belongs to the bundle with that fingerprint.
    ///
    /// # Errors
    /// When it is not one, or belongs to another.
    pub fn open(secret: &'a [u8], fingerprint: &[u8; 32]) -> Result<Self, Broken> {
        let mut reader = Reader(secret);
        if reader.take(MAGIC.len()) != Ok(MAGIC) {
            return Err(Broken::Stranger);
        }
        if reader.take(fingerprint.len())? != fingerprint {
            return Err(Broken::Mismatch);
        }
        let mut values = Vec::new();
        while !reader.0.is_empty() {
            let name =
                core::str::from_utf8(reader.counted()?).map_err(|_| Broken::Nonsense("names of secrets"))?;
            values.push((name, reader.counted()?));
        }
        Ok(Self(values))
    }

    /// The secret of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// All of them, with their names.
    pub fn all(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.0.iter().copied()
    }

    /// The private key, in DER, of the site at that place.
    #[must_use]
    pub fn key(&self, site: usize) -> Option<&'a [u8]> {
        self.named(&format!("key/{site}"))
    }

    /// What appliances share so that a session of one can be taken up at another.
    #[must_use]
    pub fn ticket(&self) -> Option<&'a [u8]> {
        self.named("ticket")
    }

    /// What the appliance makes IPv6 addresses from, so that they are the same after each start.
    #[must_use]
    pub fn address(&self) -> Option<[u8; 16]> {
        let hash: [u8; 32] = Sha256::digest(self.named("address")?).into();
        hash.first_chunk().copied()
    }
}

/// Writes a secret part.
pub struct SecretWriter(Vec<u8>);

impl SecretWriter {
    /// For the bundle with that fingerprint.
    #[must_use]
    pub fn new(fingerprint: &[u8; 32]) -> Self {
        Self([&MAGIC[..], fingerprint].concat())
    }

    /// Adds a secret.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        name.to_owned().write(&mut self.0);
        u32::try_from(value.len()).unwrap_or(u32::MAX).write(&mut self.0);
        self.0.extend_from_slice(value);
    }

    /// Adds the private key, in DER, of the site at that place.
    pub fn key(&mut self, site: usize, der: &[u8]) {
        self.add(&format!("key/{site}"), der);
    }

    /// Adds what appliances share for their tickets.
    pub fn ticket(&mut self, secret: &[u8]) {
        self.add("ticket", secret);
    }

    /// Adds what addresses are made from.
    pub fn address(&mut self, secret: &[u8]) {
        self.add("address", secret);
    }

    /// The secret part. Who writes it down wipes it.
    #[must_use]
    pub fn done(self) -> Vec<u8> {
        self.0
    }
}
