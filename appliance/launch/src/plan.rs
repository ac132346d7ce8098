//! The plan: what `gatehouse.toml` asks for, after every mistake in it and around it was found.
//!
//! `check` prints the mistakes, `pack` and `run` refuse to go on while there are any. Nothing below this
//! folder of the launcher writes anything.

pub(crate) mod complaints;
mod papers;
pub(crate) mod pinata;
mod proxy;
mod rules;
mod site;
mod table;
pub(crate) mod tree;

pub(crate) use papers::DEVELOPMENT;

use bundle::{Estate, Limits, Profile};
use complaints::{Complaints, Place};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use table::{At, Sheet, Table};
use toml::de::DeTable;
use tree::Page;
use zeroize::Zeroizing;

/// The name of the file that says it all.
pub(crate) const SHEET: &str = "gatehouse.toml";

/// What is to be packed.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) estate: Estate,
    /// For each site its pages, in the order of their paths.
    pub(crate) pages: Vec<Vec<Page>>,
    /// For each site its private key in DER.
    pub(crate) keys: Vec<Zeroizing<Vec<u8>>>,
    /// What appliances share for their tickets.
    pub(crate) ticket: Option<Zeroizing<Vec<u8>>>,
    /// What addresses are made from.
    pub(crate) address: Option<Zeroizing<Vec<u8>>>,
    /// What is put into a piñata.
    pub(crate) pinata: Option<pinata::Filling>,
}

/// Where the operator's folder is, and when it is read.
pub(crate) struct Ground<'a> {
    pub(crate) folder: &'a Path,
    /// Seconds since 1970.
    pub(crate) now: u64,
    pub(crate) complaints: &'a Complaints,
}

impl Ground<'_> {
    /// A path as the sheet has it: relative to the sheet's folder.
    pub(crate) fn path(&self, written: &str) -> PathBuf {
        self.folder.join(written)
    }

    /// The bytes of a file that the sheet names, if they can be read.
    pub(crate) fn read(&self, written: &At<&str>) -> Option<Zeroizing<Vec<u8>>> {
        let path = self.path(written.value);
        match fs::read(&path) {
            Ok(bytes) => Some(Zeroizing::new(bytes)),
            Err(error) => {
                let what = format!("{} cannot be read: {error}", path.display());
                let remedy = neighbour(&path).map_or_else(
                    || format!("paths are relative to the folder of {SHEET}"),
                    |near| format!("{near} was meant?"),
                );
                self.complaints.wrong(&written.place, what, remedy);
                None
            }
        }
    }
}

/// The file in the same folder whose name is near.
fn neighbour(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let names =
        fs::read_dir(path.parent()?).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    world::words::meant(wanted, names.iter().map(String::as_str)).map(str::to_owned)
}

/// Reads the sheet in `folder` and all that it names.
pub(crate) fn read(ground: &Ground<'_>) -> Plan {
    let name = ground.folder.join(SHEET);
    let text = match fs::read_to_string(&name) {
        Ok(text) => text,
        Err(error) => {
            let remedy = format!("make an example with: gatehouse init {}", ground.folder.display());
            ground.complaints.wrong(&Place::file(&name), format!("it cannot be read: {error}"), remedy);
            return Plan::default();
        }
    };
    let sheet = Sheet { name: &name, text: &text, complaints: ground.complaints };
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in &errors {
        let place = sheet.place(&error.span().unwrap_or_default());
        ground.complaints.wrong(
            &place,
            error.message(),
            "this is not TOML; https://toml.io says how it is written",
        );
    }
    if !errors.is_empty() {
        return Plan::default();
    }
    whole(ground, Table::new(sheet, table.get_ref(), "the sheet", &(0..0)))
}

