//! A connection that is awake: a smoltcp socket and how its numbers relate to those on the wire.

use super::engine::{Birth, sockets};
use crate::wire::Seq;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;

pub(crate) use tcp::State;

/// A smoltcp socket, alone in its set.
pub(crate) struct Live {
    pub(crate) sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// What is added to smoltcp's sequence numbers to get ours.
    pub(crate) shift: u32,
    /// smoltcp's window scale, which follows its buffer and not the handshake.
    pub(crate) scale: u8,
    /// The first byte past the window that smoltcp last gave.
    pub(crate) edge: Seq,
    ours: Seq,
    theirs: Seq,
}

impl Live {
    pub(crate) fn new(socket: tcp::Socket<'static>, birth: &Birth) -> Self {
        let (sockets, handle) = sockets(socket);
        Self {
            sockets,
            handle,
            shift: 0,
            scale: 0,
            edge: birth.theirs,
            ours: birth.ours,
            theirs: birth.theirs,
        }
    }

    fn socket(&self) -> &tcp::Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    pub(crate) fn state(&self) -> State {
        self.socket().state()
    }

    /// Bytes of memory that it takes.
    pub(crate) fn cost(&self) -> usize {
        cost(self.socket().recv_capacity(), self.socket().send_capacity())
    }

    /// Queues filler until `bytes` of it wait.
    pub(crate) fn fill(&mut self, bytes: usize) {
        let missing = bytes.saturating_sub(self.unacknowledged());
        let _ = self.socket_mut().send(|room| (room.len().min(missing), ()));
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> usize {
        let read = self.socket_mut().recv_slice(into).unwrap_or(0);
        self.theirs = self.theirs + u32::try_from(read).unwrap_or(0);
        read
    }

    /// Throws away what arrived and says how much that was.
    pub(crate) fn discard(&mut self) -> usize {
        let mut all = 0;
        while let Ok(some @ 1..) = self.socket_mut().recv(|bytes| (bytes.len(), bytes.len())) {
            all += some;
        }
        self.theirs = self.theirs + u32::try_from(all).unwrap_or(0);
        all
    }

    pub(crate) fn write(&mut self, from: &[u8]) -> usize {
        let written = self.socket_mut().send_slice(from).unwrap_or(0);
        self.ours = self.ours + u32::try_from(written).unwrap_or(0);
        written
    }

    pub(crate) fn close(&mut self) {
        self.socket_mut().close();
    }

    /// Closes our half, but not before all is acknowledged if the peer has closed its own: in LAST-ACK smoltcp counts no
    /// acknowledgements, so what is lost then is lost for long.
    pub(crate) fn close_in_time(&mut self) {
        if self.state() != State::CloseWait || self.unacknowledged() == 0 {
            self.close();
        }
    }

    pub(crate) fn unread(&self) -> usize {
        self.socket().recv_queue()
    }

    pub(crate) fn unacknowledged(&self) -> usize {
        self.socket().send_queue()
    }

    pub(crate) fn room(&self) -> usize {
        self.socket().send_capacity().saturating_sub(self.socket().send_queue())
    }

    pub(crate) fn capacities(&self) -> (usize, usize) {
        (self.socket().recv_capacity(), self.socket().send_capacity())
    }

    /// The next byte that we expect, or the one after the peer's FIN.
    pub(crate) fn expected(&self) -> Seq {
        let unread = u32::try_from(self.unread()).unwrap_or(0);
        self.theirs + unread + u32::from(self.heard_all())
    }

    /// The first byte that the peer has not acknowledged.
    pub(crate) fn una(&self) -> Seq {
        let unacknowledged = u32::try_from(self.unacknowledged()).unwrap_or(0);
        self.ours - unacknowledged + u32::from(self.fin_is_acknowledged())
    }

    /// True once the peer's FIN has arrived in its place.
    pub(crate) fn heard_all(&self) -> bool {
        matches!(self.state(), State::CloseWait | State::Closing | State::LastAck | State::TimeWait)
    }

    fn fin_is_acknowledged(&self) -> bool {
        matches!(self.state(), State::FinWait2 | State::TimeWait)
    }
}

/// Bytes of memory of a socket with such buffers.
pub(crate) fn cost(receive: usize, send: usize) -> usize {
    receive + send + size_of::<Live>() + size_of::<smoltcp::iface::SocketStorage<'static>>() + 64
}
