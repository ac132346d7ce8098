//! The relay: other servers answer in our place.
//!
//! A request finds its [`Relay`] by its path (`way`), gets a head that is safe to pass on (`heads`), and is carried to
//! one of the relay's upstreams (`upstream`) and back (`errand`), both bodies as streams (`bodies`, `pace`): nothing is held
//! of them but what is on its way. hyper is built around one exchange (`call`) and taken apart when the upstream has said
//! all (`tie`); a resting connection is its stream. What a client and an upstream agree to take over is copied by `tunnel`. `health`
//! asks the upstreams how they are, `announce` tells them on whose behalf we call.
//!
//! It opens no connection itself: a [`Dial`] does, and what a name means is that one's business.

mod announce;
mod bodies;
mod call;
mod errand;
mod heads;
mod health;
mod pace;
mod tie;
mod tunnel;
mod upstream;

pub(crate) use bodies::Said;
pub(crate) use errand::{Errand, Slot};
pub(crate) use tunnel::Tunnel;
pub use upstream::Standing;

use crate::wire::Dial;
use bundle::Proxy;
use core::cell::Cell;
use std::rc::Rc;
use tasks::Tasks;
use upstream::Upstream;

/// Paths that other servers answer.
pub struct Relay {
    words: Proxy,
    upstreams: Vec<Rc<Upstream>>,
    turn: Cell<usize>,
}

impl Relay {
    /// What `words` say, with a way to each of their targets, in their order.
    #[must_use]
    pub fn new(words: Proxy, dials: Vec<Rc<dyn Dial>>) -> Rc<Self> {
        let pairs = words.targets.iter().zip(dials);
        let upstreams = pairs.map(|(target, dial)| Upstream::new(target, dial, &words)).collect();
        Rc::new(Self { words, upstreams, turn: Cell::new(0) })
    }

    /// A life begins: connections of an earlier one are forgotten, and the upstreams are asked how they are.
    pub(crate) fn begin(&self, tasks: &Tasks) {
        for upstream in &self.upstreams {
            let life = upstream.begin();
            if let Some(health) = self.words.health.clone() {
                let (words, timers) = (self.words.clone(), tasks.timers().clone());
                tasks.spawn(health::watch(Rc::downgrade(upstream), life, health, words, timers));
            }
        }
    }

    /// The path that it answers, and all below it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.words.path
    }

    /// How each upstream does, in the order of the configuration.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.upstreams.iter().map(|upstream| upstream.standing())
    }

    /// Whether a decoded path is one of ours.
    pub(crate) fn has(&self, path: &str) -> bool {
        path.starts_with(&self.words.path) || self.words.path.strip_suffix('/') == Some(path)
    }

    /// How much of a path names the relay: the relay with the longest such name is the one that is meant.
    pub(crate) fn depth(&self) -> usize {
        self.words.path.len()
    }

    /// The next upstream that is well, has room and is not among those that were `tried`.
    fn choose(&self, tried: &[usize], now: world::Instant) -> Option<(usize, Rc<Upstream>)> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let all = self.upstreams.iter().enumerate();
        let fit: Vec<_> = all
            .filter(|(place, upstream)| !tried.contains(place) && upstream.has_room() && !upstream.is_down())
            .collect();
        // Ejection is a guess: when it leaves nobody, anybody is better.
        let well: Vec<_> = fit.iter().copied().filter(|(_, upstream)| !upstream.is_ejected(now)).collect();
        let mut among = if well.is_empty() { fit } else { well };
        // In turn among those who may be asked: nobody inherits the turns of one that is down.
        let first = turn.checked_rem(among.len())?;
        among.rotate_left(first);
        let chosen = if self.words.least {
            among.into_iter().min_by_key(|(_, upstream)| upstream.in_flight())
        } else {
            among.into_iter().next()
        };
        chosen.map(|(place, upstream)| (place, upstream.clone()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
