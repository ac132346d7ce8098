//! What xenstore says of a device: which path is ours, where the back end's is, and in which domain.

use crate::store::{Store, Subject, Unanswered};

/// States of either end, as xenstore counts them.
pub(crate) mod state {
    /// It begins.
    pub(crate) const BEGINS: u32 = 1;
    /// A back end that waits for us.
    pub(crate) const WAITS: u32 = 2;
    /// It is in use.
    pub(crate) const CONNECTED: u32 = 4;
    /// It is about to be over.
    pub(crate) const CLOSES: u32 = 5;
    /// It is over.
    pub(crate) const CLOSED: u32 = 6;
}

/// Domains have smaller numbers; those above mean something else.
const DOMAINS: u16 = 0x7ff0;

/// The papers of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Papers {
    pub(crate) path: String,
    pub(crate) backend: String,
    pub(crate) domain: u16,
}

impl Papers {
    /// The papers at a path of ours, if they are complete.
    pub(crate) fn read(store: &mut Store, path: String) -> Option<Self> {
        let backend = store.read(&format!("{path}/backend")).ok()?;
        let domain = store.number(&format!("{path}/backend-id")).ok().filter(|domain| *domain < DOMAINS)?;
        Some(Self { path, backend, domain })
    }

    /// The devices of a kind that have papers, by number.
    pub(crate) fn all(store: &mut Store, kind: &str, most: usize) -> Vec<Self> {
        let mut numbers: Vec<u32> =
            store.list(kind).unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        numbers.truncate(most);
        numbers.iter().filter_map(|number| Self::read(store, format!("{kind}/{number}"))).collect()
    }

    /// The back end's state; `None` when there is no back end any more, or nobody who says.
    pub(crate) fn state(&self, store: &mut Store) -> Option<u32> {
        store.number(&format!("{}/state", self.backend)).ok()
    }

    /// Says what our state is.
    pub(crate) fn say(&self, store: &mut Store, state: u32) -> Result<(), Unanswered> {
        store.write(&format!("{}/state", self.path), &state.to_string())
    }

    /// Writes something next to our state.
    pub(crate) fn write(&self, store: &mut Store, name: &str, value: u32) -> Result<(), Unanswered> {
        store.write(&format!("{}/{name}", self.path), &value.to_string())
    }

    /// What the back end wrote next to its own; 0 when it wrote nothing.
    pub(crate) fn feature(&self, store: &mut Store, name: &str) -> u32 {
        store.number(&format!("{}/{name}", self.backend)).unwrap_or(0)
    }

    /// Hears of the back end's changes, or does not any more.
    pub(crate) fn watch(&self, store: &mut Store, subject: Subject, on: bool) {
        let path = format!("{}/state", self.backend);
        let _ = if on { store.watch(&path, subject) } else { store.unwatch(&path, subject) };
    }
}
