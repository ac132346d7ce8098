//! HTTP/1: one request at a time, and hyper only while there is one.
//!
//! Between requests hyper is put away: what is left of a resting connection is its stream and this task. The
//! porter reads the next head. If it asks for a page that is here, `brief` answers it. If not, hyper is built again around
//! it, answers, and is taken apart when the answer has left.

mod brief;

use crate::books::Pending;
use crate::crowd::Guest;
use crate::exchange::{Exchange, Open};
use crate::house::House;
use crate::limits::Limits;
use crate::line::Line;
use crate::porter::{Fit, Porter, Refusal, Verdict};
use crate::question::PAUSE;
use crate::relay::{Errand, Said, Slot, Tunnel};
use crate::reply::Reply;
use crate::wire::{Trunk, Wire};
use crate::{Visit, answer};
use brief::{Brief, is_last};
use bytes::Bytes;
use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_io::{AsyncRead, AsyncWrite};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use std::io;
use std::rc::Rc;
use tasks::{Sleep, Tasks, Timers};

/// What is read at once of a head.
const SIP: usize = 2 * 1024;
/// What a peer hears that was too slow with a head.
const LATE: Refusal = Refusal(408, "The request did not arrive in time.");
/// How much we listen to after our last byte without a pause.
const LINGER: usize = 256 * 1024;

pub(crate) async fn drive(mut stream: Trunk, desk: Rc<Desk>) {
    let mut porter = Porter::default();
    loop {
        stream = match desk.next_head(&mut stream, &mut porter).await {
            Head::Fit(fit) => match desk.answered(stream, fit).await {
                After::Stay(stream, unread) => {
                    porter.put_back(unread);
                    stream
                }
                After::Over(stream, heard, tunnel) => {
                    let (timers, parting) = (desk.timers.clone(), desk.house.notice.parting.clone());
                    // It may live for days, and needs nothing of the house.
                    drop(desk);
                    return Box::pin(tunnel.carry(stream, porter.rest(heard), &timers, &parting)).await;
                }
                After::Leave(mut stream) => return Box::pin(desk.leave(&mut stream)).await,
                After::Gone => return,
            },
            Head::Unfit(refusal) => return Box::pin(desk.refuse(&mut stream, refusal)).await,
            Head::None => return Box::pin(desk.leave(&mut stream)).await,
        };
    }
}

/// What became of waiting for a head.
enum Head {
    Fit(Fit),
    Unfit(Refusal),
    /// There was none in time, or the peer has left.
    None,
}

/// What becomes of a connection after an exchange.
enum After<S> {
    Stay(S, Bytes),
    /// Another protocol takes over.
    Over(S, Bytes, Tunnel),
    Leave(S),
    Gone,
}

/// What one connection works with.
pub(crate) struct Desk {
    visit: Rc<Visit>,
    house: Rc<House>,
    exchange: Rc<Exchange>,
    tasks: Tasks,
    timers: Timers,
    /// Where a relay puts the other end of a connection that is taken over.
    slot: Rc<Slot>,
}

impl Desk {
    pub(crate) fn new(visit: Visit, house: Rc<House>, tasks: Tasks) -> Rc<Self> {
        let timers = tasks.timers().clone();
        let guest = Guest::of(&house, visit.peer.ip());
        let (exchange, slot) = (Exchange::of(timers.clone(), guest, false), Rc::default());
        Rc::new(Self { visit: Rc::new(visit), house, exchange, tasks, timers, slot })
    }

