//! The live figures: what the appliance tells anybody about itself. Nothing secret is among them.

use super::journal::Journal;
use super::well;
use core::cell::{Cell, RefCell};
use core::time::Duration;
use http::Figures;
use net::Handle;
use std::rc::Rc;
use world::Instant;

/// Counters of this appliance since it began.
#[derive(Default)]
pub(super) struct Tally {
    /// What is told and counted of each answer.
    pub(super) journal: Rc<Journal>,
    began: Cell<Instant>,
    now: Cell<Instant>,
    handshakes: Cell<u64>,
    failed: Cell<u64>,
    turned_away: Cell<u64>,
    reloads: Cell<u64>,
    reloads_refused: Cell<u64>,
    handle: RefCell<Option<Handle>>,
}

impl Tally {
    pub(super) fn beginning(now: Instant) -> Rc<Self> {
        Rc::new(Self { began: Cell::new(now), now: Cell::new(now), ..Self::default() })
    }

    /// The stack that is asked from now on.
    pub(super) fn watch(&self, handle: Handle) {
        self.handle.replace(Some(handle));
    }

    /// Sources have shares.
    pub(super) fn is_crowded(&self) -> bool {
        self.handle.borrow().as_ref().is_some_and(Handle::is_crowded)
    }

    pub(super) fn turn(&self, now: Instant) {
        self.now.set(now);
    }

    pub(super) fn greeted(&self) {
        self.handshakes.set(self.handshakes.get().saturating_add(1));
    }

    /// A handshake came to nothing.
    pub(super) fn stumbled(&self) {
        self.failed.set(self.failed.get().saturating_add(1));
    }

    /// Somebody was not let in, because memory is short.
    pub(super) fn refused(&self) {
        self.turned_away.set(self.turned_away.get().saturating_add(1));
    }

    /// Another bundle was offered, and taken or not.
    pub(super) fn reloaded(&self, taken: bool) {
        let count = if taken { &self.reloads } else { &self.reloads_refused };
        count.set(count.get().saturating_add(1));
    }

    /// Bundles that were taken, and that were not.
    pub(super) fn reloads(&self) -> (u64, u64) {
        (self.reloads.get(), self.reloads_refused.get())
    }

    pub(super) fn handshakes(&self) -> u64 {
        self.handshakes.get()
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.get()
    }

    pub(super) fn turned_away(&self) -> u64 {
        self.turned_away.get()
    }

    pub(super) fn up(&self) -> Duration {
        self.now.get() - self.began.get()
    }
}

impl Figures for Tally {
    fn now(&self) -> Vec<(&'static str, String)> {
        let net = self.handle.borrow().as_ref().map(Handle::figures).unwrap_or_default();
        let entropy = well::provenance();
        let up = self.up().as_secs();
        vec![
            ("up", format!("{}:{:02}:{:02}", up / 3600, up / 60 % 60, up % 60)),
            ("connections", net.accepted.to_string()),
            ("open now", net.open.to_string()),
            ("handshakes", self.handshakes.get().to_string()),
            ("heap in use", format!("{} KiB", runtime::heap::in_use() / 1024)),
            (
                "refused",
                (self.failed.get() + self.turned_away.get() + net.refused + net.malformed).to_string(),
            ),
            ("frames in", net.frames_in.to_string()),
            ("frames out", net.frames_out.to_string()),
            ("half open", net.half_open.to_string()),
            ("cookies", net.cookies.to_string()),
            ("evicted", net.evicted.to_string()),
            ("heap at most", format!("{} KiB", runtime::heap::peak() / 1024)),
            ("entropy", format!("{:?}, {} s ago", entropy.diet, entropy.age.as_secs()).to_lowercase()),
            ("seeds", entropy.reseeds.to_string()),
        ]
    }
}
