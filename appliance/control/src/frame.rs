//! Frames: from bytes and to bytes. Nothing here knows what a frame is for.

use crate::outbox::Outbox;

const MAGIC: u8 = 0xc7;
const HEADER: usize = 6;

/// The most bytes of one frame that are handed on as they come.
pub const PIECE: usize = 16_384;

/// The longest payload that is gathered before it means anything.
pub(crate) const GATHERED: usize = 1024;

const HELLO: u8 = 0x01;
const ASK: u8 = 0x02;
const LEAVE: u8 = 0x03;
const OFFER: u8 = 0x04;
const DATA: u8 = 0x05;
const WELCOME: u8 = 0x81;
const TEXT: u8 = 0x82;
const DONE: u8 = 0x83;
const REFUSED: u8 = 0x84;
const WANT: u8 = 0x85;

/// The two ends of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Operator,
    Steward,
}

/// Every kind of frame: who says it, and how long its payload may be.
const KINDS: [(u8, End, usize, usize); 10] = [
    (HELLO, End::Operator, 10, 10),
    (ASK, End::Operator, 1, GATHERED),
    (LEAVE, End::Operator, 0, 0),
    (OFFER, End::Operator, 8, 8),
    (DATA, End::Operator, 1, PIECE),
    (WELCOME, End::Steward, 11, 11),
    (TEXT, End::Steward, 1, PIECE),
    (DONE, End::Steward, 0, 0),
    (REFUSED, End::Steward, 1, GATHERED),
    (WANT, End::Steward, 0, GATHERED),
];

/// What an operator may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// How it is, for people.
    Status,
    /// How it is, for Prometheus.
    Metrics,
    /// The log, from now on, until the operator leaves the line.
    Log,
    /// Take nobody in any more; those who are here finish.
    Drain,
    /// Take people in again.
    Resume,
    /// Drain and end, within as many seconds as the words say.
    Stop,
    /// Serve what lies at the path that the words say: only a launcher can look there.
    Reload,
}

const VERBS: [(u8, Verb); 7] = [
    (1, Verb::Status),
    (2, Verb::Metrics),
    (3, Verb::Log),
    (4, Verb::Drain),
    (5, Verb::Resume),
    (6, Verb::Stop),
    (7, Verb::Reload),
];

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The appliance itself.
    Appliance,
    /// The launcher that looks after it.
    Launcher,
}

/// A frame, or as much of a long one as has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Hello {
        version: u16,
        nonce: u64,
    },
    Ask {
        line: u16,
        verb: Verb,
        words: &'a str,
    },
    Leave {
        line: u16,
    },
    Offer {
        line: u16,
        index: u32,
        secret: u32,
    },
    Data {
        line: u16,
        bytes: &'a [u8],
    },
    Welcome {
        version: u16,
        nonce: u64,
        who: Who,
    },
    Text {
        line: u16,
        bytes: &'a [u8],
    },
    Done {
        line: u16,
    },
    Refused {
        line: u16,
        why: &'a str,
    },
    /// Pairs of numbers: from which chunk on, and how many. None: nothing more is wanted.
    Want {
        line: u16,
        spans: &'a [u8],
    },
}

/// What no end of this version says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A frame does not begin as one.
    #[error("a frame begins with {0:#04x}")]
    Magic(u8),
    /// A frame of no known kind, or of one that the other end does not say.
    #[error("a frame is of the unknown kind {0:#04x}")]
    Kind(u8),
    /// A frame is longer or shorter than its kind allows.
    #[error("a frame of kind {kind:#04x} claims {length} bytes")]
    Length {
        /// Its kind.
        kind: u8,
        /// Its length.
        length: u16,
    },
    /// A payload that means nothing.
    #[error("a frame of kind {0:#04x} says what nobody understands")]
    Payload(u8),
    /// The other end speaks another version.
    #[error(
        "the other end speaks version {0} of the control protocol, and this one version 1: use tools of the same release"
    )]
    Version(u16),
}

