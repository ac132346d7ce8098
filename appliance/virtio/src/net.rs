//! The network: frames in and out of a virtio-net device.
//!
//! Frames are copied at the border, both ways. The device computes checksums and cuts large segments where it offers
//! to; it hands us large ones in turn when it can spread them over many buffers. One kick tells it of many frames.

mod header;
mod receive;
mod transmit;

use crate::device::{Device, EVENTS, Memory, Refused};
use dma::{Claim, HostLied, Transport};
use receive::{Arrival, Inbox};
use transmit::Outbox;
use world::{Full, Help, Nic, NicFacts, Offload, Received};

const INWARD: u16 = 0;
const OUTWARD: u16 = 1;

const CHECKSUM: u64 = 1 << 0;
const GUEST_CHECKSUM: u64 = 1 << 1;
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const GUEST_TCP4: u64 = 1 << 7;
const GUEST_TCP6: u64 = 1 << 8;
const HOST_TCP4: u64 = 1 << 11;
const HOST_TCP6: u64 = 1 << 12;
const MERGED: u64 = 1 << 15;

const MTU_AT: usize = 10;
/// No link that carries IPv4 has a smaller one (RFC 791).
const SMALLEST_MTU: usize = 68;

/// A driver for virtio-net.
pub struct Net<T> {
    device: Device<T>,
    facts: NicFacts,
    inbox: Inbox,
    outbox: Outbox,
    lost: Lost,
}

/// Frames that went nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Incoming ones that were longer than any frame may be.
    pub too_long: u64,
    /// Outgoing ones that were too long, or asked for help that the device does not give.
    pub not_sendable: u64,
}

impl<T: Transport> Net<T> {
    /// Takes the device into use.
    ///
    /// # Errors
    /// When it is not fit for use.
    pub fn new(way: T, memory: &Memory) -> Result<Self, Refused> {
        let mut device = Device::meet(way, choose)?;
        let facts = facts(&device)?;
        let ring = device.ring(INWARD, receive::MOST, memory)?;
        let mut inbox = Inbox::new(ring, device.has(MERGED), facts.mtu, memory)?;
        let outbox = Outbox::new(device.ring(OUTWARD, transmit::MOST, memory)?, memory)?;
        device.run();
        device.publish(INWARD, &mut inbox.ring);
        Ok(Self { device, facts, inbox, outbox, lost: Lost::default() })
    }

    /// True when something has come for which there may be no interrupt. From now on there will be one.
    pub fn listen(&self) -> bool {
        self.device.runs() && (self.inbox.ring.listen() | self.outbox.listen())
    }

    /// Takes back the device's interrupt.
    pub fn acknowledge(&mut self) {
        self.device.acknowledge();
    }

    /// The lie that shut the device, told once. A device that was shut is an unplugged cable.
    pub fn lie(&mut self) -> Option<HostLied> {
        self.device.lie()
    }

    /// Frames that went nowhere so far.
    pub fn lost(&self) -> Lost {
        self.lost
    }

    fn next(&mut self, frame: &mut [u8]) -> Option<Arrival> {
        let arrival = self.inbox.next(frame);
        self.device.judge(arrival).flatten()
    }
}

impl<T: Transport> Nic for Net<T> {
    fn facts(&self) -> NicFacts {
        self.facts
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        for _ in 0..self.inbox.ring.size() {
            if !self.device.runs() {
                return None;
            }
            match self.next(frame) {
                Some(Arrival::Frame(mut received)) => {
                    if !self.device.has(GUEST_CHECKSUM) {
                        received.checksum = world::Checksum::Unknown;
                    }
                    if self.inbox.due() {
                        self.device.publish(INWARD, &mut self.inbox.ring);
                    }
                    return Some(received);
                }
                Some(Arrival::TooLong) => self.lost.too_long += 1,
                None => break,
            }
        }
        self.device.publish(INWARD, &mut self.inbox.ring);
        None
    }

    fn send(&mut self, frame: &[u8], help: Help) -> Result<(), Full> {
        if !self.device.runs() {
            return Ok(());
        }
        let header = header::outgoing(frame.len(), help).filter(|_| gives(self.facts.offload, help));
        let Some(header) = header else {
            self.lost.not_sendable += 1;
            return Ok(());
        };
        let reclaimed = self.outbox.reclaim();
        self.device.judge(reclaimed);
        if self.device.runs() { self.outbox.send(&header, frame) } else { Ok(()) }
    }

    fn flush(&mut self) {
        self.device.publish(OUTWARD, &mut self.outbox.ring);
        self.device.publish(INWARD, &mut self.inbox.ring);
    }
}

/// What we take out of what is offered. Large frames need room: none come in unless they may be spread over buffers.
fn choose(offered: u64) -> u64 {
    let both = EVENTS | MTU | MAC | MERGED;
    let outward = if offered & CHECKSUM == 0 { 0 } else { CHECKSUM | HOST_TCP4 | HOST_TCP6 };
    let inward = match (offered & GUEST_CHECKSUM != 0, offered & MERGED != 0) {
        (false, _) => 0,
        (true, false) => GUEST_CHECKSUM,
        (true, true) => GUEST_CHECKSUM | GUEST_TCP4 | GUEST_TCP6,
    };
    both | outward | inward
}

fn facts<T: Transport>(device: &Device<T>) -> Result<NicFacts, Refused> {
    let offload =
        Offload { checksum: device.has(CHECKSUM), tcp4: device.has(HOST_TCP4), tcp6: device.has(HOST_TCP6) };
    Ok(NicFacts { mac: mac(device)?, mtu: mtu(device)?, offload })
}

fn mac<T: Transport>(device: &Device<T>) -> Result<[u8; 6], Refused> {
    if !device.has(MAC) {
        return Err(Refused::Lacks("a hardware address"));
    }
    let mac: [u8; 6] = device.config(0);
    let [first, .., last] = mac;
    if first & 1 != 0 || mac == [0; 6] {
        return Err(Claim::new("hardware address", u32::from_be_bytes([0, 0, first, last])).lie().into());
    }
    Ok(mac)
}

fn mtu<T: Transport>(device: &Device<T>) -> Result<usize, Refused> {
    if !device.has(MTU) {
        return Ok(1500);
    }
    let said = u32::from(u16::from_le_bytes(device.config(MTU_AT)));
    Ok(Claim::new("MTU", said).within(SMALLEST_MTU, usize::from(u16::MAX))?)
}

/// Whether the device gives the help that is asked for.
fn gives(offload: Offload, help: Help) -> bool {
    let segment = match help.segment.map(|segments| segments.kind) {
        None => true,
        Some(world::Segment::Tcp4) => offload.tcp4,
        Some(world::Segment::Tcp6) => offload.tcp6,
    };
    segment && (help.checksum.is_none() || offload.checksum)
}

#[cfg(test)]
mod tests;
