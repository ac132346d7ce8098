//! One guest: its socket, its protocol, its stream of bytes and how much of it it may have.
//!
//! A turn reads a little, gives what is due and allowed, and never waits. A guest that does not read holds at
//! most one portion; one that talks without end is not listened to for a while.

use crate::bucket::{Bucket, Limit};
use crate::spring::Well;
use crate::users::Peer;
use entropy::Moment;
use entropy::egd::{Ask, Egd};
use entropy::protocol::{Host, LARGEST_SEED, Starved};
use entropy::stream::Stream;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::Duration;
use zeroize::Zeroizing;

/// What a guest may say.
const EAR: Limit = Limit { bytes: 4096, period: Duration::from_secs(1), burst: 16 * 1024 };
/// Portions in one turn, so that one guest never keeps the loop from the others.
const PORTIONS: usize = 4;
/// Fresh bytes are mixed into a guest's stream after so many of its own, or so much time.
const REFRESH_BYTES: u64 = 1 << 20;
const REFRESH_AFTER: Duration = Duration::from_secs(600);
/// QEMU that says nothing for so long after connecting has lost its request.
const WAKE_AFTER: Duration = Duration::from_secs(2);

/// Which protocol a guest speaks.
pub(crate) enum Channel {
    Entropy(Host),
    Egd(Egd),
}

/// Why a guest is no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Gone {
    #[error("it closed the channel")]
    Closed,
    #[error("it said nothing: calling it again, in case that it did not hear us come")]
    Silent,
    #[error("{0}")]
    Failed(Errno),
    #[error("{0}")]
    BrokeEntropy(#[from] entropy::protocol::GuestBroke),
    #[error("{0}")]
    BrokeEgd(#[from] entropy::egd::ClientBroke),
}

impl Gone {
    /// True if the guest did what it should not.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(self, Self::BrokeEntropy(_) | Self::BrokeEgd(_))
    }
}

/// What a guest waits for after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) events: EventFlags,
    pub(crate) until: Option<Moment>,
}

/// One guest.
pub(crate) struct Guest {
    pub(crate) name: String,
    pub(crate) door: &'static str,
    pub(crate) socket: OwnedFd,
    pub(crate) channel: Channel,
    pub(crate) peer: Option<Peer>,
    pub(crate) bucket: Bucket,
    pub(crate) opened: Moment,
    pub(crate) fed: u64,
    pub(crate) events: EventFlags,
    /// It must have said something by then.
    pub(crate) word_by: Option<Moment>,
    ear: Bucket,
    stream: Option<Stream>,
    /// Bytes drawn from the stream since it was last refreshed, and when that was.
    drawn: u64,
    refreshed: Moment,
    woken: bool,
}

impl Guest {
    pub(crate) fn new(
        name: String,
        door: &'static str,
        socket: OwnedFd,
        channel: Channel,
        now: Moment,
    ) -> Self {
        Self {
            name,
            door,
            socket,
            channel,
            peer: None,
            bucket: Bucket::default(),
            opened: now,
            fed: 0,
            events: EventFlags::empty(),
            word_by: None,
            ear: Bucket::default(),
            stream: None,
            drawn: 0,
            refreshed: now,
            woken: false,
        }
    }

    /// Hears, feeds and sends, as far as that goes without waiting.
    pub(crate) fn turn(&mut self, now: Moment, well: &mut Well, limit: &Limit) -> Result<Waits, Gone> {
        self.hear(now)?;
        if self.word_by.is_some_and(|by| by <= now) {
            return Err(Gone::Silent);
        }
        if let Channel::Entropy(host) = &mut self.channel {
            host.turn(now)?;
        }
        self.wake(now, well, limit);
        let due = self.feed(now, well, limit)?;
        let ear = (self.ear.holds(&EAR, now) == 0).then(|| self.ear.when(1024, &EAR));
        let mut events = if ear.is_none() { EventFlags::IN } else { EventFlags::empty() };
        events.set(EventFlags::OUT, !self.outbox().is_empty());
        let until = [due, ear, self.deadline(), self.word_by].into_iter().flatten().min();
        Ok(Waits { events, until })
    }

