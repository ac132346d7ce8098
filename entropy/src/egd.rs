//! The host's end of EGD, the old protocol of the Entropy Gathering Daemon, as QEMU's `rng-egd` speaks it.
//!
//! | command | bytes | answer |
//! |---|---|---|
//! | level | 00 | 4 bytes, big-endian: the bits at hand |
//! | read what there is | 01 *n* | 1 byte *k* ≤ *n*, then *k* bytes |
//! | read and wait | 02 *n* | *n* bytes |
//! | write | 03 *bits* (2) *n*, then *n* bytes | nothing; we do not take entropy from guests |
//! | pid | 04 | 1 byte length, then text; ours is empty |
//!
//! QEMU uses only *read and wait*, never asks twice, and loses what it asked when its socket reconnects: its
//! guest then waits for ever. [`Egd::wake`] is the remedy: bytes that nobody asked for go to a client that
//! connects and says nothing, and answer what the last connection lost. Only a client that takes bytes as
//! they come may be woken so.

use std::collections::VecDeque;
use zeroize::{Zeroize, Zeroizing};

/// So many requests may wait for their answers.
const PATIENCE: usize = 64;
/// Room for unsent answers.
const ROOM: usize = 2048;
/// The bits that we claim to have at hand: the pool is never empty, the rate is what limits.
const LEVEL: u32 = 4096;

/// The client is not one that we should talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientBroke {
    /// EGD has no such command.
    #[error("EGD has no command {0:#04x}: is this client meant for another socket?")]
    Command(u8),
    /// It asks faster than it reads.
    #[error("more than {PATIENCE} requests or {ROOM} bytes of answers wait to be taken")]
    Impatient,
}

/// What the client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// So many bytes, when there are some.
    Wait(u8),
    /// At most so many bytes, at once; none is an answer.
    AtOnce(u8),
}

#[derive(Clone, Copy, Debug)]
enum Request {
    Level,
    Pid,
    Bytes(Ask),
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default)]
enum Due {
    #[default]
    Command,
    /// The length that belongs to this command.
    Length(u8),
    /// One of so many bytes of a write's header.
    Header(u8),
    /// One of so many bytes of a write, to be thrown away.
    Data(u8),
}

impl Due {
    fn data(left: u8) -> Self {
        if left == 0 { Self::Command } else { Self::Data(left) }
    }
}

/// The host's end of one EGD connection.
#[derive(Default)]
pub struct Egd {
    requests: VecDeque<Request>,
    outbox: Zeroizing<Vec<u8>>,
    sent: usize,
    due: Due,
    was_asked: bool,
}

