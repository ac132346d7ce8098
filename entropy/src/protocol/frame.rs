//! Frames of version 2: from bytes and to bytes. Nothing here knows what a frame is for.

use super::outbox::Outbox;
use super::{LARGEST_SEED, Malformed, Starved};

pub(super) const MAGIC: u8 = 0xe2;
const HEADER: usize = 8;
/// The longest payload that is not entropy.
const LONGEST: usize = 24;

const HELLO: u8 = 0x01;
const MORE: u8 = 0x02;
const WELCOME: u8 = 0x81;
const SEED: u8 = 0x82;
const STARVED: u8 = 0x83;
const GENERATION: u8 = 0x84;

/// The two ends of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Guest,
    Host,
}

/// Every kind of frame: who says it, and how long its payload may be.
const KINDS: [(u8, End, u16, u16); 6] = [
    (HELLO, End::Guest, 24, 24),
    (MORE, End::Guest, 4, 4),
    (WELCOME, End::Host, 24, 24),
    (SEED, End::Host, 1, LARGEST_SEED as u16),
    (STARVED, End::Host, 1, 1),
    (GENERATION, End::Host, 16, 16),
];

/// A frame, or as much of a seed as has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Hello { attempt: u32, knew: u128, want: u32 },
    More { want: u32 },
    Welcome { attempt: u32, generation: u128, rate: u32 },
    Seed(&'a [u8]),
    Starved(Starved),
    Generation(u128),
}

impl Frame<'_> {
    /// Writes the frame with this number.
    pub(super) fn write(&self, number: u32, to: &mut Outbox) {
        match self {
            Self::Hello { attempt, knew, want } => {
                head(HELLO, 24, number, to);
                to.push(&attempt.to_be_bytes());
                to.push(&knew.to_be_bytes());
                to.push(&want.to_be_bytes());
            }
            Self::More { want } => {
                head(MORE, 4, number, to);
                to.push(&want.to_be_bytes());
            }
            Self::Welcome { attempt, generation, rate } => {
                head(WELCOME, 24, number, to);
                to.push(&attempt.to_be_bytes());
                to.push(&generation.to_be_bytes());
                to.push(&rate.to_be_bytes());
            }
            Self::Seed(bytes) => {
                head(SEED, bytes.len(), number, to);
                to.push(bytes);
            }
            Self::Starved(why) => {
                head(STARVED, 1, number, to);
                to.push(&[why.code()]);
            }
            Self::Generation(generation) => {
                head(GENERATION, 16, number, to);
                to.push(&generation.to_be_bytes());
            }
        }
    }
}

fn head(kind: u8, length: usize, number: u32, to: &mut Outbox) {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    to.push(&[MAGIC, kind]);
    to.push(&length.to_be_bytes());
    to.push(&number.to_be_bytes());
}

/// The first bytes of the welcome that answers this attempt.
pub(super) fn welcome_begins(attempt: u32) -> [u8; HEADER + 4] {
    let [a, b, c, d] = attempt.to_be_bytes();
    [MAGIC, WELCOME, 0, 24, 0, 0, 0, 0, a, b, c, d]
}

/// Reads frames of one end, however the bytes are cut.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    from: End,
    held: [u8; HEADER + LONGEST],
    have: usize,
    /// Bytes of a seed that are still to come.
    seed_left: usize,
    next: u32,
}

impl Reader {
    pub(super) fn new(from: End) -> Self {
        Self { from, held: [0; HEADER + LONGEST], have: 0, seed_left: 0, next: 0 }
    }

    /// Takes bytes off the front until one frame, or a piece of a seed, is there.
    pub(super) fn read<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Frame<'a>>, Malformed> {
        while self.seed_left == 0 {
            let Some((byte, rest)) = bytes.split_first() else { return Ok(None) };
            *bytes = rest;
            if let Some(frame) = self.take(*byte)? {
                return Ok(Some(frame));
            }
        }
        let (piece, rest) = bytes.split_at(self.seed_left.min(bytes.len()));
        *bytes = rest;
        self.seed_left -= piece.len();
        Ok((!piece.is_empty()).then_some(Frame::Seed(piece)))
    }

    /// One byte of a header or of a short payload. Every byte is judged as soon as it can be.
    fn take(&mut self, byte: u8) -> Result<Option<Frame<'static>>, Malformed> {
        if let Some(place) = self.held.get_mut(self.have) {
            *place = byte;
        }
        self.have += 1;
        match self.have {
            1 if byte != MAGIC => Err(Malformed::Magic(byte)),
            2 => find(self.from, byte).map(|_| None),
            4 => self.check_length().map(|()| None),
            HEADER => self.check_number(),
            have if have > HEADER && have == HEADER + usize::from(self.length()) => self.whole().map(Some),
            _ => Ok(None),
        }
    }

    fn check_length(&self) -> Result<(), Malformed> {
        let (kind, length) = (self.kind(), self.length());
        let (_, _, least, most) = find(self.from, kind)?;
        if (least..=most).contains(&length) { Ok(()) } else { Err(Malformed::Length { kind, length }) }
    }

    fn check_number(&mut self) -> Result<Option<Frame<'static>>, Malformed> {
        let kind = self.kind();
        let heard = u32::from_be_bytes(part(&self.held, 4));
        let expected = if [HELLO, WELCOME].contains(&kind) { 0 } else { self.next };
        if heard != expected {
            return Err(Malformed::Number { expected, heard });
        }
        self.next = heard.wrapping_add(1);
        if kind == SEED {
            self.seed_left = usize::from(self.length());
            self.have = 0;
        }
        Ok(None)
    }

    fn whole(&mut self) -> Result<Frame<'static>, Malformed> {
        self.have = 0;
        let held = &self.held;
        let word = |at| u32::from_be_bytes(part(held, HEADER + at));
        let long = |at| u128::from_be_bytes(part(held, HEADER + at));
        match self.kind() {
            HELLO => Ok(Frame::Hello { attempt: word(0), knew: long(4), want: word(20) }),
            MORE => Ok(Frame::More { want: word(0) }),
            WELCOME => Ok(Frame::Welcome { attempt: word(0), generation: long(4), rate: word(20) }),
            GENERATION => Ok(Frame::Generation(long(0))),
            STARVED => {
                let [code] = part(held, HEADER);
                Starved::from_code(code).map(Frame::Starved).ok_or(Malformed::Reason(code))
            }
            other => Err(Malformed::Kind(other)),
        }
    }

    fn kind(&self) -> u8 {
        let [_, kind] = part(&self.held, 0);
        kind
    }

    fn length(&self) -> u16 {
        u16::from_be_bytes(part(&self.held, 2))
    }
}

fn find(from: End, kind: u8) -> Result<(u8, End, u16, u16), Malformed> {
    let known = KINDS.iter().find(|(number, end, ..)| *number == kind && *end == from);
    known.copied().ok_or(Malformed::Kind(kind))
}

/// `N` bytes from `at` on; zeros past the end, where no caller reads.
fn part<const N: usize>(held: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(held.iter().skip(at)).for_each(|(to, from)| *to = *from);
    out
}
