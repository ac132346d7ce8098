//! One request, carried to an upstream and back.

use super::Relay;
use super::bodies::{Asked, Fault, Said};
use super::call::Call;
use super::heads::{self, Length, Onward};
use super::tunnel::Tunnel;
use super::upstream::{NoLine, Upstream};
use crate::Visit;
use crate::answer::Way;
use crate::exchange::Open;
use crate::house::House;
use crate::page::Page;
use crate::question::Question;
use core::cell::RefCell;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request;
use hyper::{Method, Request, Response, StatusCode, Version};
use std::rc::Rc;
use tasks::Tasks;

/// How often a request is sent at most.
const ATTEMPTS: usize = 3;

/// Where an upstream's end is put when a connection is to be taken over.
pub(crate) type Slot = RefCell<Option<Tunnel>>;

/// A request that has found its relay.
pub(crate) struct Errand {
    pub(crate) house: Rc<House>,
    pub(crate) visit: Rc<Visit>,
    pub(super) tasks: Tasks,
    pub(super) relay: Rc<Relay>,
    /// What the request names as host, checked.
    authority: Box<str>,
    /// There, when the connection may be taken over.
    pub(super) slot: Option<Rc<Slot>>,
}

/// Why an upstream gave no answer.
pub(super) enum Failure {
    /// There is no connection.
    NoLine(NoLine),
    /// It took nothing or said nothing for too long.
    Late,
    /// What it said was no answer, or it left.
    Broke,
    /// The body of the request failed.
    Fault(Fault),
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoLine(NoLine::Refused) | Self::Broke => StatusCode::BAD_GATEWAY,
            Self::NoLine(NoLine::Late) | Self::Late => StatusCode::GATEWAY_TIMEOUT,
            Self::Fault(Fault::Slow) => StatusCode::REQUEST_TIMEOUT,
            Self::Fault(Fault::Long) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Fault(Fault::Gone) => StatusCode::BAD_REQUEST,
        }
    }
}

/// There is no answer.
pub(crate) struct Failed {
    status: StatusCode,
    open: Option<Open>,
    /// The body of the request was not all there.
    early: bool,
}

impl Failed {
    /// The answer in its place.
    pub(crate) fn answer(self, page: impl FnOnce(StatusCode) -> Response<Page>) -> Response<Said> {
        let mut answer = page(self.status);
        if let Some(open) = self.open {
            answer.body_mut().is_open(open);
        }
        if self.early {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer.map(Said::Page)
    }
}

/// A request on its way, as often as it has to be sent.
pub(super) struct Passage {
    pub(super) question: Asked,
    pub(super) open: Option<Open>,
    pub(super) upgrade: Option<HeaderValue>,
    pub(super) method: Method,
    length: Length,
    /// It may be sent again although it may have arrived: there is no body, and twice means the same as once.
    repeatable: bool,
}

impl Errand {
    pub(crate) fn new(
        house: &Rc<House>,
        visit: &Rc<Visit>,
        tasks: &Tasks,
        way: &Way,
        slot: Option<Rc<Slot>>,
    ) -> Self {
        let (house, visit, tasks) = (house.clone(), visit.clone(), tasks.clone());
        Self { house, visit, tasks, relay: way.relay.clone(), authority: way.authority.clone(), slot }
    }

    /// The upstream's answer, or the status that stands for its lack.
    pub(crate) async fn run(self, request: Request<Incoming>, open: Open) -> Result<Response<Said>, Failed> {
        let (head, body) = request.into_parts();
        open.exchange().hear_asides(head.version == Version::HTTP_11);
        let length = Length::of(&body);
        let may = self.slot.is_some() && self.relay.words.upgrades && length == Length::None;
        let upgrade = heads::wanted_upgrade(&head).filter(|_| may);
        let question = Question::new(body, &open.exchange(), &self.tasks, self.house.limits.linger);
        let mut passage = Passage {
            upgrade,
            length,
            repeatable: length == Length::None && is_idempotent(&head.method),
            method: head.method.clone(),
            question: Rc::new(RefCell::new(question)),
            open: Some(open),
        };
        let outcome = self.passed(&mut passage, head).await;
        let early = !passage.question.borrow().is_over();
        outcome.map_err(|status| Failed { status, open: passage.open, early })
    }

    async fn passed(
        &self,
        passage: &mut Passage,
        head: request::Parts,
    ) -> Result<Response<Said>, StatusCode> {
        // PRI is how connections of HTTP/2 begin, and nothing else may (RFC 9113 §3.4).
        if [Method::CONNECT, Method::TRACE].contains(&head.method) || head.method.as_str() == "PRI" {
            return Err(StatusCode::NOT_IMPLEMENTED);
        }
        if matches!(passage.length, Length::Known(length) if length > self.relay.words.body) {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let head = self.onward(passage, head);
        let (mut tried, mut fresh, mut status) = (Vec::new(), false, StatusCode::SERVICE_UNAVAILABLE);
        for attempt in 0..ATTEMPTS {
            let now = self.tasks.timers().now();
            let Some((place, upstream)) = self.relay.choose(&tried, now) else { break };
            if attempt > 0 {
                upstream.retried();
            }
            let (failure, again) = match self.attempt(&upstream, passage, &head, fresh).await {
                Ok(answer) => return Ok(answer),
                Err(told) => told,
            };
            status = failure.status();
            match again {
                Again::Never => break,
                Again::Elsewhere => tried.push(place),
                Again::Afresh => fresh = true,
            }
        }
        Err(status)
    }

    fn onward(&self, passage: &Passage, head: request::Parts) -> request::Parts {
        let onward = Onward {
            words: &self.relay.words,
            visit: &self.visit,
            authority: &self.authority,
            trusted: &self.house.trusted,
            length: passage.length,
            upgrade: passage.upgrade.as_ref(),
        };
        onward.head(head)
    }

    /// Sends the request once. Where it failed: why, and whether it may be sent again.
    async fn attempt(
        &self,
        upstream: &Rc<Upstream>,
        passage: &mut Passage,
        head: &request::Parts,
        fresh: bool,
    ) -> Result<Response<Said>, (Failure, Again)> {
        let timers = self.tasks.timers();
        let ticket = upstream.ticket();
        let preface =
            if self.relay.words.announce { super::announce::header(&self.visit) } else { Vec::new() };
        let line = upstream.line(fresh, preface, timers).await.map_err(|none| {
            upstream.failed(timers.now());
            (Failure::NoLine(none), Again::Elsewhere)
        })?;
        let used = line.used;
        let call = Call::new(self, upstream, ticket);
        let outcome = call.answer(line, passage, head).await;
        let failure = match outcome {
            Ok(answer) => {
                upstream.worked();
                return Ok(answer);
            }
            Err(failure) => failure,
        };
        // An upstream that closes a connection just when we use it again has not failed.
        let raced = used && matches!(failure, Failure::Broke);
        if !raced && !matches!(failure, Failure::Fault(_)) {
            upstream.failed(timers.now());
        }
        let again = match failure {
            Failure::Broke if passage.repeatable => {
                if raced {
                    Again::Afresh
                } else {
                    Again::Elsewhere
                }
            }
            _ => Again::Never,
        };
        Err((failure, again))
    }
}

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Never,
    /// To another upstream.
    Elsewhere,
    /// On a new connection.
    Afresh,
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method)
}
