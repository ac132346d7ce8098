//! The body of a request, and what becomes of the rest of it when nobody wants that.
//!
//! Over HTTP/2 a body that is dropped resets its stream behind the answer. RFC 9113 allows it (§8.1), but a client that has
//! not said all by then may throw the answer away (curl 7.88). So the rest is heard out for a moment: a little of it at
//! once, and then so slowly that the client has time to see the answer. Over HTTP/1 the connection ends with the answer, and
//! `one` hears the rest out in the same way.

use crate::exchange::Exchange;
use bytes::Bytes;
use core::future::poll_fn;
use core::pin::Pin;
use core::time::Duration;
use hyper::body::{Body, Incoming, SizeHint};
use std::rc::Rc;
use tasks::{Tasks, Timers};

/// So much of a body that nobody wants is taken at once.
const UNWANTED: usize = 64 * 1024;
/// The pause before each further piece. No window is closed for longer to others on the same connection.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// The body of a request. Whoever drops it wants no more of it.
#[derive(Default)]
pub(crate) struct Question {
    body: Option<Incoming>,
    ears: Option<Ears>,
}

/// What hears out the rest of a body over HTTP/2.
struct Ears {
    exchange: Rc<Exchange>,
    tasks: Tasks,
    patience: Duration,
}

impl Question {
    /// A body whose rest, if nobody wants it, is heard out for as long as `patience` lasts.
    pub(crate) fn new(body: Incoming, exchange: &Rc<Exchange>, tasks: &Tasks, patience: Duration) -> Self {
        let ears = || Ears { exchange: exchange.clone(), tasks: tasks.clone(), patience };
        Self { ears: exchange.has_windows().then(ears), body: Some(body) }
    }

    /// What still comes, while it is wanted.
    pub(crate) fn body(&mut self) -> Option<&mut Incoming> {
        self.body.as_mut()
    }

    /// Nothing more comes, or is wanted.
    pub(crate) fn is_over(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }

    /// No more of it is wanted.
    pub(crate) fn hear_out(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        let (Some(rest), Some(Ears { exchange, tasks, patience })) = (rest, self.ears.take()) else { return };
        let timers = tasks.timers().clone();
        let heard = heard_out(rest, exchange, timers.clone());
        tasks.spawn(async move {
            let _ = timers.within(patience, heard).await;
        });
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.hear_out();
    }
}

/// Done when the client has said all or has left.
async fn heard_out(mut rest: Incoming, exchange: Rc<Exchange>, timers: Timers) {
    let mut left = UNWANTED;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut rest).poll_frame(context)).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        exchange.took(length);
        left = left.saturating_sub(length);
        if left == 0 {
            timers.after(PAUSE).await;
        }
    }
}
