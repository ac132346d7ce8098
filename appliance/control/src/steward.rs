//! The end that answers.

use crate::VERSION;
use crate::frame::{End, Frame, GATHERED, Malformed, PIECE, Reader, Search, Verb, Who, cut};
use crate::outbox::Outbox;
use std::collections::VecDeque;

/// Conversations that are open at once at most.
pub const LINES: usize = 16;
/// Bytes that wait on one line of those that are told as they happen; what is more is lost and counted.
pub const WAITING: usize = 64 * 1024;
/// Bytes in the outbox, beyond which nothing is added.
const OUTBOX: usize = 2 * PIECE;

/// What an operator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Somebody is there, and whoever was there before is not: every line is closed.
    Greeted,
    /// A question.
    For {
        /// On which line the answer is awaited.
        line: u16,
        /// What for.
        verb: Verb,
        /// What was said with it.
        words: &'a str,
    },
    /// Nobody listens on that line any more.
    Left {
        /// Which.
        line: u16,
    },
    /// Another bundle is offered: its index and its secret part follow as data, so many bytes of each.
    Offered {
        /// On which line.
        line: u16,
        /// Bytes of the index.
        index: u32,
        /// Bytes of the secret part.
        secret: u32,
    },
    /// Bytes of what was offered.
    Data {
        /// On which line.
        line: u16,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// There is no room for it: it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The end of a channel that answers.
pub struct Steward {
    who: Who,
    reader: Reader,
    /// Looks for a greeting: nobody is there, or what it says makes no sense.
    search: Option<Search>,
    outbox: Outbox,
    lines: VecDeque<Line>,
}

/// One conversation.
struct Line {
    number: u16,
    waiting: VecDeque<u8>,
    /// Spans of chunks that are wanted and were not asked for yet.
    spans: VecDeque<(u32, u32)>,
    ending: Option<Ending>,
}

/// What a line had to say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Something,
    Last,
}

enum Ending {
    /// Nothing more is wanted; the line stays.
    Wanted,
    Done,
    Refused(String),
}

impl Steward {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(who: Who) -> Self {
        let (reader, outbox, lines) = (Reader::new(End::Operator), Outbox::default(), VecDeque::new());
        Self { who, reader, search: Some(Search::new(End::Operator, None)), outbox, lines }
    }

    /// Another peer sits at the channel, or none: everything starts afresh.
    pub fn start_over(&mut self) {
        *self = Self::new(self.who);
    }

    /// Takes bytes off the front until they mean something.
    ///
    /// # Errors
    /// When the other end is no operator of this version. It is listened to again when it greets anew.
    pub fn receive<'a, 'b: 'a>(&'a mut self, bytes: &mut &'b [u8]) -> Result<Option<Asked<'a>>, Malformed> {
        let Self { who, reader, search, outbox, lines } = self;
        if let Some(looking) = search {
            let Some(greeting) = looking.look(bytes) else { return Ok(None) };
            let (version, nonce) = Reader::new(End::Operator).greeting(&greeting)?;
            greet(*who, nonce, outbox, lines);
            check(version)?;
            (*search, *reader) = (None, Reader::new(End::Operator));
            return Ok(Some(Asked::Greeted));
        }
        let meaning = match reader.read(bytes) {
            Ok(None) => Ok(None),
            Ok(Some(Frame::Hello { version, nonce })) => {
                greet(*who, nonce, outbox, lines);
                check(version).map(|()| Some(Asked::Greeted))
            }
            Ok(Some(Frame::Ask { line, verb, words })) => {
                Ok(opened(lines, outbox, line).then_some(Asked::For { line, verb, words }))
            }
            Ok(Some(Frame::Offer { line, index, secret })) => {
                Ok(opened(lines, outbox, line).then_some(Asked::Offered { line, index, secret }))
            }
            Ok(Some(Frame::Leave { line })) => {
                lines.retain(|open| open.number != line);
                Ok(Some(Asked::Left { line }))
            }
            Ok(Some(Frame::Data { line, bytes })) => Ok(Some(Asked::Data { line, bytes })),
            Ok(Some(_)) => Err(Malformed::Payload(0)),
            Err(malformed) => Err(malformed),
        };
        if meaning.is_err() {
            *search = Some(Search::new(End::Operator, None));
            lines.clear();
        }
        meaning
    }

    /// Answers a question whole.
    pub fn answer(&mut self, line: u16, text: &str) {
        if let Some(open) = self.line(line) {
            open.waiting.extend(text.as_bytes());
            open.ending = Some(Ending::Done);
        }
        self.fill();
    }

