//! How the memory that there is is shared out: read once, said once.

use core::fmt;

/// Streams of one HTTP/2 connection for each so many bytes, and never fewer than some.
const STREAM: usize = 256 * 1024;
const FEWEST: usize = 16;

/// What may be used for what, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Means {
    /// All that there is.
    pub(super) memory: usize,
    /// What connections may use, with all that is held for them.
    pub(super) connections: usize,
    /// Nobody is let in while more is in use, and connections are ended until less is.
    pub(super) brim: usize,
    /// Nobody takes a step while more is in use, but to leave.
    pub(super) line: usize,
    /// Requests that may be open at once on one HTTP/2 connection, whatever the site says.
    pub(super) streams: u32,
}

impl Means {
    /// How much has to come back when `in_use` bytes are in use: so much that it is not asked for again at once.
    pub(super) fn excess(&self, in_use: usize) -> Option<usize> {
        (in_use > self.brim).then(|| in_use.saturating_sub(self.brim) + self.memory / 16)
    }

    pub(super) fn of(memory: usize) -> Self {
        let eighths = |count: usize| memory / 8 * count;
        let streams = u32::try_from((memory / STREAM).max(FEWEST)).unwrap_or(u32::MAX);
        Self { memory, connections: eighths(4), brim: eighths(6), line: eighths(7), streams }
    }
}

impl fmt::Display for Means {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| format!("{}.{}", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
        write!(
            out,
            "memory: {} MiB for connections of {} MiB; nobody is let in beyond {} MiB",
            mib(self.connections),
            mib(self.memory),
            mib(self.brim)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;

    #[test]
    fn shares_follow_the_memory_that_there_is() {
        // What is left of RAM of 12, 16, 32, 64, 256 MiB, 1 and 4 GiB.
        for (memory, connections, brim, line, streams) in [
            (5 * MIB, 2560 * KIB, 3840 * KIB, 4480 * KIB, 20),
            (9 * MIB, 4608 * KIB, 6912 * KIB, 8064 * KIB, 36),
            (25 * MIB, 12_800 * KIB, 19_200 * KIB, 22_400 * KIB, 100),
            (57 * MIB, 29_184 * KIB, 43_776 * KIB, 51_072 * KIB, 228),
            (249 * MIB, 127_488 * KIB, 191_232 * KIB, 223_104 * KIB, 996),
            (1017 * MIB, 520_704 * KIB, 781_056 * KIB, 911_232 * KIB, 4068),
            (4089 * MIB, 2_093_568 * KIB, 3_140_352 * KIB, 3_663_744 * KIB, 16_356),
        ] {
            assert_eq!(Means::of(memory), Means { memory, connections, brim, line, streams });
        }
        assert_eq!(Means::of(0).streams, 16, "fewer make pages slow");
    }

    #[test]
    fn below_the_brim_nobody_has_to_go_and_beyond_it_enough_do_for_a_while() {
        let means = Means::of(16 * MIB);
        assert_eq!(means.excess(12 * MIB), None);
        assert_eq!(means.excess(12 * MIB + 1), Some(MIB + 1));
        assert_eq!(means.excess(16 * MIB), Some(5 * MIB));
    }

    #[test]
    fn they_are_said_so_that_an_operator_understands() {
        let said = "memory: 4.5 MiB for connections of 9.0 MiB; nobody is let in beyond 6.7 MiB";
        assert_eq!(Means::of(9 * MIB).to_string(), said);
    }
}
