//! The porter: sees each HTTP/1 head before hyper does and refuses what two parsers could read in two ways.
//!
//! It only ever refuses; what a head *means* hyper alone decides. Bytes go in, one verdict comes out, and it
//! is the same for every way to cut the bytes.

use crate::limits::Limits;
use bytes::{Bytes, BytesMut};

/// What is known of the head so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is not all there.
    More,
    /// It is whole and fit for hyper.
    Fit(Fit),
    /// It is not; the connection must end with this.
    Unfit(Refusal),
}

/// A head that may pass.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// What hyper shall read.
    pub(crate) bytes: Bytes,
    /// A body follows it. Then `bytes` holds all that was read, and hyper reads on by itself.
    pub(crate) body: bool,
}

/// Why a head was refused: a status and a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) u16, pub(crate) &'static str);

const BARE: Refusal = Refusal(400, "Every line of a head ends with CR and LF.");
const FOLDED: Refusal = Refusal(400, "A header line must not be continued on the next line.");
const NAME: Refusal = Refusal(400, "A header line is a name, a colon and a value.");
const BYTE: Refusal = Refusal(400, "There is a byte in the head that must not be there.");
const REQUEST: Refusal = Refusal(400, "This is not an HTTP request line.");
const VERSION: Refusal =
    Refusal(505, "HTTP/1.0 and HTTP/1.1 are spoken here; HTTP/2 where TLS has agreed on it.");
const HOST: Refusal = Refusal(400, "A request names its host once.");
const FRAMING: Refusal = Refusal(400, "The head says in more than one way where the body ends.");
const LENGTH: Refusal = Refusal(400, "The content length is not a number.");
const CODING: Refusal = Refusal(501, "The only transfer coding understood here is chunked.");
const LONG: Refusal = Refusal(414, "The address is too long.");
const LARGE: Refusal = Refusal(431, "The head is too large.");
const LINES: Refusal = Refusal(431, "The head has too many lines.");

/// The head that is being read on one connection.
#[derive(Default)]
pub(crate) struct Porter {
    bytes: BytesMut,
    /// Where the line begins that is being read.
    line: usize,
    /// How much of `bytes` was looked at.
    seen: usize,
    /// What the lines so far said.
    said: Said,
}

#[derive(Clone, Copy, Default)]
struct Said {
    lines: usize,
    blank: bool,
    old: bool,
    hosts: u8,
    lengths: u8,
    codings: u8,
    body: bool,
}

impl Porter {
    /// True between requests, when nothing is known of the next.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes back what hyper has read and not used.
    pub(crate) fn put_back(&mut self, unread: Bytes) {
        if !unread.is_empty() {
            let behind = core::mem::take(&mut self.bytes);
            self.bytes = unread.into();
            self.bytes.unsplit(behind);
        }
    }

    /// Everything that nobody has looked at, behind what hyper has `heard` and not used.
    pub(crate) fn rest(mut self, heard: Bytes) -> Bytes {
        self.put_back(heard);
        self.bytes.freeze()
    }

    /// Takes what was read and looks at it.
    pub(crate) fn receive(&mut self, bytes: &[u8], limits: &Limits) -> Verdict {
        self.bytes.extend_from_slice(bytes);
        match self.look(limits) {
            Ok(None) => Verdict::More,
            Ok(Some(length)) => Verdict::Fit(self.pass(length)),
            Err(refusal) => Verdict::Unfit(refusal),
        }
    }

