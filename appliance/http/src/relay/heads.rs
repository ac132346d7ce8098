//! Heads on their way through: what belongs to one connection stays on it, what only we may say is said by us.

use crate::Visit;
use bundle::{Network, Proxy};
use core::fmt::Write as _;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{Method, StatusCode, Uri, Version};

/// What belongs to one connection, or says where a message ends. Names that `Connection` lists come on top.
const OF_THE_CONNECTION: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// What a client's certificate is told in, and nothing else may be called so.
const IDENTITY: &str = "x-client-cert";
/// On whose behalf a request is made: only trusted peers may say so.
const FORWARDED: [&str; 3] = ["forwarded", "x-real-ip", "x-forwarded-"];
/// Read by some servers as the name of a proxy to use (httpoxy).
const HTTPOXY: &str = "proxy";
/// Protocols in which an upstream would hear more requests, past everything that we decide of one.
const OF_REQUESTS: [&str; 4] = ["h2c", "h2", "http", "tls"];
/// What we are called in `Via`.
const VIA: &str = "1.1 gatehouse";

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// There is none.
    None,
    Known(u64),
    Chunked,
}

impl Length {
    pub(super) fn of(body: &Incoming) -> Self {
        match body.size_hint().exact() {
            _ if body.is_end_stream() => Self::None,
            Some(length) => Self::Known(length),
            None => Self::Chunked,
        }
    }
}

/// What is passed on of a request, and how.
pub(super) struct Onward<'a> {
    pub(super) words: &'a Proxy,
    pub(super) visit: &'a Visit,
    /// The authority that the request names, checked.
    pub(super) authority: &'a str,
    pub(super) trusted: &'a [Network],
    pub(super) length: Length,
    pub(super) upgrade: Option<&'a HeaderValue>,
}

/// The protocol to which a request wants to change, if it may.
pub(super) fn wanted_upgrade(head: &request::Parts) -> Option<HeaderValue> {
    let listed = listed(&head.headers).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let mut all = head.headers.get_all(header::UPGRADE).iter();
    let (one, more) = (all.next().cloned(), all.next());
    one.filter(|_| listed && more.is_none() && head.method == Method::GET && head.version == Version::HTTP_11)
        .filter(|one| one.to_str().is_ok_and(|one| !one.split(',').any(is_of_requests)))
}

fn is_of_requests(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or_default().trim();
    OF_REQUESTS.iter().any(|other| other.eq_ignore_ascii_case(name))
}

impl Onward<'_> {
    /// The head that the upstream gets.
    pub(super) fn head(&self, mut head: request::Parts) -> request::Parts {
        let trailers =
            head.headers.get_all(header::TE).iter().any(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
        let trusted = self.trusted.iter().any(|network| network.has(self.visit.peer.ip()));
        let headers = &mut head.headers;
        strip(headers);
        keep(headers, |name| !is_ours(name, trusted));
        join_cookies(headers);
        headers.insert(header::HOST, text(self.words.host.as_deref().unwrap_or(self.authority)));
        self.frame(headers, &head.method);
        if let Some(protocol) = self.upgrade {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, protocol.clone());
        } else if trailers {
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        headers.append(header::VIA, HeaderValue::from_static(VIA));
        self.forwarded(headers);
        if self.words.identity {
            self.identity(headers);
        }
        head.uri = self.target(&head.uri);
        head.version = Version::HTTP_11;
        head.extensions.clear();
        head
    }

    /// Says once and without doubt where the body ends.
    fn frame(&self, headers: &mut HeaderMap, method: &Method) {
        let usual = *method == Method::POST || *method == Method::PUT || *method == Method::PATCH;
        match self.length {
            Length::None if usual => headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0)),
            Length::None => None,
            Length::Known(length) => headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length)),
            Length::Chunked => headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked")),
        };
    }

    /// Who asks, and how. What a trusted peer says of that stays, and is continued.
    fn forwarded(&self, headers: &mut HeaderMap) {
        let peer = self.visit.peer.ip().to_canonical();
        append(headers, "x-forwarded-for", &peer.to_string());
        let node = if peer.is_ipv6() { format!("\"[{peer}]\"") } else { peer.to_string() };
        append(
            headers,
            "forwarded",
            &format!("for={node};host=\"{}\";proto={}", self.authority, self.scheme()),
        );
        let mut say = |name: &'static str, value: &str| {
            headers.entry(name).or_insert_with(|| text(value));
        };
        say("x-forwarded-proto", self.scheme());
        say("x-forwarded-host", self.authority);
        say("x-forwarded-port", &self.visit.port.to_string());
        say("x-real-ip", &peer.to_string());
    }

    fn scheme(&self) -> &'static str {
        if self.visit.secure { "https" } else { "http" }
    }

    fn identity(&self, headers: &mut HeaderMap) {
        let mut say = |name: &'static str, value: &str| headers.insert(name, text(value));
        let Some(client) = &self.visit.client else {
            say("x-client-cert-verified", "none");
            return;
        };
        say("x-client-cert-verified", "success");
        say("x-client-cert-subject", &client.subject);
        say("x-client-cert-issuer", &client.issuer);
        say("x-client-cert-serial", &client.serial);
        say("x-client-cert-fingerprint", &client.fingerprint);
        say("x-client-cert-names", &client.names.join(", "));
    }

    /// The address as the upstream knows it: always a path, whatever form the client chose.
    fn target(&self, uri: &Uri) -> Uri {
        let path = if self.words.strip {
            behind(uri.path(), self.words.path.trim_end_matches('/').len())
        } else {
            uri.path()
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        Uri::try_from(format!("{slash}{path}{query}")).unwrap_or_else(|_| Uri::from_static("/"))
    }
}

