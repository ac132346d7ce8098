//! The three doors, and who comes to them without any certificate.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod yard;

use pinata::{DOORS, Door, Keys, Outcome, Pinata, Secret};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tls::Kind;
use tls_bench::hostile::{self, NAME, Role};
use tls_bench::reckless::{VERSIONS, answering, calling, client, converse, server};
use tls_bench::{Bench, End, Pipe, close, pipe, read_all, read_some, run, write_all};
use yard::{PEER, SECRET, Yard, good};

/// What one visitor became in the ledger: it must be the only one there.
#[track_caller]
fn only(pinata: &Pinata, door: Door, outcome: Outcome) {
    let words: Vec<&str> =
        Outcome::all().filter(|o| pinata.ledger().count(door, *o) > 0).map(Outcome::word).collect();
    assert_eq!((words, pinata.ledger().attempts()), (vec![outcome.word()], 1), "at {door:?}");
}

/// The connection on which TLS is spoken at this door.
fn spoken(door: Door, knocked: End, home: End) -> End {
    if door == Door::CallBack { home } else { knocked }
}

#[test]
fn garbage_is_not_tls_at_any_door() {
    let yard = Yard::default();
    for door in DOORS {
        let pinata = yard.hang(&[]);
        yard.visit(&pinata, door, PEER, async move |near, home| {
            let mut line = spoken(door, near, home);
            let _ = write_all(&mut line, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            let heard = read_all(&mut line).await.unwrap();
            assert!(!heard.windows(SECRET.len()).any(|some| some == SECRET));
        });
        only(&pinata, door, Outcome::Refused(Kind::NotTls));
    }
}

#[test]
fn knocking_and_leaving_is_counted_at_every_door() {
    let yard = Yard::default();
    for door in DOORS {
        let pinata = yard.hang(&[]);
        yard.visit(&pinata, door, PEER, async move |near, home| {
            let mut line = spoken(door, near, home);
            close(&mut line).await.unwrap();
            let _ = read_all(&mut line).await;
        });
        only(&pinata, door, Outcome::Refused(Kind::Closed));
    }
}

#[test]
fn silence_ends_after_ten_seconds_at_every_door() {
    let yard = Yard::default();
    for door in DOORS {
        let (pinata, timers) = (yard.hang(&[]), yard.tasks.timers().clone());
        let start = timers.now();
        let passed = yard.visit(&pinata, door, PEER, async move |near, home| {
            let mut line = spoken(door, near, home);
            let _ = read_all(&mut line).await;
            timers.now() - start
        });
        assert!((Duration::from_secs(9)..Duration::from_secs(11)).contains(&passed), "{passed:?}");
        only(&pinata, door, Outcome::Refused(Kind::TooSlow));
    }
}

#[test]
fn an_old_version_is_told_so_at_the_servers_door() {
    let (yard, hello) = (Yard::default(), [22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 1]);
    let pinata = yard.hang(&[]);
    yard.visit(&pinata, Door::Server, PEER, async move |mut near, _| {
        let rest = [&[7; 32][..], &[0, 0, 4, 0, 47, 0, 53, 1, 0]].concat();
        write_all(&mut near, &[&hello[..], &rest].concat()).await.unwrap();
        assert_eq!(read_all(&mut near).await.unwrap(), [21, 3, 1, 0, 2, 2, 70]);
    });
    only(&pinata, Door::Server, Outcome::Refused(Kind::Version));
}

#[test]
fn a_client_without_a_certificate_hears_nothing_whatever_name_it_asks_for() {
    let yard = Yard::default();
    for (version, name) in [(0, NAME), (1, NAME), (0, "192.0.2.7"), (1, "anything.at.all.test")] {
        let pinata = yard.hang(&[]);
        let config = Arc::new(client(VERSIONS[version], None));
        let heard = yard.visit(&pinata, Door::Server, PEER, async move |mut near, _| {
            converse(&mut calling(&config, name), &mut near, b"").await
        });
        assert!(heard.is_err());
        only(&pinata, Door::Server, Outcome::Refused(Kind::NoCertificate));
    }
}

#[test]
fn no_door_takes_a_session_up_again() {
    let yard = Yard::default();
    let shown = good(&yard.ca, Role::Client);
    for version in VERSIONS {
        let config = Arc::new(client(version, Some(&shown)));
        let pinata = yard.hang(&[]);
        for _ in 0..2 {
            let config = config.clone();
            let kind = yard.visit(&pinata, Door::Server, PEER, async move |mut near, _| {
                let mut connection = calling(&config, NAME);
                assert_eq!(converse(&mut connection, &mut near, b"").await.unwrap(), SECRET);
                format!("{:?}", connection.handshake_kind().unwrap())
            });
            assert_eq!(kind, "Full");
        }
    }
}

/// Carries what `from` says to `to`.
async fn carry(from: Rc<RefCell<End>>, to: Rc<RefCell<End>>) {
    use futures_io::{AsyncRead, AsyncWrite};
    use std::future::poll_fn;
    use std::pin::Pin;
    loop {
        let mut some = [0; 4096];
        let count = poll_fn(|context| Pin::new(&mut *from.borrow_mut()).poll_read(context, &mut some)).await;
        let mut rest = &some[..count.unwrap_or(0)];
        if rest.is_empty() {
            let _ = poll_fn(|context| Pin::new(&mut *to.borrow_mut()).poll_close(context)).await;
            return;
        }
        while !rest.is_empty() {
            let write = poll_fn(|context| Pin::new(&mut *to.borrow_mut()).poll_write(context, rest)).await;
            match write {
                Ok(count) => rest = &rest[count..],
                Err(_) => return,
            }
        }
    }
}

/// Stands between 10002 and 10000 of one piñata; what both say is seen.
fn relayed(yard: &Yard, pinata: &Rc<Pinata>) -> [Rc<RefCell<Pipe>>; 2] {
    let ((near, far), (hither, thither)) = (pipe(700), pipe(700));
    let seen = [far.sent(), thither.sent()];
    let visit = |door, end: End| {
        let (pinata, timers) = (pinata.clone(), yard.tasks.timers().clone());
        async move {
            let nobody = |_| core::future::ready(Err::<End, _>(io::ErrorKind::NotConnected.into()));
            pinata.receive(door, end, PEER.parse().unwrap(), &timers, nobody).await;
        }
    };
    let (near, hither) = (Rc::new(RefCell::new(near)), Rc::new(RefCell::new(hither)));
    yard.tasks.spawn(carry(near.clone(), hither.clone()));
    yard.tasks.spawn(carry(hither, near));
    run(&yard.tasks, visit(Door::Client, far), visit(Door::Server, thither));
    seen
}

#[test]
fn it_talks_to_itself_and_whoever_stands_between_sees_only_ciphertext() {
    let yard = Yard::default();
    for pinata in [yard.hang(&[]), yard.hang_forgotten()] {
        let seen = relayed(&yard, &pinata);
        for direction in &seen {
            let bytes = &direction.borrow().seen;
            assert_eq!(bytes[..2], [22, 3], "a handshake goes both ways");
            assert!(bytes.len() > 1000 && !bytes.windows(8).any(|some| SECRET.windows(8).any(|s| s == some)));
        }
        let ledger = pinata.ledger();
        let counts = [Door::Client, Door::Server].map(|door| ledger.count(door, Outcome::Itself));
        assert_eq!((counts, ledger.attempts()), ([1, 1], 2));
    }
}

#[test]
fn the_secret_wants_a_proof_of_its_own_ca() {
    let (bench, other) = (Bench::default(), Bench::of("Another CA"));
    let mut site = bench.site(&[NAME]);
    site.clients = tls::ClientPolicy::Required(bench.trust());
    let front = bench.front(vec![site]);
    let (session, _client) = bench.meet(&front, bench.caller(NAME, Some(bench.client("me"))), 4096);
    let session = session.unwrap();
    let proof = session.admitted(&bench.trust()).unwrap();
    assert_eq!(Secret::new(SECRET.to_vec(), bench.trust()).told_to(&proof), Some(SECRET));
    assert_eq!(Secret::new(SECRET.to_vec(), other.trust()).told_to(&proof), None);
}

#[test]
fn who_does_not_listen_to_a_long_secret_loses_it() {
    let yard = Yard::default();
    let pinata = yard.hang_with(&[], vec![b'x'; 100_000]);
    let (near, far) = pipe(4096);
    let far = far.narrow(8_000);
    let config = Arc::new(client(VERSIONS[1], Some(&good(&yard.ca, Role::Client))));
    let (receiver, timers, waiting) =
        (pinata.clone(), yard.tasks.timers().clone(), yard.tasks.timers().clone());
    let nobody = |_| core::future::ready(Err::<End, _>(io::ErrorKind::NotConnected.into()));
    let receiving =
        async move { receiver.receive(Door::Server, far, PEER.parse().unwrap(), &timers, nobody).await };
    run(&yard.tasks, receiving, async move {
        let (mut near, mut connection) = (near, calling(&config, NAME));
        let _ = tls_bench::reckless::talk(&mut connection, &mut near, b"", 1).await;
        waiting.after(Duration::from_secs(40)).await;
    });
    only(&pinata, Door::Server, Outcome::Lost);
}

#[test]
fn a_crowd_at_the_doors_does_not_grow_and_the_page_goes_on() {
    let yard = Yard::default();
    let pinata = yard.hang(&[]);
    let mut silent = Vec::new();
    let mut come = || {
        let (near, far) = pipe(4096);
        silent.push(near);
        let (pinata, timers) = (pinata.clone(), yard.tasks.timers().clone());
        yard.tasks.spawn(async move {
            let nobody = |_| core::future::ready(Err::<End, _>(io::ErrorKind::NotConnected.into()));
            pinata.receive(Door::Server, far, PEER.parse().unwrap(), &timers, nobody).await;
        });
    };
    (0..1_000).for_each(|_| come());
    let start = yard.tasks.timers().now();
    while yard.tasks.turn(start, 1_000) > 0 {}
    assert_eq!(pinata.ledger().count(Door::Server, Outcome::Crowded), 1_000 - 256);
    assert!(
        pinata
            .sheet("/", "")
            .unwrap()
            .text
            .contains("<th scope=row>found too many at the doors<td>744<td>0<td>0")
    );
    silent.clear();
    let pause = yard.tasks.timers().clone();
    run(&yard.tasks, async move { pause.after(Duration::from_secs(15)).await }, async {});
    assert_eq!(pinata.ledger().attempts(), 1_000, "all have gone");
    let row = &hostile::good(&yard.ca, Role::Client);
    assert_eq!(yard.show(&pinata, Door::Server, row, 1).as_deref(), Ok(SECRET), "and there is room again");
}

/// Knocks at 10001 from `peer`, with nobody at home there, and says whether it was dialled.
fn knock(yard: &Yard, pinata: &Rc<Pinata>, peer: &str) -> bool {
    let (mut near, far) = pipe(4096);
    let (pinata, timers, sent) = (pinata.clone(), yard.tasks.timers().clone(), far.sent());
    let (peer, dialled) = (peer.parse().unwrap(), Rc::new(RefCell::new(false)));
    let told = dialled.clone();
    let receiving = async move {
        let nobody = move |_| {
            assert!(sent.borrow().closed, "it hangs up first");
            *told.borrow_mut() = true;
            core::future::ready(Err::<End, _>(io::ErrorKind::ConnectionRefused.into()))
        };
        pinata.receive(Door::CallBack, far, peer, &timers, nobody).await;
    };
    let _ = run(&yard.tasks, receiving, async move { read_some(&mut near).await });
    dialled.take()
}

#[test]
fn only_those_are_called_back_whom_the_rules_allow() {
    let yard = Yard::default();
    let pinata = yard.hang(&[]);
    let count = |outcome| pinata.ledger().count(Door::CallBack, outcome);
    for peer in
        ["127.0.0.1:5", "192.0.2.7:5", "192.0.2.1:5", "192.0.2.255:5", "[::1]:5", "[::ffff:127.0.0.1]:5"]
    {
        assert!(!knock(&yard, &pinata, peer), "{peer}");
    }
    assert_eq!(count(Outcome::Forbidden), 6);
    assert!(knock(&yard, &pinata, "198.51.100.8:5"));
    assert!(!knock(&yard, &pinata, "198.51.100.8:6"));
    assert_eq!((count(Outcome::Unanswered), count(Outcome::TooSoon)), (1, 1));
    let called = (1..=40).filter(|last| knock(&yard, &pinata, &format!("203.0.113.{last}:5"))).count();
    assert!(called < 40 && count(Outcome::TooMany) == 40 - called as u64, "{called} were called at once");
}

#[test]
fn without_rules_nobody_is_called_and_the_page_says_so() {
    let yard = Yard::default();
    let keys = Keys::mint(&["192.0.2.7"], tls_bench::TODAY).unwrap();
    let closed = Pinata::new(keys, SECRET.to_vec(), String::new(), None, yard.calendar.clone()).unwrap();
    let closed = Rc::new(closed);
    assert_eq!(closed.doors().collect::<Vec<_>>(), [Door::Server, Door::Client]);
    assert!(!knock(&yard, &closed, PEER));
    only(&closed, Door::CallBack, Outcome::Forbidden);
    let says = |pinata: &Pinata| pinata.sheet("/", "").unwrap().text.contains("<dt>10001<dd>Closed here.");
    assert!(says(&closed) && !says(&yard.hang(&[])));
}

#[test]
fn a_call_that_nobody_answers_ends() {
    let yard = Yard::default();
    let pinata = yard.hang(&[]);
    let (near, far) = pipe(4096);
    let (receiver, timers) = (pinata.clone(), yard.tasks.timers().clone());
    let receiving = async move {
        let never = |_| core::future::pending::<io::Result<End>>();
        receiver.receive(Door::CallBack, far, PEER.parse().unwrap(), &timers, never).await;
    };
    run(&yard.tasks, receiving, async move { drop(near) });
    only(&pinata, Door::CallBack, Outcome::Unanswered);
}

#[test]
fn a_server_that_asks_for_no_certificate_may_still_have_the_right_one() {
    let yard = Yard::default();
    let (pinata, shown) = (yard.hang(&[]), good(&yard.ca, Role::Server));
    let heard = yard.visit(&pinata, Door::Client, PEER, async move |mut near, _| {
        converse(&mut answering(server(VERSIONS[1], &shown)), &mut near, b"thanks").await
    });
    assert_eq!(heard.unwrap(), SECRET);
    only(&pinata, Door::Client, Outcome::Given);
}

#[test]
fn the_page_has_the_ledger_the_ca_and_the_chain() {
    let yard = Yard::default();
    let pinata = yard.hang_forgotten();
    let page = pinata.sheet("/index.html", "").unwrap();
    for words in [
        "It hangs whole.",
        "nobody has tried yet",
        "A &lt;b&gt;demo&lt;/b&gt; &amp; nothing more",
        "There is no fourth.",
    ] {
        assert!(page.text.contains(words), "{words}");
    }
    relayed(&yard, &pinata);
    yard.show(&pinata, Door::Server, &hostile::good(&yard.ca, Role::Client), 1).unwrap_err();
    let lines = [pinata.line().unwrap(), pinata.line().unwrap()];
    assert!(pinata.line().is_none());
    assert!(
        lines[0].starts_with("piñata: 1 2026-09-21T14:13Z 10000 itself=1 untrusted_issuer=1 "),
        "{}",
        lines[0]
    );
    let page = pinata.sheet("/", "").unwrap();
    let head = pinata.ledger().chain().head().to_string();
    assert!(page.text.contains(&head) && lines[1].ends_with(&head));
    assert!(page.text.contains("let the piñata talk to itself<td>1<td>0<td>1"));
    let gaps = [
        "{bounty}",
        "{verdict}",
        "{attempts}",
        "{rows}",
        "{bars}",
        "{origin}",
        "{call_back}",
        "{ca}",
        "{head}",
    ];
    assert!(gaps.iter().all(|gap| !page.text.contains(gap)));
    assert!(!page.text.contains("<script") && !page.text.contains("src="));
    let ca = pinata.sheet("/ca.pem", "").unwrap();
    assert_eq!(ca.kind, "application/pem-certificate-chain");
    assert!(ca.text.starts_with("-----BEGIN CERTIFICATE-----\n") && page.text.contains(&ca.text));
    let json = pinata.sheet("/ledger.json", "").unwrap().text;
    assert!(
        json.contains(
            "\"10000\":{\"itself\":1,\"untrusted_issuer\":1},\"10001\":{},\"10002\":{\"itself\":1}"
        )
    );
    assert!(json.contains(&format!("\"lines\":2,\"head\":\"{head}\"")) && !json.contains("198.51.100"));
    assert!(pinata.sheet("/secret", "").is_none());
}