impl Egd {
    /// A connection on which nothing was said.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hears the client.
    ///
    /// # Errors
    /// When it breaks the protocol: close the connection.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ClientBroke> {
        self.was_asked |= !bytes.is_empty();
        for byte in bytes {
            self.one(*byte)?;
        }
        self.answer();
        Ok(())
    }

    /// What the client waits for, if it waits for bytes.
    #[must_use]
    pub fn asks(&self) -> Option<Ask> {
        match self.requests.front() {
            Some(Request::Bytes(ask)) => Some(*ask),
            _ => None,
        }
    }

    /// True once the client has said anything.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        self.was_asked
    }

    /// Answers the first request with as much of `entropy` as it takes, and says how much that is.
    pub fn pour(&mut self, entropy: &[u8]) -> usize {
        let Some(ask) = self.asks().filter(|_| self.has_room()) else { return 0 };
        let (Ask::Wait(most) | Ask::AtOnce(most)) = ask;
        let piece = entropy.get(..usize::from(most)).unwrap_or(entropy);
        let count = u8::try_from(piece.len()).unwrap_or(most);
        if matches!(ask, Ask::AtOnce(_)) {
            self.push(&[count]);
        }
        self.push(piece);
        self.requests.pop_front();
        if let (Ask::Wait(_), 1..) = (ask, most - count) {
            self.requests.push_front(Request::Bytes(Ask::Wait(most - count)));
        }
        self.answer();
        piece.len()
    }

    /// Sends bytes that nobody asked for, to a client that lost its request with its last connection.
    pub fn wake(&mut self, entropy: &[u8]) {
        if self.outbox.is_empty() {
            self.push(entropy.get(..ROOM).unwrap_or(entropy));
        }
    }

    /// What is to be sent; the connection may take any part of it.
    #[must_use]
    pub fn outbox(&self) -> &[u8] {
        self.outbox.get(self.sent..).unwrap_or_default()
    }

    /// The connection took so many bytes of [`Egd::outbox`].
    pub fn sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count);
        if self.sent >= self.outbox.len() {
            self.outbox.zeroize();
            self.sent = 0;
        }
    }

    fn one(&mut self, byte: u8) -> Result<(), ClientBroke> {
        match core::mem::take(&mut self.due) {
            Due::Command => self.command(byte),
            Due::Length(1) => self.queue(Request::Bytes(Ask::AtOnce(byte))),
            Due::Length(_) if byte == 0 => Ok(()),
            Due::Length(_) => self.queue(Request::Bytes(Ask::Wait(byte))),
            Due::Header(1) => self.then(Due::data(byte)),
            Due::Header(left) => self.then(Due::Header(left - 1)),
            Due::Data(left) => self.then(Due::data(left - 1)),
        }
    }

    fn command(&mut self, byte: u8) -> Result<(), ClientBroke> {
        match byte {
            0 => self.queue(Request::Level),
            1 | 2 => self.then(Due::Length(byte)),
            3 => self.then(Due::Header(3)),
            4 => self.queue(Request::Pid),
            other => Err(ClientBroke::Command(other)),
        }
    }

    fn then(&mut self, due: Due) -> Result<(), ClientBroke> {
        self.due = due;
        Ok(())
    }

    fn queue(&mut self, request: Request) -> Result<(), ClientBroke> {
        if self.requests.len() >= PATIENCE || !self.has_room() {
            return Err(ClientBroke::Impatient);
        }
        self.requests.push_back(request);
        Ok(())
    }

    /// Answers the requests at the front that need no entropy.
    fn answer(&mut self) {
        while let Some(request) = self.requests.front() {
            match request {
                Request::Level => self.push(&LEVEL.to_be_bytes()),
                Request::Pid => self.push(&[0]),
                Request::Bytes(_) => return,
            }
            self.requests.pop_front();
        }
    }

    /// Room for the longest answer.
    fn has_room(&self) -> bool {
        self.outbox.len() + 256 <= ROOM
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.outbox.capacity() == 0 {
            self.outbox.reserve_exact(ROOM);
        }
        self.outbox.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(egd: &mut Egd) -> Vec<u8> {
        let bytes = egd.outbox().to_vec();
        egd.sent(bytes.len());
        bytes
    }

    #[test]
    fn every_command_is_answered_in_its_turn_however_it_is_cut() {
        let said = [2, 3, 3, 0, 8, 2, 0xaa, 0xbb, 0, 1, 9, 4, 2, 0, 2, 1];
        for cut in 0..=said.len() {
            let mut egd = Egd::new();
            egd.receive(&said[..cut]).unwrap();
            egd.receive(&said[cut..]).unwrap();
            assert_eq!(egd.asks(), Some(Ask::Wait(3)));
            assert_eq!((egd.pour(&[5, 6]), egd.asks()), (2, Some(Ask::Wait(1))));
            assert_eq!((egd.pour(&[7, 8]), egd.asks()), (1, Some(Ask::AtOnce(9))));
            assert_eq!((egd.pour(&[1, 2]), egd.asks()), (2, Some(Ask::Wait(1))));
            assert_eq!((egd.pour(&[9, 9]), egd.asks()), (1, None));
            assert_eq!(drain(&mut egd), [5, 6, 7, 0, 0, 16, 0, 2, 1, 2, 0, 9], "cut at {cut}");
        }
    }

    #[test]
    fn who_cannot_wait_is_told_that_there_is_nothing() {
        let mut egd = Egd::new();
        egd.receive(&[1, 255]).unwrap();
        egd.pour(&[]);
        assert_eq!((drain(&mut egd), egd.asks()), (vec![0], None));
    }

    #[test]
    fn an_unknown_command_is_named() {
        assert_eq!(Egd::new().receive(b"GET"), Err(ClientBroke::Command(b'G')));
    }

    #[test]
    fn a_client_that_asks_and_never_reads_is_refused_in_bounded_memory() {
        let mut egd = Egd::new();
        egd.receive(&[2, 255]).unwrap();
        assert_eq!(egd.receive(&[0; 1000]), Err(ClientBroke::Impatient));
        let mut egd = Egd::new();
        assert!((0..10_000).any(|_| egd.receive(&[0]) == Err(ClientBroke::Impatient)));
        assert!(egd.outbox().len() <= ROOM);
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_sends_can_hurt(bytes in proptest::collection::vec(0..6_u8, 0..2000)) {
            let mut egd = Egd::new();
            for piece in bytes.chunks(7) {
                if egd.receive(piece).is_err() {
                    break;
                }
                if egd.outbox().is_empty() {
                    egd.pour(&[1; 300]);
                }
            }
            prop_assert!(egd.requests.len() <= PATIENCE);
        }
    }
}
