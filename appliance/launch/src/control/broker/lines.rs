//! The appliance's end of the exchange: its channel, and whose question each of its lines is.

use super::Client;
use crate::watch::Watched;
use control::{Operator, Steward, Verb};
use std::collections::HashMap;
use std::os::unix::net::UnixStream;

/// The longest answer that is carried.
const LONGEST: usize = 4 << 20;

const NOT_YET: &str = "the appliance does not answer yet: it waits for entropy, as its console says";
const TOO_MANY: &str = "too many questions at once: wait for an answer";

/// A client and its line.
pub(super) type Asker = (u64, u16);

/// The appliance's channel.
pub(super) struct Appliance {
    pub(super) socket: Watched<UnixStream>,
    pub(super) operator: Operator,
    pub(super) answers: bool,
    pub(super) gone: bool,
    pub(super) routes: HashMap<u16, Route>,
    last: u16,
    /// Questions that came before it answered.
    pub(super) early: Vec<(Asker, Verb, String)>,
}

/// Whose question a line of the appliance's is.
pub(super) struct Route {
    /// Nobody's but ours, if none.
    client: Option<Asker>,
    pub(super) verb: Verb,
    heard: Vec<u8>,
    lost: u64,
}

impl Appliance {
    pub(super) fn new(socket: Watched<UnixStream>, operator: Operator) -> Self {
        let (answers, gone, routes) = (false, false, HashMap::new());
        Self { socket, operator, answers, gone, routes, last: 0, early: Vec::new() }
    }

    /// Carries a client's question over, at once or when there is an answer to be had: it has just begun, or waits for
    /// entropy, and whoever asks has patience of their own.
    pub(super) fn carry(&mut self, asker: Asker, verb: Verb, words: &str) -> Result<(), &'static str> {
        if self.answers {
            return self.ask(Some(asker), verb, words).map(drop).ok_or(TOO_MANY);
        }
        if self.early.len() >= control::LINES {
            return Err(NOT_YET);
        }
        self.early.push((asker, verb, words.to_owned()));
        Ok(())
    }

    /// Carries a question over; none when all lines are in use.
    pub(super) fn ask(&mut self, client: Option<Asker>, verb: Verb, words: &str) -> Option<u16> {
        let line = self.line(client, verb)?;
        self.operator.ask(line, verb, words);
        Some(line)
    }

    /// A line of the appliance's for somebody; none when all are in use.
    pub(super) fn line(&mut self, client: Option<Asker>, verb: Verb) -> Option<u16> {
        if self.routes.len() >= control::LINES {
            return None;
        }
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.routes.contains_key(&self.last) {
                break;
            }
        }
        self.routes.insert(self.last, Route { client, verb, heard: Vec::new(), lost: 0 });
        Some(self.last)
    }

    pub(super) fn leave(&mut self, asker: Asker) {
        self.leave_those(|client| client == asker);
    }

    pub(super) fn leave_all(&mut self, number: u64) {
        self.leave_those(|(client, _)| client == number);
    }

    /// An order is carried out whoever listens; an answer that nobody awaits is not.
    fn leave_those(&mut self, is_meant: impl Fn(Asker) -> bool) {
        let Self { routes, operator, early, .. } = self;
        early.retain(|(asker, ..)| !is_meant(*asker));
        routes.retain(|line, route| {
            let meant = route.client.is_some_and(&is_meant);
            if meant && [Verb::Stop, Verb::Reload].contains(&route.verb) {
                route.client = None;
                return true;
            }
            if meant {
                operator.leave(*line);
            }
            !meant
        });
    }
}

impl Route {
    fn steward<'a>(&self, clients: &'a mut [Client]) -> Option<(&'a mut Steward, u16)> {
        let (number, line) = self.client?;
        let client = clients.iter_mut().find(|client| client.number == number)?;
        Some((&mut client.steward, line))
    }

    /// Keeps an answer until it is whole; the log goes on line by line.
    pub(super) fn hear(&mut self, bytes: &[u8], clients: &mut [Client]) {
        if self.heard.len() + bytes.len() <= LONGEST {
            self.heard.extend_from_slice(bytes);
        }
        if self.verb != Verb::Log {
            return;
        }
        let Some(end) = self.heard.iter().rposition(|byte| *byte == b'\n') else { return };
        let mut lines: Vec<u8> = self.heard.drain(..=end).collect();
        let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        if self.lost > 0 {
            let lost = format!("({} lines were lost: this end did not read)\n", self.lost);
            lines.splice(..0, lost.into_bytes());
        }
        let Some((steward, line)) = self.steward(clients) else { return };
        match steward.tell(line, &lines) {
            Ok(()) => self.lost = 0,
            Err(_) => self.lost += count,
        }
    }

    pub(super) fn done(self, clients: &mut [Client], about: &(String, String)) {
        let Some((steward, line)) = self.steward(clients) else { return };
        let more = match self.verb {
            Verb::Status => &about.0,
            Verb::Metrics => &about.1,
            _ => "",
        };
        steward.answer(line, &(String::from_utf8_lossy(&self.heard) + more));
    }

    pub(super) fn refuse(self, clients: &mut [Client], why: &str) {
        if let Some((steward, line)) = self.steward(clients) {
            steward.refuse(line, why);
        }
    }
}
