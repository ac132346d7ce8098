//! TCP segments.

use super::ip::{self, Ip, TCP};
use super::sum::Sum;
use super::{Seq, short, word};
use core::fmt;
use std::net::SocketAddr;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// The ends of a connection, as we see them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

impl fmt::Debug for Ends {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}-{}", self.local, self.remote)
    }
}

/// One segment, without its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    pub(crate) flags: u8,
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    /// The field as it stands on the wire.
    pub(crate) window: u16,
    pub(crate) options: Options,
    pub(crate) payload: &'a [u8],
}

/// The options that mean something to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) mss: Option<u16>,
    pub(crate) scale: Option<u8>,
    pub(crate) sack_ok: bool,
    pub(crate) stamps: Option<Stamps>,
    /// The first ranges of a selective acknowledgement.
    pub(crate) sack: [Option<(Seq, Seq)>; 3],
}

/// A timestamp and the one that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamps {
    pub(crate) value: u32,
    pub(crate) echo: u32,
}

impl<'a> Segment<'a> {
    /// Reads a segment; the checksum is the caller's business.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let header = usize::from(bytes.get(12)? >> 4) * 4;
        if header < 20 {
            return None;
        }
        let options = Options::read(bytes.get(20..header)?)?;
        Some(Self {
            flags: bytes.get(13)? & (FIN | SYN | RST | PSH | ACK),
            seq: Seq(word(bytes, 4)?),
            ack: Seq(word(bytes, 8)?),
            window: short(bytes, 14)?,
            options,
            payload: bytes.get(header..)?,
        })
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// How many sequence numbers it takes.
    pub(crate) fn len(&self) -> u32 {
        let flags = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        flags + u32::try_from(self.payload.len()).unwrap_or(0)
    }

    /// The sequence number after its last.
    pub(crate) fn end(&self) -> Seq {
        self.seq + self.len()
    }

    /// True for the combinations that no honest sender makes.
    pub(crate) fn is_absurd(&self) -> bool {
        let kinds = u32::from(self.has(SYN)) + u32::from(self.has(FIN)) + u32::from(self.has(RST));
        kinds > 1 || (!self.has(ACK) && !self.has(SYN) && !self.has(RST))
    }

    /// Appends header, options and payload with an empty checksum; says how long the header is.
    pub(crate) fn write(&self, to: &mut Vec<u8>, ports: (u16, u16)) -> usize {
        let start = to.len();
        to.extend_from_slice(&ports.0.to_be_bytes());
        to.extend_from_slice(&ports.1.to_be_bytes());
        to.extend_from_slice(&self.seq.0.to_be_bytes());
        to.extend_from_slice(&self.ack.0.to_be_bytes());
        to.extend_from_slice(&[0, self.flags]);
        to.extend_from_slice(&self.window.to_be_bytes());
        to.extend_from_slice(&[0; 4]);
        self.options.write(to);
        let header = to.len() - start;
        if let Some(offset) = to.get_mut(start + 12) {
            *offset = u8::try_from(header / 4).unwrap_or(5) << 4;
        }
        to.extend_from_slice(self.payload);
        header
    }
}

impl Options {
    /// An option that is cut short spoils the segment; one of the wrong length is as good as absent.
    fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        while let Some((kind, rest)) = bytes.split_first() {
            if *kind == 0 {
                break;
            }
            if *kind == 1 {
                bytes = rest;
                continue;
            }
            let len = usize::from(*rest.first()?);
            options.take(*kind, bytes.get(..len)?.get(2..)?);
            bytes = bytes.get(len..)?;
        }
        Some(options)
    }

    fn take(&mut self, kind: u8, value: &[u8]) {
        match (kind, value.len()) {
            (2, 2) => self.mss = short(value, 0),
            (3, 1) => self.scale = value.first().map(|scale| (*scale).min(14)),
            (4, 0) => self.sack_ok = true,
            (5, _) => {
                let range = |at| word(value, at).map(Seq).zip(word(value, at + 4).map(Seq));
                self.sack = [0, 8, 16].map(range);
            }
            (8, 8) => {
                let stamps = word(value, 0).zip(word(value, 4));
                self.stamps = stamps.map(|(value, echo)| Stamps { value, echo });
            }
            _ => {}
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        if let Some(mss) = self.mss {
            to.extend_from_slice(&[2, 4]);
            to.extend_from_slice(&mss.to_be_bytes());
        }
        if let Some(scale) = self.scale {
            to.extend_from_slice(&[1, 3, 3, scale]);
        }
        if self.sack_ok {
            to.extend_from_slice(&[1, 1, 4, 2]);
        }
        if let Some(Stamps { value, echo }) = self.stamps {
            to.extend_from_slice(&[1, 1, 8, 10]);
            to.extend_from_slice(&value.to_be_bytes());
            to.extend_from_slice(&echo.to_be_bytes());
        }
        if let Ok(len @ 1..) = u8::try_from(self.sack.iter().flatten().count()) {
            to.extend_from_slice(&[1, 1, 5, 2 + 8 * len]);
        }
        for (from, until) in self.sack.iter().flatten() {
            to.extend_from_slice(&from.0.to_be_bytes());
            to.extend_from_slice(&until.0.to_be_bytes());
        }
    }

    /// Bytes that they take in a header.
    pub(crate) fn len(&self) -> usize {
        let word = |there: bool| if there { 4 } else { 0 };
        let pair = |there: bool| if there { 12 } else { 0 };
        let ranges = match self.sack.iter().flatten().count() {
            0 => 0,
            some => 4 + 8 * some,
        };
        word(self.mss.is_some())
            + word(self.scale.is_some())
            + word(self.sack_ok)
            + pair(self.stamps.is_some())
            + ranges
    }
}

