//! One request at one upstream: hyper's client, for as long as one exchange takes.

use super::Relay;
use super::announce;
use super::bodies::{Download, Progress, Said, Upload};
use super::errand::{Errand, Failure, Passage};
use super::heads;
use super::pace::Pace;
use super::tie::{Tied, tie};
use super::tunnel::Tunnel;
use super::upstream::{self, Ticket, Upstream};
use crate::exchange::{Exchange, Open};
use crate::line::Line;
use crate::page::Page;
use crate::wire::Trunk;
use bundle::Proxy;
use bytes::Bytes;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::http::request;
use hyper::{Request, Response, StatusCode};
use std::rc::Rc;
use tasks::{Tasks, Timers};

/// What hyper may hold of an upstream's head, or of a piece of its body.
const HELD: usize = 64 * 1024;
/// The most header lines of an answer.
const LINES: usize = 200;

type Wired = Connection<Line<Trunk>, Upload>;

/// One request at one upstream.
pub(super) struct Call<'a> {
    errand: &'a Errand,
    upstream: &'a Rc<Upstream>,
    ticket: Ticket,
}

impl<'a> Call<'a> {
    pub(super) fn new(errand: &'a Errand, upstream: &'a Rc<Upstream>, ticket: Ticket) -> Self {
        Self { errand, upstream, ticket }
    }

    /// Sends it, and gives what is said to it when its head is there.
    pub(super) async fn answer(
        self,
        line: upstream::Line,
        passage: &mut Passage,
        head: &request::Parts,
    ) -> Result<Response<Said>, Failure> {
        let timers = self.errand.tasks.timers();
        let exchange = Exchange::call(timers.clone());
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
        let refuses = head.status.is_client_error() || head.status.is_server_error();
        if refuses && rest.progress.ended().is_none() {
            // It wants no more of the body, and may reset what is still said: that must not end what it says.
            rest.waits.exchange.deafen();
            passage.question.borrow_mut().hear_out();
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
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
        let patience = seconds(self.errand.relay.words.waits.tunnel);
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
        let (head, stall) = (seconds(waits.head), seconds(waits.stall));
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
            if tied.is_heard(context) && progress.ended().is_none() {
                return Poll::Ready(false);
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
    // Who waits for a header on every connection would answer nothing without one.
    let preface = if words.announce { announce::ourselves() } else { Vec::new() };
    let Ok(line) = upstream.line(true, preface, timers).await else { return false };
    let exchange = Exchange::call(timers.clone());
    let through = Line::new(line.trunk, Bytes::new(), true, exchange.clone());
    let builder = http1::Builder::new().max_buf_size(HELD).max_headers(LINES).handshake(through);
    let Ok((mut sender, mut connection)) = builder.await else { return false };
    let progress = Rc::new(Progress::default());
    let pace = Pace::new(timers, Duration::ZERO, 0);
    let upload = Upload::new(None, Rc::default(), progress.clone(), pace, 0);
    let (head, stall) = (seconds(words.waits.head), seconds(words.waits.stall));
    let waits = Waits { timers: timers.clone(), exchange, head, stall };
    let answer =
        waits.head(sender.send_request(Request::from_parts(request, upload)), &mut connection, &progress);
    answer.await.is_ok_and(|answer| answer.status().is_success() || answer.status().is_redirection())
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}
