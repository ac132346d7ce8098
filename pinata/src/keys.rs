//! The CA and the certificates of the three doors.
//!
//! By default they are made in memory and nobody ever has them: the CA's key is wiped as soon as it has
//! signed three certificates, so that nobody, not even the operator, can make a fourth. Keys that are made here are on
//! P-256; those that the operator gives may be of any kind that TLS serves here, RSA among them.

use core::fmt;
use core::time::Duration;
use tls::mint::{Authority, Minted, Unmintable, Validity};
use tls::{Flaw, Trust};

/// How long certificates that are made in memory are valid. The first Bitcoin Piñata stood for three years.
const DAYS: u32 = 3 * 365;

/// What the doors show, and whom they believe. It has no `Debug`.
pub struct Keys {
    pub(crate) trust: Trust,
    pub(crate) ca: Vec<u8>,
    pub(crate) server: Minted,
    pub(crate) caller: Minted,
    pub(crate) client: Minted,
    pub(crate) ca_key_is_gone: bool,
}

/// There can be no piñata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPinata {
    /// Its certificates could not be made.
    Mint(Unmintable),
    /// Its certificates cannot be used.
    Flaw(Flaw),
}

impl fmt::Display for BadPinata {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mint(bad) => bad.fmt(out),
            Self::Flaw(bad) => write!(out, "the piñata's certificates cannot be used: {bad}"),
        }
    }
}

impl core::error::Error for BadPinata {}

impl From<Unmintable> for BadPinata {
    fn from(bad: Unmintable) -> Self {
        Self::Mint(bad)
    }
}

impl From<Flaw> for BadPinata {
    fn from(bad: Flaw) -> Self {
        Self::Flaw(bad)
    }
}

impl Keys {
    /// Makes a CA and its three certificates, `now` since 1970; the server's is for `names`. The CA's key
    /// is gone when this returns.
    ///
    /// # Errors
    /// When there is no entropy, a name is no name, or the dates are not on the calendar.
    pub fn mint(names: &[&str], now: Duration) -> Result<Self, BadPinata> {
        let validity = Validity::days(now, DAYS);
        let authority = Authority::new("Piñata", validity)?;
        let server = authority.server(names, validity)?;
        let caller = authority.client("Piñata, calling back", validity)?;
        let client = authority.client("Piñata, as your client", validity)?;
        let keys = Self::given(authority.certificate().to_vec(), Vec::new(), [server, caller, client])?;
        Ok(Self { ca_key_is_gone: true, ..keys })
    }

    /// Takes a CA that the operator has, its revocation lists, and a certificate for each door in the order
    /// of [`crate::DOORS`]: a server's and two clients'.
    ///
    /// # Errors
    /// When the CA or a list cannot be read.
    pub fn given(ca: Vec<u8>, crls: Vec<Vec<u8>>, shown: [Minted; 3]) -> Result<Self, BadPinata> {
        let trust = Trust::new(core::slice::from_ref(&ca), crls)?;
        let [server, caller, client] = shown;
        Ok(Self { trust, ca, server, caller, client, ca_key_is_gone: false })
    }
}
