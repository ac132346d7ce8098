//! What is said to a request: the decision, without any I/O.

use crate::Visit;
use crate::dress::{dress, undress};
use crate::figures::{self, PLACE};
use crate::house::{Found, House, Leaf, Site};
use crate::page::Page;
use crate::path;
use crate::porter::Refusal;
use crate::relay::{Relay, Said};
use crate::represent::{put, represent, whole};
use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri, Version};
use std::rc::Rc;

/// Where certificate authorities look for their challenges, over plain HTTP.
const CHALLENGE: &str = "/.well-known/acme-challenge/";

/// The answer to one request.
pub(crate) fn answer(house: &House, visit: &Visit, head: &Parts) -> Response<Page> {
    let mut answer = match find_site(house, visit, head) {
        Ok((site, host)) => {
            let asked = Asked { house, visit, head, site, host: &host };
            asked.answer()
        }
        Err(why) => sentence(why.0, why.1),
    };
    if head.method == Method::HEAD {
        let page = core::mem::take(answer.body_mut());
        if answer.status() != StatusCode::NOT_MODIFIED {
            answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(page.length()));
        }
    }
    answer
}

/// Who answers a request in our place.
pub(crate) struct Way {
    pub(crate) relay: Rc<Relay>,
    /// What the request names as its host, with the port if there is one.
    pub(crate) authority: Box<str>,
    place: usize,
    host: String,
    path: String,
}

/// The relay for a request, if another server answers it.
pub(crate) fn way(house: &House, visit: &Visit, head: &Parts) -> Option<Way> {
    if house.sites.iter().all(|site| site.relays.is_empty()) {
        return None;
    }
    let (site, host) = find_site(house, visit, head).ok()?;
    if site.relays.is_empty() || !visit.secure {
        return None;
    }
    let path = path::loosely(head.uri.path()).ok()?;
    let asked = Asked { house, visit, head, site, host: &host };
    if asked.redirected(&path).is_some() || asked.figures(&path).is_some() {
        return None;
    }
    let fit = site.relays.iter().filter(|relay| relay.has(&path));
    let relay = fit.max_by_key(|relay| relay.depth())?.clone();
    let authority = head.uri.authority().map(|authority| authority.as_str());
    let field = || head.headers.get(header::HOST).and_then(|field| field.to_str().ok());
    let authority = authority.or_else(field)?.into();
    Some(Way { relay, authority, place: visit.site?, host, path })
}

impl Way {
    /// Dresses what an upstream has said. What it says of its pages' safety itself counts.
    pub(crate) fn dressed(&self, house: &House, visit: &Visit, mut answer: Response<Said>) -> Response<Said> {
        if let Some(site) = house.sites.get(self.place) {
            let own = answer.headers().clone();
            dress(answer.headers_mut(), site, visit, &self.host, &self.path);
            undress(answer.headers_mut(), &own, site, &self.path);
        }
        answer
    }

    /// The page for an answer that did not come.
    pub(crate) fn failure(&self, house: &House, visit: &Visit, status: StatusCode) -> Response<Page> {
        let Some(site) = house.sites.get(self.place) else { return sentence(status, "This cannot be done.") };
        let mut answer = error(site, status);
        dress(answer.headers_mut(), site, visit, &self.host, &self.path);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            put(answer.headers_mut(), header::RETRY_AFTER, Some("5"));
        }
        answer
    }
}

type Why = (StatusCode, &'static str);

const NO_HOST: Why = (StatusCode::BAD_REQUEST, "A request names its host once.");
const OTHER_NAME: Why = (StatusCode::MISDIRECTED_REQUEST, "This connection was opened for another name.");
const NO_SITE: Why = (StatusCode::NOT_FOUND, "There is no site of that name here.");

/// The site that was meant, if this connection may ask it, and the host's name.
fn find_site<'a>(house: &'a House, visit: &Visit, head: &Parts) -> Result<(&'a Site, String), Why> {
    let host = host(head).or_else(|| unnamed(house, visit, head)).ok_or(NO_HOST)?;
    if visit.server_name.as_deref().is_some_and(|name| !name.eq_ignore_ascii_case(&host)) {
        return Err(OTHER_NAME);
    }
    // Behind TLS the site was chosen by the handshake: its policy held, and no header may lead to another.
    let chosen = if visit.secure { visit.site } else { house.site_named(&host).or(house.default_site) };
    let site = chosen.and_then(|place| house.sites.get(place)).ok_or(NO_SITE)?;
    Ok((site, host))
}

