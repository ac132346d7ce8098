//! Guests come in, get their turns, and go.

use super::{AT_ONCE, Daemon, PAUSE, SWEEP, Who};
use crate::doors::Kind;
use crate::guest::{Channel, Gone, Guest};
use crate::log::Level;
use crate::users::Peer;
use crate::watch::{Lost, Met, Watch};
use entropy::Moment;
use entropy::egd::Egd;
use entropy::protocol::Host;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::SocketFlags;
use std::os::fd::OwnedFd;

impl Daemon {
    pub(super) fn let_in(&mut self, number: u32, now: Moment) {
        for _ in 0..AT_ONCE {
            let Some(door) = self.doors.get(&number) else { return };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match rustix::net::accept_with(&door.socket, flags) {
                Ok(socket) => {
                    let kind = door.kind.clone();
                    self.come_in(&kind, socket, now);
                }
                Err(rustix::io::Errno::AGAIN) => return self.unpause(number),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
                Err(why) => return self.pause(number, why, now),
            }
        }
    }

    /// Something is wrong with a door, perhaps no more files: not to be asked again at once.
    fn pause(&mut self, number: u32, why: rustix::io::Errno, now: Moment) {
        self.say(Level::Warn, "door-stuck", &[("why", &why.to_string())]);
        if let Some(door) = self.doors.get(&number) {
            let data = EventData::new_u64(Who::Door(number).number());
            let _ = epoll::modify(&self.epoll, &door.socket, data, EventFlags::empty());
        }
        self.alarm(Who::Door(number), Some(now + PAUSE));
    }

    fn unpause(&mut self, number: u32) {
        if let Some(door) = self.doors.get(&number) {
            let data = EventData::new_u64(Who::Door(number).number());
            let _ = epoll::modify(&self.epoll, &door.socket, data, EventFlags::IN);
        }
    }

    fn come_in(&mut self, kind: &Kind, socket: OwnedFd, now: Moment) {
        let peer = (*kind != Kind::Vsock).then(|| Peer::of(&socket)).flatten();
        let id = peer.map_or(0, |peer| peer.pid);
        match kind {
            Kind::Metrics => self.read_metrics(socket, peer, now),
            Kind::Vsock => {
                let name = vsock_name(&socket);
                let guest = Guest::new(name, "vsock", socket, self.host(None), now);
                self.welcome(guest, None, now);
            }
            Kind::Egd => {
                let guest = Guest::new(format!("egd-{id}"), "egd", socket, Channel::Egd(Egd::new()), now);
                self.welcome(guest, peer, now);
            }
            Kind::Any => {
                let guest = Guest::new(format!("pid-{id}"), "any", socket, self.host(peer), now);
                self.welcome(guest, peer, now);
            }
            Kind::Named(name) => {
                let guest = Guest::new(name.clone(), "named", socket, self.host(peer), now);
                self.welcome(guest, peer, now);
            }
        }
    }

    fn meet(&mut self, met: Met, now: Moment) {
        let peer = Peer::of(&met.socket);
        let channel = if met.is_egd { Channel::Egd(Egd::new()) } else { self.host(peer) };
        let mut guest = Guest::new(met.name, "watch", met.socket, channel, now);
        guest.word_by = (!met.is_egd).then_some(now + met.silence);
        if let Some(number) = self.welcome(guest, peer, now)
            && let Some(watch) = &mut self.watch
        {
            watch.took(&met.path, number);
        }
    }

    fn host(&self, peer: Option<Peer>) -> Channel {
        Channel::Entropy(Host::new(self.generation(peer), self.config.limit.rate()))
    }

    /// The generation of the machine that is that process. If its run cannot be told from another, every
    /// connection counts as a new one: a guest may then be told that it was copied when it was not, but never
    /// the other way round.
    pub(super) fn generation(&self, peer: Option<Peer>) -> u128 {
        peer.and_then(|peer| peer.generation(&self.boot, self.epoch)).unwrap_or_else(|| {
            let mut bytes = [0; 16];
            let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
            u128::from_le_bytes(bytes)
        })
    }

    /// A named guest has one connection, and so has a machine on vsock, where every program in it may come: with more it
    /// would have more than its share, and could take all the places. The newest is the one that lives.
    fn replace(&mut self, door: &str, name: &str, now: Moment) {
        let old = self.guests.iter().find(|(_, guest)| guest.door == door && guest.name == name);
        if let Some(number) = old.map(|(number, _)| *number) {
            self.remove(number, &Gone::Closed, now);
        }
    }

