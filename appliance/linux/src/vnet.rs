//! The twelve bytes before each frame: `virtio_net_hdr_v1`, little-endian.
//!
//! What we write is what was asked of us; what we read is a claim and is checked against the frame it came with.

use world::{Checksum, Help, Segment};

/// Its length on every wire of this world.
pub(crate) const HEADER: usize = 12;

const NEEDS_CHECKSUM: u8 = 1;
const CHECKSUM_VERIFIED: u8 = 2;
const WHOLE: u8 = 0;
const TCP4: u8 = 1;
const TCP6: u8 = 4;
const CONGESTED: u8 = 0x80;
const ETHERNET: usize = 14;

/// The header contradicts its frame, or says what was never agreed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lie;

/// What an incoming header says of a frame of `len` bytes.
pub(crate) fn read(header: &[u8; HEADER], len: usize) -> Result<Checksum, Lie> {
    let [flags, kind, _, _, size_low, size_high, start_low, start_high, field_low, field_high, ..] = *header;
    let size = u16::from_le_bytes([size_low, size_high]);
    let segmented = match kind & !CONGESTED {
        WHOLE => false,
        TCP4 | TCP6 if size > 0 => true,
        _ => return Err(Lie),
    };
    let start = usize::from(u16::from_le_bytes([start_low, start_high]));
    let field = usize::from(u16::from_le_bytes([field_low, field_high]));
    match flags {
        0 if !segmented => Ok(Checksum::Unknown),
        NEEDS_CHECKSUM if start >= ETHERNET && start + field + 2 <= len => Ok(Checksum::Partial),
        CHECKSUM_VERIFIED => Ok(Checksum::Verified),
        _ => Err(Lie),
    }
}

/// The header that asks for `help`.
pub(crate) fn write(help: Help) -> [u8; HEADER] {
    let mut flags = 0;
    let (start, field) = help.checksum.inspect(|_| flags = NEEDS_CHECKSUM).unwrap_or_default();
    let (kind, header, size) = help.segment.map_or((WHOLE, 0, 0), |cut| match cut.kind {
        Segment::Tcp4 => (TCP4, cut.header, cut.size),
        Segment::Tcp6 => (TCP6, cut.header, cut.size),
    });
    let [[h0, h1], [s0, s1]] = [header, size].map(u16::to_le_bytes);
    let [[c0, c1], [f0, f1]] = [start, field].map(u16::to_le_bytes);
    [flags, kind, h0, h1, s0, s1, c0, c1, f0, f1, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::Segments;

    #[test]
    fn what_is_written_is_read_back_as_partial() {
        let segment = Some(Segments { kind: Segment::Tcp4, header: 54, size: 1460 });
        let header = write(Help { checksum: Some((34, 16)), segment });
        assert_eq!(header, [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0]);
        assert_eq!(read(&header, 3000), Ok(Checksum::Partial));
        assert_eq!(read(&write(Help::default()), 60), Ok(Checksum::Unknown));
    }

    #[test]
    fn a_checksum_that_would_lie_outside_the_frame_is_a_lie() {
        let header = write(Help { checksum: Some((34, 16)), segment: None });
        assert_eq!(read(&header, 52), Ok(Checksum::Partial));
        assert_eq!(read(&header, 51), Err(Lie));
        let far = write(Help { checksum: Some((u16::MAX, u16::MAX)), segment: None });
        assert_eq!(read(&far, 65_550), Err(Lie));
        let inside_ethernet = write(Help { checksum: Some((4, 2)), segment: None });
        assert_eq!(read(&inside_ethernet, 1000), Err(Lie));
    }

    #[test]
    fn what_was_never_agreed_is_a_lie() {
        let udp_segments = [1, 3, 0, 0, 100, 0, 34, 0, 6, 0, 0, 0];
        let nothing_to_cut = [1, 1, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0];
        let segments_without_a_checksum = [0, 1, 54, 0, 100, 0, 0, 0, 0, 0, 0, 0];
        let unknown_flag = [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for header in [udp_segments, nothing_to_cut, segments_without_a_checksum, unknown_flag] {
            assert_eq!(read(&header, 2000), Err(Lie), "{header:?}");
        }
    }

    #[test]
    fn a_congested_segment_is_still_a_segment() {
        assert_eq!(read(&[1, 0x81, 54, 0, 100, 0, 34, 0, 16, 0, 0, 0], 2000), Ok(Checksum::Partial));
    }
}
