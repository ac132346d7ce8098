//! The headers that every answer of a site wears: safe ones by default, the operator's over them.

use crate::Visit;
use crate::house::Site;
use crate::represent::put;
use bundle::Hsts;
use core::net::IpAddr;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What every page is safer with. Each can be changed or taken away by a rule of the site.
const USUAL: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Dresses an answer to a request for `path` at `host`.
pub(crate) fn dress(headers: &mut HeaderMap, site: &Site, visit: &Visit, host: &str, path: &str) {
    for (name, value) in USUAL {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for rule in site.words.headers.iter().filter(|rule| bundle::matches(&rule.pattern, path)) {
        let Ok(name) = HeaderName::try_from(rule.name.as_str()) else { continue };
        match HeaderValue::from_str(&rule.value) {
            Ok(value) if !value.is_empty() => headers.insert(name, value),
            _ => headers.remove(name),
        };
    }
    if let Some(hsts) = site.words.hsts.filter(|_| visit.secure && is_public(host)) {
        put(headers, header::STRICT_TRANSPORT_SECURITY, Some(&words(hsts)));
    }
}

/// Gives back what the usual dress has covered of somebody's own, where no rule of the site has a say.
pub(crate) fn undress(headers: &mut HeaderMap, own: &HeaderMap, site: &Site, path: &str) {
    for (name, _) in USUAL {
        let ruled =
            |rule: &bundle::HeaderRule| rule.name == name.as_str() && bundle::matches(&rule.pattern, path);
        if let Some(value) = own.get(&name).filter(|_| !site.words.headers.iter().any(ruled)) {
            headers.insert(name, value.clone());
        }
    }
}

/// A name of the world's DNS: not an address, not this machine.
fn is_public(host: &str) -> bool {
    host.parse::<IpAddr>().is_err() && host.contains('.') && !host.ends_with(".localhost")
}

fn words(hsts: Hsts) -> String {
    let subdomains = if hsts.subdomains { "; includeSubDomains" } else { "" };
    let preload = if hsts.preload { "; preload" } else { "" };
    format!("max-age={}{subdomains}{preload}", hsts.seconds)
}
