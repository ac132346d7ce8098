//! The Internet checksum.

use std::net::IpAddr;

/// A one's complement sum that is still being added to. Pieces before the last have an even length.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// The pseudo-header of a TCP, UDP or ICMPv6 message of `len` bytes.
    pub(crate) fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, len: usize) -> Self {
        let sum = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                Self(u64::from(from.to_bits()).saturating_add(u64::from(to.to_bits())))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => Self::default().add(&from.octets()).add(&to.octets()),
            _ => Self::default(),
        };
        let len = u64::try_from(len).unwrap_or(0);
        Self(sum.0.saturating_add(len).saturating_add(u64::from(protocol)))
    }

    /// Added up in the machine's own order and turned round once, which comes to the same (RFC 1071, 2 B).
    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut last = [0; 4];
        last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
        let mut sum = u64::from(u32::from_ne_bytes(last));
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        Self(self.0 + u64::from(u16::from_be(Self(sum).folded())))
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
    fn it_is_the_sum_of_the_words_at_every_length() {
        let bytes: Vec<u8> = (0..100).map(|byte| (byte * 37 + 200) as u8).collect();
        for len in 0..bytes.len() {
            let pair = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
            let plain = Sum(bytes[..len].chunks(2).map(pair).sum());
            assert_eq!(Sum::default().add(&bytes[..len]).folded(), plain.folded(), "{len} bytes");
        }
    }

    #[test]
    fn an_odd_last_byte_counts_as_the_high_half() {
        assert_eq!(Sum::default().add(&[1, 2, 3]).folded(), 0x0102 + 0x0300);
    }
}
