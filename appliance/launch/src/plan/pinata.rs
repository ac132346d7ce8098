//! `[pinata]`: a secret, what it is worth, and the operator's own keys, if there are any.

use super::table::{At, Table};
use super::{Ground, papers};
use tls::mint::Minted;
use tls::{Calendar, Key};
use zeroize::Zeroizing;

/// What is packed for a piñata.
pub(crate) struct Filling {
    pub(crate) secret: Zeroizing<Vec<u8>>,
    pub(crate) bounty: Option<String>,
    pub(crate) keys: Option<Given>,
}

/// A CA that the operator has, and a certificate for each door.
pub(crate) struct Given {
    pub(crate) ca: Vec<u8>,
    pub(crate) revoked: Vec<Vec<u8>>,
    /// By door, in the order of [`pinata::DOORS`].
    pub(crate) shown: [papers::Shown; 3],
}

/// The largest secret that one write of a door takes: nobody has to wait for the rest of it.
const LARGEST: usize = 16 * 1024;

pub(crate) fn read(ground: &Ground<'_>, table: Table<'_>) -> Option<Filling> {
    let secret = table.needed("secret", "secret.txt").and_then(|written| secret(ground, &written));
    let bounty = table.text("bounty").map(|text| text.value.to_owned());
    let keys = table.text("authority").map(|written| given(ground, &table, &written));
    let revoked = table.texts("revoked");
    if keys.is_none() {
        let lost = ["server", "caller", "client"].into_iter().filter_map(|key| table.text(key));
        for written in lost.chain(revoked) {
            let remedy = "name the CA with authority = \"tls/ca.pem\", or leave all of them out: then keys are made at each start";
            ground.complaints.wrong(&written.place, "certificates without their CA", remedy);
        }
    }
    table.done();
    Some(Filling { secret: secret?, bounty, keys: keys.flatten() })
}

fn secret(ground: &Ground<'_>, written: &At<&str>) -> Option<Zeroizing<Vec<u8>>> {
    let secret = ground.read(written)?;
    papers::private(ground, written);
    if secret.is_empty() || secret.len() > LARGEST {
        let what = format!("a secret of {} bytes", secret.len());
        ground.complaints.wrong(&written.place, what, format!("it may have 1 to {LARGEST}"));
    } else if secret.windows(11).any(|words| words == b"PRIVATE KEY") && !pinata::is_key_pair(&secret) {
        let what = "the secret is a private key, but not one that can prove to visitors that it is there";
        let remedy = "openssl genpkey -algorithm ed25519 makes one that can";
        ground.complaints.hint(&written.place, what, remedy);
    }
    Some(secret)
}

fn given(ground: &Ground<'_>, table: &Table<'_>, authority: &At<&str>) -> Option<Given> {
    let mut ca = papers::labelled(ground, authority, "CERTIFICATE", "certificate")?;
    if ca.len() > 1 {
        let what = format!("{} holds {} certificates", authority.value, ca.len());
        ground.complaints.wrong(&authority.place, what, "a piñata believes exactly one CA");
    }
    let ca = ca.pop()?;
    let lists = table.texts("revoked").into_iter();
    let revoked: Vec<Vec<u8>> = lists
        .filter_map(|written| papers::labelled(ground, &written, "X509 CRL", "revocation list"))
        .flatten()
        .collect();
    let server = shown(ground, table.needed("server", "tls/server.pem"));
    let caller = shown(ground, table.needed("caller", "tls/caller.pem"));
    let client = shown(ground, table.needed("client", "tls/client.pem"));
    let given = Given { ca, revoked, shown: [server?, caller?, client?] };
    fit(ground, authority, &given);
    Some(given)
}

fn shown(ground: &Ground<'_>, written: Option<At<&str>>) -> Option<papers::Shown> {
    papers::shown(ground, &written?)
}

/// What the appliance itself would say of it.
fn fit(ground: &Ground<'_>, written: &At<&str>, given: &Given) {
    let minted =
        |shown: &papers::Shown| Minted { chain: shown.chain.clone(), key: Key::new(shown.key.to_vec()) };
    let keys =
        pinata::Keys::given(given.ca.clone(), given.revoked.clone(), given.shown.each_ref().map(minted));
    let hung = keys.and_then(|keys| {
        pinata::Pinata::new(keys, Vec::new(), String::new(), None, Calendar::default()).map(drop)
    });
    if let Err(bad) = hung {
        let remedy =
            "each of server, caller and client is a PEM file with a certificate of this CA and its key";
        ground.complaints.wrong(&written.place, bad.to_string(), remedy);
    }
}
