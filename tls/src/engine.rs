//! rustls as a step function: bytes in, meaning out.
//!
//! rustls' unbuffered connections are used, because they own no buffers: an idle connection then costs its
//! keys only. The rules that rustls sets are kept here and nowhere else: the same bytes come back until they
//! are discarded, and what a step wants to send is taken before the next step.

use crate::wire::Backlog;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, Error};

/// One side of one connection.
pub(crate) enum Engine {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There may be more in the bytes at hand: step again.
    Again,
    /// The handshake needs more from the peer.
    Handshaking,
    /// The handshake is done and there is nothing more in the bytes at hand.
    Open,
    /// The peer said close_notify; nothing that follows counts.
    PeerClosed,
    /// Both sides said close_notify.
    Closed,
}

/// What the caller of a step wants said while the connection is open.
pub(crate) enum Wish<'a> {
    /// Nothing: only hear what the peer says.
    Listen,
    /// Encrypt this.
    Say(&'a [u8]),
    /// Say close_notify.
    Bye,
}

impl Engine {
    /// What both sides have in common.
    pub(crate) fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    /// Takes the connection one step further: reads from `incoming`, appends what must be sent to `outgoing`
    /// and what the peer said to `heard`. A wish is granted when the step ends [`Step::Open`].
    pub(crate) fn step(
        &mut self,
        incoming: &mut Backlog,
        outgoing: &mut Backlog,
        heard: &mut Backlog,
        wish: &Wish<'_>,
    ) -> Result<Step, Error> {
        let mut pens = Pens { outgoing, heard };
        let (discard, step) = match self {
            Self::Server(connection) => pens.server(connection.process_tls_records(incoming.rest()), wish),
            Self::Client(connection) => pens.client(connection.process_tls_records(incoming.rest()), wish),
        };
        incoming.consume(discard);
        step
    }

    /// Takes the alert that a failed step left behind. Not a step more than that: rustls would look at the
    /// same bytes again, and fail again.
    pub(crate) fn last_words(&mut self, incoming: &mut Backlog, outgoing: &mut Backlog) {
        let mut heard = Backlog::default();
        while self.common().wants_write() && self.step(incoming, outgoing, &mut heard, &Wish::Listen).is_ok()
        {
        }
    }
}

/// Where a step writes.
struct Pens<'a> {
    outgoing: &'a mut Backlog,
    heard: &'a mut Backlog,
}

impl Pens<'_> {
    fn server(
        &mut self,
        status: UnbufferedStatus<'_, '_, ServerConnectionData>,
        wish: &Wish<'_>,
    ) -> (usize, Result<Step, Error>) {
        (status.discard, status.state.and_then(|state| self.write(state, wish)))
    }

    fn client(
        &mut self,
        status: UnbufferedStatus<'_, '_, ClientConnectionData>,
        wish: &Wish<'_>,
    ) -> (usize, Result<Step, Error>) {
        (status.discard, status.state.and_then(|state| self.write(state, wish)))
    }

    fn write<D>(&mut self, state: ConnectionState<'_, '_, D>, wish: &Wish<'_>) -> Result<Step, Error> {
        match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    self.heard.append(record?.payload);
                }
                Ok(Step::Again)
            }
            ConnectionState::EncodeTlsData(data) => self.encode(data),
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                Ok(Step::Again)
            }
            ConnectionState::BlockedHandshake => Ok(Step::Handshaking),
            ConnectionState::WriteTraffic(traffic) => self.grant(traffic, wish),
            ConnectionState::PeerClosed => Ok(Step::PeerClosed),
            ConnectionState::Closed => Ok(Step::Closed),
            // Early data is off in every configuration that this crate makes.
            _ => Err(Error::General("early data was never offered".into())),
        }
    }

    fn encode<D>(&mut self, mut data: EncodeTlsData<'_, D>) -> Result<Step, Error> {
        let mut room = 0;
        loop {
            match self.outgoing.fill(room, |into| data.encode(into)) {
                Err(EncodeError::InsufficientSize(short)) if short.required_size > room => {
                    room = short.required_size
                }
                Ok(()) | Err(EncodeError::AlreadyEncoded) => return Ok(Step::Again),
                Err(EncodeError::InsufficientSize(_)) => return Err(Error::EncryptError),
            }
        }
    }

    fn grant<D>(&mut self, mut traffic: WriteTraffic<'_, D>, wish: &Wish<'_>) -> Result<Step, Error> {
        let mut room = match wish {
            Wish::Listen => return Ok(Step::Open),
            Wish::Say(words) => words.len() + RECORD_OVERHEAD * (words.len() / LARGEST_RECORD + 1),
            Wish::Bye => RECORD_OVERHEAD + 2,
        };
        loop {
            let written = self.outgoing.fill(room, |into| match wish {
                Wish::Say(words) => traffic.encrypt(words, into),
                _ => traffic.queue_close_notify(into),
            });
            match written {
                Ok(()) => return Ok(Step::Open),
                Err(EncryptError::InsufficientSize(short)) if short.required_size > room => {
                    room = short.required_size
                }
                Err(_) => return Err(Error::EncryptError),
            }
        }
    }
}

/// The most that one record carries.
pub(crate) const LARGEST_RECORD: usize = 16_384;

/// What a record costs on top of what it carries: header, nonce, type and tag, rounded up.
const RECORD_OVERHEAD: usize = 64;
