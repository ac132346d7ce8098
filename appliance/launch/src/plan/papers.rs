//! Certificates, keys, revocation lists: read, and held against each other, the names and the date.
//!
//! rustls decides whether a key fits its certificate; x509-parser only describes what is wrong with it.

use super::Ground;
use super::complaints::Place;
use super::table::{At, Table};
use bundle::{Authority, Clients};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tls::{Calendar, Flaw, Front, Key, Trust};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// What a site needs for TLS.
#[derive(Default)]
pub(crate) struct Papers {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Zeroizing<Vec<u8>>,
    /// The certificate comes from `gatehouse init`.
    pub(crate) development: bool,
}

/// What `gatehouse init` calls its CA.
pub(crate) const DEVELOPMENT: &str = "Gatehouse development CA";
const DAY: i64 = 86_400;

/// A chain and its key, out of one file.
pub(crate) struct Shown {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Zeroizing<Vec<u8>>,
}

/// Reads a chain and its key from one file.
pub(crate) fn shown(ground: &Ground<'_>, written: &At<&str>) -> Option<Shown> {
    let chain = chain(ground, written)?;
    let parsed = chain.iter().filter_map(|der| X509Certificate::from_der(der).ok());
    parsed.for_each(|(_, certificate)| dates(ground, written, &certificate, false));
    Some(Shown { chain, key: private_key(ground, written)? })
}

pub(crate) fn read(ground: &Ground<'_>, table: &Table<'_>, names: &[At<String>]) -> Papers {
    let certificate = table.needed("certificate", "tls/example.pem");
    let key = table.needed("key", "tls/example.key");
    let chain = certificate.as_ref().and_then(|written| chain(ground, written)).unwrap_or_default();
    let mut papers = Papers { chain, ..Papers::default() };
    if let Some(written) = &certificate {
        papers.development = describe(ground, written, &papers.chain, names);
    }
    if let Some(written) = &key {
        papers.key = private_key(ground, written).unwrap_or_default();
        if !papers.chain.is_empty() && !papers.key.is_empty() {
            fit(ground, written, &papers);
        }
    }
    papers
}

/// The blocks of a PEM file: label and content.
fn blocks(ground: &Ground<'_>, written: &At<&str>) -> Option<Vec<Pem>> {
    let text = ground.read(written)?;
    let blocks: Result<Vec<Pem>, _> = Pem::iter_from_buffer(&text).collect();
    match blocks {
        Ok(blocks) if !blocks.is_empty() => Some(blocks),
        Ok(_) if text.first() == Some(&0x30) => {
            let what = format!("{} is in DER", written.value);
            let remedy = "convert it: openssl x509 -inform der (or openssl pkey -inform der)";
            ground.complaints.wrong(&written.place, what, remedy);
            None
        }
        _ => {
            let what = format!("{} is not PEM", written.value);
            ground.complaints.wrong(
                &written.place,
                what,
                "it begins with a line such as -----BEGIN CERTIFICATE-----",
            );
            None
        }
    }
}

/// All blocks of a file that have one label.
pub(crate) fn labelled(
    ground: &Ground<'_>,
    written: &At<&str>,
    label: &str,
    thing: &str,
) -> Option<Vec<Vec<u8>>> {
    let found: Vec<Vec<u8>> = blocks(ground, written)?
        .into_iter()
        .filter(|block| block.label == label)
        .map(|block| block.contents)
        .collect();
    if found.is_empty() {
        let what = format!("{} holds no {thing}", written.value);
        ground.complaints.wrong(&written.place, what, format!("it needs a block -----BEGIN {label}-----"));
        return None;
    }
    Some(found)
}

fn chain(ground: &Ground<'_>, written: &At<&str>) -> Option<Vec<Vec<u8>>> {
    let chain = labelled(ground, written, "CERTIFICATE", "certificate")?;
    let good = chain.iter().enumerate().all(|(at, der)| {
        let good = X509Certificate::from_der(der).is_ok();
        if !good {
            let what = format!("certificate {} in {} cannot be read", at.saturating_add(1), written.value);
            ground.complaints.wrong(&written.place, what, "get it again from whoever signed it");
        }
        good
    });
    good.then_some(chain)
}