    /// Looks at every line that is whole; the head's length, when its last line is.
    fn look(&mut self, limits: &Limits) -> Result<Option<usize>, Refusal> {
        while let Some(end) = self.line_end() {
            let (start, next) = (self.line, end.saturating_add(1));
            self.line = next;
            self.seen = next;
            let line = self.bytes.get(start..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").ok_or(BARE)?;
            if next > limits.head_bytes {
                return Err(LARGE);
            }
            if line.is_empty() && self.said.lines > 0 {
                return self.said.whole().map(|()| Some(next));
            }
            self.said.line(line, limits)?;
        }
        self.seen = self.bytes.len();
        self.patience(limits).map(|()| None)
    }

    fn line_end(&self) -> Option<usize> {
        let fresh = self.bytes.get(self.seen..).unwrap_or_default();
        fresh.iter().position(|byte| *byte == b'\n').map(|at| self.seen.saturating_add(at))
    }

    /// How much of an unfinished head is enough to refuse it.
    fn patience(&self, limits: &Limits) -> Result<(), Refusal> {
        let target = limits.target.saturating_add(32);
        match self.bytes.len() {
            length if length > limits.head_bytes => Err(LARGE),
            length if self.said.lines == 0 && length.saturating_sub(self.line) > target => Err(LONG),
            _ => Ok(()),
        }
    }

    /// Hands over a whole head, with all that follows if a body does, and starts afresh.
    fn pass(&mut self, length: usize) -> Fit {
        let body = self.said.body;
        let length = if body { self.bytes.len() } else { length };
        let bytes = self.bytes.split_to(length).freeze();
        let rest = core::mem::take(&mut self.bytes);
        *self = Self { bytes: if rest.is_empty() { BytesMut::new() } else { rest }, ..Self::default() };
        Fit { bytes, body }
    }
}

impl Said {
    fn line(&mut self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        // All are looked at before anything is decided: that is done sixteen at a time.
        if line.iter().fold(false, |any, byte| any | (*byte < 32 && *byte != 9) | (*byte == 127)) {
            return Err(BYTE);
        }
        if line.is_empty() {
            // One empty line before a request is an old client's habit; no more than that.
            return if core::mem::replace(&mut self.blank, true) { Err(REQUEST) } else { Ok(()) };
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines == 1 { self.request(line, limits) } else { self.header(line, limits) }
    }

    fn request(&mut self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        let mut words = line.split(|byte| *byte == b' ');
        let (method, target, version) = (words.next(), words.next(), words.next());
        let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
        else {
            return Err(REQUEST);
        };
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || target.is_empty() {
            return Err(REQUEST);
        }
        if target.len() > limits.target {
            return Err(LONG);
        }
        self.old = version == b"HTTP/1.0";
        match version {
            b"HTTP/1.0" | b"HTTP/1.1" => Ok(()),
            other if other.starts_with(b"HTTP/") => Err(VERSION),
            _ => Err(REQUEST),
        }
    }

    fn header(&mut self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        if self.lines.saturating_sub(1) > limits.head_lines {
            return Err(LINES);
        }
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(FOLDED);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(NAME)?;
        let (name, value) = line.split_at_checked(colon).ok_or(NAME)?;
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(NAME);
        }
        self.note(name, value.strip_prefix(b":").unwrap_or_default().trim_ascii())
    }

    /// The three headers on which the border of a request hangs.
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts = self.hosts.saturating_add(1);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths = self.lengths.saturating_add(1);
            self.body |= value != b"0";
            let number = !value.is_empty() && value.len() < 20 && value.iter().all(u8::is_ascii_digit);
            return if number { Ok(()) } else { Err(LENGTH) };
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.codings = self.codings.saturating_add(1);
            self.body = true;
            return if value.eq_ignore_ascii_case(b"chunked") { Ok(()) } else { Err(CODING) };
        }
        Ok(())
    }

    /// What can only be said of all lines together.
    fn whole(&self) -> Result<(), Refusal> {
        match self {
            Self { hosts: 2.., .. } | Self { hosts: 0, old: false, .. } => Err(HOST),
            Self { lengths: 2.., .. } | Self { codings: 2.., .. } => Err(FRAMING),
            Self { lengths: 1, codings: 1, .. } | Self { codings: 1, old: true, .. } => Err(FRAMING),
            _ => Ok(()),
        }
    }
}

/// What a token holds beside letters and digits (RFC 9110 §5.6.2), a bit for each.
const MARKS: u128 = bits(b"!#$%&'*+-.^_`|~");

