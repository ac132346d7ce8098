//! The post office: UDP ports that are open, and who may write to them.
//!
//! A port hears only those to whom it wrote before, from the address from which it wrote: nothing here is open to
//! strangers, so nothing answers them and nothing can be made to talk to a victim.

use super::report::Trouble;
use crate::post::{Bounce, Letter, Why};
use crate::wire::Ends;
use core::task::Waker;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// Ports that may be open at once.
const BOXES: usize = 256;
/// Correspondents that a port remembers: those to whom it wrote last.
const PEERS: usize = 8;
/// Datagrams that may wait at one port, and their bytes.
const LETTERS: usize = 32;
const BYTES: usize = 64 * 1024;
/// Bytes that may wait at all ports.
const ALL_BYTES: usize = 512 * 1024;
/// Ports that are never given away: the DHCP clients'.
const TAKEN: [u16; 2] = [68, 546];

/// All ports.
#[derive(Default)]
pub(crate) struct Office {
    boxes: BTreeMap<u16, Slot>,
    bytes: usize,
    /// Datagrams that nobody waited for, or for which there was no room.
    pub(crate) lost: u64,
}

/// One port.
#[derive(Default)]
struct Slot {
    peers: VecDeque<Ends>,
    letters: VecDeque<Letter>,
    bytes: usize,
    bounce: Option<Bounce>,
    lost: u64,
    reader: Option<Waker>,
}

impl Office {
    /// Opens a port; false if it is open already or may not be.
    pub(crate) fn open(&mut self, port: u16) -> bool {
        if port == 0 || TAKEN.contains(&port) || self.boxes.contains_key(&port) || self.is_full() {
            return false;
        }
        self.boxes.insert(port, Slot::default()).is_none()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.boxes.len() >= BOXES
    }

    pub(crate) fn shut(&mut self, port: u16) {
        let gone = self.boxes.remove(&port).map_or(0, |slot| slot.bytes);
        self.bytes = self.bytes.saturating_sub(gone);
    }

    /// Remembers that a port writes to the other end.
    pub(crate) fn write(&mut self, ends: &Ends) {
        let Some(slot) = self.boxes.get_mut(&ends.local.port()) else { return };
        slot.peers.retain(|known| known != ends);
        if slot.peers.len() >= PEERS {
            slot.peers.pop_front();
        }
        slot.peers.push_back(*ends);
    }

    /// Puts a datagram into its box.
    pub(crate) fn arrive(&mut self, ends: &Ends, payload: &[u8]) {
        let room = ALL_BYTES.saturating_sub(self.bytes).min(BYTES);
        let Some(slot) = self.of(ends).filter(|slot| slot.knows(ends)) else { return self.lost += 1 };
        if slot.letters.len() >= LETTERS || slot.bytes + payload.len() > room {
            slot.lost += 1;
            return self.lost += 1;
        }
        slot.letters.push_back(Letter { from: ends.remote, bytes: payload.into() });
        slot.bytes += payload.len();
        slot.reader.take().into_iter().for_each(Waker::wake);
        self.bytes += payload.len();
    }

    /// Hears what became of a datagram on its way. Only the last such news waits.
    pub(crate) fn bounce(&mut self, ends: &Ends, trouble: Trouble) {
        let why = match trouble {
            Trouble::TooBig(mtu) => Why::TooBig(mtu),
            Trouble::NoPort => Why::Refused,
            Trouble::NoWay => Why::Unreachable,
        };
        if let Some(slot) = self.of(ends).filter(|slot| slot.knows(ends)) {
            slot.bounce = Some(Bounce { to: ends.remote, why });
            slot.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    /// What waits at a port: first what arrived, then what came back.
    pub(crate) fn take(&mut self, port: u16, waker: &Waker) -> Option<Result<Letter, Bounce>> {
        let slot = self.boxes.get_mut(&port)?;
        if let Some(letter) = slot.letters.pop_front() {
            slot.bytes = slot.bytes.saturating_sub(letter.bytes.len());
            self.bytes = self.bytes.saturating_sub(letter.bytes.len());
            return Some(Ok(letter));
        }
        let bounce = slot.bounce.take();
        if bounce.is_none() {
            slot.reader = Some(waker.clone());
        }
        bounce.map(Err)
    }

    /// Datagrams for a port that were dropped because nobody took them in time.
    pub(crate) fn lost_at(&self, port: u16) -> u64 {
        self.boxes.get(&port).map_or(0, |slot| slot.lost)
    }

    /// Nobody is heard any more at an address that is no longer ours: who waits there is told.
    pub(crate) fn leave(&mut self, address: IpAddr) {
        for slot in self.boxes.values_mut() {
            let gone: Option<SocketAddr> =
                slot.peers.iter().rfind(|ends| ends.local.ip() == address).map(|ends| ends.remote);
            slot.peers.retain(|ends| ends.local.ip() != address);
            if let Some(to) = gone {
                slot.bounce = Some(Bounce { to, why: Why::Unreachable });
                slot.reader.take().into_iter().for_each(Waker::wake);
            }
        }
    }

    fn of(&mut self, ends: &Ends) -> Option<&mut Slot> {
        self.boxes.get_mut(&ends.local.port())
    }
}

impl Slot {
    fn knows(&self, ends: &Ends) -> bool {
        self.peers.contains(ends)
    }
}
