//! Bodies both ways.

use super::*;

#[test]
fn bodies_with_and_without_a_length_arrive_whole() {
    let (mut client, far, _) = one(words());
    client.send("POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhe");
    assert!(far.hear(0).ends_with("\r\n\r\nhe"), "it waits for nothing");
    client.send("llo");
    assert_eq!(far.hear(0), "llo");
    far.say(0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.turn();
    assert!(client.hear().ends_with("\r\n\r\n3\r\nabc\r\n"));
    far.say(0, "0\r\n\r\n");
    client.turn();
    assert_eq!(client.hear(), "0\r\n\r\n");
    client.send(
        "POST /b HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    );
    let heard = far.hear(0);
    assert_eq!(far.calls(), 1, "the connections on both sides are used again");
    assert!(
        heard.contains("transfer-encoding: chunked\r\n") && heard.ends_with("2\r\nhi\r\n0\r\n\r\n"),
        "{heard}"
    );
    far.say(0, OK);
    client.turn();
    ended(&client.hear(), "200");
}

#[test]
fn trailers_pass_both_ways_without_what_may_not_stand_there() {
    let (mut client, far, _) = one(words());
    client.send(
        "POST /a HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum, x-forwarded-for\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Sum: 7\r\nX-Forwarded-For: 10.6.6.6\r\n\r\n",
    );
    let heard = far.hear(0);
    assert!(heard.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{heard}");
    assert!(heard.contains("\r\nte: trailers\r\n"), "{heard}");
    far.say(0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum, keep-alive\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 9\r\nKeep-Alive: 5\r\n\r\n");
    client.turn();
    let answer = client.hear();
    assert!(answer.ends_with("0\r\nx-sum: 9\r\n\r\n"), "{answer}");
}

#[test]
fn a_client_that_waits_is_asked_for_its_body_only_when_somebody_wants_it() {
    let ask = "POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let (mut client, far, _) = one(words());
    assert_eq!(client.ask(ask), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    far.say(0, OK);
    client.turn();
    ended(&client.hear(), "200");
    let (mut client, far, _) = one(words());
    far.refuses.set(true);
    ended(&client.ask(ask), "502");
}

#[test]
fn a_slow_upstream_slows_the_client_and_a_slow_client_the_upstream() {
    const MUCH: usize = 8 << 20;
    let mut wanted = words();
    wanted.body = 1 << 30;
    let (mut client, far, _) = one(wanted.clone());
    far.room.set(10_000);
    client.send(format!("POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: {MUCH}\r\n\r\n"));
    client.send(vec![b'x'; MUCH]);
    let left = client.pipe.borrow().up.bytes.len();
    assert!(left > MUCH - 1_000_000, "only {left} bytes were left with the client");

    let (client, far, _) = one(wanted);
    let mut client = client.with_room(10_000);
    client.send(GET);
    far.say(0, format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"));
    far.say(0, vec![b'y'; MUCH]);
    client.turn();
    let left = far.pipe(0).borrow().up.bytes.len();
    assert!(left > MUCH - 1_000_000, "only {left} bytes were left with the upstream");
    let mut came = 0;
    while came < MUCH {
        let more = client.take(10_000).len();
        assert!(more > 0, "it stands still after {came} bytes");
        came += more;
    }
}

#[test]
fn a_body_that_is_too_long_is_refused_at_once_or_when_that_shows() {
    let mut wanted = words();
    wanted.body = 10;
    let (mut client, far, relay) = one(wanted.clone());
    ended(&client.ask("POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 11\r\n\r\n"), "413");
    assert_eq!(far.calls(), 0);
    nothing_is_left(&mut client, &relay, &far);
    let (mut client, far, relay) = one(wanted);
    let chunked =
        "POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n";
    ended(&client.ask(chunked), "413");
    assert_eq!(relay.standings().next().unwrap().failures, 0);
    nothing_is_left(&mut client, &relay, &far);
}

#[test]
fn an_upstream_that_takes_nothing_is_given_up_in_time() {
    for early in [false, true] {
        let (mut client, far, relay) = one(words());
        far.room.set(1000);
        client.send("POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 900000\r\n\r\n");
        client.send(vec![b'x'; 800_000]);
        if early {
            far.say(0, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n");
            client.turn();
        }
        for _ in 0..59 {
            client.wait(1.0);
            far.say(0, if early { "y" } else { "" });
        }
        assert!(!far.is_gone(0));
        client.wait(1.1);
        if !early {
            ended(&client.hear(), "504");
        }
        nothing_is_left(&mut client, &relay, &far);
    }
}

#[test]
fn a_client_that_trickles_its_body_is_told_so() {
    let (mut client, far, relay) = one(words());
    client.send("POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 500\r\n\r\n");
    for _ in 0..40 {
        client.wait(1.0);
        client.send("x");
    }
    ended(&client.hear(), "408");
    nothing_is_left(&mut client, &relay, &far);
}

#[test]
fn a_client_that_sends_no_more_still_hears_its_answer() {
    let (mut client, far, _) = one(words());
    client.send(GET);
    client.close();
    far.say(0, OK);
    client.turn();
    ended(&client.hear(), "200");
}

#[test]
fn what_follows_a_body_that_breaks_is_no_request() {
    for chunk in ["ffffffffffffffff1", "-1", "x", "1\r\nabc"] {
        let (mut client, far, relay) = one(words());
        let head = "POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = client.ask(&format!("{head}{chunk}\r\nGET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        ended(&answer, "400");
        assert_eq!((answer.matches("HTTP/1.1").count(), far.calls()), (1, 1), "{chunk}: {answer}");
        assert!(client.is_closed());
        client.close();
        nothing_is_left(&mut client, &relay, &far);
    }
}
