//! The Internet checksum.

use std::net::IpAddr;

/// A one's complement sum that is still being added to. Pieces before the last have an even length.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// The pseudo-header of a TCP, UDP or ICMPv6 message of `len` bytes.
    pub(crate) fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, len: usize) -> Self {
        let sum = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Self::default().add(&from.octets()).add(&to.octets()),
            (IpAddr::V6(from), IpAddr::V6(to)) => Self::default().add(&from.octets()).add(&to.octets()),
            _ => Self::default(),
        };
        let len = u32::try_from(len).unwrap_or(0);
        sum.add(&len.to_be_bytes()).add(&[0, protocol])
    }

    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = self.0;
        for word in words {
            sum += u64::from(u32::from_be_bytes(*word));
        }
        let (pairs, odd) = rest.as_chunks::<2>();
        for pair in pairs {
            sum += u64::from(u16::from_be_bytes(*pair));
        }
        Self(sum + odd.first().map_or(0, |last| u64::from(*last) << 8))
    }

    /// The sum itself: what an interface that completes checksums wants to find in the field.
    pub(crate) fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap_or(0)
    }

    /// What goes into the checksum field; zero when the field was added with the rest and is right.
    pub(crate) fn checksum(self) -> u16 {
        !self.folded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_includes_its_own_checksum_is_zero() {
        let mut header = *b"\x45\0\0\x54\x1c\x46\x40\0\x40\x01\0\0\xc0\xa8\0\x01\xc0\xa8\0\xc7";
        let sum = Sum::default().add(&header).checksum();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(Sum::default().add(&header).checksum(), 0);
    }

    #[test]
    fn an_odd_last_byte_counts_as_the_high_half() {
        assert_eq!(Sum::default().add(&[1, 2, 3]).folded(), 0x0102 + 0x0300);
    }
}
