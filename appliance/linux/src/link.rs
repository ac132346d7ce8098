//! The network interface: frames with their header on a TAP device, or on a cable to another process.
//!
//! Both are one descriptor that takes and gives one whole frame per call. Nothing here blocks.

use crate::words::{BadStart, Line};
use crate::{raw, vnet};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::{Errno, IoSlice, IoSliceMut, readv, writev};
use rustix::net::{SocketType, sockopt::socket_type};
use world::{Full, Help, LARGEST_FRAME, Nic, NicFacts, Offload, Received};

/// An appliance on a cable is alone with its peer, so any address of our own will do.
const CABLE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
const USUAL_MTU: usize = 1500;
/// A TAP device and the far end of a cable take all that a virtio header can ask for.
const OFFLOAD: Offload = Offload { checksum: true, tcp4: true, tcp6: true };
/// Bad frames that one call passes over before it lets the loop turn.
const PATIENCE: usize = 64;

/// What was lost on the link, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Frames whose header contradicted them.
    pub lies: u64,
    /// Frames longer than [`LARGEST_FRAME`], or shorter than their header.
    pub misfits: u64,
    /// Frames that the kernel refused to take.
    pub refused: u64,
}

/// The network interface of this world.
pub struct Link {
    wire: OwnedFd,
    facts: NicFacts,
    full: bool,
    unplugged: bool,
    dropped: Dropped,
}

impl Link {
    /// The link that the words ask for.
    pub(crate) fn open(line: &Line, mac: Option<[u8; 6]>, mtu: Option<u16>) -> Result<Self, BadStart> {
        let (wire, own_mac, own_mtu) = match line {
            Line::Tap(name) => tap(name)?,
            Line::Nic(number) => adopted_tap(*number)?,
            Line::Cable(number) => (cable(*number)?, CABLE_MAC, USUAL_MTU),
        };
        let facts =
            NicFacts { mac: mac.unwrap_or(own_mac), mtu: mtu.map_or(own_mtu, usize::from), offload: OFFLOAD };
        Ok(Self { wire, facts, full: false, unplugged: false, dropped: Dropped::default() })
    }

    /// The link at our end of a cable: for a process that plays the network to an appliance.
    ///
    /// # Errors
    /// When the descriptor cannot be made non-blocking.
    pub fn on_cable(wire: OwnedFd, mac: [u8; 6]) -> std::io::Result<Self> {
        never_blocking(&wire)?;
        let facts = NicFacts { mac, mtu: USUAL_MTU, offload: OFFLOAD };
        Ok(Self { wire, facts, full: false, unplugged: false, dropped: Dropped::default() })
    }

    /// What was lost so far.
    #[must_use]
    pub const fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// What to wait on, unless the cable was pulled out, and whether there is something to send.
    #[must_use]
    pub fn awaited(&self) -> Option<(BorrowedFd<'_>, bool)> {
        (!self.unplugged).then(|| (self.wire.as_fd(), self.full))
    }

    /// True once the other end of the cable is gone: nothing will ever come again.
    #[must_use]
    pub const fn unplugged(&self) -> bool {
        self.unplugged
    }

    pub(crate) fn wire(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }

    /// One frame, good or bad.
    fn read_one(&mut self, frame: &mut [u8]) -> Result<Received, Missed> {
        let (mut header, mut excess) = ([0; vnet::HEADER], [0]);
        let mut parts = [&mut header[..], frame, &mut excess[..]].map(IoSliceMut::new);
        let got = match readv(&self.wire, &mut parts) {
            Ok(0) => return Err(Missed::Unplugged),
            Ok(got) => got,
            Err(errno) => return Err(missed(errno)),
        };
        let len = got.checked_sub(vnet::HEADER).filter(|len| (1..=frame.len()).contains(len));
        let len = len.ok_or(Missed::Misfit)?;
        let checksum = vnet::read(&header, len).map_err(|vnet::Lie| Missed::Lie)?;
        Ok(Received { len, checksum })
    }
}

/// What it means when a read fails. A TAP device that was deleted is in a bad state for ever, and whoever waits on it is
/// woken at once, every time; one that is only down has nothing to say.
fn missed(errno: Errno) -> Missed {
    match errno {
        Errno::CONNRESET | Errno::BADFD => Missed::Unplugged,
        _ => Missed::Nothing,
    }
}

