//! `gatehouse init`: a working example in an empty folder.
//!
//! The development CA signs what it has to and is then forgotten: nobody has its key, so trusting it in a
//! browser for a while is no risk.

use crate::Outcome;
use crate::pack::now;
use crate::plan::{DEVELOPMENT, SHEET};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tls::mint::{Authority, Validity, pem};

/// What to make, and for whom.
#[derive(clap::Args)]
pub(crate) struct Order {
    /// The folder to make.
    folder: PathBuf,
    /// Another name of the site, beside localhost; may be repeated.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Make new certificates for a folder that is there, and touch nothing else.
    #[arg(long)]
    renew: bool,
}

/// The example site, file by file.
const SITE: [(&str, &[u8]); 5] = [
    ("site/index.html", include_bytes!("../demo/site/index.html")),
    ("site/404.html", include_bytes!("../demo/site/404.html")),
    ("site/style.css", include_bytes!("../demo/site/style.css")),
    ("site/gate.svg", include_bytes!("../demo/site/gate.svg")),
    ("site/favicon.svg", include_bytes!("../demo/site/favicon.svg")),
];
const EXAMPLE: &str = include_str!("../demo/gatehouse.toml");
const DAYS: u32 = 365;

/// The verb.
pub(crate) fn init(order: &Order) -> Outcome {
    let sheet = order.folder.join(SHEET);
    if sheet.exists() != order.renew {
        let there = format!("{} is there already; --renew makes new certificates for it", sheet.display());
        let missing = format!("{} is not there; leave --renew away to make it", sheet.display());
        return Err(if order.renew { missing } else { there }.into());
    }
    make(&order.folder, &order.names, order.renew)?;
    println!("{}: made", order.folder.display());
    println!("    gatehouse check {}", order.folder.display());
    println!("    gatehouse run {}", order.folder.display());
    Ok(ExitCode::SUCCESS)
}

/// Makes the example with certificates for `localhost` and these names.
pub(crate) fn make(
    folder: &Path,
    names: &[String],
    certificates_only: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(folder.join("tls"))?;
    let all: Vec<&str> = std::iter::once("localhost").chain(names.iter().map(String::as_str)).collect();
    certificates(folder, &all)?;
    if certificates_only {
        return Ok(());
    }
    fs::create_dir_all(folder.join("site"))?;
    for (name, bytes) in SITE {
        put(&folder.join(name), bytes, 0o644)?;
    }
    let list = all.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    put(&folder.join(SHEET), EXAMPLE.replace("\"localhost\" # NAMES", &list).as_bytes(), 0o644)?;
    Ok(put(&folder.join(".gitignore"), b"tls/*.key\n*.bundle\n", 0o644)?)
}

fn certificates(folder: &Path, names: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let validity = Validity::days(Duration::from_secs(now()), DAYS);
    let authority = Authority::new(DEVELOPMENT, validity)?;
    let minted = authority.server(names, validity)?;
    let chain: String = minted.chain.iter().map(|der| pem("CERTIFICATE", der).to_string()).collect();
    put(&folder.join("tls/ca.pem"), pem("CERTIFICATE", authority.certificate()).as_bytes(), 0o644)?;
    put(&folder.join("tls/localhost.pem"), chain.as_bytes(), 0o644)?;
    put(&folder.join("tls/localhost.key"), pem("PRIVATE KEY", minted.key.der()).as_bytes(), 0o600)?;
    Ok(())
}

/// Writes a file afresh, so that its rights are those of a new one.
pub(crate) fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(named)
}
