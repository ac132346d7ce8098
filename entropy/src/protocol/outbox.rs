//! Bytes that wait to be sent. A channel may take any part of them.

use zeroize::{Zeroize, Zeroizing};

/// What one end has to send. It is wiped as soon as all of it is gone.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Zeroizing<Vec<u8>>,
    sent: usize,
}

impl Outbox {
    /// Room for so many bytes, so that what is secret is not left behind by a growing buffer.
    pub(super) fn with_room(room: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(room)), sent: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What is still to be sent.
    pub(super) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Bytes in memory, sent or not.
    pub(super) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// The channel took so many bytes of [`Outbox::waiting`].
    pub(super) fn sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count);
        if self.sent >= self.bytes.len() {
            self.wipe();
        }
    }

    pub(super) fn wipe(&mut self) {
        self.bytes.zeroize();
        self.sent = 0;
    }
}
