//! `[[site.proxy]]`: paths that other servers answer, and who may say on whose behalf it asks.

use super::table::{At, Table};
use super::{Ground, papers, site};
use bundle::{Health, Network, Proxy, Target, Verified, Waits};
use std::net::IpAddr;

/// The longest body of a request, unless the operator says otherwise: a gibibyte.
const BODY: u32 = 1024;
/// Requests under way at one upstream.
const MOST: u32 = 256;

/// Every proxy of a site.
pub(crate) fn read(ground: &Ground<'_>, site: &Table<'_>) -> Vec<Proxy> {
    let mut proxies: Vec<Proxy> = Vec::new();
    for table in site.tables("proxy") {
        let Some(path) = path(&table) else {
            one(ground, table, String::new());
            continue;
        };
        if proxies.iter().any(|proxy| proxy.path == path.value) {
            let what = format!("another proxy of this site has {} already", path.value);
            table.complaints().wrong(&path.place, what, "name all upstreams in one [[site.proxy]]");
        }
        proxies.push(one(ground, table, path.value));
    }
    proxies
}

fn one(ground: &Ground<'_>, table: Table<'_>, path: String) -> Proxy {
    let flag = |key| table.flag(key).is_some_and(|flag| flag.value);
    let (targets, secure) = targets(&table);
    let verified = secure.then(|| verified(ground, &table));
    if !secure && table.has("tls") {
        let remedy = "write https:// in front of the upstreams, or take [site.proxy.tls] away";
        table.complaints().wrong(&table.place, "no upstream of this proxy speaks TLS", remedy);
        let _ = table.table("tls");
    }
    let proxy = Proxy {
        path,
        targets,
        least: least(&table),
        strip: flag("strip"),
        host: table.text("host").and_then(|host| host_header(&table, &host)),
        verified,
        announce: flag("send-proxy"),
        upgrades: table.flag("upgrades").is_none_or(|flag| flag.value),
        identity: flag("client-identity"),
        health: table.table("health").and_then(health),
        waits: waits(&table),
        most: table.number("connections", 1..=10_000).map_or(MOST, |most| most.value),
        body: u64::from(table.number("body-mib", 1..=1_048_576).map_or(BODY, |most| most.value)) << 20,
    };
    table.done();
    proxy
}

/// A path that ends with a slash: it stands for itself and for all below it.
fn path(table: &Table<'_>) -> Option<At<String>> {
    let written = table.needed("path", "/api/")?;
    let path = written.value;
    let odd = path.split('/').any(|step| step == "." || step == "..") || path.contains("//");
    let printable = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"%?#*\\".contains(&byte));
    if !path.starts_with('/') || odd || !printable {
        let remedy = "write the beginning of addresses, decoded: /api/, or / for all";
        table.complaints().wrong(&written.place, format!("{path:?} is no path"), remedy);
        return None;
    }
    let slash = if path.ends_with('/') { "" } else { "/" };
    Some(At { value: format!("{path}{slash}"), place: written.place })
}

/// Every upstream, and whether they speak TLS: all or none.
fn targets(table: &Table<'_>) -> (Vec<Target>, bool) {
    let written = table.texts("upstreams");
    if written.is_empty() {
        let remedy = "add a line such as: upstreams = [\"http://192.0.2.10:8080\"]";
        table.complaints().wrong(&table.place, "this proxy has no upstreams", remedy);
    }
    let (mut targets, mut kinds) = (Vec::new(), Vec::new());
    for upstream in &written {
        match target(upstream.value) {
            Ok((target, secure)) => {
                if targets.contains(&target) {
                    let what = format!("{} is named twice", upstream.value);
                    table.complaints().wrong(&upstream.place, what, "take one of them away");
                }
                targets.push(target);
                kinds.push((secure, upstream));
            }
            Err((what, remedy)) => {
                table.complaints().wrong(&upstream.place, format!("{:?} {what}", upstream.value), remedy);
            }
        }
    }
    let secure = kinds.first().is_some_and(|(secure, _)| *secure);
    if let Some((_, other)) = kinds.iter().find(|(kind, _)| *kind != secure) {
        let what = "some upstreams of this proxy speak TLS and some do not";
        table.complaints().wrong(&other.place, what, "write http:// or https:// in front of all");
    }
    (targets, secure)
}

type Why = (&'static str, &'static str);

fn target(written: &str) -> Result<(Target, bool), Why> {
    const SHAPE: &str = "write http://192.0.2.10:8080, http://[2001:db8::10]:8080 or https://192.0.2.10";
    let plain = written.strip_prefix("http://").map(|rest| (rest, false));
    let (rest, secure) = plain
        .or_else(|| written.strip_prefix("https://").map(|rest| (rest, true)))
        .ok_or(("does not begin with http:// or https://", SHAPE))?;
    if rest.contains(['/', '?', '#', '@']) {
        return Err((
            "is more than a host and a port",
            "the path stays as the client has sent it; see strip",
        ));
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(six) => {
            let (host, port) = six.split_once(']').ok_or(("has a bracket that nobody closes", SHAPE))?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")))
        }
        None => rest.split_once(':').map_or((rest, Some("")), |(host, port)| (host, Some(port))),
    };
    let usual = if secure { 443 } else { 80 };
    let port = match port {
        Some("") if !rest.ends_with(':') => usual,
        Some(port) => {
            port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(("has no port from 1 to 65535", SHAPE))?
        }
        None => return Err(("has no port from 1 to 65535", SHAPE)),
    };
    is_reachable(host).map(|()| (Target { host: host.to_ascii_lowercase(), port }, secure))
}

