//! A request that is only a head, for a page that is here: answered without hyper.
//!
//! Nearly all requests are such, and building hyper for each was a fifth of what one cost. The head is read by hyper's own
//! parser, and what is said is what hyper would say. All that is not plain goes to hyper: other methods and versions, bodies,
//! words about the connection beyond the two that everybody says.

use super::{After, Desk};
use crate::books::Pending;
use crate::date::today;
use crate::line::{JOIN, Line};
use crate::page::{Page, SLICE};
use crate::porter::Fit;
use crate::wire::Trunk;
use crate::{answer, house::House};
use bundle::Broken;
use bytes::{Buf, Bytes};
use core::future::poll_fn;
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::{request, response};
use hyper::rt::Write as _;
use hyper::{Method, Request, Response, StatusCode, Uri};
use std::io::{self, Write as _};
use std::rc::Rc;

/// More lines than browsers send; a longer head is hyper's.
const LINES: usize = 32;
/// Room for the head of an answer.
const HEAD: usize = 768;
/// What is about more than the head.
const BEYOND: [HeaderName; 4] = [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT, UPGRADE];

/// Such a request.
pub(super) struct Brief {
    head: request::Parts,
    /// The client wants no other answer on this connection.
    last: bool,
}

impl Brief {
    /// What a fit head asks for, if it is plain and no other server answers it.
    pub(super) fn of(desk: &Desk, fit: &Fit) -> Option<Self> {
        let brief = if fit.body { None } else { Self::read(&fit.bytes) }?;
        answer::way(&desk.house, &desk.visit, &brief.head).is_none().then_some(brief)
    }

    fn read(bytes: &Bytes) -> Option<Self> {
        let mut lines = [const { MaybeUninit::uninit() }; LINES];
        let mut said = httparse::Request::new(&mut []);
        let whole = said.parse_with_uninit_headers(bytes, &mut lines).ok()?.is_complete();
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = match said.method.filter(|_| whole && said.version == Some(1))? {
            "GET" => Method::GET,
            "HEAD" => Method::HEAD,
            _ => return None,
        };
        head.uri = Uri::from_maybe_shared(bytes.slice_ref(said.path?.as_bytes())).ok()?;
        head.headers.reserve(said.headers.len());
        let mut last = false;
        for line in said.headers.iter() {
            let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
            if name == CONNECTION {
                last |= closes(line.value)?;
            } else if BEYOND.contains(&name) {
                return None;
            }
            head.headers.append(name, HeaderValue::from_maybe_shared(bytes.slice_ref(line.value)).ok()?);
        }
        Some(Self { head, last })
    }

    /// The answer, and whether it is the last.
    fn answered(self, Desk { visit, house, exchange, timers, .. }: &Desk) -> (Response<Page>, bool) {
        let refusal = exchange.has_its_share().then(answer::crowded);
        let last = self.last || is_last(house, exchange.asked()) || refusal.is_some();
        exchange.midway(false);
        let entry = Pending::of(house, visit, &self.head, timers);
        let mut answer = refusal.unwrap_or_else(|| answer::answer(house, visit, &self.head));
        if last {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer.body_mut().belongs_to(exchange);
        if let Some(entry) = entry {
            entry.close(answer.status().as_u16(), Some(answer.body().length()));
        }
        (answer, last)
    }

    /// Says the answer.
    pub(super) async fn serve(self, desk: Rc<Desk>, stream: Trunk) -> After<Trunk> {
        let (answer, last) = self.answered(&desk);
        let (head, mut page) = answer.into_parts();
        let Ok(mut words) = begun(&head, &mut page) else { return After::Gone };
        let mut line = Line::new(stream, Bytes::new(), false, desk.exchange.clone());
        let mut alarm = desk.timers.after(desk.house.limits.stall);
        let said = poll_fn(|context| {
            loop {
                if let Poll::Ready(said) = poll_say(&mut line, &mut words, &mut page, context) {
                    return Poll::Ready(Some(said.is_ok()));
                }
                if line.poll_left(context).is_ready() {
                    return Poll::Ready(Some(false));
                }
                if ready!(desk.poll_pace(&mut alarm, context)) {
                    return Poll::Ready(None);
                }
            }
        });
        let said = said.await;
        let mut stream = line.into_stream();
        match said {
            Some(true) if last => After::Leave(stream),
            Some(true) => After::Stay(stream, Bytes::new()),
            // A goodbye would say that all was said.
            Some(false) => After::Gone,
            None => {
                stream.abort();
                After::Gone
            }
        }
    }
}

/// Whether a connection ends with the request that so many came before.
pub(super) fn is_last(house: &House, before: u32) -> bool {
    before.saturating_add(1) >= house.limits.requests || house.notice.moving.is_rung()
}

/// Whether a line about the connection says that it shall end; nothing if it says anything else.
fn closes(value: &[u8]) -> Option<bool> {
    let close = value.eq_ignore_ascii_case(b"close");
    (close || value.eq_ignore_ascii_case(b"keep-alive")).then_some(close)
}

/// The head of an answer and the beginning of its page: one record for both where it holds them.
fn begun(head: &response::Parts, page: &mut Page) -> Result<Bytes, Broken> {
    let length = page.length();
    let room = usize::try_from(length).unwrap_or(JOIN).min(JOIN);
    let mut words = Vec::with_capacity(HEAD.saturating_add(room));
    words.extend_from_slice(b"HTTP/1.1 ");
    words.extend_from_slice(head.status.as_str().as_bytes());
    words.push(b' ');
    words.extend_from_slice(head.status.canonical_reason().unwrap_or("").as_bytes());
    words.extend_from_slice(b"\r\n");
    for (name, value) in &head.headers {
        put(&mut words, name.as_str(), value.as_bytes());
    }
    if head.status != StatusCode::NOT_MODIFIED && !head.headers.contains_key(CONTENT_LENGTH) {
        let _ = write!(words, "content-length: {length}\r\n");
    }
    put(&mut words, "date", &today());
    words.extend_from_slice(b"\r\n");
    if let Some(slice) = page.slice(JOIN.saturating_sub(words.len()) as u64) {
        words.extend_from_slice(&slice?);
    }
    Ok(words.into())
}

fn put(words: &mut Vec<u8>, name: &str, value: &[u8]) {
    words.extend_from_slice(name.as_bytes());
    words.extend_from_slice(b": ");
    words.extend_from_slice(value);
    words.extend_from_slice(b"\r\n");
}

/// Says `words`, and the page behind them slice by slice.
fn poll_say(
    line: &mut Line<Trunk>,
    words: &mut Bytes,
    page: &mut Page,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        while !words.is_empty() {
            let count = ready!(Pin::new(&mut *line).poll_write(context, words))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            words.advance(count);
        }
        *words = match page.slice(SLICE) {
            Some(slice) => slice.map_err(|_| io::ErrorKind::InvalidData)?,
            None => return Pin::new(line).poll_flush(context),
        };
    }
}

#[cfg(test)]
mod tests;
