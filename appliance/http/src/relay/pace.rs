//! How much somebody has to send while we wait.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use tasks::{Sleep, Timers};
use world::Instant;

/// How much somebody sends while we wait: `floor` bytes in each `span` of waiting. Time in which we did not want to hear
/// anything does not count.
pub(super) struct Pace {
    pub(super) timers: Timers,
    span: Duration,
    floor: usize,
    waited: Duration,
    since: Option<Instant>,
    moved: usize,
    sleep: Option<Sleep>,
}

impl Pace {
    pub(super) fn new(timers: &Timers, span: Duration, floor: usize) -> Self {
        let timers = timers.clone();
        Self { timers, span, floor, waited: Duration::ZERO, since: None, moved: 0, sleep: None }
    }

    pub(super) fn moved(&mut self, count: usize) {
        if let Some(since) = self.since.take() {
            self.waited += self.timers.now() - since;
        }
        self.sleep = None;
        self.moved = self.moved.saturating_add(count);
        if self.moved >= self.floor {
            (self.moved, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Nothing is there: ready when that lasts for too long.
    pub(super) fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = self.timers.now();
        let since = *self.since.get_or_insert(now);
        let due = since + self.span.saturating_sub(self.waited);
        let timers = &self.timers;
        Pin::new(self.sleep.get_or_insert_with(|| timers.at(due))).poll(context)
    }
}
