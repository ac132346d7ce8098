//! What operators ask of the running daemon: metrics, another configuration, another generation.

use super::{Daemon, ReadAgain, Who};
use crate::doors::{self, Door, Kind};
use crate::guest::Channel;
use crate::log::Level;
use crate::metrics::{self, READERS, Reader};
use crate::settings::Config;
use crate::users::Peer;
use entropy::Moment;
use rustix::event::epoll::{self, EventData};
use signal_hook::consts::{SIGHUP, SIGUSR1};
use std::io::Read;
use std::os::fd::OwnedFd;

impl Daemon {
    pub(super) fn read_metrics(&mut self, socket: OwnedFd, peer: Option<Peer>, now: Moment) {
        if self.readers.len() >= READERS || peer.is_some_and(|peer| !self.may_come(peer.uid)) {
            return;
        }
        let number = self.number();
        if self.add(&socket, Who::Reader(number)).is_ok() {
            self.readers.insert(number, Reader::new(socket, now));
            self.reader(number, now);
        }
    }

    pub(super) fn reader(&mut self, number: u32, now: Moment) {
        let Some(mut reader) = self.readers.remove(&number) else { return };
        let waits = reader.turn(now, || metrics::render(&self.tally, &self.guests, &self.well));
        self.alarm(Who::Reader(number), waits.map(|_| reader.until));
        if let Some(events) = waits {
            let data = EventData::new_u64(Who::Reader(number).number());
            let _ = epoll::modify(&self.epoll, &reader.socket, data, events);
            self.readers.insert(number, reader);
        }
    }

    pub(super) fn signal(&mut self, signal: i32, again: ReadAgain<'_>) {
        if let Some((_, pipe)) = self.signals.iter_mut().find(|(known, _)| *known == signal) {
            let _ = pipe.read(&mut [0; 64]);
        }
        match signal {
            SIGHUP => self.reload(again),
            SIGUSR1 => self.renew(),
            _ => self.ending = Some(0),
        }
    }

    /// Every guest may have been put back in time.
    fn renew(&mut self) {
        self.epoch += 1;
        self.say(Level::Warn, "new-generation", &[("epoch", &self.epoch.to_string())]);
        let peers: Vec<_> = self.guests.iter().map(|(number, guest)| (*number, guest.peer)).collect();
        for (number, peer) in peers {
            let generation = self.generation(peer);
            if let Some(Channel::Entropy(host)) = self.guests.get_mut(&number).map(|guest| &mut guest.channel)
            {
                host.renew(generation);
            }
        }
        self.everyone(self.now());
    }

    fn reload(&mut self, again: ReadAgain<'_>) {
        self.notify.reloading();
        match again() {
            Ok(config) => self.take_over(config),
            Err(fault) => self.say(Level::Error, "settings-kept", &[("why", &fault.to_string())]),
        }
        self.notify.say("READY=1\n");
    }

    /// What can change while we run does. Room was made for so many guests and no more when the sandbox
    /// closed.
    fn take_over(&mut self, config: Config) {
        let most = config.most_guests.min(self.config.most_guests);
        self.name_doors(&config);
        (self.log.level, self.log.shape) = (config.level, config.shape);
        self.config.guests = config.guests;
        self.config.allow = config.allow;
        self.config.limit = config.limit;
        self.config.on_failure = config.on_failure;
        self.config.most_guests = most;
        self.say(Level::Info, "reloaded", &[("max-guests", &most.to_string())]);
        self.everyone(self.now());
    }

    /// Opens and closes the sockets of named guests.
    fn name_doors(&mut self, config: &Config) {
        let gone = |door: &Door| matches!(&door.kind, Kind::Named(name) if !config.guests.contains(name));
        let closed: Vec<u32> =
            self.doors.iter().filter(|(_, door)| gone(door)).map(|(number, _)| *number).collect();
        closed.into_iter().filter_map(|number| self.doors.remove(&number)).for_each(Door::close);
        let Some(folder) = self.config.listen.clone() else { return };
        let old = self.config.guests.clone();
        for name in config.guests.iter().filter(|name| !old.contains(name)) {
            let opened = doors::named(&folder, name, None).map_err(|why| why.to_string());
            if let Err(why) = opened.and_then(|door| self.open(door).map_err(|why| why.to_string())) {
                self.say(Level::Error, "cannot-open", &[("guest", name), ("why", &why)]);
            }
        }
    }
}