    /// Says more on a line that stays open.
    ///
    /// # Errors
    /// When the operator does not read what was said before. Nothing was taken.
    pub fn tell(&mut self, line: u16, text: &[u8]) -> Result<(), Full> {
        let told = match self.line(line) {
            Some(open) if open.waiting.len() + text.len() <= WAITING => {
                open.waiting.extend(text);
                Ok(())
            }
            _ => Err(Full),
        };
        self.fill();
        told
    }

    /// All is well, and the line is closed.
    pub fn done(&mut self, line: u16) {
        self.answer(line, "");
    }

    /// It cannot be done, and why; the line is closed.
    pub fn refuse(&mut self, line: u16, why: &str) {
        if let Some(open) = self.line(line) {
            let why = if why.is_empty() { "no reason is known" } else { cut(why, GATHERED) };
            open.ending = Some(Ending::Refused(why.to_owned()));
        }
        self.fill();
    }

    /// Asks for the chunks of what was offered that are not here: all of them, once.
    pub fn want(&mut self, line: u16, spans: impl IntoIterator<Item = (u32, u32)>) {
        if let Some(open) = self.line(line) {
            open.spans.extend(spans);
            open.ending = Some(Ending::Wanted);
        }
        self.fill();
    }

    /// What is to be sent.
    #[must_use]
    pub fn outbox(&self) -> &[u8] {
        self.outbox.waiting()
    }

    /// The channel took so many bytes of the outbox.
    pub fn sent(&mut self, count: usize) {
        self.outbox.sent(count);
        self.fill();
    }

    fn line(&mut self, number: u16) -> Option<&mut Line> {
        self.lines.iter_mut().find(|open| open.number == number)
    }

    /// Fills the outbox from the lines, a piece of each in turn, so that a long answer does not hold a short one.
    fn fill(&mut self) {
        let mut idle = 0;
        while self.outbox.waiting().len() < OUTBOX && idle < self.lines.len() {
            let Some(mut line) = self.lines.pop_front() else { return };
            match line.say(&mut self.outbox) {
                Said::Last => {}
                said => {
                    idle = if said == Said::Something { 0 } else { idle + 1 };
                    self.lines.push_back(line);
                }
            }
        }
    }
}

/// Whoever was there before is not there any more.
fn greet(who: Who, nonce: u64, outbox: &mut Outbox, lines: &mut VecDeque<Line>) {
    lines.clear();
    outbox.wipe();
    Frame::Welcome { version: VERSION, nonce, who }.write(outbox);
}

fn check(version: u16) -> Result<(), Malformed> {
    if version == VERSION { Ok(()) } else { Err(Malformed::Version(version)) }
}

/// Opens a line; false if there is none to be had, which the operator is told.
fn opened(lines: &mut VecDeque<Line>, outbox: &mut Outbox, number: u16) -> bool {
    let why = match lines.iter().any(|open| open.number == number) {
        true => "this line is in use: ask on another",
        false if lines.len() >= LINES => "too many questions at once: wait for an answer",
        false => {
            let (waiting, spans) = (VecDeque::new(), VecDeque::new());
            lines.push_back(Line { number, waiting, spans, ending: None });
            return true;
        }
    };
    // An operator that neither reads nor waits loses the answers, not our memory.
    if outbox.waiting().len() < 2 * OUTBOX {
        Frame::Refused { line: number, why }.write(outbox);
    }
    false
}

impl Line {
    /// Puts a piece of what waits into the outbox.
    fn say(&mut self, outbox: &mut Outbox) -> Said {
        let line = self.number;
        let (front, _) = self.waiting.as_slices();
        let piece = front.get(..PIECE).unwrap_or(front);
        if !piece.is_empty() {
            let count = piece.len();
            Frame::Text { line, bytes: piece }.write(outbox);
            self.waiting.drain(..count);
            return Said::Something;
        }
        if !self.spans.is_empty() {
            let few = self.spans.len().min(GATHERED / 8);
            let spans: Vec<u8> = self.spans.drain(..few).flat_map(bytes_of).collect();
            Frame::Want { line, spans: &spans }.write(outbox);
            return Said::Something;
        }
        match &self.ending {
            None => return Said::Nothing,
            Some(Ending::Wanted) => {
                Frame::Want { line, spans: &[] }.write(outbox);
                self.ending = None;
                return Said::Something;
            }
            Some(Ending::Done) => Frame::Done { line }.write(outbox),
            Some(Ending::Refused(why)) => Frame::Refused { line, why }.write(outbox),
        }
        Said::Last
    }
}

fn bytes_of((first, count): (u32, u32)) -> [u8; 8] {
    (u64::from(first) << 32 | u64::from(count)).to_be_bytes()
}
