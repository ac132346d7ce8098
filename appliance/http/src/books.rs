//! The books: what was asked and answered, for whoever keeps them. An entry is made when the head of an answer is
//! known. What stands behind a question mark never gets in: it is where people put what is secret.

use crate::Visit;
use crate::house::House;
use core::net::IpAddr;
use core::time::Duration;
use hyper::http::request::Parts;
use hyper::{Method, Version};
use std::rc::Rc;
use tasks::Timers;
use world::Instant;

/// Who keeps the books.
pub trait Books {
    /// Whether whole lines are wanted; otherwise only what can be counted is told.
    fn wants_lines(&self) -> bool;

    /// A request was answered.
    fn answered(&self, entry: &Entry<'_>);
}

/// One request and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The site, by its place in the house, if TLS chose one.
    pub site: Option<usize>,
    /// The status of the answer.
    pub status: u16,
    /// How long its body is, if that is known.
    pub bytes: Option<u64>,
    /// The time until its head was there.
    pub took: Duration,
    /// Who asked, and what; nothing when no lines are wanted.
    pub asked: Option<&'a Asked>,
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By whom.
    pub peer: IpAddr,
    /// How.
    pub method: Method,
    /// For what, without what stands behind a question mark.
    pub path: Box<str>,
    /// There was a question mark.
    pub had_query: bool,
    /// In which version of HTTP.
    pub version: Version,
    /// Of whom, as the handshake heard it.
    pub server_name: Option<Box<str>>,
}

/// An entry that waits for its answer.
pub(crate) struct Pending {
    books: Rc<dyn Books>,
    timers: Timers,
    since: Instant,
    site: Option<usize>,
    asked: Option<Box<Asked>>,
}

impl Pending {
    /// For a request, if somebody keeps books.
    pub(crate) fn of(house: &House, visit: &Visit, head: &Parts, timers: &Timers) -> Option<Self> {
        let books = house.books.clone()?;
        let asked = books.wants_lines().then(|| {
            Box::new(Asked {
                peer: visit.peer.ip(),
                method: head.method.clone(),
                path: head.uri.path().into(),
                had_query: head.uri.query().is_some(),
                version: head.version,
                server_name: visit.server_name.clone(),
            })
        });
        Some(Self { books, timers: timers.clone(), since: timers.now(), site: visit.site, asked })
    }

    /// The answer is there.
    pub(crate) fn close(self, status: u16, bytes: Option<u64>) {
        let took = self.timers.now() - self.since;
        let asked = self.asked.as_deref();
        self.books.answered(&Entry { site: self.site, status, bytes, took, asked });
    }
}
