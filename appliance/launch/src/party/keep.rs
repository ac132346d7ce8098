//! What the operator keeps beside a piñata: the CA's key, friends' certificates, and one that was revoked. With these
//! `whack` can try what nobody else can: certificates of the true CA, each with one thing wrong.

use super::tools::{Bad, both, later, past, shown, swapped};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use tls::mint::{Authority, Minted, Validity};
use tls::papers;

/// The files that `gatehouse pinata init` puts there.
pub(crate) const CA_KEY: &str = "ca.key";
pub(crate) const FRIEND: &str = "friend.pem";
pub(crate) const FRIEND_SERVER: &str = "friend-server.pem";
pub(crate) const REVOKED: &str = "revoked.pem";

/// What `gatehouse pinata init` calls its CA.
pub(crate) const CA: &str = "Piñata";

/// What can be made with the CA's key.
pub(crate) struct Keep {
    /// What no piñata should believe, though its own CA has signed it.
    pub(crate) bad: Vec<Bad>,
    /// A friend's certificate; whoever shows it here has not its key.
    pub(crate) stolen: Minted,
    /// A certificate that was good once.
    pub(crate) revoked: Option<Minted>,
}

impl Keep {
    /// Opens such a folder, for the piñata of this CA.
    pub(crate) fn open(folder: &Path, ca: &[u8], now: Duration) -> Result<Self, Box<dyn Error>> {
        let path = folder.join(CA_KEY);
        let trouble = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let text = zeroize::Zeroizing::new(std::fs::read(&path).map_err(|error| trouble(&error))?);
        let key = papers::key(&text).map_err(|flaw| trouble(&flaw))?;
        let authority = Authority::again(CA, ca.to_vec(), &key).map_err(|bad| trouble(&bad))?;
        let today = Validity::days(now, 30);
        let bad = vec![
            both("of its CA, expired", &authority, past(now))?,
            both("of its CA, not valid yet", &authority, later(now))?,
            swapped(both("of its CA, for the other side", &authority, today)?),
        ];
        let friend = authority.client("A friend", today)?;
        let stolen = Minted { chain: friend.chain, key: authority.client("A thief", today)?.key };
        let revoked = folder.join(REVOKED);
        let revoked = revoked.exists().then(|| shown(&revoked)).transpose()?;
        Ok(Self { bad, stolen, revoked })
    }
}