/// Why a read gave no frame.
#[derive(Debug, PartialEq, Eq)]
enum Missed {
    Nothing,
    Unplugged,
    Misfit,
    Lie,
}

impl Nic for Link {
    fn facts(&self) -> NicFacts {
        self.facts
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        for _ in 0..PATIENCE {
            match self.read_one(frame) {
                Ok(received) => return Some(received),
                Err(Missed::Nothing) => return None,
                Err(Missed::Unplugged) => {
                    self.unplugged = true;
                    return None;
                }
                Err(Missed::Misfit) => self.dropped.misfits += 1,
                Err(Missed::Lie) => self.dropped.lies += 1,
            }
        }
        None
    }

    fn send(&mut self, frame: &[u8], help: Help) -> Result<(), Full> {
        let header = vnet::write(help);
        self.full = false;
        match writev(&self.wire, &[IoSlice::new(&header), IoSlice::new(frame)]) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN) => {
                self.full = true;
                Err(Full)
            }
            Err(_) => {
                self.dropped.refused += 1;
                Ok(())
            }
        }
    }

    fn flush(&mut self) {
        // The kernel has every frame already.
    }
}

/// A TAP device by its name, which must exist: a slip of the pen must not make a new one.
fn tap(name: &str) -> Result<(OwnedFd, [u8; 6], usize), BadStart> {
    let trouble = |errno| BadStart::tap(name, errno);
    let socket = raw::any_socket().map_err(trouble)?;
    let mtu = raw::device_mtu(socket.as_fd(), name).map_err(trouble)?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let wire = open("/dev/net/tun", flags, Mode::empty()).map_err(|_| BadStart::NoTun)?;
    raw::attach_tap(wire.as_fd(), name).map_err(trouble)?;
    let mac = prepared(&wire).map_err(trouble)?;
    Ok((wire, mac, mtu))
}

/// A TAP device that somebody with the right to it has opened for us.
fn adopted_tap(number: i32) -> Result<(OwnedFd, [u8; 6], usize), BadStart> {
    let wire = raw::adopt(number).map_err(|_| BadStart::NotOpen(number))?;
    let name = raw::tap_name(wire.as_fd()).ok_or(BadStart::NotATap(number))?;
    let mtu = raw::any_socket().and_then(|socket| raw::device_mtu(socket.as_fd(), &name));
    never_blocking(&wire).map_err(|_| BadStart::NotATap(number))?;
    let mac = prepared(&wire).map_err(|_| BadStart::NotATap(number))?;
    // The device may live in a network namespace that we cannot see into.
    Ok((wire, mac, mtu.unwrap_or(USUAL_MTU)))
}

/// A socket that keeps frames apart.
fn cable(number: i32) -> Result<OwnedFd, BadStart> {
    let wire = raw::adopt(number).map_err(|_| BadStart::NotOpen(number))?;
    match socket_type(&wire) {
        Ok(SocketType::SEQPACKET | SocketType::DGRAM) => {}
        _ => return Err(BadStart::NotACable(number)),
    }
    never_blocking(&wire).map_err(|_| BadStart::NotACable(number))?;
    Ok(wire)
}

/// Agrees on the header and the offloads, and tells our own address: the host's end of the device with one bit turned.
fn prepared(wire: &OwnedFd) -> Result<[u8; 6], Errno> {
    raw::agree_on_offloads(wire.as_fd())?;
    let [first, second, rest @ ..] = raw::tap_mac(wire.as_fd())?;
    let [a, b, c, d] = rest;
    Ok([(first | 0x02) & 0xfe, second ^ 0x80, a, b, c, d])
}

pub(crate) fn never_blocking(file: &OwnedFd) -> Result<(), Errno> {
    fcntl_setfl(file, fcntl_getfl(file)? | OFlags::NONBLOCK)
}

const _: () = assert!(LARGEST_FRAME < 1 << 17, "a frame fits the buffers of a cable");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_was_deleted_is_a_cable_that_was_pulled_out() {
        assert_eq!(missed(Errno::BADFD), Missed::Unplugged);
        assert_eq!(missed(Errno::CONNRESET), Missed::Unplugged);
        for nothing in [Errno::AGAIN, Errno::INTR, Errno::IO] {
            assert_eq!(missed(nothing), Missed::Nothing);
        }
    }
}
