//! One request, carried to an upstream and back.

use super::Relay;
use super::bodies::{Download, Fault, Pace, Progress, Question, Said, State, Tied, Upload, tie};
use super::heads::{self, Length, Onward};
use super::tunnel::Tunnel;
use super::upstream::{self, NoLine, Ticket, Upstream};
use crate::Visit;
use crate::answer::Way;
use crate::exchange::{Exchange, Open};
use crate::house::House;
use crate::line::Line;
use crate::page::Page;
use crate::wire::Trunk;
use bundle::Proxy;
use bytes::Bytes;
use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::http::request;
use hyper::{Method, Request, Response, StatusCode};
use std::rc::Rc;
use tasks::{Tasks, Timers};

/// What hyper may hold of an upstream's head, or of a piece of its body.
const HELD: usize = 64 * 1024;
/// The most header lines of an answer.
const LINES: usize = 200;
/// How often a request is sent at most.
const ATTEMPTS: usize = 3;

/// Where an upstream's end is put when a connection is to be taken over.
pub(crate) type Slot = RefCell<Option<Tunnel>>;

/// A request that has found its relay.
pub(crate) struct Errand {
    pub(crate) house: Rc<House>,
    pub(crate) visit: Rc<Visit>,
    tasks: Tasks,
    relay: Rc<Relay>,
    /// What the request names as host, checked.
    authority: Box<str>,
    /// There, when the connection may be taken over.
    slot: Option<Rc<Slot>>,
}

/// Why an upstream gave no answer.
enum Failure {
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

/// There is no answer. The body of the request is kept until the one in its place is out.
pub(crate) struct Failed {
    status: StatusCode,
    open: Option<Open>,
    question: Option<Incoming>,
}

impl Failed {
    /// The answer in its place.
    pub(crate) fn answer(self, page: impl FnOnce(StatusCode) -> Response<Page>) -> Response<Said> {
        let mut answer = page(self.status);
        if let Some(open) = self.open {
            answer.body_mut().is_open(open);
        }
        if let Some(question) = self.question.filter(|question| !question.is_end_stream()) {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            answer.body_mut().answers(question);
        }
        answer.map(Said::Page)
    }
}

/// A request on its way, as often as it has to be sent.
struct Passage {
    question: Question,
    open: Option<Open>,
    upgrade: Option<HeaderValue>,
    method: Method,
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
        let length = Length::of(&body);
        let may = self.slot.is_some() && self.relay.words.upgrades && length == Length::None;
        let upgrade = heads::wanted_upgrade(&head).filter(|_| may);
        let mut passage = Passage {
            upgrade,
            length,
            repeatable: length == Length::None && is_idempotent(&head.method),
            method: head.method.clone(),
            question: Rc::new(RefCell::new(Some(body))),
            open: Some(open),
        };
        let outcome = self.passed(&mut passage, head).await;
        let question = passage.question;
        outcome.map_err(|status| Failed { status, open: passage.open, question: question.take() })
    }

    async fn passed(
        &self,
        passage: &mut Passage,
        head: request::Parts,
    ) -> Result<Response<Said>, StatusCode> {
        if head.method == Method::CONNECT || head.method == Method::TRACE {
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
        let call = Call { errand: self, upstream, ticket };
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

    fn seconds(seconds: u32) -> Duration {
        Duration::from_secs(u64::from(seconds))
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

type Wired = Connection<Line<Trunk>, Upload>;

/// One request at one upstream.
struct Call<'a> {
    errand: &'a Errand,
    upstream: &'a Rc<Upstream>,
    ticket: Ticket,
}

impl Call<'_> {
    async fn answer(
        self,
        line: upstream::Line,
        passage: &mut Passage,
        head: &request::Parts,
    ) -> Result<Response<Said>, Failure> {
        let timers = self.errand.tasks.timers();
        let exchange = Exchange::new(timers.clone());
        let through = Line::new(line.trunk, Bytes::new(), true, exchange.clone());
        let handshake = http1::Builder::new().max_buf_size(HELD).max_headers(LINES).handshake(through);
        let (mut sender, mut connection) = handshake.await.map_err(|_| Failure::Broke)?;
        let progress = Rc::new(Progress::default());
        let limits = &self.errand.house.limits;
        let pace = Pace::new(timers, limits.stall, limits.floor);
        let (front, question) = (passage.open.as_ref().map(Open::exchange), passage.question.clone());
        let upload = Upload::new(front, question, progress.clone(), pace, self.errand.relay.words.body);
        let request = Request::from_parts(head.clone(), upload);
        let waits = Waits::of(&self.errand.relay, timers, &exchange);
        let answer = waits.head(sender.send_request(request), &mut connection, &progress).await;
        let answer = answer.map_err(|failure| progress.fault().map_or(failure, Failure::Fault))?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.taken_over(answer, connection, passage);
        }
        let rest = Rest { connection, sender, progress, waits };
        self.homeward(answer, rest, passage)
    }

    fn homeward(
        self,
        answer: Response<Incoming>,
        rest: Rest,
        passage: &mut Passage,
    ) -> Result<Response<Said>, Failure> {
        let (mut head, body) = answer.into_parts();
        heads::homeward(head.status, &mut head.headers, &body, &passage.method)
            .map_err(|_| Failure::Broke)?;
        head.version = hyper::Version::HTTP_11;
        let open = passage.open.take().ok_or(Failure::Broke)?;
        let (tie, tied) = tie();
        let tasks = &self.errand.tasks;
        let pace = Pace::new(tasks.timers(), rest.waits.stall, 1);
        let keep = !self.errand.relay.words.announce;
        tasks.spawn(rest.finish(tied, self.upstream.clone(), self.ticket, keep, tasks.clone()));
        let download = Download::new(body, tie, open, pace, passage.question.clone());
        Ok(Response::from_parts(head, Said::Download(Box::new(download))))
    }

    /// The upstream agrees to another protocol.
    fn taken_over(
        self,
        answer: Response<Incoming>,
        connection: Wired,
        passage: &mut Passage,
    ) -> Result<Response<Said>, Failure> {
        let Some(slot) = self.errand.slot.as_ref().filter(|_| passage.upgrade.is_some()) else {
            return Err(Failure::Broke);
        };
        let (mut head, body) = answer.into_parts();
        heads::homeward(head.status, &mut head.headers, &body, &passage.method)
            .map_err(|_| Failure::Broke)?;
        let parts = connection.into_parts();
        let patience = Errand::seconds(self.errand.relay.words.waits.tunnel);
        let (trunk, said) = (parts.io.into_stream(), parts.read_buf);
        slot.replace(Some(Tunnel { trunk, said, patience, ticket: self.ticket }));
        Ok(Response::from_parts(head, Said::Page(Page::default())))
    }
}

/// How long we wait for one upstream on one connection.
struct Waits {
    timers: Timers,
    exchange: Rc<Exchange>,
    head: Duration,
    stall: Duration,
}

impl Waits {
    fn of(relay: &Relay, timers: &Timers, exchange: &Rc<Exchange>) -> Self {
        let waits = relay.words.waits;
        let (head, stall) = (Errand::seconds(waits.head), Errand::seconds(waits.stall));
        Self { timers: timers.clone(), exchange: exchange.clone(), head, stall }
    }

