//! Asks an upstream how it is.

use super::call;
use super::upstream::Upstream;
use bundle::{Health, Proxy};
use core::time::Duration;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Uri};
use std::rc::Weak;
use tasks::Timers;

/// Watches while the upstream is there and its `life` is this one.
pub(super) async fn watch(upstream: Weak<Upstream>, life: u64, health: Health, words: Proxy, timers: Timers) {
    let every = Duration::from_secs(u64::from(health.every));
    while let Some(upstream) = upstream.upgrade().filter(|upstream| upstream.life() == life) {
        let question = question(&upstream, &health, &words);
        let asked = timers.within(every, call::ask(&upstream, question, &words, &timers)).await;
        upstream.said_of_itself(asked.unwrap_or(false));
        drop(upstream);
        timers.after(every).await;
    }
}

fn question(upstream: &Upstream, health: &Health, words: &Proxy) -> hyper::http::request::Parts {
    let mut request = Request::new(());
    *request.uri_mut() = Uri::try_from(health.path.as_str()).unwrap_or_else(|_| Uri::from_static("/"));
    let host = words.host.as_deref().unwrap_or(&upstream.name);
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("gatehouse (health)"));
    request.into_parts().0
}