    /// Reads until there is nothing, or it has said enough.
    fn hear(&mut self, now: Moment) -> Result<(), Gone> {
        let mut bytes = [0; 1024];
        while self.ear.holds(&EAR, now) > 0 {
            let count = match rustix::io::read(&self.socket, &mut bytes) {
                Ok(0) => return Err(Gone::Closed),
                Ok(count) => count,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(Errno::CONNRESET | Errno::PIPE) => return Err(Gone::Closed),
                Err(why) => return Err(Gone::Failed(why)),
            };
            self.ear.take(count as u64, &EAR, now);
            self.word_by = None;
            let heard = bytes.get(..count).unwrap_or_default();
            match &mut self.channel {
                Channel::Entropy(host) => host.receive(heard, now)?,
                Channel::Egd(egd) => egd.receive(heard)?,
            }
        }
        Ok(())
    }

    /// Gives portions while they are wanted, allowed and taken. Says when the next one will be allowed.
    fn feed(&mut self, now: Moment, well: &mut Well, limit: &Limit) -> Result<Option<Moment>, Gone> {
        for _ in 0..PORTIONS {
            if !self.flush()? {
                return Ok(None);
            }
            let Some((least, most)) = self.wants(limit) else { return Ok(None) };
            if !well.is_good() {
                self.starve(well);
                return self.flush().map(|_| None);
            }
            let holds = self.bucket.holds(limit, now);
            if holds < least {
                return Ok(Some(self.bucket.when(least, limit)));
            }
            let mut bytes = Zeroizing::new([0; LARGEST_SEED]);
            let count = usize::try_from(most.min(holds)).unwrap_or(LARGEST_SEED).min(LARGEST_SEED);
            let portion = bytes.get_mut(..count).unwrap_or_default();
            self.draw(portion, now, well);
            self.pour(portion, limit, now);
        }
        self.flush().map(|all| all.then_some(now))
    }

    /// The least and the most that should be given now. Small portions would wake everybody for nothing.
    fn wants(&self, limit: &Limit) -> Option<(u64, u64)> {
        let largest = LARGEST_SEED as u64;
        match &self.channel {
            Channel::Entropy(host) => {
                let most = host.appetite().min(largest);
                let second = u64::from(limit.rate().max(64)).min(u64::from(limit.burst));
                (most > 0).then_some((most.min(second), most))
            }
            Channel::Egd(egd) => egd.asks().map(|ask| match ask {
                Ask::Wait(count) => (u64::from(count).min(u64::from(limit.burst)), u64::from(count)),
                Ask::AtOnce(count) => (0, u64::from(count)),
            }),
        }
    }

    fn starve(&mut self, well: &Well) {
        if let Channel::Entropy(host) = &mut self.channel {
            host.starve(if well.failed { Starved::SourceFailed } else { Starved::StartingUp });
        }
    }

    fn pour(&mut self, bytes: &[u8], limit: &Limit, now: Moment) {
        let count = match &mut self.channel {
            Channel::Entropy(host) => host.pour(bytes),
            Channel::Egd(egd) => egd.pour(bytes),
        } as u64;
        self.bucket.take(count, limit, now);
        self.fed += count;
    }

    /// The next bytes of this guest's own stream.
    fn draw(&mut self, bytes: &mut [u8], now: Moment, well: &mut Well) {
        let old = self.drawn >= REFRESH_BYTES || now.saturating_sub(self.refreshed) >= REFRESH_AFTER;
        if let Some(key) = (old || self.stream.is_none()).then(|| well.key()).flatten() {
            match &mut self.stream {
                Some(stream) => stream.refresh(&key),
                none => *none = Some(Stream::new(&key)),
            }
            (self.drawn, self.refreshed) = (0, now);
        }
        self.drawn += bytes.len() as u64;
        if let Some(stream) = &mut self.stream {
            stream.draw(bytes);
        }
    }

