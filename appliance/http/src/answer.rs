//! What is said to a request: the decision, without any I/O.

use crate::Visit;
use crate::house::{Found, House, Leaf, Site};
use crate::page::Page;
use crate::path;
use crate::porter::Refusal;
use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

/// The answer to one request.
pub(crate) fn answer(house: &House, visit: &Visit, head: &Parts) -> Response<Page> {
    match find_site(house, visit, head) {
        Ok(site) if head.method == Method::GET || head.method == Method::HEAD => page(site, head),
        Ok(_) => without(StatusCode::METHOD_NOT_ALLOWED, "Pages can be fetched, and nothing else."),
        Err((status, why)) => without(status, why),
    }
}

type Why = (StatusCode, &'static str);

/// The site that was meant, if this connection may ask it.
fn find_site<'a>(house: &'a House, visit: &Visit, head: &Parts) -> Result<&'a Site, Why> {
    let host = host(head).ok_or((StatusCode::BAD_REQUEST, "A request names its host once."))?;
    let named = visit.server_name.as_deref();
    if named.is_some_and(|name| !name.eq_ignore_ascii_case(host.trim_end_matches('.'))) {
        return Err((StatusCode::MISDIRECTED_REQUEST, "This connection was opened for another name."));
    }
    let site = visit.site.or_else(|| house.site_named(&host.to_ascii_lowercase()));
    let site = site.and_then(|place| house.sites.get(place));
    site.ok_or((StatusCode::NOT_FOUND, "There is no site of that name here."))
}

/// The host that a request names, without its port.
fn host(head: &Parts) -> Option<&str> {
    let field = head.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = head.uri.authority().map(|authority| authority.as_str()).or(field)?;
    let bare = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    Some(bare).filter(|bare| !bare.is_empty() && !authority.contains('@'))
}

fn page(site: &Site, head: &Parts) -> Response<Page> {
    let Ok(path) = path::decode(head.uri.path()) else {
        return without(StatusCode::BAD_REQUEST, "The address is not one that a page could have.");
    };
    match site.shelf.find(&path) {
        Found::Page(leaf) => whole(&leaf),
        Found::Folder | Found::Nothing => without(StatusCode::NOT_FOUND, "There is no such page here."),
    }
}

fn whole(leaf: &Leaf) -> Response<Page> {
    let Some(variant) = leaf.variants.first() else {
        return without(StatusCode::NOT_FOUND, "There is no such page here.");
    };
    let mut answer = Response::new(Page::whole(variant.bytes.clone()));
    let headers = answer.headers_mut();
    headers.extend(HeaderValue::from_str(&leaf.kind).ok().map(|kind| (header::CONTENT_TYPE, kind)));
    headers.extend(HeaderValue::from_str(&variant.etag).ok().map(|etag| (header::ETAG, etag)));
    answer
}

/// An answer that is one sentence.
pub(crate) fn without(status: StatusCode, why: &'static str) -> Response<Page> {
    let mut answer = Response::new(Page::whole(Bytes::from_static(why.as_bytes())));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

/// What is said to a head that came past the porter.
pub(crate) fn unseen() -> Response<Page> {
    without(StatusCode::BAD_REQUEST, "Send the next request when this one is answered.")
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