/// The name that is meant by a request which need not name one: the oldest kind, in which load balancers ask whether we
/// live.
fn unnamed(house: &House, visit: &Visit, head: &Parts) -> Option<String> {
    let named = head.headers.contains_key(header::HOST) || head.uri.authority().is_some();
    if named || head.version != Version::HTTP_10 {
        return None;
    }
    let place = if visit.secure { visit.site } else { house.default_site };
    let first = || place.and_then(|place| house.sites.get(place)?.words.names.first()).map(String::as_str);
    let name = visit.server_name.as_deref().or_else(first)?;
    (!name.starts_with('*')).then(|| name.to_owned())
}

/// The host that a request names: in lower case, without its port and without the dot of the root.
fn host(head: &Parts) -> Option<String> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let field = fields.next().map(|value| value.to_str().map_err(drop));
    let (field, line) = (field.transpose().ok()?, head.uri.authority().map(|authority| authority.as_str()));
    if fields.next().is_some()
        || field.is_some_and(|field| line.is_some_and(|line| !line.eq_ignore_ascii_case(field)))
    {
        return None;
    }
    let authority = line.or(field)?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').and_then(|(host, rest)| match rest.strip_prefix(':') {
            None if !rest.is_empty() => None,
            port => Some((host, port)),
        })?,
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    let numeric = port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    (!host.is_empty() && host.bytes().all(letter) && numeric).then(|| host.to_ascii_lowercase())
}

/// One request that has found its site.
struct Asked<'a> {
    house: &'a House,
    visit: &'a Visit,
    head: &'a Parts,
    site: &'a Site,
    host: &'a str,
}

impl Asked<'_> {
    fn answer(&self) -> Response<Page> {
        if self.head.method == Method::OPTIONS {
            return allowing(Response::new(Page::default()), StatusCode::NO_CONTENT);
        }
        if self.head.method != Method::GET && self.head.method != Method::HEAD {
            let answer = sentence(StatusCode::METHOD_NOT_ALLOWED, "Pages can be fetched, and nothing else.");
            return allowing(answer, StatusCode::METHOD_NOT_ALLOWED);
        }
        let Ok(path) = path::decode(self.head.uri.path()) else {
            return sentence(StatusCode::BAD_REQUEST, "No page could have this address.");
        };
        let shown = self.visit.secure || self.house.plainly;
        let mut answer = if shown { self.page(&path) } else { self.plain(&path) };
        dress(answer.headers_mut(), self.site, self.visit, self.host, &path);
        answer
    }

    /// Without TLS there are challenges, and the way to HTTPS.
    fn plain(&self, path: &str) -> Response<Page> {
        if path.starts_with(CHALLENGE)
            && let Found::Page(leaf) = self.site.shelf.find(path)
        {
            return self.leaf(&leaf);
        }
        let port = match self.house.https_port {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_owned() };
        redirect(StatusCode::PERMANENT_REDIRECT, &format!("https://{host}{port}{}", relative(&self.head.uri)))
    }

    fn page(&self, path: &str) -> Response<Page> {
        if let Some(answer) = self.redirected(path) {
            return answer;
        }
        if let Some(leaf) = self.figures(path) {
            let mut answer = self.leaf(&leaf);
            put(answer.headers_mut(), header::CACHE_CONTROL, Some("no-store"));
            return answer;
        }
        let index = if path.ends_with('/') { format!("{path}index.html") } else { path.to_owned() };
        match self.site.shelf.asked(&index, self.head.uri.query().unwrap_or_default()) {
            Found::Page(leaf) => self.leaf(&leaf),
            Found::Folder if self.has(&format!("{path}/index.html")) => {
                let (path, query) = (self.head.uri.path(), query(&self.head.uri));
                redirect(StatusCode::PERMANENT_REDIRECT, &format!("{path}/{query}"))
            }
            _ => self.unnamed(path),
        }
    }

    /// `/about` finds `about.html`, as on the hosts that people's generators are written for.
    fn unnamed(&self, path: &str) -> Response<Page> {
        match self.site.shelf.find(&format!("{path}.html")) {
            Found::Page(leaf) if !path.ends_with('/') => self.leaf(&leaf),
            _ => self.error(StatusCode::NOT_FOUND),
        }
    }

    fn has(&self, path: &str) -> bool {
        matches!(self.site.shelf.find(path), Found::Page(_))
    }

    fn leaf(&self, leaf: &Leaf) -> Response<Page> {
        represent(leaf, self.head).unwrap_or_else(|status| self.error(status))
    }

    fn figures(&self, path: &str) -> Option<Leaf> {
        let name = path.strip_prefix(PLACE).filter(|_| self.site.words.figures)?;
        figures::page(self.house.figures.as_deref()?, name)
    }

    /// The first redirect that fits.
    fn redirected(&self, path: &str) -> Option<Response<Page>> {
        self.site.words.redirects.iter().find_map(|rule| {
            let rest = match rule.from.strip_suffix('*') {
                Some(stem) => path.strip_prefix(stem)?,
                None => Some("").filter(|_| rule.from == path)?,
            };
            let to =
                rule.to.strip_suffix('*').map_or_else(|| rule.to.clone(), |stem| path::joined(stem, rest));
            let status = StatusCode::from_u16(rule.status).ok()?;
            Some(redirect(status, &format!("{to}{}", query(&self.head.uri))))
        })
    }

    fn error(&self, status: StatusCode) -> Response<Page> {
        error(self.site, status)
    }
}