    /// Answers the request that QEMU lost with its last connection.
    fn wake(&mut self, now: Moment, well: &mut Well, limit: &Limit) {
        let due = self.wakes_at().is_some_and(|at| at <= now);
        if !due || !well.is_good() || !self.outbox().is_empty() {
            return;
        }
        self.woken = true;
        let mut bytes = Zeroizing::new([0; 512]);
        self.draw(bytes.as_mut_slice(), now, well);
        if let Channel::Egd(egd) = &mut self.channel {
            egd.wake(bytes.as_slice());
            self.fed += bytes.len() as u64;
            self.bucket.take(bytes.len() as u64, limit, now);
        }
    }

    fn wakes_at(&self) -> Option<Moment> {
        match &self.channel {
            Channel::Egd(egd) if !self.woken && !egd.was_asked() => {
                self.peer.filter(Peer::is_qemu).map(|_| self.opened + WAKE_AFTER)
            }
            _ => None,
        }
    }

    fn deadline(&self) -> Option<Moment> {
        match &self.channel {
            Channel::Entropy(host) => host.deadline(),
            Channel::Egd(_) => self.wakes_at(),
        }
    }

    pub(crate) fn outbox(&self) -> &[u8] {
        match &self.channel {
            Channel::Entropy(host) => host.outbox(),
            Channel::Egd(egd) => egd.outbox(),
        }
    }

