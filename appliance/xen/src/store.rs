//! A client of xenstore: where the host writes what devices there are, and we write how to reach us.
//!
//! It is asked seldom: when the machine starts, and when the host says that something has changed. Each question has an
//! answer or is given up after a while; a late answer is known by its number and dropped. What is watched is told by
//! one word for each path, so a host that tells the same a thousand times tells it once.

mod wire;

use crate::beneath::{Beneath, Port};
use crate::pipe::{Inward, Outward, Place};
use dma::{HostLied, Pages};
use std::rc::Rc;
use wire::{Kind, Message, Reader};

const REQUESTS: Place = Place { at: 0, size: 1024, consumed: 2048, produced: 2052 };
const ANSWERS: Place = Place { at: 1024, size: 1024, consumed: 2056, produced: 2060 };
/// How long an answer may take: the host may be very busy, but not for ever.
const PATIENCE: u64 = 5_000_000_000;
/// Pieces of messages that are read at once.
const PIECES: usize = 64;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The store says no; most often because there is no such path.
    No,
    /// It says nothing.
    Silent,
    /// It broke its own rules, and is not listened to any more.
    Lied(HostLied),
}

impl From<HostLied> for Unanswered {
    fn from(lie: HostLied) -> Self {
        Self::Lied(lie)
    }
}

/// What is watched, and may have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News(u8);

/// One thing to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Subject {
    /// What the host asks of the machine as a whole.
    Control = b'a',
    /// Network devices, and the back end of the one in use.
    Network,
    /// Consoles, and their back ends.
    Consoles,
}

impl Subject {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Control, Self::Network, Self::Consoles];
}

/// The client.
pub(crate) struct Store {
    beneath: Rc<dyn Beneath>,
    port: Port,
    requests: Outward,
    answers: Inward,
    reader: Reader,
    number: u32,
    news: News,
    lie: Option<HostLied>,
}

impl Store {
    /// The store behind a page and a port.
    pub(crate) fn new(beneath: Rc<dyn Beneath>, page: Pages, port: Port) -> Self {
        let (requests, answers) = (Outward::new(page.clone(), REQUESTS), Inward::new(page, ANSWERS));
        let (reader, news) = (Reader::default(), News::default());
        Self { beneath, port, requests, answers, reader, number: 0, news, lie: None }
    }

    /// The port that is marked when it has something to say.
    pub(crate) fn port(&self) -> Port {
        self.port
    }

    /// What is written at a path.
    pub(crate) fn read(&mut self, path: &str) -> Result<String, Unanswered> {
        text(self.ask(Kind::Read, &[path.as_bytes(), b"\0"])?)
    }

    /// The number that is written at a path.
    pub(crate) fn number<T: core::str::FromStr>(&mut self, path: &str) -> Result<T, Unanswered> {
        self.read(path)?.trim().parse().map_err(|_| Unanswered::No)
    }

