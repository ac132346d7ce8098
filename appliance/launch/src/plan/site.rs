//! One `[[site]]` of the sheet.

use super::table::{At, Table};
use super::{Ground, papers, proxy, rules, tree};
use bundle::{Clients, Hsts, Site};
use std::collections::BTreeSet;
use std::net::IpAddr;
use zeroize::Zeroizing;

/// What came of it.
pub(crate) struct Read {
    pub(crate) words: Site,
    pub(crate) names: Vec<At<String>>,
    pub(crate) key: Zeroizing<Vec<u8>>,
    pub(crate) pages: Vec<tree::Page>,
}

const YEAR: u64 = 31_536_000;

pub(crate) fn read(ground: &Ground<'_>, table: Table<'_>) -> Read {
    let names = names(&table);
    let proxies = proxy::read(ground, &table);
    // Where other servers answer there need be no pages.
    let root = if proxies.is_empty() { table.needed("root", "site") } else { table.text("root") };
    let pages = root.map(|root| tree::walk(ground, &root)).unwrap_or_default();
    let papers = papers::read(ground, &table, &names);
    let paths: BTreeSet<&str> = pages.iter().map(|page| page.path.as_str()).collect();
    let words = Site {
        names: names.iter().map(|name| name.value.clone()).collect(),
        ocsp: table.text("ocsp").and_then(|written| papers::ocsp(ground, &written)),
        clients: table.table("clients").map(|clients| papers::clients(ground, clients)).unwrap_or_default(),
        hsts: hsts(&table).filter(|_| !is_private(&names) && !papers.development),
        errors: rules::errors(&table, &paths),
        redirects: rules::redirects(&table, &paths),
        figures: table.flag("figures").is_some_and(|flag| flag.value),
        headers: rules::headers(&table),
        proxies,
        chain: papers.chain,
    };
    if words.clients != Clients::Unasked && names.is_empty() {
        table.complaints().hint(
            &table.place,
            "clients are asked for certificates by a site without names",
            "add names",
        );
    }
    table.done();
    Read { words, names, key: papers.key, pages }
}

fn names(table: &Table<'_>) -> Vec<At<String>> {
    let names = table.texts("names");
    if names.is_empty() {
        let remedy = "add a line such as: names = [\"example.org\", \"www.example.org\"]";
        table.complaints().wrong(&table.place, "this site has no names", remedy);
    }
    let mut known = BTreeSet::new();
    let mut checked = Vec::new();
    for name in names {
        let value = name.value.trim_end_matches('.').to_ascii_lowercase();
        if let Some((what, remedy)) = bad_name(&value) {
            table.complaints().wrong(&name.place, what, remedy);
        } else if known.insert(value.clone()) {
            checked.push(At { value, place: name.place });
        } else {
            table.complaints().wrong(&name.place, format!("{value} is named twice"), "take one of them away");
        }
    }
    checked
}

/// What is wrong with a name, and what would help.
pub(super) fn bad_name(name: &str) -> Option<(String, String)> {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let sentence = |what: &str| format!("{name:?} {what}");
    if name.contains("://") || name.contains('/') {
        return Some((
            sentence("is an address of a page"),
            "write the host alone, such as example.org".into(),
        ));
    }
    if host.parse::<IpAddr>().is_ok() {
        return Some((
            sentence("is an address; browsers name no address in TLS"),
            "give the site a name, and name it as default-site".into(),
        ));
    }
    if name.contains(':') {
        return Some((
            sentence("has a port"),
            "write the host alone; every name is served on every port".into(),
        ));
    }
    if !name.is_ascii() {
        return Some((sentence("is not in ASCII"), "write it as DNS does: xn--… (idn2 converts it)".into()));
    }
    if host.contains('*') {
        return Some((
            sentence("has a star where none may be"),
            "write *.example.org for one label in front".into(),
        ));
    }
    let good = |label: &str| {
        (1..64).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (host.len() > 253 || !host.split('.').all(good))
        .then(|| (sentence("is no name of a host"), "write example.org or *.example.org".into()))
}

/// Names that only this machine or this network knows: no browser may be told to insist on HTTPS for them.
fn is_private(names: &[At<String>]) -> bool {
    let private = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        !name.contains('.')
            || ["localhost", "local", "internal", "test", "example", "invalid"].contains(&last)
    };
    names.iter().any(|name| private(&name.value))
}

/// Half a year, unless the operator says otherwise.
fn hsts(table: &Table<'_>) -> Option<Hsts> {
    let usual = Hsts { seconds: YEAR / 2, subdomains: false, preload: false };
    if !table.is_table("hsts") {
        let wanted = table.flag("hsts").is_none_or(|flag| flag.value);
        return wanted.then_some(usual);
    }
    let words = table.table("hsts")?;
    let flag = |key| words.flag(key).is_some_and(|flag| flag.value);
    let (subdomains, preload) = (flag("subdomains"), flag("preload"));
    let seconds = words.number("days", 0..=3650).map_or(usual.seconds, |days| u64::from(days.value) * 86_400);
    if preload && (!subdomains || seconds < YEAR) {
        let remedy = "write subdomains = true and days = 365 or more, or leave preload away";
        words.complaints().wrong(&words.place, "no browser takes this into its preload list", remedy);
    }
    words.done();
    Some(Hsts { seconds, subdomains, preload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_are_told_from_everything_else() {
        for good in ["example.org", "*.example.org", "localhost", "a_b.example", "xn--bcher-kva.example"] {
            assert_eq!(bad_name(good), None, "{good}");
        }
        let long = format!("{}.org", "a".repeat(64));
        for bad in [
            "",
            ".",
            "a..b",
            "-a.org",
            "a-.org",
            "a b",
            "*",
            "*.*.org",
            "a*.org",
            "www.*",
            "192.0.2.1",
            "2001:db8::1",
            "a.org:443",
            "https://a.org",
            "a.org/",
            "bücher.example",
            &long,
        ] {
            assert!(bad_name(bad).is_some(), "{bad}");
        }
    }
}