/// Holds a chain against the date, the names and itself. Says whether it is a development certificate.
fn describe(ground: &Ground<'_>, written: &At<&str>, chain: &[Vec<u8>], names: &[At<String>]) -> bool {
    let chain: Vec<X509Certificate<'_>> = chain
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok())
        .map(|(_, parsed)| parsed)
        .collect();
    let Some(leaf) = chain.first() else { return false };
    let development = leaf.issuer().iter_common_name().any(|name| name.as_str() == Ok(DEVELOPMENT));
    chain.iter().for_each(|certificate| dates(ground, written, certificate, development));
    covered(ground, written, leaf, names);
    links(ground, written, &chain);
    development
}

fn dates(ground: &Ground<'_>, written: &At<&str>, certificate: &X509Certificate<'_>, development: bool) {
    let now = i64::try_from(ground.now).unwrap_or(i64::MAX);
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    let subject = format!("the certificate of {}", certificate.subject());
    let renew = if development { "make a new one: gatehouse init --renew" } else { "renew it" };
    if now > until.timestamp() {
        ground.complaints.wrong(&written.place, format!("{subject} expired on {until}"), renew);
    } else if now < from.timestamp() {
        let what = format!("{subject} is not valid before {from}");
        ground.complaints.wrong(&written.place, what, "wait, or look whether this machine's clock is right");
    } else if until.timestamp().saturating_sub(now) < 14 * DAY {
        ground.complaints.hint(&written.place, format!("{subject} expires on {until}"), renew);
    }
}

fn covered(ground: &Ground<'_>, written: &At<&str>, leaf: &X509Certificate<'_>, names: &[At<String>]) {
    let extension = leaf.subject_alternative_name().ok().flatten();
    let known: Vec<String> = extension.map_or_else(Vec::new, |extension| {
        let name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        extension.value.general_names.iter().filter_map(name).collect()
    });
    for name in names.iter().filter(|name| !known.iter().any(|known| covers(known, &name.value))) {
        let what = format!("{} does not cover {}", written.value, name.value);
        let list = if known.is_empty() { "no name at all".into() } else { known.join(", ") };
        ground.complaints.wrong(
            &name.place,
            what,
            format!("it covers {list}; get one that covers all names of the site"),
        );
    }
}

/// A name in a certificate, and a name or a wildcard of a site.
fn covers(known: &str, name: &str) -> bool {
    let parent = |name: &str| name.split_once('.').map(|(_, parent)| parent.to_owned());
    known == name || (known.strip_prefix("*.").map(str::to_owned) == parent(name) && known.starts_with("*."))
}

/// Each certificate signs the one before it, and none is missing at the end.
fn links(ground: &Ground<'_>, written: &At<&str>, chain: &[X509Certificate<'_>]) {
    for pair in chain.windows(2) {
        if let [below, above] = pair
            && below.issuer() != above.subject()
        {
            let what = format!(
                "in {} the certificate of {} is followed by one that did not sign it",
                written.value,
                below.subject()
            );
            let remedy = format!("put the certificate of {} behind it", below.issuer());
            ground.complaints.wrong(&written.place, what, remedy);
        }
    }
    let ([leaf], true) = (chain, chain.len() == 1) else { return };
    // A lone leaf whose signer is published somewhere was signed by an intermediate, which browsers do not
    // know.
    if leaf.issuer() != leaf.subject() && has_signer_address(leaf) {
        let what = format!("{} lacks the certificate of {}, which signed it", written.value, leaf.issuer());
        ground.complaints.wrong(
            &written.place,
            what,
            "append it: the file of the full chain (fullchain.pem) has it",
        );
    }
}

fn has_signer_address(certificate: &X509Certificate<'_>) -> bool {
    let is_signer = |oid: String| oid == "1.3.6.1.5.5.7.48.2";
    certificate.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.accessdescs.iter().any(|access| is_signer(access.access_method.to_id_string()))
        }
        _ => false,
    })
}

fn private_key(ground: &Ground<'_>, written: &At<&str>) -> Option<Zeroizing<Vec<u8>>> {
    private(ground, written);
    let mut blocks = blocks(ground, written)?;
    let is_key =
        |block: &Pem| ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"].contains(&block.label.as_str());
    if let Some(block) = blocks.iter_mut().find(|block| is_key(block)) {
        return Some(Zeroizing::new(std::mem::take(&mut block.contents)));
    }
    let locked = blocks.iter().any(|block| block.label.contains("ENCRYPTED"));
    let (what, remedy) = if locked {
        ("is locked with a password, and nobody is there to type it", "unlock it: openssl pkey -in … -out …")
    } else {
        ("holds no private key", "it needs a block -----BEGIN PRIVATE KEY-----")
    };
    ground.complaints.wrong(&written.place, format!("{} {what}", written.value), remedy);
    None
}

