//! What one connection may take of our time and memory.

use core::time::Duration;

/// The limits of every connection. The defaults suit the open internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a connection may rest between requests.
    pub idle: Duration,
    /// How long a request's head may take, from its first byte to its last; and the first byte of a new
    /// connection.
    pub head: Duration,
    /// While a peer owes us an acknowledgement of what we wrote, it must take [`Limits::floor`] bytes in each
    /// such span.
    pub stall: Duration,
    /// See [`Limits::stall`].
    pub floor: usize,
    /// How long and how much we listen after our last byte, so that the peer hears it before it hears that we
    /// left.
    pub linger: Duration,
    /// The largest request head in bytes.
    pub head_bytes: usize,
    /// The most header lines in a head.
    pub head_lines: usize,
    /// The longest request target.
    pub target: usize,
    /// The most requests that one connection may bring.
    pub requests: u32,
    /// The most requests that are open at once on one HTTP/2 connection.
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            head: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            floor: 16 * 1024,
            linger: Duration::from_secs(2),
            head_bytes: 16 * 1024,
            head_lines: 100,
            target: 4096,
            requests: 10_000,
            streams: 100,
        }
    }
}

impl From<bundle::Limits> for Limits {
    fn from(words: bundle::Limits) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            idle: seconds(words.idle),
            head: seconds(words.head),
            stall: seconds(words.stall),
            floor: count(words.floor),
            linger: Self::default().linger,
            head_bytes: count(words.head_bytes),
            head_lines: count(words.head_lines),
            target: count(words.target),
            requests: words.requests,
            streams: words.streams,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_a_bundle_are_ours() {
        assert_eq!(Limits::from(bundle::Limits::default()), Limits::default());
    }
}
