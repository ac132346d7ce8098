//! HTTP/2: hyper and h2 for as long as the connection lives, under our deadlines.
//!
//! Which knob guards against which flood:
//!
//! | flood | guard |
//! |---|---|
//! | rapid reset (CVE-2023-44487) | `max_pending_accept_reset_streams`, and [`crate::Limits::requests`] |
//! | MadeYouReset (CVE-2025-8671) | `max_local_error_reset_streams` |
//! | CONTINUATION (CVE-2024-27316) | `max_header_list_size`: h2 ends a block that grows past it; [`UNASKED`] |
//! | HPACK bombs | `header_table_size` and `max_header_list_size`, which counts decoded bytes |
//! | window stalls | `max_send_buf_size`, [`crate::Limits::streams`], [`crate::Limits::stall`] |
//! | PING, SETTINGS, PRIORITY, empty DATA | [`UNASKED`], [`crate::Limits::idle`]: only requests are life |
//! | bodies nobody asked for | the smallest window; [`Question`] is heard out for a moment, then its stream is reset |

use crate::books::Pending;
use crate::crowd::Guest;
use crate::exchange::{Exchange, Open};
use crate::house::House;
use crate::line::Line;
use crate::question::Question;
use crate::relay::{Errand, Said};
use crate::reply::Reply;
use crate::wire::Wire;
use crate::{Visit, answer};
use bytes::Bytes;
use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker, ready};
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper::{Request, Response};
use std::rc::Rc;
use tasks::{Sleep, Tasks, Timers};

/// How many bytes a peer may send between two requests: more than any head and the frames around it.
const UNASKED: usize = 256 * 1024;
/// How many resets a peer may provoke or send before we hang up.
const RESETS: usize = 20;
/// What hyper may hold of an answer that the peer's window does not let through.
const SEND_BUFFER: usize = 64 * 1024;
/// The window of a request body: the smallest that RFC 9113 starts with.
const WINDOW: u32 = 65_535;

pub(crate) async fn drive<S>(stream: S, visit: Visit, house: Rc<House>, tasks: Tasks)
where
    S: Wire + 'static,
{
    let guest = Guest::of(&house, visit.peer.ip());
    let watch = Watch::new(house.clone(), guest, tasks.timers().clone());
    let line = Line::new(stream, Bytes::new(), true, watch.exchange.clone());
    let (visit, exchange) = (Rc::new(visit), watch.exchange.clone());
    let service = Answers { visit, house: house.clone(), exchange, tasks: tasks.clone() };
    let limits = &house.limits;
    let connection = http2::Builder::new(Threads(tasks))
        .max_concurrent_streams(limits.streams)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .header_table_size(4096)
        .max_frame_size(16_384)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .serve_connection(line, service);
    watch.over(pin!(connection)).await;
}

/// The deadlines of one connection.
struct Watch {
    exchange: Rc<Exchange>,
    house: Rc<House>,
    timers: Timers,
}

/// What the watch makes of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// All is well.
    Well,
    /// It is time to say goodbye and finish what is open.
    Goodbye,
    /// It is time to leave.
    Enough,
    /// The peer takes too little or says too much: it is cut off.
    TooMuch,
}

impl Watch {
    fn new(house: Rc<House>, guest: Option<Guest>, timers: Timers) -> Self {
        Self { exchange: Exchange::of(timers.clone(), guest, true), house, timers }
    }

    /// Drives the connection until it is done or one of its deadlines passes.
    async fn over<S>(self, mut connection: Pin<&mut http2::Connection<Line<S>, Answers, Threads>>)
    where
        S: Wire + 'static,
    {
        let mut pace = self.timers.after(self.house.limits.stall);
        let mut rest = self.timers.after(self.house.limits.head);
        let (mut heads, mut leaving) = (0, false);
        let mut moving = self.house.notice.moving.heard();
        poll_fn(|context| {
            loop {
                if connection.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                if self.exchange.heads() != heads || self.exchange.is_open() {
                    heads = self.exchange.heads();
                    rest.reset(self.timers.now() + self.house.limits.idle);
                }
                let mood = match Pin::new(&mut moving).poll(context) {
                    Poll::Ready(()) if !leaving => Poll::Ready(Mood::Goodbye),
                    _ => self.poll_mood(leaving, &mut pace, &mut rest, context),
                };
                match ready!(mood) {
                    Mood::Well => {}
                    Mood::Enough => return Poll::Ready(()),
                    Mood::TooMuch => {
                        self.exchange.give_up();
                        let _ = connection.as_mut().poll(context);
                        return Poll::Ready(());
                    }
                    Mood::Goodbye => {
                        leaving = true;
                        rest.reset(self.timers.now() + self.house.limits.linger);
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        })
        .await;
    }

    fn poll_mood(
        &self,
        leaving: bool,
        pace: &mut Sleep,
        rest: &mut Sleep,
        context: &mut Context<'_>,
    ) -> Poll<Mood> {
        let limits = &self.house.limits;
        if self.exchange.unasked() > UNASKED {
            return Poll::Ready(Mood::TooMuch);
        }
        if !leaving && self.exchange.heads() >= limits.requests {
            return Poll::Ready(Mood::Goodbye);
        }
        if let Some(due) = self.exchange.due(limits.stall) {
            pace.reset(due);
            if Pin::new(pace).poll(context).is_ready() {
                let slow = self.exchange.too_slow(limits.stall, limits.floor);
                return Poll::Ready(if slow { Mood::TooMuch } else { Mood::Well });
            }
        }
        let over = if leaving { Mood::Enough } else { Mood::Goodbye };
        if self.exchange.is_open() { Poll::Pending } else { Pin::new(rest).poll(context).map(|()| over) }
    }
}

/// The service that hyper asks for every stream.
struct Answers {
    visit: Rc<Visit>,
    house: Rc<House>,
    exchange: Rc<Exchange>,
    tasks: Tasks,
}

impl Service<Request<Incoming>> for Answers {
    type Response = Response<Said>;
    type Error = Infallible;
    type Future = Reply;

    fn call(&self, request: Request<Incoming>) -> Reply {
        self.exchange.asked();
        let (head, question) = request.into_parts();
        let entry = Pending::of(&self.house, &self.visit, &head, self.tasks.timers());
        let refusal = self.exchange.has_its_share().then(answer::crowded);
        if let Some(way) = answer::way(&self.house, &self.visit, &head).filter(|_| refusal.is_none()) {
            let errand = Errand::new(&self.house, &self.visit, &self.tasks, &way, None);
            return Reply::relayed(
                errand,
                way,
                Request::from_parts(head, question),
                Open::new(&self.exchange),
                false,
            )
            .booked(entry);
        }
        if !question.is_end_stream() {
            drop(Question::new(question, &self.exchange, &self.tasks, self.house.limits.linger));
        }
        let mut answer = refusal.unwrap_or_else(|| answer::answer(&self.house, &self.visit, &head));
        answer.body_mut().belongs_to(&self.exchange);
        Reply::said(answer).booked(entry)
    }
}

/// hyper's name for what spawns. An answer that is there at once and fits into the windows is said at once; each other is
/// a task of its own.
#[derive(Clone)]
struct Threads(Tasks);

impl<F: Future<Output = ()> + 'static> Executor<F> for Threads {
    fn execute(&self, answer: F) {
        let mut answer = Box::pin(answer);
        if answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.0.spawn(answer);
        }
    }
}

#[cfg(test)]
mod tests;
