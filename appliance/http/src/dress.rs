//! The headers that every answer of a site wears: safe ones by default, the operator's over them.

use crate::Visit;
use crate::house::Site;
use core::net::IpAddr;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What every page is safer with. Each can be changed or taken away by a rule of the site.
const USUAL: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")),
    (header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// What the rules of a site say, read once and not for each answer.
#[derive(Clone, Default)]
pub(crate) struct Dress {
    rules: Vec<Rule>,
    hsts: Option<HeaderValue>,
}

#[derive(Clone)]
struct Rule {
    pattern: String,
    name: HeaderName,
    /// Nothing where the header is taken away.
    value: Option<HeaderValue>,
}

impl Dress {
    pub(crate) fn of(words: &bundle::Site) -> Self {
        let rule = |rule: &bundle::HeaderRule| {
            let name = HeaderName::try_from(rule.name.as_str()).ok()?;
            let value = HeaderValue::from_str(&rule.value).ok().filter(|value| !value.is_empty());
            Some(Rule { pattern: rule.pattern.clone(), name, value })
        };
        let hsts = words.hsts.and_then(|hsts| HeaderValue::try_from(hsts_words(hsts)).ok());
        Self { rules: words.headers.iter().filter_map(rule).collect(), hsts }
    }

    fn rules_for(&self, path: &str) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| bundle::matches(&rule.pattern, path))
    }
}

/// Dresses an answer to a request for `path` at `host`.
pub(crate) fn dress(headers: &mut HeaderMap, site: &Site, visit: &Visit, host: &str, path: &str) {
    for (name, value) in USUAL {
        headers.insert(name, value);
    }
    for rule in site.dress.rules_for(path) {
        match &rule.value {
            Some(value) => headers.insert(rule.name.clone(), value.clone()),
            None => headers.remove(&rule.name),
        };
    }
    if let Some(hsts) = site.dress.hsts.as_ref().filter(|_| visit.secure && is_public(host)) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
}

/// Gives back what the usual dress has covered of somebody's own, where no rule of the site has a say.
pub(crate) fn undress(headers: &mut HeaderMap, own: &HeaderMap, site: &Site, path: &str) {
    for (name, _) in USUAL {
        if let Some(value) =
            own.get(&name).filter(|_| site.dress.rules_for(path).all(|rule| rule.name != name))
        {
            headers.insert(name, value.clone());
        }
    }
}

/// A name of the world's DNS: not an address, not this machine.
fn is_public(host: &str) -> bool {
    host.parse::<IpAddr>().is_err() && host.contains('.') && !host.ends_with(".localhost")
}

fn hsts_words(hsts: bundle::Hsts) -> String {
    let subdomains = if hsts.subdomains { "; includeSubDomains" } else { "" };
    let preload = if hsts.preload { "; preload" } else { "" };
    format!("max-age={}{subdomains}{preload}", hsts.seconds)
}