/// The site's own page for an error, or a sentence.
fn error(site: &Site, status: StatusCode) -> Response<Page> {
    let own = site.words.errors.iter().find(|(number, _)| *number == status.as_u16());
    let mut answer = match own.map(|(_, path)| site.shelf.find(path)) {
        Some(Found::Page(leaf)) => whole(&leaf, &leaf.identity),
        _ if status == StatusCode::NOT_FOUND => sentence(status, "There is no such page here."),
        _ if status == StatusCode::BAD_GATEWAY => {
            sentence(status, "The server behind this one gave no answer.")
        }
        _ if status == StatusCode::SERVICE_UNAVAILABLE => {
            sentence(status, "No server is there to answer this now.")
        }
        _ if status == StatusCode::GATEWAY_TIMEOUT => {
            sentence(status, "The server behind this one took too long.")
        }
        _ => sentence(status, status.canonical_reason().unwrap_or("This cannot be done.")),
    };
    *answer.status_mut() = status;
    answer
}

fn relative(uri: &Uri) -> String {
    format!("{}{}", uri.path(), query(uri))
}

fn query(uri: &Uri) -> String {
    uri.query().map_or_else(String::new, |query| format!("?{query}"))
}

fn allowing(mut answer: Response<Page>, status: StatusCode) -> Response<Page> {
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    answer
}

fn redirect(status: StatusCode, to: &str) -> Response<Page> {
    let mut answer = sentence(status, "This page is elsewhere.");
    put(answer.headers_mut(), header::LOCATION, Some(to));
    answer
}

/// An answer that is one sentence.
pub(crate) fn sentence(status: StatusCode, why: &'static str) -> Response<Page> {
    let mut answer = Response::new(Page::whole(Bytes::from_static(why.as_bytes())));
    *answer.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, text);
    answer
}

/// What is said to a head that came past the porter.
pub(crate) fn unseen() -> Response<Page> {
    sentence(StatusCode::BAD_REQUEST, "Send the next request when this one is answered.")
}

/// What is said to a request of a source that has its share.
pub(crate) fn crowded() -> Response<Page> {
    let why = "Too many requests of your network are under way. Ask again when they are answered.";
    let mut answer = sentence(StatusCode::SERVICE_UNAVAILABLE, why);
    put(answer.headers_mut(), header::RETRY_AFTER, Some("5"));
    answer
}

/// What is said when the porter refuses a head: hyper has never seen it.
pub(crate) fn refusal(Refusal(status, why): Refusal) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("");
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{why}",
        why.len()
    )
}

#[cfg(test)]
mod tests;
