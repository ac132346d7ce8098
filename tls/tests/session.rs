//! The shell, against itself: both sides of a pipe that cuts what goes through it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;
use tls::{Caller, ClientPolicy, Expected, Front, Kind, Profile};
use tls_bench::{Bench, PATIENCE, close, pipe, read_all, refusal, run, write_all};

#[test]
fn every_way_to_cut_the_stream_means_the_same() {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&["example.org"])]);
    for piece in [1, 2, 3, 5, 64, 1000, 16_384, 100_000] {
        let (server, client) = bench.meet(&front, bench.caller("example.org", None), piece);
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        assert_eq!(client.facts().version, "TLSv1.3");
        assert_eq!(server.server_name(), Some("example.org"));
        let echo = async move {
            let heard = read_all(&mut server).await.unwrap();
            write_all(&mut server, &heard).await.unwrap();
            close(&mut server).await.unwrap();
        };
        let words: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[1]).collect();
        let said = words.clone();
        let (client, ()) = run(
            &bench.tasks,
            async move {
                write_all(&mut client, &said).await.unwrap();
                client.finish().await.unwrap();
                let heard = read_all(&mut client).await.unwrap();
                close(&mut client).await.unwrap();
                heard
            },
            echo,
        );
        assert!(client == words, "at pieces of {piece}");
    }
}

#[test]
fn a_stream_that_is_cut_is_not_an_end() {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&["example.org"])]);
    let (server, client) = bench.meet(&front, bench.caller("example.org", None), 4096);
    let mut client = client.unwrap();
    drop(server);
    let (heard, ()) = run(&bench.tasks, async move { read_all(&mut client).await }, async {});
    assert_eq!(heard.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn an_unknown_name_is_told_so_by_our_own_alert() {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&["example.org", "*.example.net"])]);
    for (name, known) in
        [("example.org", true), ("a.example.net", true), ("a.b.example.net", false), ("x.org", false)]
    {
        assert_eq!(front.site(name).is_some(), known, "{name}");
    }
    let (near, far) = pipe(4096);
    let (sent, timers) = (far.sent(), bench.tasks.timers().clone());
    let (serve, caller) = (front.clone(), bench.caller("x.org", None));
    let told = timers.clone();
    let (server, client) = run(
        &bench.tasks,
        async move { refusal(serve.accept(far, 443, &timers, PATIENCE).await) },
        async move { refusal(caller.call(near, &told, PATIENCE).await) },
    );
    assert_eq!((server, client), (Kind::UnknownName, Kind::PeerRefused));
    assert_eq!(sent.borrow().seen, [21, 3, 3, 0, 2, 2, 112]);
}

#[test]
fn no_name_leads_to_the_default_site_or_nowhere() {
    let bench = Bench::default();
    for default in [None, Some(0)] {
        let sites = vec![bench.site(&["example.org"])];
        let front = Rc::new(Front::new(sites, default, bench.calendar.clone()).unwrap());
        let nobody = Caller::new(
            bench.trust(),
            &Expected::Anyone,
            None,
            Profile::Intermediate,
            Vec::new(),
            bench.calendar.clone(),
        );
        let (server, client) = bench.meet(&front, nobody.unwrap(), 4096);
        assert_eq!(server.is_ok(), default.is_some());
        assert_eq!(client.is_ok(), default.is_some());
    }
}

#[test]
fn garbage_is_known_by_its_first_bytes() {
    let bench = Bench::default();
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.2\r\n", &[0; 64], &[255; 9]]
    {
        let front = bench.front(vec![bench.site(&["example.org"])]);
        let (mut near, far) = pipe(7);
        let timers = bench.tasks.timers().clone();
        let (kind, heard) = run(
            &bench.tasks,
            async move { refusal(front.accept(far, 443, &timers, PATIENCE).await) },
            async move {
                write_all(&mut near, garbage).await.unwrap();
                read_all(&mut near).await.unwrap()
            },
        );
        assert_eq!(kind, Kind::NotTls, "{garbage:?}");
        assert_eq!(heard.first(), Some(&21), "the peer is told by an alert");
    }
}

#[test]
fn silence_is_refused_when_the_patience_is_at_its_end() {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&["example.org"])]);
    let (mut near, far) = pipe(4096);
    let timers = bench.tasks.timers().clone();
    let clock = timers.clone();
    let (kind, end) = run(
        &bench.tasks,
        async move { refusal(front.accept(far, 443, &timers, PATIENCE).await) },
        async move {
            read_all(&mut near).await.unwrap();
            clock.now()
        },
    );
    assert_eq!(kind, Kind::TooSlow);
    assert_eq!(end.millis(), 10_000);
}

#[test]
fn the_peer_reads_the_alert_though_it_had_more_to_say() {
    let bench = Bench::default();
    let (mut site, timers) = (bench.site(&["example.org"]), bench.tasks.timers().clone());
    site.clients = ClientPolicy::Required(bench.trust());
    let front = bench.front(vec![site]);
    let (server, client) = bench.meet(&front, bench.caller("example.org", None), 4096);
    assert_eq!(refusal(server), Kind::NoCertificate);
    let mut client = client.unwrap();
    let (heard, ()) = run(
        &bench.tasks,
        async move {
            let _ = write_all(&mut client, &[7; 9000]).await;
            read_all(&mut client).await
        },
        async move { timers.after(Duration::from_secs(1)).await },
    );
    assert_eq!(heard.unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn only_a_verified_peer_is_admitted_and_only_under_its_own_trust() {
    let (bench, stranger) = (Bench::default(), Bench::of("Other CA"));
    let mut site = bench.site(&["example.org"]);
    site.clients = ClientPolicy::Optional(bench.trust());
    let front = bench.front(vec![site]);
    let (server, _client) = bench.meet(&front, bench.caller("example.org", Some(bench.client("Ada"))), 4096);
    let server = server.unwrap();
    assert_eq!(&*server.admitted(&bench.trust()).unwrap().identity().subject, "CN=Ada");
    assert!(server.admitted(&stranger.trust()).is_none());
    let (server, _client) = bench.meet(&front, bench.caller("example.org", None), 4096);
    let server = server.unwrap();
    assert!(server.peer().is_none() && server.admitted(&bench.trust()).is_none());
    let forged = bench.caller("example.org", Some(stranger.client("Ada")));
    assert_eq!(refusal(bench.meet(&front, forged, 4096).0), Kind::UntrustedIssuer);
}

#[test]
fn a_request_for_another_host_than_the_one_asked_for_is_misdirected() {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&["example.org"])]);
    let (server, _client) = bench.meet(&front, bench.caller("example.org", None), 4096);
    let server = server.unwrap();
    for (host, wrong) in [
        ("example.org", false),
        ("EXAMPLE.ORG:8443", false),
        ("example.org.", false),
        ("www.example.org", true),
        ("example.org:8443:1", true),
        ("[::1]", true),
        ("", true),
    ] {
        assert_eq!(server.is_misdirected(host), wrong, "{host}");
    }
}
