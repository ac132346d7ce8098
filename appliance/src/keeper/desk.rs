//! The desk: where the operator's questions arrive, over the channel that the host keeps for it.
//!
//! It hears so much in a turn and no more, answers what can be answered from here, and leaves to the loop what
//! changes something. Nobody reaches it but who sits at the host's end of the channel.

use super::doors::Rooms;
use super::journal::{Journal, Line, Style};
use super::reload::{Next, Reload};
use bundle::Bundle;
use control::{Asked, CHANNEL, Malformed, Steward, Verb, Who};
use core::time::Duration;
use std::rc::Rc;
use world::{ChannelId, Heard, World};
use zeroize::Zeroizing;

/// What is heard in one turn: so many pieces of so many bytes.
const PIECES: usize = 16;
const PIECE: usize = 4096;
/// How long those who are inside have when nobody says how long.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// How long connections that were taken over have once the doors are shut, when nobody says how long.
const EVENING: Duration = Duration::from_secs(60);
/// The longest that can be asked for.
const LONGEST: u64 = 3600;

/// The operator's end of this appliance.
pub(super) struct Desk {
    channel: Option<ChannelId>,
    steward: Steward,
    /// The line on which somebody waits for the end.
    farewell: Option<u16>,
    reload: Option<Reload>,
    /// The lines on which the log is told, and how.
    followers: Vec<(u16, Style)>,
}

/// What an operator wants changed, or told from elsewhere.
pub(super) enum Wish {
    /// To know how it is, in words.
    Status(u16),
    /// To know how it is, in numbers.
    Metrics(u16),
    /// That nobody is let in any more, and that connections that were taken over end after so much time.
    Drain(u16, Duration),
    /// That people are let in again.
    Resume(u16),
    /// The end, after so much time for those who are inside.
    Stop(Duration),
    /// That another bundle is served, which is here with its secret part.
    Serve(u16, Rc<Bundle>, Zeroizing<Vec<u8>>),
}

impl Desk {
    /// A desk that nobody sits at yet.
    pub(super) fn new() -> Self {
        Self {
            channel: None,
            steward: Steward::new(Who::Appliance),
            farewell: None,
            reload: None,
            followers: Vec::new(),
        }
    }

    /// Hears the operator and says what waits to be said. True when there may be more to hear.
    pub(super) fn turn<W: World>(&mut self, world: &mut W, rooms: &Rooms, wishes: &mut Vec<Wish>) -> bool {
        if self.channel.is_none() {
            self.channel = world.channel(CHANNEL);
        }
        let Some(channel) = self.channel else { return false };
        let mut more = true;
        let mut piece = Zeroizing::new([0; PIECE]);
        for _ in 0..PIECES {
            match world.hear(channel, piece.as_mut_slice()) {
                Heard::Nothing => {
                    more = false;
                    break;
                }
                Heard::Opened | Heard::Closed => {
                    self.steward.start_over();
                    self.reload = None;
                    self.followers.clear();
                }
                Heard::Bytes(count) => {
                    if let Err(malformed) = self.hear(piece.get(..count).unwrap_or_default(), rooms, wishes) {
                        world.say(&format!("control: not listening until somebody greets anew: {malformed}"));
                    }
                }
            }
        }
        self.flush(world);
        more
    }

    /// Whether somebody follows the log.
    pub(super) fn is_followed(&self) -> bool {
        !self.followers.is_empty()
    }

    /// Tells a line of the log to those who follow it; what they do not take is lost.
    pub(super) fn tell(&mut self, at: Duration, line: &Line, journal: &Journal) {
        for (follower, style) in &self.followers {
            if self.steward.tell(*follower, line.written(at, *style).as_bytes()).is_err() {
                journal.lose();
            }
        }
    }

    /// Answers on a line.
    pub(super) fn answer(&mut self, line: u16, text: &str) {
        self.steward.answer(line, text);
    }

    /// Says on a line that it cannot be done.
    pub(super) fn refuse(&mut self, line: u16, why: &str) {
        self.steward.refuse(line, why);
    }

    /// Tells whoever asked for the end that it has come.
    pub(super) fn part<W: World>(&mut self, world: &mut W, last_words: &str) {
        if let Some(line) = self.farewell.take() {
            self.steward.answer(line, last_words);
        }
        self.flush(world);
    }

