//! The date, for the validity of certificates and tickets.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::sync::Arc;

/// A date that somebody else turns. Nobody has told it the date yet: then no certificate is valid and no
/// handshake succeeds.
///
/// `Arc` because rustls asks for it; nothing here is ever shared between threads.
#[derive(Clone, Debug, Default)]
pub struct Calendar(Arc<AtomicU64>);

impl Calendar {
    /// A calendar that shows the day that is `since_1970` after the start of 1970.
    #[must_use]
    pub fn at(since_1970: Duration) -> Self {
        let calendar = Self::default();
        calendar.turn(since_1970);
        calendar
    }

    /// Shows another date from now on.
    pub fn turn(&self, since_1970: Duration) {
        self.0.store(since_1970.as_secs(), Ordering::Relaxed);
    }

    /// Seconds since 1970; nothing while nobody knows.
    #[must_use]
    pub fn seconds(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds > 0)
    }
}

impl TimeProvider for Calendar {
    fn current_time(&self) -> Option<UnixTime> {
        self.seconds().map(|seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
