//! Redirects, headers and error pages.

use super::table::{At, Table};
use bundle::{HeaderRule, Redirect};
use std::collections::BTreeSet;

/// Headers that say where a message ends or belong to the connection: the server's own.
const OWN: [&str; 11] = [
    "connection",
    "content-length",
    "content-encoding",
    "content-range",
    "date",
    "etag",
    "host",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
    "trailer",
];

pub(crate) fn redirects(table: &Table<'_>, pages: &BTreeSet<&str>) -> Vec<Redirect> {
    let mut known: Vec<String> = Vec::new();
    let mut redirects = Vec::new();
    for rule in table.tables("redirect") {
        let (from, to) = (rule.needed("from", "/old"), rule.needed("to", "/new"));
        let status = rule.number("status", 300..=308).map_or(308, |status| status.value);
        if ![301, 302, 303, 307, 308].contains(&status) {
            let remedy = "301 or 308 for ever, 302 or 307 for now, 303 for another page";
            rule.complaints().wrong(&rule.place, format!("{status} is no redirect"), remedy);
        }
        if let (Some(from), Some(to)) = (from, to)
            && is_sound(&rule, &from, &to, &known)
        {
            if pages.contains(from.value) {
                let what = format!("there is a page at {}, which this redirect hides", from.value);
                rule.complaints().hint(&from.place, what, "take one of them away");
            }
            known.push(from.value.to_owned());
            let status = u16::try_from(status).unwrap_or(308);
            redirects.push(Redirect { from: from.value.to_owned(), to: to.value.to_owned(), status });
        }
        rule.done();
    }
    redirects
}

fn is_sound(rule: &Table<'_>, from: &At<&str>, to: &At<&str>, known: &[String]) -> bool {
    let wrong = |at: &At<&str>, what: String, remedy: &str| rule.complaints().wrong(&at.place, what, remedy);
    let stem = |text: &str| text.strip_suffix('*').map(str::to_owned);
    let hides = |before: &String| {
        stem(before).is_some_and(|stem| from.value.starts_with(&stem)) || before == from.value
    };
    let target = stem(to.value).unwrap_or_else(|| to.value.to_owned());
    if !from.value.starts_with('/') {
        wrong(from, format!("{:?} is no path", from.value), "begin it with a slash");
    } else if from.value.trim_end_matches('*').len() + 1 < from.value.len() || target.contains('*') {
        wrong(
            from,
            "a redirect has one star, at its end".into(),
            "write from = \"/old/*\" and to = \"/new/*\"",
        );
    } else if stem(to.value).is_some() && stem(from.value).is_none() {
        wrong(to, "the star stands for nothing".into(), "end from with a star as well");
    } else if let Some(first) = known.iter().find(|before| hides(before)) {
        wrong(
            from,
            format!("{first} stands above and takes it all"),
            "put the special rule above the general one",
        );
    } else if !is_target(to.value) {
        wrong(to, format!("{:?} leads nowhere", to.value), "write a path (/new) or an address (https://…)");
    } else if leads_back(from.value, &target) {
        wrong(to, "this redirect leads back to itself".into(), "let it lead somewhere else");
    } else {
        return true;
    }
    false
}

fn is_target(to: &str) -> bool {
    let printable = to.bytes().all(|byte| byte.is_ascii_graphic());
    let outward = to.strip_prefix("https://").or_else(|| to.strip_prefix("http://"));
    let inward = to.starts_with('/') && !to.starts_with("//");
    printable && (inward || outward.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')))
}

fn leads_back(from: &str, target: &str) -> bool {
    from.strip_suffix('*').map_or(from == target, |stem| target.starts_with(stem))
}

/// Headers by pattern. `cache = "…"` is short for the header that everybody sets.
pub(crate) fn headers(table: &Table<'_>) -> Vec<HeaderRule> {
    let mut rules = Vec::new();
    for rule in table.tables("headers") {
        let pattern = rule.needed("for", "/assets/**");
        let cache = rule.text("cache");
        let set = rule.pairs("set");
        if cache.is_none() && set.is_empty() {
            let remedy = "add cache = \"max-age=3600\" or a table set = { name = \"value\" }";
            rule.complaints().wrong(&rule.place, "this rule sets nothing", remedy);
        }
        let Some(pattern) = pattern.filter(|pattern| is_pattern(&rule, pattern)) else { continue };
        let cache = cache.map(|value| (At { value: "cache-control", place: value.place.clone() }, value));
        for (name, value) in cache.into_iter().chain(set) {
            if is_header(&rule, &name, &value) {
                let (name, value) = (name.value.to_ascii_lowercase(), value.value.to_owned());
                rules.push(HeaderRule { pattern: pattern.value.to_owned(), name, value });
            }
        }
        rule.done();
    }
    rules
}

fn is_pattern(rule: &Table<'_>, pattern: &At<&str>) -> bool {
    let good = pattern.value.starts_with('/') || pattern.value.starts_with("**");
    if !good {
        let what = format!("{:?} fits no page", pattern.value);
        rule.complaints().wrong(&pattern.place, what, "begin it with a slash: /*.css, /assets/**, /**");
    }
    good
}

fn is_header(rule: &Table<'_>, name: &At<&str>, value: &At<&str>) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.value.to_ascii_lowercase();
    if lower.is_empty() || !lower.bytes().all(token) {
        rule.complaints().wrong(
            &name.place,
            format!("{lower:?} is no name of a header"),
            "letters, digits and hyphens",
        );
    } else if OWN.contains(&lower.as_str()) {
        let what = format!("{lower} is the server's own to say");
        rule.complaints().wrong(&name.place, what, "leave it away");
    } else if !value.value.bytes().all(|byte| (32..127).contains(&byte)) {
        let what = format!("the value of {lower} holds a byte that no header can");
        rule.complaints().wrong(&value.place, what, "write it in one line of ASCII");
    } else {
        return true;
    }
    false
}

/// Pages for errors: `404 = "/404.html"`.
pub(crate) fn errors(table: &Table<'_>, pages: &BTreeSet<&str>) -> Vec<(u16, String)> {
    let mut errors = Vec::new();
    for (status, path) in table.pairs("errors") {
        let number = status.value.parse::<u16>().ok().filter(|number| (400..600).contains(number));
        let slashed = format!("/{}", path.value.trim_start_matches('/'));
        match number {
            None => {
                let what = format!("{:?} is no status of an error", status.value);
                table.complaints().wrong(&status.place, what, "write a number from 400 to 599, such as 404");
            }
            Some(_) if !pages.contains(slashed.as_str()) => {
                let meant = world::words::meant(&slashed, pages.iter().copied());
                let remedy = meant.map_or("paths are relative to the site's root".into(), |near| {
                    format!("{near} was meant?")
                });
                table.complaints().wrong(&path.place, format!("there is no page {slashed}"), remedy);
            }
            Some(number) => errors.push((number, slashed)),
        }
    }
    errors
}
