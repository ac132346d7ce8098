//! The shell's figures beside plain rustls: `cargo bench -p tls`. Nothing is asserted here; machines differ.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use futures_io::{AsyncRead, AsyncWrite};
use std::cell::Cell;
use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tls::Front;
use tls_bench::reckless::{Shown, VERSIONS, answering, calling, client, server, talk};
use tls_bench::{Bench, End, PATIENCE, pipe, run, write_all};

const ROUNDS: u32 = 1_000;
const BULK: usize = 256 << 20;

fn main() {
    let bench = Bench::default();
    for (version, name) in VERSIONS.into_iter().zip(["TLS 1.2", "TLS 1.3"]) {
        let minted = bench.server(&["example.org"]);
        let shown = Shown { chain: minted.chain.clone(), key: minted.key.der().to_vec() };
        let config = server(version, &shown);
        let calls = || {
            let mut config = client(version, None);
            config.resumption = rustls::client::Resumption::disabled();
            Arc::new(config)
        };
        let plain = calls();
        say(&format!("{name} full handshake, rustls to rustls"), ROUNDS, || {
            meet_plain(&mut calling(&plain, "example.org"), &mut answering(config.clone()));
        });
        let front = Rc::new(
            Front::new(
                vec![tls::Site { tickets: false, ..bench.site(&["example.org"]) }],
                None,
                bench.calendar.clone(),
            )
            .unwrap(),
        );
        say(&format!("{name} full handshake, rustls to the front"), ROUNDS, || {
            meet_front(&bench, &front, &plain)
        });
        let again = Arc::new(client(version, None));
        let front = bench.front(vec![bench.site(&["example.org"])]);
        say(&format!("{name} resumed, rustls to the front"), ROUNDS, || meet_front(&bench, &front, &again));
    }
    let front = bench.front(vec![tls::Site { tickets: false, ..bench.site(&["example.org"]) }]);
    let caller = Rc::new(bench.caller("example.org", None));
    say("TLS 1.3 full handshake with X25519MLKEM768, caller to the front", ROUNDS, || {
        let (near, far) = pipe(1 << 20);
        let (front, caller) = (front.clone(), caller.clone());
        let (timers, theirs) = (bench.tasks.timers().clone(), bench.tasks.timers().clone());
        let served = async move { front.accept(far, 443, &timers, PATIENCE).await.map(drop) };
        let called = async move { caller.call(near, &theirs, PATIENCE).await.map(drop) };
        let (served, called) = run(&bench.tasks, served, called);
        let _ = black_box((served.unwrap(), called.unwrap()));
    });
    bulk(&bench);
    plain_bulk(&bench);
}

/// The best of ten goes: what else the machine does only adds.
fn say(name: &str, rounds: u32, mut work: impl FnMut()) {
    let best = (0..10).map(|_| {
        let start = Instant::now();
        (0..rounds / 10).for_each(|_| work());
        start.elapsed().as_secs_f64() * 1e7 / f64::from(rounds)
    });
    println!("{name:66} {:8.1} µs", best.fold(f64::MAX, f64::min));
}

fn meet_plain(near: &mut rustls::Connection, far: &mut rustls::Connection) {
    while near.is_handshaking() || far.is_handshaking() || near.wants_write() || far.wants_write() {
        pour(near, far);
        pour(far, near);
    }
}

fn pour(from: &mut rustls::Connection, to: &mut rustls::Connection) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest: &[u8] = &bytes;
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets().unwrap();
    }
}

/// Says a byte and hears one, so that tickets arrive.
fn meet_front(bench: &Bench, front: &Rc<Front>, config: &Arc<rustls::ClientConfig>) {
    let (mut near, far) = pipe(1 << 20);
    let (front, timers) = (front.clone(), bench.tasks.timers().clone());
    let mut connection = calling(config, "example.org");
    let serve = async move {
        let (mut session, _) = front.accept(far, 443, &timers, PATIENCE).await.unwrap();
        write_all(&mut session, b"!").await.unwrap();
    };
    let call = async move { talk(&mut connection, &mut near, b"", 1).await.unwrap() };
    black_box(run(&bench.tasks, serve, call));
}

/// A pipe until it is torn off; from then on it takes everything and says nothing.
struct Torn(End, Rc<Cell<bool>>);

impl AsyncRead for Torn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Torn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.1.get() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How fast a server encrypts, with all that is around it.
fn bulk(bench: &Bench) {
    let front = bench.front(vec![bench.site(&["example.org"])]);
    let (mut near, far) = pipe(1 << 20);
    let torn = Rc::new(Cell::new(false));
    let (stream, timers) = (Torn(far, torn.clone()), bench.tasks.timers().clone());
    let mut connection = calling(&Arc::new(client(VERSIONS[1], None)), "example.org");
    let accepted = async move { front.accept(stream, 443, &timers, PATIENCE).await.unwrap().0 };
    let called = async move { talk(&mut connection, &mut near, b"", 0).await.map(|_| near) };
    let (mut session, _near) = run(&bench.tasks, accepted, called);
    torn.set(true);
    let start = Instant::now();
    let speaking = async move {
        let words = vec![0; 1 << 16];
        for _ in 0..BULK >> 16 {
            write_all(&mut session, &words).await.unwrap();
        }
    };
    run(&bench.tasks, speaking, async {});
    rate("encrypted by the shell", start.elapsed());
}

fn plain_bulk(bench: &Bench) {
    let minted = bench.server(&["example.org"]);
    let shown = Shown { chain: minted.chain.clone(), key: minted.key.der().to_vec() };
    let mut near = calling(&Arc::new(client(VERSIONS[1], None)), "example.org");
    let mut far = answering(server(VERSIONS[1], &shown));
    meet_plain(&mut near, &mut far);
    let words = vec![0; 1 << 16];
    far.set_buffer_limit(None);
    let start = Instant::now();
    for _ in 0..BULK >> 16 {
        io::Write::write_all(&mut far.writer(), &words).unwrap();
        while far.wants_write() {
            far.write_tls(&mut io::sink()).unwrap();
        }
    }
    rate("encrypted by plain rustls", start.elapsed());
}

fn rate(name: &str, time: Duration) {
    println!("{name:66} {:8.0} MB/s", BULK as f64 / time.as_secs_f64() / 1e6);
}