    /// Waits for the next head. While nothing of it is there, the connection rests and holds no buffer.
    async fn next_head<S: Wire>(&self, stream: &mut S, porter: &mut Porter) -> Head {
        let limits = &self.house.limits;
        let rest = if self.exchange.heads() == 0 { limits.head } else { limits.idle };
        let mut resting = porter.is_empty();
        let mut sleep = self.timers.after(if resting { rest } else { limits.head });
        let mut verdict = porter.receive(&[], limits);
        let mut closing = self.house.notice.closing.heard();
        loop {
            match verdict {
                Verdict::Fit(fit) => return Head::Fit(fit),
                Verdict::Unfit(refusal) => return Head::Unfit(refusal),
                Verdict::More => {}
            }
            // Who has not asked for anything yet came for something.
            let idle = resting && self.exchange.heads() > 0;
            let next = poll_fn(|context| {
                let next = poll_head(stream, porter, limits, &mut sleep, context);
                let over = next.is_pending() && idle && Pin::new(&mut closing).poll(context).is_ready();
                if over { Poll::Ready(None) } else { next }
            });
            verdict = match next.await {
                Some(verdict) => verdict,
                None if porter.is_empty() => return Head::None,
                None => return Head::Unfit(LATE),
            };
            if core::mem::replace(&mut resting, false) {
                sleep.reset(self.timers.now() + limits.head);
            }
        }
    }

    /// Answers one request: a plain one at once, all others through hyper.
    fn answered(self: &Rc<Self>, stream: Trunk, fit: Fit) -> Pin<Box<dyn Future<Output = After<Trunk>>>> {
        let desk = self.clone();
        match Brief::of(self, &fit) {
            Some(brief) => Box::pin(brief.serve(desk, stream)),
            None => Box::pin(desk.exchange_one(stream, fit)),
        }
    }

    /// Lets hyper answer one request.
    async fn exchange_one<S>(self: Rc<Self>, stream: S, fit: Fit) -> After<S>
    where
        S: Wire + 'static,
    {
        let limits = &self.house.limits;
        let line = Line::new(stream, fit.bytes, fit.body, self.exchange.clone());
        let service = Answers { desk: self.clone(), before: self.exchange.heads() };
        let mut connection = http1::Builder::new()
            .max_headers(limits.head_lines.saturating_add(1))
            .serve_connection(line, service);
        let mut asked = false;
        let mut alarm = self.timers.after(limits.stall);
        let before = self.exchange.heads();
        let done = poll_fn(|context| {
            loop {
                // An end that we did not ask for is a goodbye: hyper flushes it and closes. Without the
                // shutdown it would forget what is not yet flushed.
                let outcome = match asked {
                    true => connection.poll_without_shutdown(context),
                    false => Pin::new(&mut connection).poll(context),
                };
                if let Poll::Ready(outcome) = outcome {
                    return Poll::Ready(Some(outcome.is_ok()));
                }
                if !asked && self.exchange.heads() > before && self.exchange.at_rest() {
                    // Idle and flushed: hyper closes at once and without a word, and gives the stream back.
                    asked = true;
                    Pin::new(&mut connection).graceful_shutdown();
                } else if core::task::ready!(self.poll_pace(&mut alarm, context)) {
                    return Poll::Ready(None);
                }
            }
        });
        let done = done.await;
        let parts = connection.into_parts();
        let mut stream = parts.io.into_stream();
        let Some(good) = done else {
            stream.abort();
            return After::Gone;
        };
        if let Some(tunnel) = self.slot.take() {
            return if good { After::Over(stream, parts.read_buf, tunnel) } else { After::Gone };
        }
        if self.exchange.is_broken() {
            // A goodbye would say that all was said.
            return After::Gone;
        }
        if good && asked && !self.exchange.is_midway() {
            After::Stay(stream, parts.read_buf)
        } else {
            After::Leave(stream)
        }
    }

    /// Ready when the peer's time is up: true if it did too little with it.
    fn poll_pace(&self, alarm: &mut Sleep, context: &mut Context<'_>) -> Poll<bool> {
        let limits = &self.house.limits;
        let Some(due) = self.exchange.due(limits.stall) else { return Poll::Pending };
        alarm.reset(due);
        core::task::ready!(Pin::new(alarm).poll(context));
        Poll::Ready(self.exchange.too_slow(limits.stall, limits.floor))
    }