    /// The names below a path.
    pub(crate) fn list(&mut self, path: &str) -> Result<Vec<String>, Unanswered> {
        let names = text(self.ask(Kind::Directory, &[path.as_bytes(), b"\0"])?)?;
        Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// Writes at a path.
    pub(crate) fn write(&mut self, path: &str, value: &str) -> Result<(), Unanswered> {
        self.ask(Kind::Write, &[path.as_bytes(), b"\0", value.as_bytes()]).map(drop)
    }

    /// Wants to hear of changes at a path and below; the first news come at once.
    pub(crate) fn watch(&mut self, path: &str, subject: Subject) -> Result<(), Unanswered> {
        self.ask(Kind::Watch, &[path.as_bytes(), b"\0", &[subject as u8], b"\0"]).map(drop)
    }

    /// Does not want to hear of it any more.
    pub(crate) fn unwatch(&mut self, path: &str, subject: Subject) -> Result<(), Unanswered> {
        self.ask(Kind::Unwatch, &[path.as_bytes(), b"\0", &[subject as u8], b"\0"]).map(drop)
    }

    /// What may have changed since the last call.
    pub(crate) fn news(&mut self) -> News {
        // Whatever is no news is a late answer.
        let _ = (0..PIECES).find(|_| !matches!(self.next(), Ok(Some(_late))));
        core::mem::take(&mut self.news)
    }

    /// True when it has said something that was not looked at: in the ring, or taken out of it with an answer that was
    /// waited for. Nothing tells of it again. A lie counts: whoever looks will find out.
    pub(crate) fn has_news(&self) -> bool {
        let taken = self.news != News::default() || self.reader.holds_one();
        self.reader.is_sound() && (taken || self.answers.waiting() != Ok(0))
    }

    /// The lie that ended it, told once.
    pub(crate) fn lie(&mut self) -> Option<HostLied> {
        self.lie.take()
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<Vec<u8>, Unanswered> {
        self.number = self.number.wrapping_add(1);
        let request = wire::request(kind, self.number, parts).ok_or(Unanswered::No)?;
        let until = self.beneath.now().saturating_add(PATIENCE);
        let mut unsaid = request.as_slice();
        loop {
            if !self.reader.is_sound() {
                return Err(Unanswered::Silent);
            }
            // First the mark, then the look: what comes in between marks it again.
            let _ = self.beneath.fired(self.port);
            let said = self.say(unsaid)?;
            unsaid = unsaid.get(said..).unwrap_or_default();
            while let Some(message) = self.next()? {
                if message.number == self.number {
                    return if message.kind == Kind::Error {
                        Err(Unanswered::No)
                    } else {
                        Ok(message.payload)
                    };
                }
            }
            if self.beneath.now() >= until {
                return Err(self.give_up(unsaid));
            }
            self.beneath.sleep(&[self.port], Some(until));
        }
    }

    /// Half a request cannot be taken back: then nothing can be asked any more.
    fn give_up(&mut self, unsaid: &[u8]) -> Unanswered {
        if !unsaid.is_empty() {
            self.reader.spoil();
        }
        Unanswered::Silent
    }

    fn say(&mut self, bytes: &[u8]) -> Result<usize, Unanswered> {
        let said = self.requests.write(bytes).map_err(|lie| self.found_out(lie))?;
        if said > 0 {
            self.beneath.notify(self.port);
        }
        Ok(said)
    }

    /// The next answer, whosever it is. News are noted on the way.
    fn next(&mut self) -> Result<Option<Message>, Unanswered> {
        for _ in 0..PIECES {
            match self.reader.next().map_err(|lie| self.found_out(lie))? {
                Some(message) if message.kind == Kind::News => self.news.note(&message.payload),
                Some(message) => return Ok(Some(message)),
                None if self.fetch()? == 0 => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }

    fn fetch(&mut self) -> Result<usize, Unanswered> {
        if !self.reader.is_sound() {
            return Ok(0);
        }
        let mut piece = [0; 1024];
        let count = self.answers.read(&mut piece).map_err(|lie| self.found_out(lie))?;
        self.reader.take(piece.get(..count).unwrap_or_default());
        if count > 0 {
            self.beneath.notify(self.port);
        }
        Ok(count)
    }

    fn found_out(&mut self, lie: HostLied) -> Unanswered {
        if self.reader.is_sound() {
            self.lie = Some(lie);
            self.reader.spoil();
        }
        Unanswered::Lied(lie)
    }
}

impl News {
    /// True when this subject is among them.
    pub(crate) fn of(self, subject: Subject) -> bool {
        self.0 & bit(subject) != 0
    }

    /// Takes note of a path that changed: behind it stands the word that it was watched under.
    fn note(&mut self, payload: &[u8]) {
        let word = payload.split(|byte| *byte == 0).nth(1);
        for subject in Subject::ALL {
            if word == Some(&[subject as u8]) {
                self.0 |= bit(subject);
            }
        }
    }
}

const fn bit(subject: Subject) -> u8 {
    1 << (subject as u8 - Subject::Control as u8)
}

fn text(mut bytes: Vec<u8>) -> Result<String, Unanswered> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| Unanswered::No)
}

#[cfg(test)]
pub(crate) mod tests;