    /// Gives the channel what it takes.
    pub(super) fn flush<W: World>(&mut self, world: &mut W) {
        let Some(channel) = self.channel else { return };
        while !self.steward.outbox().is_empty() {
            let taken = world.tell(channel, self.steward.outbox());
            if taken == 0 {
                return;
            }
            self.steward.sent(taken);
        }
    }

    fn hear(&mut self, mut bytes: &[u8], rooms: &Rooms, wishes: &mut Vec<Wish>) -> Result<(), Malformed> {
        loop {
            let Self { steward, farewell, reload, followers, .. } = self;
            let next = match steward.receive(&mut bytes)? {
                None if bytes.is_empty() => return Ok(()),
                None => continue,
                Some(Asked::Greeted) => {
                    *reload = None;
                    followers.clear();
                    continue;
                }
                Some(Asked::Left { line }) => {
                    reload.take_if(|reload| reload.line == line);
                    followers.retain(|(follower, _)| *follower != line);
                    continue;
                }
                Some(Asked::For { line, verb: Verb::Log, words }) => match words.parse() {
                    Ok(style) => {
                        followers.push((line, style));
                        continue;
                    }
                    Err(()) => (line, Err("a log is told as common or json".to_owned())),
                },
                Some(Asked::For { line, verb, words }) => match wish(line, verb, words) {
                    Ok(wish) => {
                        if let Wish::Stop(_) = wish {
                            *farewell = Some(line);
                        }
                        wishes.push(wish);
                        continue;
                    }
                    Err(why) => (line, Err(why.to_owned())),
                },
                Some(Asked::Offered { line, index, secret }) => match begun(reload, rooms) {
                    Ok(()) => match Reload::begin(line, index, secret, rooms.room()) {
                        Ok(begun) => {
                            *reload = Some(begun);
                            continue;
                        }
                        Err(why) => (line, Err(why)),
                    },
                    Err(why) => (line, Err(why.to_owned())),
                },
                Some(Asked::Data { line, bytes }) => {
                    let coming = reload.as_mut().filter(|reload| reload.line == line);
                    let (Some(coming), Some(present)) = (coming, rooms.bundle()) else { continue };
                    (line, coming.take(bytes, &present, rooms.room()))
                }
            };
            self.go_on(next, wishes);
        }
    }

    /// Says what is next of a reload.
    fn go_on(&mut self, (line, next): (u16, Result<Next, String>), wishes: &mut Vec<Wish>) {
        match next {
            Ok(Next::More) => {}
            Ok(Next::Want(spans)) => self.steward.want(line, spans),
            Ok(Next::Whole(bundle, secrets)) => {
                self.reload = None;
                wishes.push(Wish::Serve(line, bundle, secrets));
            }
            Err(why) => {
                self.reload.take_if(|reload| reload.line == line);
                self.steward.refuse(line, &why);
            }
        }
    }
}

/// Whether a reload may begin.
fn begun(reload: &Option<Reload>, rooms: &Rooms) -> Result<(), &'static str> {
    match (reload, rooms.bundle()) {
        (Some(_), _) => Err("another reload is under way: wait for its end"),
        (None, None) => Err("this appliance serves no bundle that could be replaced: start it with one"),
        (None, Some(_)) => Ok(()),
    }
}

fn wish(line: u16, verb: Verb, words: &str) -> Result<Wish, &'static str> {
    match verb {
        Verb::Status => Ok(Wish::Status(line)),
        Verb::Metrics => Ok(Wish::Metrics(line)),
        Verb::Drain => span(words, EVENING).map(|span| Wish::Drain(line, span)),
        Verb::Resume => Ok(Wish::Resume(line)),
        Verb::Stop => span(words, GRACE).map(Wish::Stop),
        Verb::Log => Err("a log is told as common or json"),
        Verb::Reload => Err("an appliance cannot read its host's files: offer it the bundle"),
    }
}

/// The time that the words give, or the usual one.
fn span(words: &str, usual: Duration) -> Result<Duration, &'static str> {
    match words.parse() {
        _ if words.is_empty() => Ok(usual),
        Ok(seconds) if seconds <= LONGEST => Ok(Duration::from_secs(seconds)),
        _ => Err("the time to finish is a number of seconds up to 3600"),
    }
}
