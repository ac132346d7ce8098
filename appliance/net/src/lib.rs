//! The stack: the gate that decides what a packet may do, and flows and streams over smoltcp's TCP.
//!
//! Sans-IO: frames and `now` go in, frames and deadlines come out. The only crate that names smoltcp.
//!
//! [`Net`] belongs to the loop, which calls [`Net::turn`]; a [`Handle`] belongs to whoever listens and connects;
//! a [`Stream`] is one connection and a [`Postbox`] one UDP port, and any executor of this thread can wait for them.
#![forbid(unsafe_code)]

mod account;
mod alarms;
mod config;
mod flow;
mod gate;
mod house;
mod out;
mod post;
mod secrets;
mod stack;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub use account::Account;
pub use config::{BadConfig, Cidr, Config, Figures, Keys, News, Share, Whereabouts};
pub use post::{Bounce, Letter, PostError, Postbox, Receive, Why};
pub use stream::{Accept, Connect, ConnectError, Handle, Listener, PortTaken, Presence, Stream};

use core::cell::RefCell;
use stack::Stack;
use std::rc::Rc;
use world::{Instant, Nic, NicFacts};

/// The stack of one network interface.
pub struct Net {
    stack: Rc<RefCell<Stack>>,
}

impl Net {
    /// A stack for an interface of which `facts` are true. Nothing is listening yet.
    ///
    /// # Errors
    /// When an address cannot be one of ours.
    pub fn new(config: Config, facts: NicFacts, keys: Keys, now: Instant) -> Result<Self, BadConfig> {
        Ok(Self { stack: Rc::new(RefCell::new(Stack::new(&config, facts, keys, now)?)) })
    }

    /// What the layers above hold on to.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(self.stack.clone())
    }

    /// Frames in, frames out: a bounded amount of work. Says when to turn again if no frame comes and no stream is
    /// touched before; a moment that has passed means at once.
    pub fn turn(&mut self, now: Instant, nic: &mut impl Nic) -> Option<Instant> {
        self.stack.borrow_mut().turn(now, nic)
    }

    /// Ends connections until `bytes` have come back or will in a moment: those first that are stalled or at rest, then
    /// those that hold most.
    pub fn relieve(&mut self, bytes: usize) {
        self.stack.borrow_mut().relieve(bytes);
    }

    /// True if a stream or a postbox was touched since the last turn: the next turn will have something to say.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.stack.borrow().is_busy()
    }

    /// What has happened to our addresses and nobody was told yet.
    pub fn news(&mut self) -> Option<News> {
        self.stack.borrow_mut().take_news()
    }

    /// Takes new keys. Connections live on; cookies that are on their way are lost.
    pub fn rekey(&mut self, keys: Keys) {
        self.stack.borrow_mut().rekey(keys);
    }
}