/// What is left of a path behind its first `count` decoded bytes.
fn behind(path: &str, count: usize) -> &str {
    let mut rest = path;
    for _ in 0..count {
        let step = if rest.starts_with('%') { 3 } else { 1 };
        rest = rest.get(step..).unwrap_or_default();
    }
    rest
}

/// What a client gets of the head of an answer; nothing where it cannot be told where its body ends.
pub(super) fn homeward(
    status: StatusCode,
    headers: &mut HeaderMap,
    body: &Incoming,
    method: &Method,
) -> Result<(), Unclear> {
    let coded = headers.contains_key(header::TRANSFER_ENCODING);
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let plain = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !plain || codings.next().is_some() || (coded && headers.contains_key(header::CONTENT_LENGTH)) {
        return Err(Unclear);
    }
    // Where no body follows, the length of the one that would have is still worth telling.
    let absent = *method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    let told = headers.get(header::CONTENT_LENGTH).cloned().filter(|_| absent);
    let told = told.filter(|value| value.as_bytes().iter().all(u8::is_ascii_digit));
    let upgrade = headers.get(header::UPGRADE).cloned().filter(|_| status == StatusCode::SWITCHING_PROTOCOLS);
    strip(headers);
    let known =
        || body.size_hint().exact().filter(|_| status != StatusCode::NO_CONTENT).map(HeaderValue::from);
    let length = if absent || upgrade.is_some() { told } else { known() };
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    Ok(())
}

/// An answer whose end two readers could see in two places.
#[derive(Debug)]
pub(super) struct Unclear;

/// Takes out of trailers what may not stand there.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    let never = [
        header::HOST,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
    ];
    keep(trailers, |name| !never.iter().any(|other| other == name) && !is_ours(name, false));
}

/// Takes away what belongs to the connection.
fn strip(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> =
        listed(headers).filter_map(|name| HeaderName::try_from(name).ok()).collect();
    for name in listed.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
}

/// The names that `Connection` lists.
fn listed(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|name| !name.is_empty())
}

fn keep(headers: &mut HeaderMap, wanted: impl Fn(&str) -> bool) {
    let unwanted: Vec<HeaderName> = headers.keys().filter(|name| !wanted(name.as_str())).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
}

/// Whether a header is ours to say. Many servers read an underscore as a hyphen.
fn is_ours(name: &str, trusted: bool) -> bool {
    let name = name.replace('_', "-");
    let forwarded = FORWARDED.iter().any(|ours| name.starts_with(ours));
    name.starts_with(IDENTITY) || name == HTTPOXY || (forwarded && !trusted)
}

/// HTTP/2 may bring a cookie in pieces, which are one line elsewhere (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let whole = Some(pieces).filter(|pieces| pieces.len() > 1).map(|pieces| pieces.join(&b"; "[..]));
    if let Some(whole) = whole.and_then(|whole| HeaderValue::from_bytes(&whole).ok()) {
        headers.insert(header::COOKIE, whole);
    }
}

fn append(headers: &mut HeaderMap, name: &'static str, more: &str) {
    let mut all = String::new();
    for value in headers.get_all(name) {
        let _ = write!(all, "{}, ", String::from_utf8_lossy(value.as_bytes()));
    }
    headers.insert(name, text(&(all + more)));
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static(""))
}