fn is_reachable(host: &str) -> Result<(), Why> {
    const NETWORK: &str = "write the address that the upstream has on the network";
    let Ok(address) = host.parse::<IpAddr>() else { return is_name(host) };
    if address.is_loopback() {
        return Err((
            "leads nowhere: the appliance is a machine of its own and nobody else is there",
            NETWORK,
        ));
    }
    if address.is_unspecified() || address.is_multicast() {
        return Err(("is no address of one host", NETWORK));
    }
    Ok(())
}

/// A name that a name server could know.
fn is_name(host: &str) -> Result<(), Why> {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or(host);
    if site::bad_name(&host.to_ascii_lowercase()).is_some() || last.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err((
            "has neither an address nor a name of a host",
            "write http://192.0.2.10 or http://app.example.org",
        ));
    }
    if last.eq_ignore_ascii_case("localhost") {
        return Err((
            "leads nowhere: the appliance is a machine of its own and nobody else is there",
            "write the address that the upstream has on the network",
        ));
    }
    Ok(())
}

/// Name servers, if the operator names some.
pub(crate) fn resolvers(top: &Table<'_>) -> Vec<IpAddr> {
    let read = |written: At<&str>| {
        let address = written.value.parse::<IpAddr>().ok().filter(|address| !address.is_loopback());
        if address.is_none() {
            let what = format!("{:?} is no address of a name server", written.value);
            top.complaints().wrong(&written.place, what, "write it as resolvers = [\"192.0.2.1\"]");
        }
        address
    };
    top.texts("resolvers").into_iter().filter_map(read).collect()
}

fn least(table: &Table<'_>) -> bool {
    match table.text("balance") {
        None | Some(At { value: "round-robin", .. }) => false,
        Some(At { value: "least-connections", .. }) => true,
        Some(other) => {
            let what = format!("there is no balance {:?}", other.value);
            table.complaints().wrong(&other.place, what, "write \"round-robin\" or \"least-connections\"");
            false
        }
    }
}

fn host_header(table: &Table<'_>, host: &At<&str>) -> Option<String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.value.is_empty() || !host.value.bytes().all(good) {
        let what = format!("{:?} is no host", host.value);
        table.complaints().wrong(&host.place, what, "write app.internal or app.internal:8080");
        return None;
    }
    Some(host.value.to_owned())
}

/// `[site.proxy.tls]`: who the upstreams must prove to be.
fn verified(ground: &Ground<'_>, table: &Table<'_>) -> Verified {
    let Some(tls) = table.table("tls") else {
        let remedy = "add a table: tls = { authorities = \"tls/upstream-ca.pem\" }";
        table.complaints().wrong(&table.place, "nobody says which CA signs for these upstreams", remedy);
        return Verified::default();
    };
    let authorities = tls.needed("authorities", "tls/upstream-ca.pem");
    let authorities =
        authorities.and_then(|written| papers::authorities(ground, &written)).unwrap_or_default();
    let name = tls.text("name").map(|name| name.value.to_ascii_lowercase());
    tls.done();
    Verified { authorities, name }
}

fn health(table: Table<'_>) -> Option<Health> {
    let path = table.needed("path", "/health");
    let every = table.number("every-seconds", 1..=3600).map_or(5, |every| every.value);
    if let Some(path) = &path
        && (!path.value.starts_with('/') || !path.value.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let what = format!("{:?} is no path", path.value);
        table.complaints().wrong(&path.place, what, "begin it with a slash: /health");
    }
    table.done();
    path.map(|path| Health { path: path.value.to_owned(), every })
}

fn waits(table: &Table<'_>) -> Waits {
    let mut waits = Waits::default();
    let set = |key, most, wait: &mut u32| {
        if let Some(number) = table.number(key, 1..=most) {
            *wait = number.value;
        }
    };
    set("connect-seconds", 600, &mut waits.connect);
    set("head-seconds", 86_400, &mut waits.head);
    set("stall-seconds", 86_400, &mut waits.stall);
    set("idle-seconds", 3600, &mut waits.idle);
    set("tunnel-seconds", 604_800, &mut waits.tunnel);
    waits
}

/// A list of networks.
pub(crate) fn networks(table: &Table<'_>, key: &'static str) -> Vec<Network> {
    let read = |written: At<&str>| {
        let network = Network::read(written.value);
        if network.is_none() {
            let what = format!("{:?} is no address and no network", written.value);
            table.complaints().wrong(&written.place, what, "write 192.0.2.7 or 192.0.2.0/24");
        }
        network
    };
    table.texts(key).into_iter().filter_map(read).collect()
}