    /// Says why and goes.
    async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S, refusal: Refusal) {
        let words = answer::refusal(refusal);
        let said = self.timers.within(self.house.limits.linger, say(stream, words.as_bytes())).await;
        if matches!(said, Ok(Ok(()))) {
            self.leave(stream).await;
        }
    }

    /// Says goodbye and listens a little, so that the peer hears our last words before it hears that we left.
    async fn leave<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) {
        let farewell = async {
            if poll_fn(|context| Pin::new(&mut *stream).poll_close(context)).await.is_ok() {
                drain(stream, &self.timers).await;
            }
        };
        let _ = self.timers.within(self.house.limits.linger, farewell).await;
    }
}

/// The service that hyper asks, once.
struct Answers {
    desk: Rc<Desk>,
    before: u32,
}

impl Service<Request<Incoming>> for Answers {
    type Response = Response<Said>;
    type Error = Infallible;
    type Future = Reply;

    fn call(&self, request: Request<Incoming>) -> Reply {
        let Desk { visit, house, exchange, .. } = &*self.desk;
        let count = exchange.asked();
        // A second head came past the porter, behind the body of the first: nobody has looked at it.
        let unseen = count > self.before;
        let last = is_last(house, count);
        let body = !request.body().is_end_stream();
        exchange.midway(body);
        let (head, question) = request.into_parts();
        let entry = Pending::of(house, visit, &head, &self.desk.timers);
        let refusal = match unseen {
            true => Some(answer::unseen()),
            false => exchange.has_its_share().then(answer::crowded),
        };
        if let Some(way) = answer::way(house, visit, &head).filter(|_| refusal.is_none()) {
            let errand = self.desk.errand(&way);
            return Reply::relayed(
                errand,
                way,
                Request::from_parts(head, question),
                Open::new(exchange),
                last,
            )
            .booked(entry);
        }
        let last = last || body || refusal.is_some();
        let mut answer = refusal.unwrap_or_else(|| answer::answer(house, visit, &head));
        if last {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer.body_mut().belongs_to(exchange);
        Reply::said(answer).booked(entry)
    }
}

impl Desk {
    fn errand(&self, way: &answer::Way) -> Errand {
        let slot = Some(self.slot.clone());
        Errand::new(&self.house, &self.visit, &self.tasks, way, slot)
    }
}

/// What is read of a head, looked at; nothing when the time is up or the peer has left.
fn poll_head<S: Wire>(
    stream: &mut S,
    porter: &mut Porter,
    limits: &Limits,
    sleep: &mut Sleep,
    context: &mut Context<'_>,
) -> Poll<Option<Verdict>> {
    if stream.poll_ready(context).is_pending() {
        return Pin::new(sleep).poll(context).map(|()| None);
    }
    let mut sip = [0; SIP];
    match Pin::new(stream).poll_read(context, &mut sip) {
        Poll::Ready(Ok(count)) if count > 0 => {
            Poll::Ready(Some(porter.receive(sip.get(..count).unwrap_or_default(), limits)))
        }
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => Pin::new(sleep).poll(context).map(|()| None),
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, mut words: &[u8]) -> io::Result<()> {
    while !words.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, words)).await?;
        words = words.get(count..).filter(|_| count > 0).ok_or(io::ErrorKind::WriteZero)?;
    }
    poll_fn(|context| Pin::new(&mut *stream).poll_flush(context)).await
}

/// Reads what still comes and forgets it: [`LINGER`] bytes at once, and then slowly. Who stopped listening would reset the
/// connection beneath words that the peer has not read.
async fn drain<S: AsyncRead + Unpin>(stream: &mut S, timers: &Timers) {
    let mut left = LINGER;
    loop {
        if left == 0 {
            timers.after(PAUSE).await;
        }
        let heard = poll_fn(|context| {
            let mut sip = [0; SIP];
            Pin::new(&mut *stream).poll_read(context, &mut sip)
        });
        match heard.await {
            Ok(count) if count > 0 => left = left.saturating_sub(count),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests;
