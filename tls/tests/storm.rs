//! Peers that break off, trickle, flood or lie, at every place: there is always an end, a kind and no growth.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tls::{Caller, ClientPolicy, Front, Kind, Session};
use tls_bench::reckless::{Shown, VERSIONS, answering, calling, client, server, talk};
use tls_bench::{Bench, End, PATIENCE, close, pipe, read_all, read_some, refusal, run, write_all};

const NAME: &str = "example.org";

fn asking(bench: &Bench) -> Rc<Front> {
    let mut site = bench.site(&[NAME]);
    site.clients = ClientPolicy::Required(bench.trust());
    bench.front(vec![site])
}

/// Everything that a client sends until its request, and the request itself.
fn recorded(bench: &Bench, front: &Rc<Front>, version: usize) -> Vec<u8> {
    let (mut near, far) = pipe(100_000);
    let ada = bench.client("Ada");
    let shown = Shown { chain: ada.chain, key: ada.key.der().to_vec() };
    let mut connection = calling(&Arc::new(client(VERSIONS[version], Some(&shown))), NAME);
    let (sent, front, timers) = (near.sent(), front.clone(), bench.tasks.timers().clone());
    let serve = async move {
        let (mut session, _) = front.accept(far, 443, &timers, PATIENCE).await.unwrap();
        write_all(&mut session, b"!").await.unwrap();
    };
    let call = async move { talk(&mut connection, &mut near, b"hello", 1).await.unwrap() };
    run(&bench.tasks, serve, call);
    sent.take().seen
}

/// Sends this and nothing else, and reads the answer to its end.
fn shout(bench: &Bench, front: &Rc<Front>, bytes: Vec<u8>) -> Option<Kind> {
    let (mut near, far) = pipe(100_000);
    let (front, timers) = (front.clone(), bench.tasks.timers().clone());
    let serve = async move {
        match front.accept(far, 443, &timers, PATIENCE).await {
            Ok((mut session, _)) => read_all(&mut session).await.map(|_| None).unwrap_or(None),
            Err(refused) => Some(refused.kind),
        }
    };
    let shouting = async move {
        let _ = write_all(&mut near, &bytes).await;
        let _ = close(&mut near).await;
        let _ = read_all(&mut near).await;
    };
    run(&bench.tasks, serve, shouting).0
}

#[test]
fn a_client_that_breaks_off_anywhere_is_closed_and_nothing_else() {
    let bench = Bench::default();
    let front = asking(&bench);
    for version in [0, 1] {
        let all = recorded(&bench, &front, version);
        let hello = 5 + usize::from(u16::from_be_bytes([all[3], all[4]]));
        for length in 0..hello {
            assert_eq!(
                shout(&bench, &front, all[..length].to_vec()),
                Some(Kind::Closed),
                "after {length} bytes"
            );
        }
    }
}

#[test]
fn a_replayed_client_never_comes_in() {
    let bench = Bench::default();
    let front = asking(&bench);
    for version in [0, 1] {
        let all = recorded(&bench, &front, version);
        let kind = shout(&bench, &front, all).expect("it came in");
        assert!(matches!(kind, Kind::Malformed | Kind::BadSignature), "{kind:?}");
    }
}

#[test]
fn no_byte_of_a_hello_can_be_changed_into_a_way_in() {
    let bench = Bench::default();
    let front = asking(&bench);
    for version in [0, 1] {
        let all = recorded(&bench, &front, version);
        let hello = 5 + usize::from(u16::from_be_bytes([all[3], all[4]]));
        for at in 0..hello {
            for change in [1, 0x80, 0xff] {
                let mut other = all.clone();
                other[at] ^= change;
                assert!(shout(&bench, &front, other).is_some(), "byte {at} by {change}");
            }
        }
    }
}

/// What a server answers to its first client, up to where that client speaks again.
fn answered(bench: &Bench, version: usize) -> Vec<u8> {
    let (near, mut far) = pipe(100_000);
    let (sent, caller, timers) = (far.sent(), bench.caller(NAME, None), bench.tasks.timers().clone());
    let minted = bench.server(&[NAME]);
    let shown = Shown { chain: minted.chain, key: minted.key.der().to_vec() };
    let mut connection = answering(server(VERSIONS[version], &shown));
    let call = async move { caller.call(near, &timers, PATIENCE).await.map(drop).unwrap() };
    let serve = async move { drop(talk(&mut connection, &mut far, b"", 1).await) };
    run(&bench.tasks, call, serve);
    sent.take().seen
}