const fn bits(mut bytes: &[u8]) -> u128 {
    let mut bits = 0;
    while let [first, rest @ ..] = bytes {
        bits |= 1 << *first;
        bytes = rest;
    }
    bits
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || MARKS.checked_shr(u32::from(byte)).is_some_and(|bits| bits & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(bytes: &[u8]) -> Verdict {
        Porter::default().receive(bytes, &Limits::default())
    }

    #[track_caller]
    fn refused(bytes: &str, refusal: Refusal) {
        assert_eq!(verdict(bytes.as_bytes()), Verdict::Unfit(refusal), "{bytes:?}");
    }

    #[test]
    fn every_way_to_cut_a_head_means_the_same() {
        let head = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
        for cut in 0..head.len() {
            let mut porter = Porter::default();
            assert_eq!(porter.receive(&head[..cut], &Limits::default()), Verdict::More, "cut at {cut}");
            let fit = Fit { bytes: Bytes::from_static(head), body: false };
            assert_eq!(porter.receive(&head[cut..], &Limits::default()), Verdict::Fit(fit), "cut at {cut}");
            assert!(porter.is_empty());
        }
    }

    #[test]
    fn a_token_is_letters_digits_and_fifteen_marks() {
        assert_eq!((0..=255).filter(|byte| is_token(*byte)).count(), 26 + 26 + 10 + 15);
        assert!(b"!#$%&'*+-.^_`|~".iter().all(|byte| is_token(*byte)));
        assert!(b" :\"(),/;<=>?@[\\]{}\x7f\xa1".iter().all(|byte| !is_token(*byte)));
    }

    #[test]
    fn the_next_request_waits_at_the_door() {
        let mut porter = Porter::default();
        let one = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
        let both = format!("{one}{one}");
        for _ in 0..2 {
            let fit = Fit { bytes: Bytes::from_static(one.as_bytes()), body: false };
            let bytes = if porter.is_empty() { both.as_bytes() } else { b"" };
            assert_eq!(porter.receive(bytes, &Limits::default()), Verdict::Fit(fit));
        }
        assert!(porter.is_empty());
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        refused("GET / HTTP/1.1\nHost: a\n\n", BARE);
        refused("GET / HTTP/1.1\r\nHost: a\n\r\n", BARE);
        refused("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", FOLDED);
        refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n", NAME);
        refused("GET / HTTP/1.1\r\nHost\r\n\r\n", NAME);
        refused("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", BYTE);
        refused("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", BYTE);
        refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HOST);
        refused("GET / HTTP/1.1\r\n\r\n", HOST);
        refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", REQUEST);
        refused("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", REQUEST);
        refused("GET /\r\n\r\n", REQUEST);
        refused("\r\n\r\nGET / HTTP/1.1\r\n", REQUEST);
        refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION);
        refused("GET / HTTP/1.2\r\n\r\n", VERSION);
        let post = "POST / HTTP/1.1\r\nHost: a\r\n";
        refused(&format!("{post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), FRAMING);
        refused(&format!("{post}Content-Length: 3\r\nContent-Length: 3\r\n\r\n"), FRAMING);
        refused(&format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), FRAMING);
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", FRAMING);
        for length in ["+3", "-3", "0x3", "3,3", "3 3", "", "99999999999999999999"] {
            refused(&format!("{post}Content-Length: {length}\r\n\r\n"), LENGTH);
        }
        for coding in ["identity", "gzip, chunked", "chunked, chunked", "\x0bchunked", "xchunked", ""] {
            let head = format!("{post}Transfer-Encoding: {coding}\r\n\r\n");
            assert!(matches!(verdict(head.as_bytes()), Verdict::Unfit(CODING | BYTE)), "{coding:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_refused_before_it_is_whole() {
        let target = "a".repeat(5000);
        refused(&format!("GET /{target}"), LONG);
        refused(&format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(17_000)), LARGE);
        refused(&format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(101)), LINES);
    }

    #[test]
    fn a_body_goes_along_with_its_head() {
        let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab";
        assert_eq!(verdict(post), Verdict::Fit(Fit { bytes: Bytes::from_static(post), body: true }));
    }
}
