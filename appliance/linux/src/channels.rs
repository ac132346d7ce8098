//! Channels: unix stream sockets, each with a name.
//!
//! A channel is one of three things. A path that we dial, or a connected socket that we are given: its peer opens once,
//! and closed is closed, because the sandbox cannot dial again. Or a socket that listens (`NAME=listen:PATH`, or a
//! listening descriptor): peers come one after the other, each announced by [`Heard::Opened`]. Whoever wants a channel to
//! survive its peer lets us listen and dials from outside; that is what the launcher does for the entropy daemon.

use crate::link::never_blocking;
use crate::raw;
use crate::words::{BadStart, End};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, chmodat, unlink};
use rustix::io::{Errno, read, write};
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};
use world::{ChannelId, Heard};

const QUIET: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// All channels of this process, in the order of their words.
#[derive(Default)]
pub(crate) struct Channels(Vec<Channel>);

struct Channel {
    name: String,
    listener: Option<OwnedFd>,
    peer: Option<Peer>,
}

struct Peer {
    socket: OwnedFd,
    announced: bool,
    full: bool,
}

impl Channels {
    /// Dials, listens and adopts what the words name.
    pub(crate) fn open(wanted: &[(String, End)]) -> Result<Self, BadStart> {
        wanted.iter().map(|(name, end)| Channel::open(name, end)).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn named(&self, name: &str) -> Option<ChannelId> {
        let at = self.0.iter().position(|channel| channel.name == name)?;
        u16::try_from(at).ok().map(ChannelId)
    }

    pub(crate) fn hear(&mut self, id: ChannelId, into: &mut [u8]) -> Heard {
        self.0.get_mut(usize::from(id.0)).map_or(Heard::Nothing, |channel| channel.hear(into))
    }

    pub(crate) fn tell(&mut self, id: ChannelId, bytes: &[u8]) -> usize {
        let peer = self.0.get_mut(usize::from(id.0)).and_then(|channel| channel.peer.as_mut());
        peer.map_or(0, |peer| peer.tell(bytes))
    }

    /// What to wait on, and whether the channel has more to tell than its peer would take.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.0.iter().filter_map(Channel::awaited)
    }

    /// Every descriptor that must stay open.
    pub(crate) fn all(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().flat_map(Channel::sockets).flatten()
    }

    /// True when some channel takes new peers.
    pub(crate) fn listen(&self) -> bool {
        self.0.iter().any(|channel| channel.listener.is_some())
    }
}

impl Channel {
    fn open(name: &str, end: &End) -> Result<Self, BadStart> {
        let trouble = |errno| BadStart::channel(name, end, errno);
        let socket = match end {
            End::Open(number) => adopted(*number).map_err(trouble)?,
            End::Dial(path) => dialled(path).map_err(trouble)?,
            End::Listen(path) => listening(path).map_err(trouble)?,
        };
        never_blocking(&socket).map_err(trouble)?;
        let (listener, peer) = match socket_acceptconn(&socket) {
            Ok(true) => (Some(socket), None),
            _ => (None, Some(Peer { socket, announced: false, full: false })),
        };
        Ok(Self { name: name.to_owned(), listener, peer })
    }

    fn hear(&mut self, into: &mut [u8]) -> Heard {
        if self.peer.is_none() {
            let next = self.listener.as_ref().and_then(|listener| accept_with(listener, QUIET).ok());
            self.peer = next.map(|socket| Peer { socket, announced: false, full: false });
        }
        let heard = self.peer.as_mut().map_or(Heard::Nothing, |peer| peer.hear(into));
        if heard == Heard::Closed {
            self.peer = None;
        }
        heard
    }

    fn awaited(&self) -> Option<(BorrowedFd<'_>, bool)> {
        let peer = self.peer.as_ref().map(|peer| (peer.socket.as_fd(), peer.full));
        peer.or_else(|| self.listener.as_ref().map(|listener| (listener.as_fd(), false)))
    }

    fn sockets(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [self.listener.as_ref().map(AsFd::as_fd), self.peer.as_ref().map(|peer| peer.socket.as_fd())]
    }
}

impl Peer {
    fn hear(&mut self, into: &mut [u8]) -> Heard {
        if !self.announced {
            self.announced = true;
            return Heard::Opened;
        }
        match read(&self.socket, &mut *into) {
            Ok(0) if !into.is_empty() => Heard::Closed,
            Ok(len) => Heard::Bytes(len),
            Err(Errno::AGAIN | Errno::INTR) => Heard::Nothing,
            Err(_) => Heard::Closed,
        }
    }

    /// A peer that is gone takes nothing; `hear` tells of it.
    fn tell(&mut self, bytes: &[u8]) -> usize {
        let taken = write(&self.socket, bytes);
        self.full = taken.is_ok_and(|taken| taken < bytes.len()) || taken == Err(Errno::AGAIN);
        taken.unwrap_or(0)
    }
}

fn adopted(number: i32) -> Result<OwnedFd, Errno> {
    let socket = raw::adopt(number)?;
    if socket_type(&socket)? == SocketType::STREAM { Ok(socket) } else { Err(Errno::PROTOTYPE) }
}

fn stream() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

fn dialled(path: &str) -> Result<OwnedFd, Errno> {
    let socket = stream()?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// A fresh socket at `path` that only its owner may dial. One that a dead process left behind is cleared away.
fn listening(path: &str) -> Result<OwnedFd, Errno> {
    if dialled(path).is_err_and(|errno| errno == Errno::CONNREFUSED) {
        unlink(path)?;
    }
    let socket = stream()?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    chmodat(CWD, path, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    listen(&socket, 8)?;
    Ok(socket)
}