/// Answers our caller with this, whatever it said.
fn answer(bench: &Bench, caller: &Rc<Caller>, bytes: Vec<u8>) -> Option<Kind> {
    let (near, mut far) = pipe(100_000);
    let (caller, timers) = (caller.clone(), bench.tasks.timers().clone());
    let call = async move { caller.call(near, &timers, PATIENCE).await.err().map(|refused| refused.kind) };
    let serve = async move {
        let _ = write_all(&mut far, &bytes).await;
        let _ = close(&mut far).await;
        let _ = read_all(&mut far).await;
    };
    run(&bench.tasks, call, serve).0
}

#[test]
fn a_recorded_server_is_never_believed_however_it_is_cut_or_changed() {
    let bench = Bench::default();
    let caller = Rc::new(bench.caller(NAME, None));
    for version in [0, 1] {
        let all = answered(&bench, version);
        assert!(all.len() > 500);
        for at in 0..all.len() {
            let mut other = all.clone();
            other[at] ^= 0x81;
            assert!(answer(&bench, &caller, other).is_some(), "byte {at} changed");
            assert!(answer(&bench, &caller, all[..at].to_vec()).is_some(), "after {at} bytes");
        }
        assert!(answer(&bench, &caller, all).is_some(), "as it was");
    }
}

#[test]
fn a_caller_knows_what_is_no_tls() {
    let bench = Bench::default();
    let caller = Rc::new(bench.caller(NAME, None));
    for garbage in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        assert_eq!(answer(&bench, &caller, garbage.to_vec()), Some(Kind::NotTls));
    }
    assert_eq!(answer(&bench, &caller, Vec::new()), Some(Kind::Closed));
}

#[test]
fn a_hello_that_never_ends_is_too_large_before_it_is_large() {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&[NAME])]);
    let mut hello = vec![1, 0, 0xff, 0xff, 3, 3];
    hello.resize(1 << 16, 0);
    let one_by_one: Vec<u8> = hello.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    let in_records: Vec<u8> =
        hello.chunks(1 << 13).flat_map(|some| [&[22, 3, 1, 0x20, 0], some].concat()).collect();
    for bytes in [one_by_one, in_records] {
        let (mut near, far) = pipe(100_000);
        let (front, timers) = (front.clone(), bench.tasks.timers().clone());
        let serve = async move { refusal(front.accept(far, 443, &timers, PATIENCE).await) };
        let send = async move {
            let _ = write_all(&mut near, &bytes).await;
            read_all(&mut near).await.unwrap()
        };
        let (kind, alert) = run(&bench.tasks, serve, send);
        assert_eq!((kind, alert.as_slice()), (Kind::TooLarge, &[21, 3, 3, 0, 2, 2, 50][..]));
    }
}

#[test]
fn a_client_that_trickles_is_gone_when_its_patience_is() {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&[NAME])]);
    let (mut near, far) = pipe(100_000);
    let timers = bench.tasks.timers().clone();
    let clock = timers.clone();
    let serve = async move { refusal(front.accept(far, 443, &timers, PATIENCE).await) };
    let trickle = async move {
        for byte in [22, 3, 1, 2, 0].into_iter().chain(std::iter::repeat(0)) {
            clock.after(Duration::from_secs(1)).await;
            if write_all(&mut near, &[byte]).await.is_err() {
                return clock.now().millis();
            }
        }
        unreachable!()
    };
    let (kind, end) = run(&bench.tasks, serve, trickle);
    assert_eq!(kind, Kind::TooSlow);
    assert!(end < 15_000, "gone after {end} ms, with the time that closing takes");
}

fn two(bench: &Bench) -> (Session<End>, Session<End>) {
    let front = bench.front(vec![bench.site(&[NAME])]);
    let (server, client) = bench.meet(&front, bench.caller(NAME, None), 100_000);
    (server.unwrap(), client.unwrap())
}

