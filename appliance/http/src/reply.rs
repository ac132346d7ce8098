//! An answer: there at once, or when an upstream has given it.

use crate::answer::Way;
use crate::exchange::Open;
use crate::page::Page;
use crate::relay::{Errand, Said};
use core::convert::Infallible;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response, StatusCode};

/// What hyper waits for.
pub(crate) enum Reply {
    Here(Option<Response<Said>>),
    Coming(Pin<Box<dyn Future<Output = Response<Said>>>>),
}

impl Reply {
    pub(crate) fn said(answer: Response<Page>) -> Self {
        Self::Here(Some(answer.map(Said::Page)))
    }

    /// What an upstream will say; the connection closes after it if this was the `last` request.
    pub(crate) fn relayed(
        errand: Errand,
        way: Way,
        request: Request<Incoming>,
        open: Open,
        last: bool,
    ) -> Self {
        Self::Coming(Box::pin(async move {
            let (house, visit) = (errand.house.clone(), errand.visit.clone());
            let mut answer = match errand.run(request, open).await {
                Ok(answer) => way.dressed(&house, &visit, answer),
                Err(failure) => failure.answer(|status| way.failure(&house, &visit, status)),
            };
            if last && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        }))
    }
}

impl Future for Reply {
    type Output = Result<Response<Said>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Here(answer) => answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
            Self::Coming(answer) => answer.as_mut().poll(context).map(Ok),
        }
    }
}
