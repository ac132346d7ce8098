//! What is passed on of a head.

use super::*;

#[test]
fn a_request_goes_on_and_its_answer_comes_back() {
    let (mut client, far, relay) = one(words());
    client.send(GET);
    let heard = far.hear(0);
    assert!(heard.starts_with("GET /x?y=%2F HTTP/1.1\r\n"), "{heard}");
    for line in [
        "host: a.example",
        "via: 1.1 gatehouse",
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: a.example",
        "x-forwarded-port: 443",
        "x-real-ip: 192.0.2.1",
        "forwarded: for=192.0.2.1;host=\"a.example\";proto=https",
    ] {
        assert!(heard.contains(&format!("\r\n{line}\r\n")), "{line:?} is not in {heard}");
    }
    far.say(0, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nX-A: b\r\nKeep-Alive: timeout=5\r\nConnection: x-b\r\nX-B: c\r\n\r\nlost");
    let answer = {
        client.turn();
        client.hear()
    };
    ended(&answer, "404");
    assert!(answer.ends_with("\r\n\r\nlost") && answer.contains("\r\nx-a: b\r\n"), "{answer}");
    assert!(!answer.contains("keep-alive") && !answer.contains("x-b"), "{answer}");
    assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    assert_eq!(relay.standings().next().unwrap().requests, 1);
}

#[test]
fn what_belongs_to_the_connection_or_is_ours_to_say_does_not_pass() {
    let mut wanted = words();
    wanted.identity = true;
    let (mut client, far, _) = one(wanted);
    client.send(
        "GET / HTTP/1.1\r\nHost: a.example:443\r\nConnection: keep-alive, X-Hop\r\nX-Hop: hop\r\nKeep-Alive: hop\r\n\
         TE: gzip\r\nProxy-Authorization: hop\r\nProxy-Connection: hop\r\nExpect: hop\r\n\
         X-Forwarded-For: 10.6.6.6\r\nX-Forwarded-Proto: evil\r\nX_Forwarded_For: 10.6.6.6\r\nForwarded: for=10.6.6.6\r\n\
         X-Real-IP: 10.6.6.6\r\nX-Client-Cert-Subject: evil\r\nX_Client_Cert_Verified: evil\r\nProxy: evil\r\n\
         Cookie: a=b\r\n\r\n",
    );
    let heard = far.hear(0);
    assert!(!heard.contains("hop") && !heard.contains("evil") && !heard.contains("10.6.6.6"), "{heard}");
    assert!(heard.contains("host: a.example:443") && heard.contains("cookie: a=b"), "{heard}");
    assert!(heard.contains("x-client-cert-verified: none"), "{heard}");
}

#[test]
fn a_trusted_peer_may_say_on_whose_behalf_it_asks_but_not_who_has_shown_a_certificate() {
    let (far, mut house) = (Far::new(), house());
    let mut wanted = words();
    wanted.identity = true;
    house.sites[0].relays = vec![Relay::new(wanted, vec![Rc::new(far.clone())])];
    house.trusted = vec![bundle::Network::read("192.0.2.0/24").unwrap()];
    let mut visit = visit();
    visit.client =
        Some(Box::new(crate::Client { subject: "CN=Anna, O=A".into(), ..crate::Client::default() }));
    let mut client = Client::of(Rc::new(house), visit);
    client.send(
        "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 10.1.1.1\r\nX-Forwarded-Proto: http\r\n\
         Forwarded: for=10.1.1.1\r\nX-Client-Cert-Subject: evil\r\n\r\n",
    );
    let heard = far.hear(0);
    for line in [
        "x-forwarded-for: 10.1.1.1, 192.0.2.1",
        "x-forwarded-proto: http",
        "forwarded: for=10.1.1.1, for=192.0.2.1;host=\"a.example\";proto=https",
        "x-client-cert-subject: CN=Anna, O=A",
        "x-client-cert-verified: success",
    ] {
        assert!(heard.contains(&format!("\r\n{line}\r\n")), "{line:?} is not in {heard}");
    }
    assert!(!heard.contains("evil"), "{heard}");
}

#[test]
fn addresses_reach_the_upstream_as_they_came_or_without_the_relays_path() {
    for (strip, asked, wanted) in [
        (false, "/api/a%2Fb?c", Some("/api/a%2Fb?c")),
        (false, "/api", Some("/api")),
        (true, "/api/a%2Fb?c", Some("/a%2Fb?c")),
        (true, "/%61pi/x", Some("/x")),
        (true, "/api", Some("/")),
        (true, "http://a.example/api/z", Some("/z")),
        (true, "/apiary", None),
        (true, "/api/..%2fadmin", None),
        (true, "/api/%2e%2e/admin", None),
        (true, "*", None),
    ] {
        let mut wanting = words();
        (wanting.path, wanting.strip) = ("/api/".into(), strip);
        let (mut client, far, _) = one(wanting);
        client.send(format!("GET {asked} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        match wanted {
            Some(path) => assert!(far.hear(0).starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{asked}"),
            None => assert_eq!(far.calls(), 0, "{asked}"),
        }
    }
}

#[test]
fn the_longest_path_that_fits_decides() {
    let (outer, inner, mut house) = (Far::new(), Far::new(), house());
    let relay = |path: &str, far: &Rc<Far>| {
        Relay::new(Proxy { path: path.into(), ..words() }, vec![Rc::new(far.clone()) as Rc<dyn Dial>])
    };
    house.sites[0].relays = vec![relay("/", &outer), relay("/a/", &inner)];
    let mut client = Client::of(Rc::new(house), visit());
    client.send("GET /a/b HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!((inner.calls(), outer.calls()), (1, 0));
}

#[test]
fn a_method_that_would_show_what_we_added_is_not_passed_on() {
    let (mut client, far, _) = one(words());
    for method in ["TRACE", "PRI"] {
        ended(&client.ask(&format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n")), "501");
    }
    assert_eq!(far.calls(), 0);
}

#[test]
fn an_answer_to_head_tells_its_length_and_has_no_body() {
    let (mut client, far, _) = one(words());
    client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    far.say(0, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    client.turn();
    let answer = client.hear();
    assert!(answer.contains("content-length: 12345\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(far.calls(), 1, "the connection is used again");
}

#[test]
fn an_upstream_is_told_on_whose_behalf_we_call_and_then_the_connection_is_one_clients() {
    let mut wanted = words();
    wanted.announce = true;
    let (mut client, far, _) = one(wanted);
    for call in 0..2 {
        client.send(GET);
        assert!(far.hear(call).starts_with("\r\n\r\n\0\r\nQUIT\n"), "call {call}");
        far.say(call, OK);
        client.turn();
        assert!(far.is_gone(call), "it can be nobody else's");
    }
}

#[test]
fn trailers_say_nothing_that_heads_decide() {
    let mut trailers = hyper::HeaderMap::new();
    for name in [
        "host",
        "authorization",
        "content-type",
        "content-encoding",
        "content-range",
        "content-length",
        "transfer-encoding",
        "te",
        "upgrade",
        "keep-alive",
        "x-hop",
        "x-forwarded-for",
        "x-client-cert-subject",
        "x-sum",
    ] {
        trailers.insert(name, "1".parse().unwrap());
    }
    trailers.insert("connection", "x-hop".parse().unwrap());
    crate::relay::heads::clean_trailers(&mut trailers);
    assert_eq!(trailers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-sum"]);
}

#[test]
fn what_stands_behind_an_answer_without_a_body_is_nobodys_answer() {
    for (method, head) in [
        ("HEAD", "200 OK\r\nContent-Length: 5"),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked"),
        ("GET", "204 No Content"),
        ("GET", "304 Not Modified\r\nContent-Length: 5"),
        ("GET", "200 OK\r\nContent-Length: 0"),
    ] {
        for cut in [false, true] {
            let (mut client, far, _) = one(words());
            client.send(GET.replace("GET", method));
            far.say(0, format!("HTTP/1.1 {head}\r\n\r\n"));
            if cut {
                client.turn();
            }
            far.say(0, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen");
            client.turn();
            let answer = client.hear();
            assert!(
                answer.starts_with("HTTP/1.1 ") && !answer.contains("stolen"),
                "{method} {head}: {answer}"
            );
            client.send(GET);
            assert_eq!(far.calls(), 2, "{method} {head}: that connection was not used again");
        }
    }
}

#[test]
fn a_cookie_in_pieces_is_one_line() {
    let (mut client, far, _) = one(words());
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nCookie: a=b\r\nCookie: c=\"d\"; e\r\n\r\n");
    let heard = far.hear(0);
    assert!(
        heard.contains("\r\ncookie: a=b; c=\"d\"; e\r\n") && heard.matches("cookie").count() == 1,
        "{heard}"
    );
}

#[test]
fn a_host_is_nothing_but_a_host() {
    for host in [
        "[::1]\";for=10.6.6.6;x=\"",
        "[::1]x",
        "[::1]:8a",
        "[::1",
        "a.example:1:2",
        "user@a.example",
        "a.example/x",
        "a\"b",
    ] {
        let (mut client, far, _) = one(words());
        let answer = client.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        ended(&answer, "400");
        assert_eq!(far.calls(), 0, "{host}");
    }
    for host in ["[::1]", "[::1]:8443", "a.example.", "a.example:1"] {
        let (mut client, far, _) = one(words());
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(far.hear(0).contains(&format!(";host=\"{host}\";")), "{host}");
    }
}
