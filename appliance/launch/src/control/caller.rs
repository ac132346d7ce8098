//! A caller: one end of a control socket, for one question after the other.

use super::broker::nonce;
use super::offer::Offer;
use super::place::{self, NoPlace};
use control::{Malformed, Operator, Told, Verb, Who};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long whoever answers may take to say anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
const LINE: u16 = 1;

/// Which appliance is meant.
#[derive(clap::Args)]
pub(crate) struct Whom {
    /// The appliance's name, as `gatehouse run` said it; when only one runs, it is meant.
    name: Option<String>,
    /// Its control socket, instead of its name: a launcher's, or the one that QEMU was given for it.
    #[arg(long, value_name = "PATH", conflicts_with = "name")]
    control: Option<PathBuf>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    #[error("{0}")]
    Refused(String),
    #[error("the appliance's control socket: {0}")]
    Malformed(#[from] Malformed),
    #[error("no answer in {} s: the appliance waits for entropy (its console says so), is busy, or is none", .0.as_secs())]
    Silent(Duration),
    #[error("the connection ended before the answer: the launcher has ended, or does not know you")]
    Ended,
    #[error("the appliance's control socket: {0}")]
    Io(io::Error),
    #[error("what it says cannot be shown: {0}")]
    Unshown(io::Error),
}

impl NoAnswer {
    /// Whoever read what we show has seen enough of it.
    pub(crate) fn is_enough(&self) -> bool {
        matches!(self, Self::Unshown(error) if error.kind() == ErrorKind::BrokenPipe)
    }
}

/// Shows an answer, or a piece of one.
pub(super) fn show(text: &[u8]) -> Result<(), NoAnswer> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(NoAnswer::Unshown)
}

/// Somebody who asks.
pub(crate) struct Caller {
    socket: UnixStream,
    operator: Operator,
    patience: Duration,
    pub(crate) who: Who,
}

impl Caller {
    /// Dials and greets.
    pub(crate) fn dial(whom: &Whom) -> Result<Self, NoAnswer> {
        let socket = place::dial(whom.name.as_deref(), whom.control.as_deref())?;
        let operator = Operator::new(nonce().map_err(NoAnswer::Io)?);
        let mut caller = Self { socket, operator, patience: PATIENCE, who: Who::Appliance };
        caller.wait_at_most(Some(PATIENCE))?;
        caller.send()?;
        let mut who = None;
        while who.is_none() {
            caller.hear(|told| {
                if let Told::Welcome(welcome) = told {
                    who = Some(welcome);
                }
                Ok(())
            })?;
        }
        caller.who = who.unwrap_or(Who::Appliance);
        Ok(caller)
    }

    /// Waits so long for each piece of an answer; for ever, if none is given.
    pub(crate) fn wait_at_most(&mut self, patience: Option<Duration>) -> Result<(), NoAnswer> {
        self.patience = patience.unwrap_or(Duration::MAX);
        self.socket.set_read_timeout(patience).map_err(NoAnswer::Io)?;
        self.socket.set_write_timeout(Some(PATIENCE)).map_err(NoAnswer::Io)
    }

    /// Asks, and hands on what is answered as it comes.
    pub(crate) fn ask(
        &mut self,
        verb: Verb,
        words: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), NoAnswer>,
    ) -> Result<(), NoAnswer> {
        self.operator.ask(LINE, verb, words);
        self.send()?;
        let mut done = false;
        while !done {
            self.hear(|told| {
                match told {
                    Told::Text { bytes, .. } => take(bytes)?,
                    Told::Done { .. } => done = true,
                    Told::Refused { why, .. } => return Err(NoAnswer::Refused(why.to_owned())),
                    Told::Welcome(_) | Told::Wants { .. } => {}
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Offers a bundle to an appliance that has no launcher, and gives what it says to it.
    pub(crate) fn offer(&mut self, mut offer: Offer) -> Result<String, NoAnswer> {
        offer.begin(&mut self.operator, LINE);
        let (mut said, mut done) = (Vec::new(), false);
        while !done {
            offer.go_on(&mut self.operator, LINE).map_err(NoAnswer::Io)?;
            self.send()?;
            if !offer.rests() {
                continue;
            }
            self.hear(|told| {
                match told {
                    Told::Text { bytes, .. } => said.extend_from_slice(bytes),
                    Told::Done { .. } => done = true,
                    Told::Wants { spans, .. } => offer.wanted(spans),
                    Told::Refused { why, .. } => return Err(NoAnswer::Refused(why.to_owned())),
                    Told::Welcome(_) => {}
                }
                Ok(())
            })?;
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Asks, and gives the whole answer.
    pub(crate) fn ask_whole(&mut self, verb: Verb, words: &str) -> Result<String, NoAnswer> {
        let mut whole = Vec::new();
        self.ask(verb, words, |bytes| {
            whole.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(String::from_utf8_lossy(&whole).into_owned())
    }

    fn send(&mut self) -> Result<(), NoAnswer> {
        while !self.operator.outbox().is_empty() {
            let count = self.socket.write(self.operator.outbox()).map_err(|error| self.trouble(error))?;
            self.operator.sent(count);
        }
        Ok(())
    }

    fn hear(&mut self, mut take: impl FnMut(Told<'_>) -> Result<(), NoAnswer>) -> Result<(), NoAnswer> {
        let mut piece = [0; 16 * 1024];
        let count = self.socket.read(&mut piece).map_err(|error| self.trouble(error))?;
        let mut bytes = piece.get(..count).filter(|bytes| !bytes.is_empty()).ok_or(NoAnswer::Ended)?;
        while !bytes.is_empty() {
            self.operator.receive(&mut bytes)?.map_or(Ok(()), &mut take)?;
        }
        Ok(())
    }

    fn trouble(&self, error: io::Error) -> NoAnswer {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => NoAnswer::Silent(self.patience),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => NoAnswer::Ended,
            _ => NoAnswer::Io(error),
        }
    }
}