fn whole(ground: &Ground<'_>, top: Table<'_>) -> Plan {
    let mut plan = Plan::default();
    plan.estate.profile = profile(&top);
    plan.estate.https_port = published(&top);
    plan.estate.limits = top.table("limits").map(limits).unwrap_or_default();
    plan.estate.trusted = proxy::networks(&top, "trusted-proxies");
    plan.estate.announcers = proxy::networks(&top, "proxy-protocol-from");
    plan.estate.resolvers = proxy::resolvers(&top);
    plan.ticket = top.text("ticket-secret").and_then(|written| secret(ground, &written, "a ticket"));
    plan.address = top.text("address-secret").and_then(|written| secret(ground, &written, "an address"));
    let mut names = BTreeMap::new();
    for (number, table) in top.tables("site").into_iter().enumerate() {
        let site = site::read(ground, table);
        claim(ground, &mut names, number, &site.names);
        plan.estate.sites.push(site.words);
        plan.pages.push(site.pages);
        plan.keys.push(site.key);
    }
    plan.pinata = top.table("pinata").and_then(|table| pinata::read(ground, table));
    plan.estate.default_site = default_site(&top, &names);
    if plan.estate.sites.is_empty() && !top.is_table("pinata") {
        top.complaints().wrong(&top.place, "there is no site", "begin one with a line [[site]]");
    }
    top.done();
    plan
}

/// Two sites cannot have one name.
fn claim(
    ground: &Ground<'_>,
    known: &mut BTreeMap<String, (usize, Place)>,
    number: usize,
    names: &[At<String>],
) {
    for name in names {
        if let Some((_, first)) = known.get(&name.value) {
            let what = format!("{} is already the name of a site ({first})", name.value);
            ground.complaints.wrong(&name.place, what, "take the name away from one of them");
        } else {
            known.insert(name.value.clone(), (number, name.place.clone()));
        }
    }
}

fn profile(top: &Table<'_>) -> Profile {
    match top.text("profile") {
        None => Profile::default(),
        Some(At { value: "intermediate", .. }) => Profile::Intermediate,
        Some(At { value: "modern", .. }) => Profile::Modern,
        Some(other) => {
            top.complaints().wrong(
                &other.place,
                format!("there is no profile {:?}", other.value),
                "write \"intermediate\" (TLS 1.3 and 1.2) or \"modern\" (TLS 1.3 only)",
            );
            Profile::default()
        }
    }
}

fn published(top: &Table<'_>) -> u16 {
    let Some(table) = top.table("published") else { return 443 };
    let port = table.number("https", 1..=65_535).map_or(443, |port| port.value);
    table.done();
    u16::try_from(port).unwrap_or(443)
}

fn limits(table: Table<'_>) -> Limits {
    let mut limits = Limits::default();
    let set = |key, bounds, limit: &mut u32| {
        if let Some(number) = table.number(key, bounds) {
            *limit = number.value;
        }
    };
    set("idle-seconds", 1..=86_400, &mut limits.idle);
    set("head-seconds", 1..=600, &mut limits.head);
    set("stall-seconds", 1..=3600, &mut limits.stall);
    set("stall-bytes", 1..=16_777_216, &mut limits.floor);
    set("head-bytes", 1024..=1_048_576, &mut limits.head_bytes);
    set("head-lines", 8..=1000, &mut limits.head_lines);
    set("address-bytes", 64..=65_535, &mut limits.target);
    set("requests", 1..=u32::MAX, &mut limits.requests);
    set("streams", 1..=1000, &mut limits.streams);
    table.done();
    limits
}

fn secret(ground: &Ground<'_>, written: &At<&str>, whose: &str) -> Option<Zeroizing<Vec<u8>>> {
    let secret = ground.read(written)?;
    papers::private(ground, written);
    if secret.len() < 32 {
        let what = format!("{whose} secret of {} bytes is too short", secret.len());
        ground.complaints.wrong(&written.place, what, "make one with: openssl rand 48");
    }
    Some(secret)
}

fn default_site(top: &Table<'_>, names: &BTreeMap<String, (usize, Place)>) -> Option<u32> {
    let wanted = top.text("default-site")?;
    if let Some((number, _)) = names.get(wanted.value) {
        return u32::try_from(*number).ok();
    }
    let meant = world::words::meant(wanted.value, names.keys().map(String::as_str));
    let remedy = meant
        .map_or_else(|| "write a name of one of the sites".to_owned(), |meant| format!("{meant} was meant?"));
    top.complaints().wrong(&wanted.place, format!("no site has the name {:?}", wanted.value), remedy);
    None
}