    /// Takes a guest in, if it may come and there is room.
    fn welcome(&mut self, mut guest: Guest, peer: Option<Peer>, now: Moment) -> Option<u32> {
        let stranger = match peer {
            Some(peer) if !self.may_come(peer.uid) => Some("user"),
            None if guest.door != "vsock" => Some("credentials"),
            _ => None,
        };
        if stranger.is_none() && matches!(guest.door, "named" | "vsock") {
            self.replace(guest.door, &guest.name, now);
        }
        let full = (self.guests.len() >= self.config.most_guests).then_some("full");
        if let Some(reason) = stranger.or(full) {
            self.refuse(&guest.name, reason, peer);
            return None;
        }
        let number = self.number();
        guest.peer = peer;
        guest.bucket = self.resting.remove(&(guest.name.clone(), peer)).unwrap_or_default();
        self.add(&guest.socket, Who::Guest(number)).ok()?;
        guest.events = EventFlags::IN;
        *self.tally.connections.entry(guest.door).or_insert(0) += 1;
        self.say(Level::Debug, "connected", &[("guest", &guest.name), ("door", guest.door)]);
        self.guests.insert(number, guest);
        self.guest(number, now);
        // It may have gone at its first turn.
        self.guests.contains_key(&number).then_some(number)
    }

    fn refuse(&mut self, name: &str, reason: &'static str, peer: Option<Peer>) {
        *self.tally.refused.entry(reason).or_insert(0) += 1;
        let uid = peer.map_or(String::new(), |peer| peer.uid.to_string());
        self.say(Level::Warn, "refused", &[("guest", name), ("why", reason), ("uid", &uid)]);
    }

    pub(super) fn may_come(&self, uid: u32) -> bool {
        uid == 0 || uid == self.uid || self.config.allow.contains(&uid)
    }

    pub(super) fn guest(&mut self, number: u32, now: Moment) {
        let Some(guest) = self.guests.get_mut(&number) else { return };
        match guest.turn(now, &mut self.well, &self.config.limit) {
            Ok(waits) => {
                if waits.events != guest.events {
                    guest.events = waits.events;
                    let data = EventData::new_u64(Who::Guest(number).number());
                    let _ = epoll::modify(&self.epoll, &guest.socket, data, waits.events);
                }
                self.alarm(Who::Guest(number), waits.until);
            }
            Err(gone) => self.remove(number, &gone, now),
        }
    }

    fn remove(&mut self, number: u32, gone: &Gone, now: Moment) {
        let Some(guest) = self.guests.remove(&number) else { return };
        self.alarm(Who::Guest(number), None);
        self.tally.bytes += guest.fed;
        self.tally.faults += u64::from(gone.is_fault());
        let level = if gone.is_fault() { Level::Warn } else { Level::Debug };
        let words =
            [("guest", guest.name.as_str()), ("why", &gone.to_string()), ("bytes", &guest.fed.to_string())];
        self.say(level, "gone", &words);
        if let Some(watch) = &mut self.watch {
            let how = match gone {
                Gone::Silent => Lost::Silent,
                _ if guest.fed > 0 => Lost::Good,
                _ => Lost::Bad,
            };
            watch.lost(number, how, now);
            let deadline = watch.deadline();
            self.alarm(Who::Watch, Some(deadline));
        }
        if !guest.bucket.is_full(now) {
            self.resting.insert((guest.name, guest.peer), guest.bucket);
        }
    }

    pub(super) fn look(&mut self, now: Moment) {
        let Some(watch) = &mut self.watch else { return };
        watch.stir();
        let (met, faults) = watch.turn(now);
        for fault in faults {
            self.say(Level::Warn, "cannot-watch", &[("why", &fault)]);
        }
        met.into_iter().for_each(|met| self.meet(met, now));
        let next = self.watch.as_ref().map(Watch::deadline);
        self.alarm(Who::Watch, next);
    }

    pub(super) fn sweep(&mut self, now: Moment) {
        self.resting.retain(|_, bucket| !bucket.is_full(now));
        while self.resting.len() > self.config.most_guests {
            self.resting.pop_first();
        }
        self.alarm(Who::Sweep, Some(now + SWEEP));
    }
}

fn vsock_name(socket: &OwnedFd) -> String {
    use nix::sys::socket::{VsockAddr, getpeername};
    use std::os::fd::AsRawFd;
    let cid = getpeername::<VsockAddr>(socket.as_raw_fd()).map_or(0, |address| address.cid());
    format!("vsock-{cid}")
}
