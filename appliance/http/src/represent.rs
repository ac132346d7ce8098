//! A page as one client gets it: the encoding, the state, the parts.

use crate::codings;
use crate::conditions::{State, Wanted};
use crate::house::{Leaf, Variant};
use crate::page::Page;
use crate::ranges::{Parts, parts};
use bundle::Coding;
use bytes::Bytes;
use core::ops::Range;
use core::time::Duration;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{Method, Response, StatusCode};
use std::time::UNIX_EPOCH;

/// Headers that a page and its dress have, or a few more: room for them is made once.
const HEADERS: usize = 12;

/// The answer to a GET or HEAD for this page. The error is a status that has no page of its own.
pub(crate) fn represent(leaf: &Leaf, head: &request::Parts) -> Result<Response<Page>, StatusCode> {
    let variant = codings::choose(leaf, &head.headers).ok_or(StatusCode::NOT_ACCEPTABLE)?;
    let etag = variant.tag.map(etag);
    let etag = etag.as_ref().and_then(|tag| str::from_utf8(tag).ok());
    let state = State { etag, modified: leaf.modified };
    let mut answer = match state.wanted(&head.headers) {
        Wanted::Failed => return Err(StatusCode::PRECONDITION_FAILED),
        Wanted::Nothing => with_status(StatusCode::NOT_MODIFIED),
        Wanted::Whole => whole(leaf, variant),
        Wanted::Page if head.method == Method::GET => part(leaf, variant, &state, &head.headers),
        Wanted::Page => whole(leaf, variant),
    };
    let many = !leaf.smaller.is_empty();
    let headers = answer.headers_mut();
    put(headers, header::ETAG, etag);
    put(headers, header::LAST_MODIFIED, leaf.modified.map(date).as_deref());
    if many {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if variant.tag.is_some() {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if variant.coding != Coding::Identity && answer.status() != StatusCode::NOT_MODIFIED {
        answer
            .headers_mut()
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static(variant.coding.word()));
    }
    Ok(answer)
}

fn with_status(status: StatusCode) -> Response<Page> {
    let mut answer = Response::new(Page::default());
    *answer.status_mut() = status;
    answer
}

/// All of a page.
pub(crate) fn whole(leaf: &Leaf, variant: &Variant) -> Response<Page> {
    let mut page = Page::default();
    page.part(variant.source.clone(), 0..variant.source.length());
    let mut answer = Response::new(page);
    answer.headers_mut().reserve(HEADERS);
    put(answer.headers_mut(), header::CONTENT_TYPE, Some(&leaf.kind));
    answer
}

/// What was asked of it. Only a page with a validator has parts: without one they could be of different
/// pages.
fn part(leaf: &Leaf, variant: &Variant, state: &State<'_>, headers: &HeaderMap) -> Response<Page> {
    let length = variant.source.length();
    let asked =
        headers.get(header::RANGE).filter(|_| state.etag.is_some()).and_then(|value| value.to_str().ok());
    match parts(asked, length) {
        Parts::Whole => whole(leaf, variant),
        Parts::Beyond => {
            let mut answer = with_status(StatusCode::RANGE_NOT_SATISFIABLE);
            put(answer.headers_mut(), header::CONTENT_RANGE, Some(&format!("bytes */{length}")));
            answer
        }
        Parts::Some(ranges) => match ranges.as_slice() {
            [range] => one(leaf, variant, range, length),
            _ => several(leaf, variant, &ranges, length),
        },
    }
}

fn one(leaf: &Leaf, variant: &Variant, range: &Range<u64>, length: u64) -> Response<Page> {
    let mut answer = with_status(StatusCode::PARTIAL_CONTENT);
    answer.body_mut().part(variant.source.clone(), range.clone());
    put(answer.headers_mut(), header::CONTENT_TYPE, Some(&leaf.kind));
    put(answer.headers_mut(), header::CONTENT_RANGE, Some(&within(range, length)));
    answer
}

/// Several parts, with a boundary that is drawn from the hash of the page and so is not in it.
fn several(leaf: &Leaf, variant: &Variant, ranges: &[Range<u64>], length: u64) -> Response<Page> {
    let boundary = format!("part-{}", hex(&variant.tag.unwrap_or_default()));
    let mut answer = with_status(StatusCode::PARTIAL_CONTENT);
    let page = answer.body_mut();
    for (number, range) in ranges.iter().enumerate() {
        let gap = if number == 0 { "" } else { "\r\n" };
        let (kind, within) = (&leaf.kind, within(range, length));
        let head = format!("{gap}--{boundary}\r\ncontent-type: {kind}\r\ncontent-range: {within}\r\n\r\n");
        page.held(Bytes::from(head));
        page.part(variant.source.clone(), range.clone());
    }
    page.held(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    let kind = format!("multipart/byteranges; boundary={boundary}");
    put(answer.headers_mut(), header::CONTENT_TYPE, Some(&kind));
    answer
}

fn within(range: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", range.start, range.end.saturating_sub(1))
}

/// A tag with its quotation marks.
fn etag(tag: [u8; 16]) -> [u8; 34] {
    let digits = tag.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    let mut etag = [b'"'; 34];
    etag.iter_mut().skip(1).zip(digits).for_each(|(place, digit)| *place = digit);
    etag
}

fn digit(four: u8) -> u8 {
    if four < 10 { b'0' + four } else { b'a' - 10 + four }
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = Vec::with_capacity(bytes.len().saturating_mul(2));
    bytes.iter().for_each(|byte| digits.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]));
    String::from_utf8(digits).unwrap_or_default()
}

/// A moment as HTTP writes it; what its calendar does not have is left out.
fn date(seconds: u64) -> String {
    // The last second that fits four digits of a year.
    const END: u64 = 253_402_300_799;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds.min(END)))
}

/// Sets a header if there is a value, and the value is one.
pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
        headers.insert(name, value);
    }
}
