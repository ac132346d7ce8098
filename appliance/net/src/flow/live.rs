//! A connection that is awake: a smoltcp socket that hears, and what we say.

use super::engine::{Birth, sockets};
use super::send::Sender;
use crate::wire::Seq;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;

pub(crate) use tcp::State;

/// A smoltcp socket, alone in its set.
pub(crate) struct Live {
    pub(crate) sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// The number of smoltcp's that it believes to be its next: it has nothing to say but a FIN.
    pub(crate) own: Seq,
    /// What we say.
    pub(crate) sender: Sender,
    /// smoltcp's window scale, which follows its buffer and not the handshake.
    pub(crate) scale: u8,
    /// The first byte past the window that smoltcp last gave.
    pub(crate) edge: Seq,
    theirs: Seq,
}

impl Live {
    pub(crate) fn new(socket: tcp::Socket<'static>, birth: &Birth) -> Self {
        let (sockets, handle) = sockets(socket);
        Self {
            sockets,
            handle,
            own: Seq(0),
            sender: Sender::new(birth.ours, birth.mss, birth.send, birth.sack),
            scale: 0,
            edge: birth.theirs,
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
        cost(self.socket().recv_capacity(), self.sender.capacity())
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

    pub(crate) fn close(&mut self) {
        self.sender.close();
        self.socket_mut().close();
    }

    pub(crate) fn unread(&self) -> usize {
        self.socket().recv_queue()
    }

    /// Bytes of the receive buffer.
    pub(crate) fn capacity(&self) -> usize {
        self.socket().recv_capacity()
    }

    /// The next byte that we expect, or the one after the peer's FIN.
    pub(crate) fn expected(&self) -> Seq {
        let unread = u32::try_from(self.unread()).unwrap_or(0);
        self.theirs + unread + u32::from(self.heard_all())
    }

    /// True once the peer's FIN has arrived in its place.
    pub(crate) fn heard_all(&self) -> bool {
        matches!(self.state(), State::CloseWait | State::Closing | State::LastAck | State::TimeWait)
    }
}

/// Bytes of memory of a socket with such buffers.
pub(crate) fn cost(receive: usize, send: usize) -> usize {
    receive + send + size_of::<Live>() + size_of::<smoltcp::iface::SocketStorage<'static>>() + 64
}
