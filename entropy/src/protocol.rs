//! The entropy protocol: how a guest asks its host for bytes, and how it knows them from anything else.
//!
//! **Version 1** is that of MirageOS's xentropyd, to the letter. On a channel named [`CHANNEL_1`] the guest
//! writes [`HELLO_1`], the host answers [`BANNER_1`], and everything after that is entropy, at the rate that
//! the host chooses. What the guest writes later is discarded.
//!
//! **Version 2**, on [`CHANNEL_2`], carries frames, so that either side can start again in the middle, the
//! host can say that it has nothing to give, and the guest learns that it was copied. A frame is
//!
//! ```text
//! 0      1      2             4                           8
//! | 0xe2 | kind | length (BE) | number (BE, 32 bits)      | payload
//! ```
//!
//! | kind | from | name | payload |
//! |---|---|---|---|
//! | 0x01 | guest | hello | attempt (32 bits), the generation it knew (128, 0 if none), bytes wanted (32) |
//! | 0x02 | guest | more | bytes wanted (32) |
//! | 0x81 | host | welcome | the attempt of the hello, the generation (128), the rate in bytes a second (32) |
//! | 0x82 | host | seed | 1 to 1,024 bytes of entropy |
//! | 0x83 | host | starved | why (8): 1 the source failed, 2 it is being tested |
//! | 0x84 | host | generation | the new generation (128): the machine was copied or put back in time |
//!
//! Hello and welcome have number 0; the frames after them count up, each direction for itself. A guest that
//! hears nothing says hello again with the next attempt and skips whatever comes before the welcome to *that*
//! attempt, so bytes that were under way do no harm, be it from an earlier attempt or to the machine before
//! it was started again. The host sends only what was asked for and may be slow, but not silent: it says
//! *starved* when there is nothing.
//!
//! A host tells the versions apart by the first byte of the hello, so one socket serves both.

mod frame;
mod guest;
mod host;
mod outbox;
#[cfg(test)]
mod tests;

pub use guest::{FIRST_PORTION, Guest, HostBroke, Meaning, PORTION, REFRESH};
pub use host::{GuestBroke, HELLO_TAKES, Host};

/// The name of a version 1 channel.
pub const CHANNEL_1: &str = "org.openmirage.entropy.1";
/// The name of a version 2 channel.
pub const CHANNEL_2: &str = "org.openmirage.entropy.2";
/// What a version 1 guest says.
pub const HELLO_1: &[u8] = b"Hello, may I have some entropy?\r\n";
/// What a version 1 host answers.
pub const BANNER_1: &[u8] = b"You may treat everything following this message as entropy.\r\n";
/// The most that one seed frame carries.
pub const LARGEST_SEED: usize = 1024;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// xentropyd's.
    One,
    /// Framed.
    Two,
}

impl Version {
    /// The name of its channel.
    #[must_use]
    pub fn channel(self) -> &'static str {
        match self {
            Self::One => CHANNEL_1,
            Self::Two => CHANNEL_2,
        }
    }
}

/// Why a host has nothing to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Starved {
    /// Its source failed a test or cannot be read.
    #[error("its source failed a test or cannot be read: its log says which")]
    SourceFailed,
    /// Its source is still in the start-up test.
    #[error("its source is still in the start-up test")]
    StartingUp,
}

impl Starved {
    fn code(self) -> u8 {
        match self {
            Self::SourceFailed => 1,
            Self::StartingUp => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::SourceFailed, Self::StartingUp].into_iter().find(|why| why.code() == code)
    }
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin like a frame.
    #[error("a frame begins with {0:#04x}, not with 0xe2")]
    Magic(u8),
    /// Nobody says this, or not from that side.
    #[error("no frame from that side has the kind {0:#04x}")]
    Kind(u8),
    /// The length does not fit the kind.
    #[error("a frame of kind {kind:#04x} has {length} bytes")]
    Length {
        /// The frame's kind.
        kind: u8,
        /// Its length.
        length: u16,
    },
    /// Frames are missing or came twice.
    #[error("frame {expected} was due and frame {heard} came")]
    Number {
        /// The number that was due.
        expected: u32,
        /// The number that came.
        heard: u32,
    },
    /// A word in the payload means nothing.
    #[error("a notice of starvation gives the reason {0}, which nobody knows")]
    Reason(u8),
}
