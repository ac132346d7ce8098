//! An answer: there at once, or when an upstream has given it.

use crate::answer::Way;
use crate::books::Pending;
use crate::exchange::Open;
use crate::page::Page;
use crate::relay::{Errand, Said};
use core::convert::Infallible;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response, StatusCode};

/// What hyper waits for.
pub(crate) struct Reply {
    answer: Answer,
    entry: Option<Pending>,
}

enum Answer {
    Here(Option<Response<Said>>),
    Coming(Pin<Box<dyn Future<Output = Response<Said>>>>),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, entry: None }
    }
}

impl Reply {
    pub(crate) fn said(answer: Response<Page>) -> Self {
        Answer::Here(Some(answer.map(Said::Page))).into()
    }

    /// With an entry for the books, which is made when the answer is there.
    pub(crate) fn booked(self, entry: Option<Pending>) -> Self {
        Self { entry, ..self }
    }

    /// What an upstream will say; the connection closes after it if this was the `last` request.
    pub(crate) fn relayed(
        errand: Errand,
        way: Way,
        request: Request<Incoming>,
        open: Open,
        last: bool,
    ) -> Self {
        let answer: Pin<Box<dyn Future<Output = _>>> = Box::pin(async move {
            let (house, visit) = (errand.house.clone(), errand.visit.clone());
            let mut answer = match errand.run(request, open).await {
                Ok(answer) => way.dressed(&house, &visit, answer),
                Err(failure) => failure.answer(|status| way.failure(&house, &visit, status)),
            };
            if last && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        });
        Answer::Coming(answer).into()
    }
}

impl Future for Reply {
    type Output = Result<Response<Said>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.answer {
            Answer::Here(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Answer::Coming(answer) => answer.as_mut().poll(context),
        };
        let answer = ready!(answer);
        if let Some(entry) = self.entry.take() {
            entry.close(answer.status().as_u16(), answer.body().size_hint().exact());
        }
        Poll::Ready(Ok(answer))
    }
}