impl Frame<'_> {
    /// Writes the frame; a payload that is too long is cut, which callers avoid.
    pub(crate) fn write(&self, to: &mut Outbox) {
        match *self {
            Self::Hello { version, nonce } => {
                put(to, HELLO, 0, &[&version.to_be_bytes(), &nonce.to_be_bytes()]);
            }
            Self::Ask { line, verb, words } => put(to, ASK, line, &[&[verb.code()], words.as_bytes()]),
            Self::Leave { line } => put(to, LEAVE, line, &[]),
            Self::Offer { line, index, secret } => {
                put(to, OFFER, line, &[&index.to_be_bytes(), &secret.to_be_bytes()]);
            }
            Self::Data { line, bytes } => put(to, DATA, line, &[bytes]),
            Self::Welcome { version, nonce, who } => {
                let who = u8::from(who == Who::Launcher);
                put(to, WELCOME, 0, &[&version.to_be_bytes(), &nonce.to_be_bytes(), &[who]]);
            }
            Self::Text { line, bytes } => put(to, TEXT, line, &[bytes]),
            Self::Done { line } => put(to, DONE, line, &[]),
            Self::Refused { line, why } => put(to, REFUSED, line, &[cut(why, GATHERED).as_bytes()]),
            Self::Want { line, spans } => put(to, WANT, line, &[spans]),
        }
    }
}

fn put(to: &mut Outbox, kind: u8, line: u16, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    to.push(&[MAGIC, kind]);
    to.push(&line.to_be_bytes());
    to.push(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    parts.iter().for_each(|part| to.push(part));
}

/// As much of a text as fits, cut between letters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

/// The bytes that a greeting of this end begins with.
pub(crate) fn greeting(from: End, nonce: u64) -> Vec<u8> {
    let mut out = Outbox::default();
    match from {
        End::Operator => Frame::Hello { version: 0, nonce }.write(&mut out),
        End::Steward => Frame::Welcome { version: 0, nonce, who: Who::Appliance }.write(&mut out),
    }
    out.waiting().to_vec()
}

impl Verb {
    fn code(self) -> u8 {
        VERBS.iter().find(|(_, verb)| *verb == self).map_or(0, |(code, _)| *code)
    }
}

/// Reads frames of one end, however the bytes are cut.
pub(crate) struct Reader {
    from: End,
    header: [u8; HEADER],
    have: usize,
    /// The payload of a frame that is gathered.
    held: Vec<u8>,
    /// Bytes of the payload that are still to come.
    left: usize,
}

impl Reader {
    pub(crate) fn new(from: End) -> Self {
        Self { from, header: [0; HEADER], have: 0, held: Vec::new(), left: 0 }
    }

    /// Takes bytes off the front until one frame, or a piece of a long one, is there.
    pub(crate) fn read<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
    ) -> Result<Option<Frame<'a>>, Malformed> {
        while self.have < HEADER {
            let Some((byte, rest)) = bytes.split_first() else { return Ok(None) };
            *bytes = rest;
            self.head(*byte)?;
        }
        let (piece, rest) = bytes.split_at(self.left.min(bytes.len()));
        *bytes = rest;
        self.left -= piece.len();
        if [TEXT, DATA].contains(&self.kind()) {
            if self.left == 0 {
                self.have = 0;
            }
            return Ok((!piece.is_empty()).then(|| self.piece(piece)));
        }
        self.held.extend_from_slice(piece);
        if self.left > 0 {
            return Ok(None);
        }
        self.have = 0;
        self.whole().map(Some)
    }

    /// The version and the number of a whole greeting.
    pub(crate) fn greeting(mut self, mut bytes: &[u8]) -> Result<(u16, u64), Malformed> {
        match self.read(&mut bytes)? {
            Some(Frame::Hello { version, nonce }) => Ok((version, nonce)),
            _ => Err(Malformed::Payload(HELLO)),
        }
    }

    /// One byte of a header, judged as soon as it can be.
    fn head(&mut self, byte: u8) -> Result<(), Malformed> {
        if let Some(place) = self.header.get_mut(self.have) {
            *place = byte;
        }
        self.have += 1;
        match self.have {
            1 if byte != MAGIC => Err(Malformed::Magic(byte)),
            2 => find(self.from, byte).map(drop),
            HEADER => {
                let [_, kind, _, _, high, low] = self.header;
                let length = u16::from_be_bytes([high, low]);
                let (least, most) = find(self.from, kind)?;
                if !(least..=most).contains(&usize::from(length)) {
                    return Err(Malformed::Length { kind, length });
                }
                self.left = usize::from(length);
                self.held.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn kind(&self) -> u8 {
        self.header[1]
    }

    fn line(&self) -> u16 {
        let [_, _, high, low, ..] = self.header;
        u16::from_be_bytes([high, low])
    }

    fn piece<'a>(&self, bytes: &'a [u8]) -> Frame<'a> {
        let line = self.line();
        if self.kind() == TEXT { Frame::Text { line, bytes } } else { Frame::Data { line, bytes } }
    }

    fn whole(&self) -> Result<Frame<'_>, Malformed> {
        let (line, kind, held) = (self.line(), self.kind(), self.held.as_slice());
        let words = |bytes| core::str::from_utf8(bytes).map_err(|_| Malformed::Payload(kind));
        match kind {
            HELLO => Ok(Frame::Hello { version: short(held), nonce: long(held, 2) }),
            WELCOME => {
                let who = if held.last() == Some(&0) { Who::Appliance } else { Who::Launcher };
                Ok(Frame::Welcome { version: short(held), nonce: long(held, 2), who })
            }
            ASK => {
                let (code, rest) = held.split_first().ok_or(Malformed::Payload(kind))?;
                let verb = VERBS.iter().find(|(known, _)| known == code).ok_or(Malformed::Payload(kind))?;
                Ok(Frame::Ask { line, verb: verb.1, words: words(rest)? })
            }
            LEAVE => Ok(Frame::Leave { line }),
            OFFER => {
                let both = long(held, 0);
                Ok(Frame::Offer { line, index: (both >> 32) as u32, secret: both as u32 })
            }
            DONE => Ok(Frame::Done { line }),
            REFUSED => Ok(Frame::Refused { line, why: words(held)? }),
            WANT if held.len().is_multiple_of(8) => Ok(Frame::Want { line, spans: held }),
            other => Err(Malformed::Payload(other)),
        }
    }
}

