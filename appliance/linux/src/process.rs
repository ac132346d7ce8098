//! The process itself: the world that the appliance asks.

use crate::channels::Channels;
use crate::filter::Needs;
use crate::link::Link;
use crate::raw;
use crate::sandbox::{self, BadSandbox, Draws, Locked};
use crate::stores::Stores;
use crate::words::{BadStart, Words};
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{read, write};
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::stdio::stdout;
use rustix::time::{ClockId, clock_gettime};
use std::rc::Rc;
use world::{Boot, ChannelId, Generation, Heard, Instant, World};

/// A line of the console is cut here: what is left fits a pipe in one piece, so that writing never blocks.
const LONGEST_LINE: usize = 2048;

/// Bytes of memory that are counted on when nobody says how many there may be: a process cannot know what others need.
const MEMORY: usize = 256 << 20;

/// A Linux process as a world.
pub struct Process {
    link: Link,
    channels: Channels,
    signals: OwnedFd,
    boot: Boot,
    secrets: Option<Vec<u8>>,
    draws: Draws,
    stopping: bool,
}

impl Process {
    /// The world that the command line of this process asks for; everything that needs a right is done here.
    ///
    /// # Errors
    /// When a word is wrong, or something that it names is not there or not ours.
    pub fn start() -> Result<Self, BadStart> {
        Self::from_words(std::env::args().skip(1))
    }

    /// The world that `words` ask for.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn from_words(words: impl IntoIterator<Item = String>) -> Result<Self, BadStart> {
        let words = Words::read(words)?;
        let line = words.line.as_ref().ok_or(BadStart::NoLink)?;
        let link = Link::open(line, words.mac, words.mtu)?;
        let channels = Channels::open(&words.channels)?;
        let Stores { bundle, secrets } = Stores::of(&words)?;
        raw::ignore_broken_pipes().map_err(|errno| BadStart::Kernel("to ignore SIGPIPE", errno.into()))?;
        let signals = raw::signals_to_stop().map_err(|errno| BadStart::Kernel("a signalfd", errno.into()))?;
        let boot = Boot { words: words.rest, bundle, layout: "the kernel" };
        let process =
            Self { link, channels, signals, boot, secrets, draws: Draws::FromTheKernel, stopping: false };
        // The first question makes rustix look for the vDSO, which it could not do from inside the sandbox.
        process.now();
        Ok(process)
    }

    /// Gives up every right that is not needed to move frames and bytes. Before the first frame.
    ///
    /// # Errors
    /// When the kernel does not take a right that we want to lose: then the appliance must not go on.
    pub fn close_sandbox(&mut self, draws: Draws) -> Result<Locked, BadSandbox> {
        let needs = Needs { random: draws == Draws::FromTheKernel, accept: self.channels.listen() };
        let mut kept: Vec<BorrowedFd<'_>> = self.channels.all().collect();
        kept.extend([self.link.wire(), self.signals.as_fd()]);
        let locked = sandbox::close(&kept, needs)?;
        self.draws = draws;
        #[cfg(feature = "probes")]
        crate::probes::try_what_is_asked(&self.boot.words);
        Ok(locked)
    }

    /// Everything that may end a sleep.
    fn awaited(&self) -> Vec<PollFd<'_>> {
        let streams = self.link.awaited().into_iter().chain(self.channels.awaited());
        let signals = (self.signals.as_fd(), false);
        let wanted = |full| if full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        streams.chain([signals]).map(|(file, full)| PollFd::from_borrowed_fd(file, wanted(full))).collect()
    }
}

impl World for Process {
    type Nic = Link;

    fn nic(&mut self) -> &mut Link {
        &mut self.link
    }

    fn now(&self) -> Instant {
        let nanos = since_zero(ClockId::Monotonic).as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn wall_clock(&self) -> Duration {
        since_zero(ClockId::Realtime)
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        let sleep = deadline.map(|deadline| deadline - self.now());
        let sleep = sleep.and_then(|sleep| Timespec::try_from(sleep).ok());
        // An interrupted sleep is a short one: the loop turns and comes back.
        let _ = poll(&mut self.awaited(), sleep.as_ref());
    }

    fn channel(&mut self, name: &str) -> Option<ChannelId> {
        self.channels.named(name)
    }

    fn hear(&mut self, channel: ChannelId, into: &mut [u8]) -> Heard {
        self.channels.hear(channel, into)
    }

    fn tell(&mut self, channel: ChannelId, bytes: &[u8]) -> usize {
        self.channels.tell(channel, bytes)
    }

    fn boot(&self) -> &Boot {
        &self.boot
    }

    fn memory(&self, limit: Option<usize>) -> usize {
        limit.unwrap_or(MEMORY)
    }

    fn take_secrets(&mut self) -> Option<Vec<u8>> {
        self.secrets.take()
    }

    fn host_random(&mut self, into: &mut [u8]) -> usize {
        match self.draws {
            Draws::Never => 0,
            Draws::FromTheKernel => getrandom(into, GetRandomFlags::NONBLOCK).unwrap_or(0),
        }
    }

    /// A process cannot tell that its machine was copied; its host's channel can.
    fn generation(&self) -> Generation {
        Rc::new(|| None)
    }

    fn asked_to_stop(&mut self) -> bool {
        let mut signal = [0; 128];
        self.stopping |= self.link.unplugged() || read(&self.signals, &mut signal).is_ok_and(|len| len > 0);
        self.stopping
    }

    fn say(&mut self, line: &str) {
        let console = stdout();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut room = [PollFd::new(&console, PollFlags::OUT)];
        if poll(&mut room, Some(&now)) == Ok(1) {
            let _ = write(console, &printable(line));
        }
    }
}

fn since_zero(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

/// The line as the console takes it: one line, no control characters, not too long.
fn printable(line: &str) -> Vec<u8> {
    let letters = line.bytes().take(LONGEST_LINE);
    let clean = |letter: u8| if letter.is_ascii_control() { b'?' } else { letter };
    letters.map(clean).chain([b'\n']).collect()
}