    /// Sends what the socket takes; true when nothing is left.
    fn flush(&mut self) -> Result<bool, Gone> {
        while !self.outbox().is_empty() {
            let count = match rustix::io::write(&self.socket, self.outbox()) {
                Ok(count) => count,
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => 0,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Gone::Closed),
                Err(why) => return Err(Gone::Failed(why)),
            };
            match &mut self.channel {
                Channel::Entropy(host) => host.sent(count),
                Channel::Egd(egd) => egd.sent(count),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spring::{Hardware, Spring};
    use entropy::protocol::{BANNER_1, HELLO_1};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    const LIMIT: Limit = Limit { bytes: 1000, period: Duration::from_secs(1), burst: 2000 };
    const T0: Moment = Duration::from_secs(10);

    fn well() -> Well {
        let (mut well, _) = Well::open(&Hardware::None).unwrap();
        well.turn(T0).unwrap();
        well
    }

    fn pair(channel: Channel) -> (UnixStream, Guest) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        (theirs, Guest::new("web".into(), "any", ours.into(), channel, T0))
    }

    fn framed() -> (UnixStream, Guest) {
        pair(Channel::Entropy(Host::new(1, 1000)))
    }

    fn read(from: &mut UnixStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    }

    #[test]
    fn a_guest_gets_the_burst_at_once_and_then_the_rate() {
        let ((mut end, mut guest), mut well) = (framed(), well());
        end.write_all(HELLO_1).unwrap();
        let waits = guest.turn(T0, &mut well, &LIMIT).unwrap();
        assert_eq!(read(&mut end).len(), BANNER_1.len() + 1024, "976 are less than a second's worth");
        assert_eq!((guest.fed, waits.events), (1024, EventFlags::IN));
        let mut now = waits.until.unwrap();
        while now < T0 + Duration::from_secs(100) {
            now = guest.turn(now, &mut well, &LIMIT).unwrap().until.unwrap();
            read(&mut end);
        }
        assert!((100_000..=102_000).contains(&guest.fed), "{}", guest.fed);
    }

    #[test]
    fn no_two_guests_get_the_same_bytes() {
        let mut well = well();
        let both = [framed(), framed()].map(|(mut end, mut guest)| {
            end.write_all(HELLO_1).unwrap();
            guest.turn(T0, &mut well, &LIMIT).unwrap();
            read(&mut end)[BANNER_1.len()..][..512].to_vec()
        });
        assert_ne!(both[0], both[1]);
    }

    #[test]
    fn a_guest_that_does_not_read_holds_one_portion_and_waits_for_room() {
        let ((mut end, mut guest), mut well) = (framed(), well());
        let fast = Limit { bytes: 1 << 20, period: Duration::from_secs(1), burst: 1 << 20 };
        end.write_all(HELLO_1).unwrap();
        let stuck = (0..10_000).find_map(|turn| {
            let waits = guest.turn(T0 + Duration::from_secs(turn), &mut well, &fast).unwrap();
            waits.events.contains(EventFlags::OUT).then_some(waits)
        });
        assert_eq!(stuck.unwrap().until, None, "only room can help");
        assert!(guest.outbox().len() <= LARGEST_SEED);
    }

    #[test]
    fn a_guest_that_talks_without_end_is_not_listened_to_for_a_while() {
        let ((mut end, mut guest), mut well) = (framed(), well());
        end.write_all(HELLO_1).unwrap();
        end.write_all(&[0; 20_000]).unwrap();
        let waits = guest.turn(T0, &mut well, &LIMIT).unwrap();
        assert!(!waits.events.contains(EventFlags::IN) && waits.until.is_some());
        assert!(rustix::io::ioctl_fionread(&guest.socket).unwrap() > 3000, "the rest was not even read");
        let later = guest.turn(T0 + Duration::from_secs(60), &mut well, &LIMIT).unwrap();
        assert!(later.events.contains(EventFlags::IN));
    }

    #[test]
    fn nobody_is_fed_from_a_failed_well() {
        let mut well = Well::of(vec![Spring::new("zero", Box::new(|bytes| Ok(bytes.len())))]);
        assert!(well.turn(T0).is_err());
        for hello in [HELLO_1.to_vec(), vec![2, 200]] {
            let version_1 = hello.len() > 2;
            let channel = if version_1 { framed().1.channel } else { Channel::Egd(Egd::new()) };
            let (mut end, mut guest) = pair(channel);
            end.write_all(&hello).unwrap();
            guest.turn(T0, &mut well, &LIMIT).unwrap();
            assert_eq!(read(&mut end), if version_1 { BANNER_1 } else { b"" });
            assert_eq!(guest.fed, 0);
        }
    }

    #[test]
    fn egd_is_answered_within_the_limit() {
        let ((mut end, mut guest), mut well) = (pair(Channel::Egd(Egd::new())), well());
        end.write_all(&[2, 200].repeat(20)).unwrap();
        let mut waits = Waits { events: EventFlags::IN, until: Some(T0) };
        while let Some(now) = waits.until.filter(|now| *now < T0 + Duration::from_secs(60)) {
            waits = guest.turn(now, &mut well, &LIMIT).unwrap();
        }
        assert_eq!(read(&mut end).len(), 4000);
    }

    #[test]
    fn who_has_to_say_something_and_does_not_is_left_and_one_word_is_enough() {
        let ((mut end, mut guest), mut well) = (framed(), well());
        let by = T0 + Duration::from_secs(3);
        guest.word_by = Some(by);
        assert_eq!(guest.turn(T0, &mut well, &LIMIT).unwrap().until, Some(by));
        assert!(matches!(guest.turn(by, &mut well, &LIMIT), Err(Gone::Silent)));
        end.write_all(&HELLO_1[..1]).unwrap();
        let waits = guest.turn(by, &mut well, &LIMIT).unwrap();
        assert!(waits.until > Some(by), "the hello has time to come: {waits:?}");
    }

    #[test]
    fn whoever_speaks_nonsense_is_sent_away() {
        let ((mut end, mut guest), mut well) = (framed(), well());
        end.write_all(b"QMP").unwrap();
        assert!(guest.turn(T0, &mut well, &LIMIT).unwrap_err().is_fault());
    }
}