impl Ends {
    /// The ends of an arriving packet and what it says.
    pub(crate) fn read<'a>(ip: &Ip<'a>) -> Option<(Self, Segment<'a>)> {
        let (from, to) = (short(ip.payload, 0)?, short(ip.payload, 2)?);
        let ends = Self { local: SocketAddr::new(ip.to, to), remote: SocketAddr::new(ip.from, from) };
        Segment::read(ip.payload).map(|segment| (ends, segment))
    }

    /// True if the transport checksum of an arriving packet is right.
    pub(crate) fn sum_is_right(ip: &Ip<'_>) -> bool {
        Sum::pseudo(ip.from, ip.to, TCP, ip.payload.len()).add(ip.payload).checksum() == 0
    }

    /// Appends an IP packet that carries `segment` to the other end. With `partial`, only the pseudo-header is summed.
    /// Says where the TCP header starts and how long it is.
    pub(crate) fn write(&self, to: &mut Vec<u8>, segment: &Segment<'_>, partial: bool) -> (usize, usize) {
        let (source, target) = (self.local.ip(), self.remote.ip());
        let len = 20 + segment.options.len() + segment.payload.len();
        ip::write(to, source, target, TCP, len, 64);
        let start = to.len();
        let header = segment.write(to, (self.local.port(), self.remote.port()));
        let pseudo = Sum::pseudo(source, target, TCP, len);
        let written = to.get(start..).unwrap_or_default();
        let sum = if partial { pseudo.folded() } else { pseudo.add(written).checksum() };
        if let Some(field) = to.get_mut(start + 16..start + 18) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        (start, header)
    }

    /// What IP and TCP headers without options take.
    pub(crate) fn headers(&self) -> usize {
        ip::header(self.remote.ip()) + 20
    }

    /// True if the packet claims to come from where it goes.
    pub(crate) fn is_land(&self) -> bool {
        self.local == self.remote
    }

    /// True if the other end can be talked to: one host, with an address that routes.
    pub(crate) fn has_a_peer(&self) -> bool {
        self.remote.port() != 0 && ip::is_host(self.remote.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Kind;

    fn ends(v6: bool) -> Ends {
        let (local, remote) =
            if v6 { ("[fd00::1]:80", "[fd00::2]:999") } else { ("10.0.0.1:80", "10.0.0.2:999") };
        Ends { local: local.parse().unwrap(), remote: remote.parse().unwrap() }
    }

    #[test]
    fn what_is_written_is_read_again_from_the_other_end() {
        let stamps = Some(Stamps { value: 7, echo: 8 });
        let options = Options { mss: Some(1460), scale: Some(7), sack_ok: true, stamps, sack: [None; 3] };
        let said =
            Segment { flags: SYN | ACK, seq: Seq(1), ack: Seq(2), window: 3, options, payload: b"odd" };
        for v6 in [false, true] {
            let mut packet = Vec::new();
            ends(v6).write(&mut packet, &said, false);
            let ip = Ip::read(Kind::of(ends(v6).local.ip()), &packet).unwrap();
            assert!(Ends::sum_is_right(&ip));
            let (seen, heard) = Ends::read(&ip).unwrap();
            assert_eq!((seen.local, seen.remote), (ends(v6).remote, ends(v6).local));
            assert_eq!(heard, said);
        }
    }

    #[test]
    fn no_cut_and_no_flip_of_a_packet_makes_the_reader_panic() {
        let options =
            Options { mss: Some(1), stamps: Some(Stamps { value: 1, echo: 2 }), ..Options::default() };
        let said = Segment { flags: ACK, seq: Seq(1), ack: Seq(2), window: 3, options, payload: b"bytes" };
        let mut packet = Vec::new();
        ends(false).write(&mut packet, &said, false);
        for cut in 0..packet.len() {
            assert!(Ip::read(Kind::V4, &packet[..cut]).is_err());
            let _ = Segment::read(&packet[20..][..cut.saturating_sub(20)]);
        }
        for at in 0..packet.len() {
            for value in 0..=255 {
                let mut packet = packet.clone();
                packet[at] = value;
                let _ = Ip::read(Kind::V4, &packet).ok().and_then(|ip| Ends::read(&ip).map(|_| ()));
                let _ = Segment::read(&packet[20..]);
            }
        }
    }
}
