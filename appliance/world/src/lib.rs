//! What the appliance asks of the world it runs in.
//!
//! There are three worlds: a KVM guest on virtio, a Xen PVH guest, and a Linux process on a TAP device.
//! Nothing above this file knows which one it is standing on.
//!
//! The rules of the border: calls never block, except [`World::wait`]; frames are copied, so the host cannot
//! rewrite one while we read it; and nothing the host says is believed until it has been checked.
#![forbid(unsafe_code)]

mod frame;
mod line;
mod time;
pub mod words;

pub use frame::{Checksum, Full, Help, LARGEST_FRAME, Nic, NicFacts, Offload, Received, Segment, Segments};
pub use line::shown;
pub use time::Instant;

use core::time::Duration;
use std::rc::Rc;

/// A byte stream between the appliance and its host, as the world numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelId(pub u16);

/// What a channel has to say when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// So many bytes were copied in.
    Bytes(usize),
    /// Nothing now; [`World::wait`] returns when there is more.
    Nothing,
    /// A new peer sits at the other end. Told once, before its first byte; every protocol starts afresh.
    Opened,
    /// The peer is gone. Told once; the same channel may open again.
    Closed,
}

/// What the appliance was started with.
#[derive(Debug, Default)]
pub struct Boot {
    /// The command line, split at blanks; the first word is the first argument, not the program's name.
    pub words: Vec<String>,
    /// The public part of the bundle, if one was given. It is read-only and stays for ever.
    pub bundle: Option<&'static [u8]>,
    /// How the world chose the image's address: for the banner.
    pub layout: &'static str,
}

/// A look at a number that changes when this machine was copied or put back in time (vmgenid); `None` where nothing
/// tells. It costs little and may be had at any time, beneath every draw too, where no world is at hand.
pub type Generation = Rc<dyn Fn() -> Option<u128>>;

/// One world. Generics stop at the loop that drives it.
pub trait World {
    /// This world's network interface.
    type Nic: Nic;

    /// The network interface.
    fn nic(&mut self) -> &mut Self::Nic;

    /// Monotonic time. It never goes back and counts from an arbitrary start.
    fn now(&self) -> Instant;

    /// The date, as time since 1970: only for certificates, logs and the `Date` header.
    fn wall_clock(&self) -> Duration;

    /// Sleeps until a frame, a byte on a channel, a request to stop or `deadline`. The only call that may block.
    fn wait(&mut self, deadline: Option<Instant>);

    /// The channel of that name, if the host offers one.
    fn channel(&mut self, name: &str) -> Option<ChannelId>;

    /// Reads from a channel.
    fn hear(&mut self, channel: ChannelId, into: &mut [u8]) -> Heard;

    /// Writes to a channel and says how many bytes it took; the rest is the caller's to offer again.
    fn tell(&mut self, channel: ChannelId, bytes: &[u8]) -> usize;

    /// What the appliance was started with.
    fn boot(&self) -> &Boot;

    /// Bytes that the heap may come to if it is asked to stay below `limit`: what the machine has for it, or what this
    /// world grants when it cannot know.
    fn memory(&self, limit: Option<usize>) -> usize;

    /// The bundle's secret part, once: the world wipes its own copy before it answers.
    fn take_secrets(&mut self) -> Option<Vec<u8>>;

    /// Bytes of the host's own random device (virtio-rng, `getrandom(2)`); 0 while there are none.
    fn host_random(&mut self, into: &mut [u8]) -> usize;

    /// How to see that this machine was copied or put back in time.
    fn generation(&self) -> Generation;

    /// True once the host has asked the appliance to finish (SIGTERM, the power button, `xl shutdown`).
    fn asked_to_stop(&mut self) -> bool;

    /// Writes one line to the console. It may lose the line, is cut when too long, and never blocks for ever.
    fn say(&mut self, line: &str);
}
