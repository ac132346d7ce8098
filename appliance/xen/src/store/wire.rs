//! Messages of xenstore (Xen's `io/xs_wire.h`): sixteen bytes of head and at most 4,096 of payload.

use dma::{Claim, HostLied};

const HEAD: usize = 16;
pub(super) const LARGEST: usize = 4096;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory = 1,
    Read = 2,
    Watch = 4,
    Unwatch = 5,
    Write = 11,
    News = 15,
    Error = 16,
}

const KINDS: [Kind; 7] =
    [Kind::Directory, Kind::Read, Kind::Watch, Kind::Unwatch, Kind::Write, Kind::News, Kind::Error];

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) number: u32,
    pub(crate) payload: Vec<u8>,
}

/// A request; `None` when it is too long for any store.
pub(crate) fn request(kind: Kind, number: u32, parts: &[&[u8]]) -> Option<Vec<u8>> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    (len <= LARGEST).then_some(())?;
    let head = [kind as u32, number, 0, len as u32];
    let head = head.into_iter().flat_map(u32::to_le_bytes);
    Some(head.chain(parts.iter().flat_map(|part| part.iter().copied())).collect())
}

/// Puts messages together out of pieces.
#[derive(Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    spoilt: bool,
}

impl Reader {
    /// Takes in a piece.
    pub(super) fn take(&mut self, piece: &[u8]) {
        if !self.spoilt {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// The next whole message. What cannot be a message ends the stream.
    pub(super) fn next(&mut self) -> Result<Option<Message>, HostLied> {
        let Some(head) = self.bytes.first_chunk::<HEAD>().filter(|_| !self.spoilt) else { return Ok(None) };
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(head.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let [kind, number, _, len] = words;
        let len = Claim::new("length of a message of xenstore", len).at_most(LARGEST)?;
        let known = KINDS.into_iter().find(|known| *known as u32 == kind);
        let kind = known.ok_or(Claim::new("kind of a message of xenstore", kind).lie())?;
        let Some(payload) = self.bytes.get(HEAD..HEAD + len) else { return Ok(None) };
        let payload = payload.to_vec();
        self.bytes.drain(..HEAD + len);
        Ok(Some(Message { kind, number, payload }))
    }

    /// Whether a whole message is in it, or what cannot be one.
    pub(super) fn holds_one(&self) -> bool {
        let len =
            self.bytes.get(12..HEAD).and_then(|bytes| bytes.first_chunk()).copied().map(u32::from_le_bytes);
        len.is_some_and(|len| len as usize > LARGEST || self.bytes.len() >= HEAD + len as usize)
    }

    /// Nothing that comes has a meaning any more.
    pub(super) fn spoil(&mut self) {
        (self.bytes, self.spoilt) = (Vec::new(), true);
    }

    pub(super) fn is_sound(&self) -> bool {
        !self.spoilt
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream() -> (Vec<u8>, Vec<Message>) {
        let message = |kind, number, payload: &[u8]| Message { kind, number, payload: payload.to_vec() };
        let messages = vec![
            message(Kind::Read, 7, b"value"),
            message(Kind::News, 0, b"device/vif\0b\0"),
            message(Kind::Error, 8, b"ENOENT\0"),
            message(Kind::Write, 9, b""),
        ];
        let bytes = messages.iter().flat_map(|m| request(m.kind, m.number, &[&m.payload]).unwrap()).collect();
        (bytes, messages)
    }

    #[test]
    fn every_way_to_cut_the_stream_means_the_same() {
        let (bytes, messages) = stream();
        for cut in 0..=bytes.len() {
            let (mut reader, mut seen) = (Reader::default(), Vec::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                reader.take(piece);
                while let Some(message) = reader.next().unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!(seen, messages, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_message_is_a_lie() {
        for (kind, len) in [(2, LARGEST as u32 + 1), (2, u32::MAX), (99, 0), (0, 0)] {
            let mut reader = Reader::default();
            reader.take(&[kind, 1, 0, len].map(u32::to_le_bytes).concat());
            assert!(reader.next().is_err());
        }
        assert_eq!(request(Kind::Write, 1, &[&[0; LARGEST + 1]]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_messages_or_a_verdict(bytes in proptest::collection::vec(0_u8..20, 0..400)) {
            let mut reader = Reader::default();
            for piece in bytes.chunks(7) {
                reader.take(piece);
                while let Ok(Some(message)) = reader.next() {
                    prop_assert!(message.payload.len() <= LARGEST);
                }
                prop_assert!(reader.bytes.len() <= 400);
            }
        }
    }
}
