//! What an idle session costs, counted in bytes that the allocator gave out.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use tls::{ClientPolicy, Session};
use tls_bench::reckless::{Shown, VERSIONS, calling, client};
use tls_bench::{Bench, End, PATIENCE, pipe, read_exactly, run, write_all};

/// Counts what this thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the block came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What freeing it gives back.
fn cost<T>(thing: T) -> isize {
    let before = HELD.get();
    drop(thing);
    before - HELD.get()
}

/// A session that has talked a little and is now parked.
fn parked(
    bench: &Bench,
    front: &Rc<tls::Front>,
    config: &Arc<rustls::ClientConfig>,
) -> (Session<End>, impl Sized) {
    let (mut near, far) = pipe(100_000);
    let (front, timers) = (front.clone(), bench.tasks.timers().clone());
    let mut connection = calling(config, "example.org");
    let words = vec![7; 40_000];
    let answer = words.clone();
    let (session, near) = run(
        &bench.tasks,
        async move {
            let (mut session, _) = front.accept(far, 443, &timers, PATIENCE).await.unwrap();
            read_exactly(&mut session, 5).await.unwrap();
            write_all(&mut session, &answer).await.unwrap();
            let waiting =
                std::future::poll_fn(|context| std::task::Poll::Ready(session.poll_readable(context)));
            assert!(waiting.await.is_pending());
            session
        },
        async move {
            let talked = tls_bench::reckless::talk(&mut connection, &mut near, b"hello", words.len()).await;
            assert_eq!(talked.unwrap(), words);
            (near, connection)
        },
    );
    (session, near)
}

#[test]
fn an_idle_session_costs_less_than_eight_kilobytes() {
    for (version, name) in VERSIONS.into_iter().zip(["1.2", "1.3"]) {
        for asks in [false, true] {
            let bench = Bench::default();
            let mut site = bench.site(&["example.org"]);
            if asks {
                site.clients = ClientPolicy::Required(bench.trust());
            }
            let front = bench.front(vec![site]);
            let ada = bench.client("Ada");
            let shown = Shown { chain: ada.chain, key: ada.key.der().to_vec() };
            let config = Arc::new(client(version, asks.then_some(&shown)));
            let (session, _peer) = parked(&bench, &front, &config);
            let size = size_of_val(&session);
            let heap = cost(session);
            println!("TLS {name}, client certificate {asks}: {heap} bytes of heap and {size} of its own");
            assert!(heap + (size as isize) < 8192, "TLS {name}: {heap} + {size}");
        }
    }
}

/// One handshake that fails in this way.
fn fail(bench: &Bench, front: &Rc<tls::Front>, way: usize, config: &Arc<rustls::ClientConfig>) {
    let (mut near, far) = pipe(100_000);
    let (front, timers) = (front.clone(), bench.tasks.timers().clone());
    let mut connection = calling(config, if way == 0 { "example.com" } else { "example.org" });
    let serve = async move { front.accept(far, 443, &timers, PATIENCE).await.map(drop).unwrap_err() };
    let call = async move {
        match way {
            0 | 1 => drop(tls_bench::reckless::converse(&mut connection, &mut near, b"hello").await),
            2 => drop(write_all(&mut near, b"GET / HTTP/1.1\r\n\r\n").await),
            3 => drop(write_all(&mut near, &[22, 3, 1, 2, 0, 1, 0]).await),
            _ => drop(tls_bench::read_all(&mut near).await),
        }
    };
    run(&bench.tasks, serve, call);
}

#[test]
fn memory_is_flat_after_any_number_of_handshakes_that_fail() {
    let bench = Bench::default();
    let mut site = bench.site(&["example.org"]);
    site.clients = ClientPolicy::Required(bench.trust());
    let front = bench.front(vec![site]);
    let configs = VERSIONS.map(|version| Arc::new(client(version, None)));
    let storm = |rounds: usize| {
        for round in 0..rounds {
            fail(&bench, &front, round % 5, &configs[round % 2]);
        }
        HELD.get()
    };
    let before = storm(50);
    let after = storm(500);
    assert!(after <= before + 4096, "{before} bytes before, {after} after");
}

#[test]
fn a_task_does_not_carry_the_room_for_a_handshake_to_its_end() {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&["example.org"])]);
    let (_near, far) = pipe(1);
    let timers = bench.tasks.timers().clone();
    let size = size_of_val(&front.accept(far, 443, &timers, PATIENCE));
    println!("a handshake: {size} bytes of future");
    assert!(size < 1024, "{size}");
}