/// A secret is nobody else's to read.
pub(crate) fn private(ground: &Ground<'_>, written: &At<&str>) {
    let path = ground.path(written.value);
    let mode = fs::metadata(&path).map_or(0, |facts| facts.permissions().mode());
    if mode & 0o077 != 0 {
        let what = format!("{} can be read by others on this machine", path.display());
        ground.complaints.hint(&Place::file(&path), what, format!("chmod 600 {}", path.display()));
    }
}

/// What the appliance itself would say of it.
fn fit(ground: &Ground<'_>, written: &At<&str>, papers: &Papers) {
    let site =
        tls::Site::new(vec!["site.invalid".into()], papers.chain.clone(), Key::new(papers.key.to_vec()));
    match Front::new(vec![site], None, Calendar::default()) {
        Ok(_) => {}
        Err(Flaw::KeyMismatch) => {
            let what = format!("{} is not the key of the certificate", written.value);
            ground.complaints.wrong(
                &written.place,
                what,
                "name the key that the certificate was asked for with",
            );
        }
        Err(flaw) => {
            ground.complaints.wrong(
                &written.place,
                flaw.to_string(),
                "use P-256, P-384, Ed25519 or RSA of 2048 bits or more",
            );
        }
    }
}

pub(crate) fn ocsp(ground: &Ground<'_>, written: &At<&str>) -> Option<Vec<u8>> {
    let bytes = ground.read(written)?;
    if let Err(Flaw::BadStaple(why)) = tls::papers::staple(&bytes) {
        let what = format!("{} {why}", written.value);
        ground.complaints.wrong(&written.place, what, "write it with: openssl ocsp … -respout FILE");
    }
    Some(bytes.to_vec())
}

/// CA certificates by which others are verified.
pub(crate) fn authorities(ground: &Ground<'_>, written: &At<&str>) -> Option<Vec<Vec<u8>>> {
    let certificates = labelled(ground, written, "CERTIFICATE", "certificate")?;
    if let Err(flaw) = Trust::new(&certificates, Vec::new()) {
        ground.complaints.wrong(&written.place, flaw.to_string(), "name CA certificates");
    }
    Some(certificates)
}

/// `[site.clients]`: whether clients show certificates.
pub(crate) fn clients(ground: &Ground<'_>, table: Table<'_>) -> Clients {
    let policy = table.needed("policy", "required");
    let authorities = table.needed("authorities", "tls/clients.pem");
    let certificates =
        authorities.as_ref().and_then(|written| labelled(ground, written, "CERTIFICATE", "certificate"));
    let mut authority = Authority { certificates: certificates.unwrap_or_default(), revoked: Vec::new() };
    for written in table.texts("revoked") {
        authority
            .revoked
            .extend(labelled(ground, &written, "X509 CRL", "revocation list").unwrap_or_default());
    }
    if let Some(written) = authorities.filter(|_| !authority.certificates.is_empty())
        && let Err(flaw) = Trust::new(&authority.certificates, authority.revoked.clone())
    {
        ground.complaints.wrong(
            &written.place,
            flaw.to_string(),
            "name CA certificates and their own revocation lists",
        );
    }
    let clients = match policy {
        Some(At { value: "required", .. }) => Clients::Required(authority),
        Some(At { value: "optional", .. }) => Clients::Optional(authority),
        Some(other) => {
            let what = format!("there is no policy {:?}", other.value);
            ground.complaints.wrong(&other.place, what, "write \"required\" or \"optional\"");
            Clients::Unasked
        }
        None => Clients::Unasked,
    };
    table.done();
    clients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_covers_one_label() {
        assert!(covers("a.org", "a.org"));
        assert!(covers("*.a.org", "b.a.org"));
        assert!(covers("*.a.org", "*.a.org"));
        assert!(!covers("*.a.org", "a.org"));
        assert!(!covers("*.a.org", "c.b.a.org"));
        assert!(!covers("a.org", "*.a.org"));
        assert!(!covers("*", "org"));
    }
}
