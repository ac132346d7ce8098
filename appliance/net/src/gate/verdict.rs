//! What the gate decides about a segment of a connection that exists (RFC 9293 §3.10.7.4 as RFC 5961 and 7323 have it).
//!
//! Nothing that fails here is ever shown to smoltcp, which resets a connection for an inexact RST and drops data that
//! comes with an older, valid acknowledgement.

use crate::wire::{ACK, RST, SYN, Segment, Seq};

/// We never have more than this on the way to a peer: what it acknowledges below is from another life.
const FARTHEST: u32 = 4 << 20;

/// What the gate knows of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// The next byte that we wait for.
    pub(crate) expected: Seq,
    /// The first byte that we have not allowed yet.
    pub(crate) edge: Seq,
    /// The first byte that the peer has not acknowledged.
    pub(crate) una: Seq,
    /// The first byte that we have not sent.
    pub(crate) sent: Seq,
    /// The peer's last timestamp, if it has them.
    pub(crate) stamp: Option<u32>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Let it in.
    Pass,
    /// Let its acknowledgement in and tell the peer where we are: there is no room for its data.
    Bare,
    /// The peer has reset the connection.
    Reset,
    /// Tell the peer where we are; it is paced by its own clock.
    Answer,
    /// Tell the peer where we are, but not often.
    Challenge,
    /// Say nothing.
    Drop,
}

/// Decides about `segment`.
pub(crate) fn judge(view: &View, segment: &Segment<'_>) -> Verdict {
    if segment.has(RST) {
        return judge_reset(view, segment);
    }
    if view.stamp.is_some() && segment.options.stamps.is_none() && !segment.has(SYN) {
        return Verdict::Drop;
    }
    if is_old(view, segment) || segment.has(SYN) {
        return Verdict::Challenge;
    }
    if !segment.has(ACK) {
        return Verdict::Drop;
    }
    if segment.ack.is_after(view.sent) || segment.ack.is_before(view.una - FARTHEST) {
        return Verdict::Challenge;
    }
    judge_place(view, segment)
}

/// RFC 5961 §3.2: only the exact number resets.
fn judge_reset(view: &View, segment: &Segment<'_>) -> Verdict {
    if segment.seq == view.expected {
        return Verdict::Reset;
    }
    let inside = segment.seq.is_after(view.expected) && segment.seq.is_before(view.edge);
    if inside { Verdict::Challenge } else { Verdict::Drop }
}

/// RFC 7323 §5: PAWS.
fn is_old(view: &View, segment: &Segment<'_>) -> bool {
    let pair = view.stamp.zip(segment.options.stamps);
    pair.is_some_and(|(recent, stamps)| stamps.value.wrapping_sub(recent) > u32::MAX / 2)
}

fn judge_place(view: &View, segment: &Segment<'_>) -> Verdict {
    let (start, end) = (segment.seq, segment.end());
    if segment.len() == 0 {
        let inside = !start.is_before(view.expected) && !start.is_after(view.edge);
        return match inside {
            true => Verdict::Pass,
            false if start + 1 == view.expected => Verdict::Answer,
            false => Verdict::Challenge,
        };
    }
    if start == view.expected && view.edge == view.expected {
        return Verdict::Bare;
    }
    if end.is_after(view.expected) && start.is_before(view.edge) { Verdict::Pass } else { Verdict::Answer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FIN, Options, Stamps};

    const VIEW: View =
        View { expected: Seq(1000), edge: Seq(2000), una: Seq(500), sent: Seq(700), stamp: None };

    fn segment(flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Segment<'_> {
        Segment { flags, seq: Seq(seq), ack: Seq(ack), window: 9, options: Options::default(), payload }
    }

    #[test]
    fn each_segment_gets_what_the_rfc_says() {
        let table: [(u8, u32, u32, &[u8], Verdict); 21] = [
            (ACK, 1000, 600, b"data", Verdict::Pass),
            (ACK, 1500, 600, b"data", Verdict::Pass),
            (ACK, 998, 600, b"data", Verdict::Pass),
            (ACK, 1000, 400, b"data", Verdict::Pass),
            (ACK, 996, 600, b"data", Verdict::Answer),
            (ACK, 2000, 600, b"data", Verdict::Answer),
            (ACK, 1000, 701, b"data", Verdict::Challenge),
            (ACK, 1000, 0x8000_0000, b"", Verdict::Challenge),
            (ACK, 1000, 700, b"", Verdict::Pass),
            (ACK, 999, 700, b"", Verdict::Answer),
            (ACK, 900, 700, b"", Verdict::Challenge),
            (ACK, 2001, 700, b"", Verdict::Challenge),
            (ACK | FIN, 1000, 700, b"", Verdict::Pass),
            (ACK | FIN, 999, 700, b"", Verdict::Answer),
            (RST, 1000, 0, b"", Verdict::Reset),
            (RST | ACK, 1000, 9, b"", Verdict::Reset),
            (RST, 1001, 0, b"", Verdict::Challenge),
            (RST, 999, 0, b"", Verdict::Drop),
            (RST, 2000, 0, b"", Verdict::Drop),
            (SYN, 1000, 0, b"", Verdict::Challenge),
            (SYN | ACK, 5, 600, b"", Verdict::Challenge),
        ];
        for (flags, seq, ack, payload, verdict) in table {
            let said = segment(flags, seq, ack, payload);
            assert_eq!(judge(&VIEW, &said), verdict, "{said:?}");
        }
    }

    #[test]
    fn a_closed_window_takes_acknowledgements_and_no_data() {
        let view = View { edge: Seq(1000), ..VIEW };
        assert_eq!(judge(&view, &segment(ACK, 1000, 600, b"probe")), Verdict::Bare);
        assert_eq!(judge(&view, &segment(ACK, 1000, 600, b"")), Verdict::Pass);
    }

    #[test]
    fn an_old_or_missing_timestamp_keeps_a_segment_out_but_not_a_reset() {
        let view = View { stamp: Some(5), ..VIEW };
        let stamped = |flags, value| {
            let stamps = Some(Stamps { value, echo: 0 });
            Segment {
                options: Options { stamps, ..Options::default() },
                ..segment(flags, 1000, 600, b"data")
            }
        };
        assert_eq!(judge(&view, &stamped(ACK, 5)), Verdict::Pass);
        assert_eq!(judge(&view, &stamped(ACK, 4)), Verdict::Challenge);
        assert_eq!(judge(&view, &segment(ACK, 1000, 600, b"data")), Verdict::Drop);
        assert_eq!(judge(&view, &segment(RST, 1000, 600, b"")), Verdict::Reset);
    }
}
