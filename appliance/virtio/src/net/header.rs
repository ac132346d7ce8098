//! The twelve bytes before each frame (virtio 1.2, section 5.1.6).

use world::{Checksum, Help, LARGEST_FRAME, Segment};

/// Its length.
pub(super) const LEN: usize = 12;
/// "The checksum is to be completed."
const NEEDED: u8 = 1;
/// "The checksum was verified."
const VERIFIED: u8 = 2;
const TCP4: u8 = 1;
const TCP6: u8 = 4;

/// What the device says before a frame.
pub(super) struct Incoming {
    /// What it says of the checksum.
    pub(super) checksum: Checksum,
    /// Over how many buffers it says that it spread the frame.
    pub(super) buffers: u16,
}

/// The header of an outgoing frame; None when what is asked does not fit the frame.
pub(super) fn outgoing(len: usize, help: Help) -> Option<[u8; LEN]> {
    let mut header = [0; LEN];
    let [flags, kind, header_len @ .., _, _] = &mut header;
    let [header0, header1, size0, size1, start0, start1, offset0, offset1] = header_len;
    if let Some((start, offset)) = help.checksum {
        let end = usize::from(start) + usize::from(offset) + 2;
        (end <= len).then_some(())?;
        *flags = NEEDED;
        [*start0, *start1] = start.to_le_bytes();
        [*offset0, *offset1] = offset.to_le_bytes();
    }
    if let Some(segments) = help.segment {
        (help.checksum.is_some() && segments.size > 0 && usize::from(segments.header) <= len).then_some(())?;
        *kind = if segments.kind == Segment::Tcp4 { TCP4 } else { TCP6 };
        [*header0, *header1] = segments.header.to_le_bytes();
        [*size0, *size1] = segments.size.to_le_bytes();
    }
    (len <= LARGEST_FRAME && len > 0).then_some(header)
}

/// Reads what the device wrote before a frame.
pub(super) fn incoming(header: [u8; LEN]) -> Incoming {
    let [flags, .., low, high] = header;
    let checksum = match flags {
        flags if flags & NEEDED != 0 => Checksum::Partial,
        flags if flags & VERIFIED != 0 => Checksum::Verified,
        _ => Checksum::Unknown,
    };
    Incoming { checksum, buffers: u16::from_le_bytes([low, high]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::Segments;

    #[test]
    fn help_is_written_where_the_standard_says() {
        let segments = Segments { kind: Segment::Tcp6, header: 0x0102, size: 0x0304 };
        let help = Help { checksum: Some((0x0506, 16)), segment: Some(segments) };
        assert_eq!(outgoing(9000, help), Some([1, 4, 2, 1, 4, 3, 6, 5, 16, 0, 0, 0]));
        assert_eq!(outgoing(60, Help::default()), Some([0; 12]));
    }

    #[test]
    fn help_outside_the_frame_is_refused() {
        let with = |checksum, segment| Help { checksum, segment };
        assert!(outgoing(52, with(Some((34, 16)), None)).is_some());
        assert!(outgoing(51, with(Some((34, 16)), None)).is_none());
        assert!(outgoing(51, with(Some((u16::MAX, u16::MAX)), None)).is_none());
        let cut = Segments { kind: Segment::Tcp4, header: 54, size: 1448 };
        assert!(outgoing(9000, with(None, Some(cut))).is_none(), "pieces need checksums");
        assert!(outgoing(9000, with(Some((34, 16)), Some(Segments { size: 0, ..cut }))).is_none());
        assert!(outgoing(LARGEST_FRAME + 1, Help::default()).is_none());
        assert!(outgoing(0, Help::default()).is_none());
    }
}