fn find(from: End, kind: u8) -> Result<(usize, usize), Malformed> {
    let known = KINDS.iter().find(|(number, end, ..)| *number == kind && *end == from);
    known.map(|(_, _, least, most)| (*least, *most)).ok_or(Malformed::Kind(kind))
}

fn short(held: &[u8]) -> u16 {
    held.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

fn long(held: &[u8], at: usize) -> u64 {
    held.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Looks for a pattern in a stream, however it is cut.
pub(crate) struct Search {
    pattern: Vec<u8>,
    /// The places of the pattern that may hold anything.
    any: core::ops::Range<usize>,
    window: Vec<u8>,
}

impl Search {
    /// For a greeting of this end, whatever version it names; and whatever number, if none is given.
    pub(crate) fn new(from: End, nonce: Option<u64>) -> Self {
        let mut pattern = greeting(from, nonce.unwrap_or(0));
        pattern.truncate(HEADER + 10);
        let any = HEADER..if nonce.is_some() { HEADER + 2 } else { pattern.len() };
        Self { pattern, any, window: Vec::new() }
    }

    /// Takes bytes off the front until the pattern is there; gives what stood in its place.
    pub(crate) fn look(&mut self, bytes: &mut &[u8]) -> Option<Vec<u8>> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.window.push(*byte);
            while !self.fits() {
                self.window.remove(0);
            }
            if self.window.len() == self.pattern.len() {
                return Some(core::mem::take(&mut self.window));
            }
        }
        None
    }

    fn fits(&self) -> bool {
        let pairs = self.window.iter().zip(&self.pattern).enumerate();
        pairs.into_iter().all(|(at, (one, other))| one == other || self.any.contains(&at))
    }
}
