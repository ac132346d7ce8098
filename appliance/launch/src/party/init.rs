//! `gatehouse pinata init`: a piñata that works, in an empty folder.
//!
//! What the machine gets lies beside the sheet. What only the operator has lies in `keep`: the CA's key, and a friend's
//! certificates, with which every door opens, and one that was revoked.

use super::keep::{CA, CA_KEY, FRIEND, FRIEND_SERVER, REVOKED};
use crate::Outcome;
use crate::init::put;
use crate::pack::now;
use crate::plan::SHEET;
use rustix::rand::{GetRandomFlags, getrandom};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tls::mint::{Authority, Minted, Validity, pem};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// What to make.
#[derive(clap::Args)]
pub(crate) struct Order {
    /// The folder to make.
    folder: PathBuf,
    /// Make no keys: the machine makes its own at each start, and nobody has a certificate, you neither.
    #[arg(long)]
    nobody: bool,
    /// A name or an address of the machine, beside localhost; may be repeated.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
}

/// The first Bitcoin Piñata stood for three years.
const DAYS: u32 = 3 * 365;

/// An Ed25519 key in PKCS #8, but for its 32 bytes.
const ED25519: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

const TOP: &str =
    "# A piñata. `gatehouse check .` finds every mistake in it; paths are relative to this folder.

[pinata]
secret = \"secret.pem\"      # what falls out: any file. An Ed25519 key can prove to visitors that it is there
bounty = \"A key that opens nothing. What yours is worth, you write here.\"
";
const KEYS: &str = "
# One CA, and a certificate for each door, each in one file with its key. Without these five lines the machine makes
# its own at each start. RSA keys are welcome too.
authority = \"tls/ca.pem\"
server = \"tls/server.pem\"   # door 10000
caller = \"tls/caller.pem\"   # door 10001
client = \"tls/client.pem\"   # door 10002
revoked = [\"tls/ca.crl\"]     # whoever is on it gets nothing; once it is out of date, nobody does
";

/// The verb.
pub(crate) fn init(order: &Order) -> Outcome {
    let folder = &order.folder;
    if folder.join(SHEET).exists() {
        return Err(
            format!("{} is there already; choose another folder", folder.join(SHEET).display()).into()
        );
    }
    make(folder, &order.names, !order.nobody)?;
    println!("{}: made", folder.display());
    println!("    gatehouse pinata run {}", folder.display());
    println!("    gatehouse pinata whack 127.0.0.1 --page 8080");
    if !order.nobody {
        let keep = folder.join("keep");
        println!("    gatehouse pinata whack 127.0.0.1 --page 8080 --keep {}", keep.display());
        println!("{}: yours alone; the machine does not need it", keep.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the example, with keys or without.
pub(crate) fn make(folder: &Path, names: &[String], keys: bool) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let mut der = Zeroizing::new([&ED25519[..], &[0; 32]].concat());
    getrandom(der.get_mut(ED25519.len()..).unwrap_or_default(), GetRandomFlags::empty())?;
    put(&folder.join("secret.pem"), pem("PRIVATE KEY", &der).as_bytes(), 0o600)?;
    if keys {
        make_keys(folder, names)?;
    }
    put(&folder.join(".gitignore"), b"secret.pem\nkeep/\ntls/\n*.bundle\n", 0o644)?;
    let sheet = if keys { TOP.to_owned() + KEYS } else { TOP.to_owned() };
    Ok(put(&folder.join(SHEET), sheet.as_bytes(), 0o644)?)
}

fn make_keys(folder: &Path, names: &[String]) -> Result<(), Box<dyn Error>> {
    let days = Validity::days(Duration::from_secs(now()), DAYS);
    let authority = Authority::new(CA, days)?;
    let names: Vec<&str> = std::iter::once("localhost").chain(names.iter().map(String::as_str)).collect();
    let (tls, keep) = (folder.join("tls"), folder.join("keep"));
    fs::create_dir_all(&tls)?;
    fs::create_dir_all(&keep)?;
    put(&tls.join("ca.pem"), pem("CERTIFICATE", authority.certificate()).as_bytes(), 0o644)?;
    shown(&tls.join("server.pem"), &authority.server(&names, days)?)?;
    shown(&tls.join("caller.pem"), &authority.client("Piñata, calling back", days)?)?;
    shown(&tls.join("client.pem"), &authority.client("Piñata, as your client", days)?)?;
    let revoked = authority.client("No friend any more", days)?;
    let list = authority.revoke(&[&serial(&revoked)?], days)?;
    put(&tls.join("ca.crl"), pem("X509 CRL", &list).as_bytes(), 0o644)?;
    shown(&keep.join(REVOKED), &revoked)?;
    put(&keep.join(CA_KEY), pem("PRIVATE KEY", authority.key().der()).as_bytes(), 0o600)?;
    shown(&keep.join(FRIEND), &authority.client("A friend", days)?)?;
    Ok(shown(&keep.join(FRIEND_SERVER), &authority.server(&["friend.invalid"], days)?)?)
}

/// The number under which a certificate is revoked.
fn serial(minted: &Minted) -> Result<Vec<u8>, Box<dyn Error>> {
    let leaf = minted.chain.first().ok_or("no certificate")?;
    Ok(X509Certificate::from_der(leaf)?.1.raw_serial().to_vec())
}

/// A certificate and its key in one file.
fn shown(path: &Path, minted: &Minted) -> std::io::Result<()> {
    let chain = minted.chain.iter().map(|der| pem("CERTIFICATE", der));
    let text = chain.chain([pem("PRIVATE KEY", minted.key.der())]);
    let whole = Zeroizing::new(text.fold(String::new(), |all, one| all + &one));
    put(path, whole.as_bytes(), 0o600)
}