    /// Drives the connection until there is the head of an answer.
    async fn head(
        &self,
        answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
        connection: &mut Wired,
        progress: &Progress,
    ) -> Result<Response<Incoming>, Failure> {
        let mut answer = pin!(answer);
        let mut sleep = self.timers.after(self.head);
        let mut alarm = self.timers.after(self.stall);
        let mut over = false;
        poll_fn(|context| {
            over = over || Pin::new(&mut *connection).poll_without_shutdown(context).is_ready();
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer.map_err(|_| Failure::Broke));
            }
            if over {
                return Poll::Ready(Err(Failure::Broke));
            }
            progress.watch(context);
            if let Some(ended) = progress.ended() {
                sleep.reset(ended + self.head);
                core::task::ready!(Pin::new(&mut sleep).poll(context));
                return Poll::Ready(Err(Failure::Late));
            }
            self.poll_stalled(&mut alarm, context).map(|()| Err(Failure::Late))
        })
        .await
    }

    /// Ready when the upstream has taken nothing of what we wrote for too long.
    fn poll_stalled(&self, alarm: &mut tasks::Sleep, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(due) = self.exchange.due(self.stall) else { return Poll::Pending };
            alarm.reset(due);
            core::task::ready!(Pin::new(&mut *alarm).poll(context));
            if self.exchange.too_slow(self.stall, 1) {
                return Poll::Ready(());
            }
        }
    }
}

/// What is left of an exchange when the head of the answer is there.
struct Rest {
    connection: Wired,
    sender: SendRequest<Upload>,
    progress: Rc<Progress>,
    waits: Waits,
}

impl Rest {
    /// Carries the bodies, and keeps the connection if it can be used again.
    async fn finish(self, tied: Tied, upstream: Rc<Upstream>, ticket: Ticket, keep: bool, tasks: Tasks) {
        let Self { mut connection, sender, progress, waits } = self;
        let (mut sender, mut alarm) = (Some(sender), waits.timers.after(waits.stall));
        let clean = poll_fn(|context| {
            match tied.state(context) {
                State::Cut => return Poll::Ready(false),
                State::Heard if progress.ended().is_none() => return Poll::Ready(false),
                State::Heard | State::Hearing => {}
            }
            let over = connection.poll_without_shutdown(context);
            if over.is_ready() {
                return Poll::Ready(false);
            }
            if sender.as_ref().is_some_and(SendRequest::is_ready) {
                // At rest: without a sender hyper ends at once and gives the stream back.
                sender = None;
                return connection.poll_without_shutdown(context).map(|outcome| outcome.is_ok());
            }
            waits.poll_stalled(&mut alarm, context).map(|()| false)
        })
        .await;
        drop(ticket);
        if clean && keep {
            let parts = connection.into_parts();
            if parts.read_buf.is_empty() {
                // It may outlive the client that it was opened for.
                upstream.rest(parts.io.into_stream(), &tasks.beside());
            }
        }
    }
}

/// Asks an upstream how it is: true if it says that it is well.
pub(super) async fn ask(
    upstream: &Rc<Upstream>,
    request: request::Parts,
    words: &Proxy,
    timers: &Timers,
) -> bool {
    let Ok(line) = upstream.line(true, Vec::new(), timers).await else { return false };
    let exchange = Exchange::new(timers.clone());
    let through = Line::new(line.trunk, Bytes::new(), true, exchange.clone());
    let builder = http1::Builder::new().max_buf_size(HELD).max_headers(LINES).handshake(through);
    let Ok((mut sender, mut connection)) = builder.await else { return false };
    let progress = Rc::new(Progress::default());
    let pace = Pace::new(timers, Duration::ZERO, 0);
    let upload = Upload::new(None, Rc::default(), progress.clone(), pace, 0);
    let (head, stall) = (Errand::seconds(words.waits.head), Errand::seconds(words.waits.stall));
    let waits = Waits { timers: timers.clone(), exchange, head, stall };
    let answer =
        waits.head(sender.send_request(Request::from_parts(request, upload)), &mut connection, &progress);
    answer.await.is_ok_and(|answer| answer.status().is_success() || answer.status().is_redirection())
}