#[test]
fn each_half_closes_by_itself() {
    let bench = Bench::default();
    let (mut server, mut client) = two(&bench);
    let serve = async move {
        assert_eq!(read_all(&mut server).await.unwrap(), b"all I have to say");
        write_all(&mut server, b"and still an answer").await.unwrap();
        close(&mut server).await.unwrap();
    };
    let call = async move {
        write_all(&mut client, b"all I have to say").await.unwrap();
        client.finish().await.unwrap();
        assert_eq!(write_all(&mut client, b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        read_all(&mut client).await.unwrap()
    };
    assert_eq!(run(&bench.tasks, serve, call).1, b"and still an answer");
}

#[test]
fn what_was_said_before_closing_arrives_though_the_peer_still_talks() {
    let bench = Bench::default();
    let (mut server, mut client) = two(&bench);
    let clock = bench.tasks.timers().clone();
    let serve = async move {
        write_all(&mut server, &[1; 100_000]).await.unwrap();
        close(&mut server).await.unwrap();
        clock.now().millis()
    };
    let call = async move {
        let _ = write_all(&mut client, &[2; 300_000]).await;
        let heard = read_all(&mut client).await.unwrap();
        let _ = close(&mut client).await;
        heard.len()
    };
    assert_eq!(run(&bench.tasks, serve, call), (0, 100_000), "and without waiting for a deadline");
}

#[test]
fn closing_waits_two_seconds_for_a_peer_that_never_closes() {
    let bench = Bench::default();
    let (mut server, client) = two(&bench);
    let clock = bench.tasks.timers().clone();
    let serve = async move {
        close(&mut server).await.unwrap();
        clock.now().millis()
    };
    let keep = bench.tasks.timers().clone();
    let call = async move {
        keep.after(Duration::from_secs(9)).await;
        drop(client);
    };
    assert_eq!(run(&bench.tasks, serve, call).0, 2_000);
}

#[test]
fn a_peer_that_reads_nothing_stops_the_writer_and_the_close() {
    for says_bye in [false, true] {
        deaf(says_bye);
    }
}

fn deaf(says_bye: bool) {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&[NAME])]);
    let (near, far) = pipe(100_000);
    let (far, caller, timers) = (far.narrow(10_000), bench.caller(NAME, None), bench.tasks.timers().clone());
    let told = timers.clone();
    let (server, client) = run(
        &bench.tasks,
        async move { front.accept(far, 443, &timers, PATIENCE).await.unwrap().0 },
        async move { caller.call(near, &told, PATIENCE).await.unwrap() },
    );
    let mut client = client;
    let (mut server, clock) = (server, bench.tasks.timers().clone());
    let serve = async move {
        let late = clock.within(Duration::from_secs(3), write_all(&mut server, &[1; 1_000_000])).await;
        assert!(late.is_err(), "nobody reads, and yet a megabyte was taken");
        if says_bye {
            assert!(read_all(&mut server).await.unwrap().is_empty());
        }
        let error = close(&mut server).await.unwrap_err();
        (error.kind(), clock.now().millis())
    };
    let keep = bench.tasks.timers().clone();
    let call = async move {
        if says_bye {
            client.finish().await.unwrap();
        }
        keep.after(Duration::from_secs(30)).await;
        drop(client);
    };
    assert_eq!(run(&bench.tasks, serve, call).0, (ErrorKind::TimedOut, 13_000));
}

#[test]
fn a_changed_record_breaks_the_session_and_the_peer_reads_bad_record_mac() {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&[NAME])]);
    for version in VERSIONS {
        let (mut near, far) = pipe(100_000);
        let mut connection = calling(&Arc::new(client(version, None)), NAME);
        let (front, timers) = (front.clone(), bench.tasks.timers().clone());
        let serve = async move {
            let (mut session, _) = front.accept(far, 443, &timers, PATIENCE).await.unwrap();
            write_all(&mut session, b"!").await.unwrap();
            let error = read_all(&mut session).await.unwrap_err();
            let _ = close(&mut session).await;
            error.kind()
        };
        let call = async move {
            talk(&mut connection, &mut near, b"", 1).await.unwrap();
            std::io::Write::write_all(&mut connection.writer(), b"hello").unwrap();
            let mut bytes = Vec::new();
            connection.write_tls(&mut bytes).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            write_all(&mut near, &bytes).await.unwrap();
            let mut answer: &[u8] = &read_some(&mut near).await.unwrap();
            connection.read_tls(&mut answer).unwrap();
            connection.process_new_packets().unwrap_err()
        };
        let (ours, theirs) = run(&bench.tasks, serve, call);
        assert_eq!(ours, ErrorKind::InvalidData);
        assert_eq!(theirs, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
    }
}
