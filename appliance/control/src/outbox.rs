//! Bytes that wait to be sent. A channel may take any part of them.

use zeroize::{Zeroize, Zeroizing};

/// What one end has to send; wiped when all of it is gone, because keys pass here.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Zeroizing<Vec<u8>>,
    sent: usize,
}

impl Outbox {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What is still to be sent.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// The channel took so many bytes of [`Outbox::waiting`].
    pub(crate) fn sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count);
        if self.sent >= self.bytes.len() {
            self.wipe();
        }
    }

    pub(crate) fn wipe(&mut self) {
        self.bytes.zeroize();
        self.sent = 0;
    }
}
