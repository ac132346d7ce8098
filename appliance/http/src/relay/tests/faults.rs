//! Upstreams that fail, in every way we know: the client gets the right answer, and nothing is left behind.

use super::*;

type Does = dyn FnMut(&mut Client, &Far);

/// What becomes of a client whose upstream does this.
fn when(mut does: impl FnMut(&mut Client, &Far)) -> (String, Client, Rc<Relay>, Rc<Far>) {
    let (mut client, far, relay) = one(words());
    client.send(GET);
    does(&mut client, &far);
    client.turn();
    let answer = client.hear();
    (answer, client, relay, far)
}

#[test]
fn what_is_no_answer_is_a_bad_gateway() {
    let endless = |_: &mut Client, far: &Far| {
        far.say(0, "HTTP/1.1 200 OK\r\n");
        far.say(0, format!("X: {}\r\n", "a".repeat(1 << 20)));
    };
    let both = |_: &mut Client, far: &Far| {
        far.say(0, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    };
    let said = |text: &'static str| move |_: &mut Client, far: &Far| far.say(0, text);
    let closed = |_: &mut Client, far: &Far| (0..far.calls()).for_each(|call| far.close(call));
    let tries: Vec<Box<Does>> = vec![
        Box::new(said("SSH-2.0-OpenSSH\r\n\r\n")),
        Box::new(said("\x16\x03\x01\x02\0\x01\0\x01\x7f\x7c\x03\x03\r\n\r\n")),
        Box::new(said("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")),
        Box::new(said("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok")),
        Box::new(said("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        Box::new(said("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n")),
        Box::new(said("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        Box::new(said("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")),
        Box::new(said("HTTP/1.1 200 OK\r\n: x\r\n\r\n")),
        Box::new(endless),
        Box::new(both),
        Box::new(closed),
    ];
    for (number, mut does) in tries.into_iter().enumerate() {
        let (mut client, far, relay) = one(words());
        client.send("POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
        does(&mut client, &far);
        client.turn();
        let answer = client.hear();
        ended(&answer, "502");
        assert_eq!(far.calls(), 1, "try {number} was sent again");
        nothing_is_left(&mut client, &relay, &far);
    }
}

#[test]
fn who_never_answers_is_given_up_in_time() {
    let (answer, mut client, relay, far) = when(|client, _| client.wait(61.0));
    ended(&answer, "504");
    nothing_is_left(&mut client, &relay, &far);
    let (mut client, far, _) = one(words());
    far.never.set(true);
    client.send(GET);
    client.wait(5.1);
    ended(&client.hear(), "504");
}

#[test]
fn who_only_says_that_it_goes_on_is_given_up_in_time() {
    let (mut client, far, relay) = one(words());
    client.send(GET);
    for _ in 0..59 {
        far.say(0, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(100));
        client.wait(1.0);
        assert_eq!(client.hear(), "");
    }
    far.say(0, "HTTP/1.1 100 Continue\r\n\r\n");
    client.wait(1.1);
    ended(&client.hear(), "504");
    nothing_is_left(&mut client, &relay, &far);
}

#[test]
fn who_cannot_be_reached_is_a_bad_gateway_and_nobody_is_left_is_unavailable() {
    let (mut client, far, relay) = one(words());
    far.refuses.set(true);
    ended(&client.ask(GET), "502");
    assert_eq!(relay.standings().next().unwrap().failures, 1);
    let mut full = words();
    full.most = 1;
    let (mut client, far, relay) = one(full);
    client.send(GET);
    let answer = before(&relay).ask(GET);
    ended(&answer, "503");
    assert!(answer.contains("retry-after: 5"), "{answer}");
    assert_eq!(far.calls(), 1);
    far.say(0, OK);
    client.turn();
    ended(&client.hear(), "200");
}

#[test]
fn an_answer_that_ends_before_its_time_is_not_taken_for_whole() {
    let cuts: [fn(&mut Client, &Far); 3] =
        [|_, far| far.close(0), |_, far| far.reset(0), |client, _| client.wait(61.0)];
    for head in ["Content-Length: 9\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n9\r\nhello"] {
        for cut in cuts {
            let (answer, mut client, relay, far) = when(|client, far| {
                far.say(0, format!("HTTP/1.1 200 OK\r\n{head}"));
                client.turn();
                cut(client, far);
            });
            ended(&answer, "200");
            assert!(answer.contains("hello") && !answer.ends_with("0\r\n\r\n"), "{answer}");
            assert!(client.is_gone() && !client.pipe.borrow().down.closed, "gone without a goodbye");
            nothing_is_left(&mut client, &relay, &far);
        }
    }
}

#[test]
fn what_is_said_behind_an_answer_is_nobodys_answer() {
    let (answer, mut client, _, far) = when(|_, far| far.say(0, format!("{OK}{OK}")));
    ended(&answer, "200");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    client.send(GET);
    assert_eq!(far.calls(), 2, "that connection was not used again");
    assert!(far.is_gone(0));
}

#[test]
fn a_connection_that_rests_ends_with_its_peer_or_its_time() {
    let (_, mut client, relay, far) = when(|_, far| far.say(0, OK));
    assert_eq!(relay.standings().next().unwrap().resting, 1);
    far.close(0);
    client.turn();
    assert_eq!(relay.standings().next().unwrap().resting, 0);
    nothing_is_left(&mut client, &relay, &far);
    let (_, mut client, relay, far) = when(|_, far| far.say(0, OK));
    client.wait(31.0);
    assert_eq!(relay.standings().next().unwrap().resting, 0);
    nothing_is_left(&mut client, &relay, &far);
}

#[test]
fn only_what_may_arrive_twice_is_sent_again() {
    for (request, again) in [
        (GET, true),
        ("DELETE / HTTP/1.1\r\nHost: a.example\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n", false),
        ("PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\nx", false),
    ] {
        let (_, mut client, relay, far) = when(|_, far| far.say(0, OK));
        client.send(request);
        assert_eq!(far.calls(), 1);
        far.close(0);
        client.turn();
        let calls = far.calls();
        if again {
            assert_eq!(calls, 2, "{request}");
            far.say(1, OK);
            client.turn();
            ended(&client.hear(), "200");
        } else {
            assert_eq!(calls, 1, "{request}");
            ended(&client.hear(), "502");
        }
        let standing = relay.standings().next().unwrap();
        assert_eq!(
            (standing.failures, standing.retries),
            (0, u64::from(again)),
            "a race is nobody's failure"
        );
    }
}

#[test]
fn each_in_turn_and_past_who_fails() {
    let far = [Far::new(), Far::new()];
    let (mut client, relay) = many(words(), &far);
    for round in 0..4 {
        client.send(GET);
        far[round % 2].say(0, OK);
        client.turn();
        ended(&client.hear(), "200");
    }
    assert_eq!((far[0].calls(), far[1].calls()), (1, 1));
    far[0].close(0);
    far[0].refuses.set(true);
    client.turn();
    for _ in 0..8 {
        client.send(GET);
        far[1].say(0, OK);
        client.turn();
        ended(&client.hear(), "200");
    }
    let standing = relay.standings().next().unwrap();
    assert!(!standing.up && standing.failures == 3, "ejected after three failures: {standing:?}");
    far[0].refuses.set(false);
    client.wait(6.0);
    for _ in 0..2 {
        client.send(GET);
        far[0]
            .pipes
            .borrow()
            .get(1)
            .into_iter()
            .for_each(|pipe| pipe.borrow_mut().up.bytes.extend(OK.bytes()));
        far[1].say(far[1].calls() - 1, OK);
        client.wait(0.1);
    }
    assert_eq!(far[0].calls(), 2, "it is tried again after a while");
}

#[test]
fn the_turns_of_one_that_is_down_go_to_all_others() {
    let far = [Far::new(), Far::new(), Far::new()];
    let mut three = words();
    three.targets.push(Target { host: "192.0.2.12".into(), port: 80 });
    let (mut client, relay) = many(three, &far);
    relay.upstreams[1].said_of_itself(false);
    relay.upstreams[1].said_of_itself(false);
    let asked = (0..12).map(|_| {
        client.send(GET);
        let one = far.iter().position(|far| far.calls() > 0 && far.hear(0).starts_with("GET")).unwrap();
        far[one].say(0, OK);
        client.turn();
        ended(&client.hear(), "200");
        one
    });
    assert_eq!(asked.collect::<Vec<_>>(), [0, 2].repeat(6));
}

#[test]
fn the_least_busy_is_asked() {
    let far = [Far::new(), Far::new()];
    let mut wanted = words();
    wanted.least = true;
    let (mut first, relay) = many(wanted, &far);
    first.send(GET);
    let busy = usize::from(far[1].calls() == 1);
    for _ in 0..2 {
        let mut other = before(&relay);
        other.send(GET);
        let calls = far[1 - busy].calls();
        far[1 - busy].say(calls - 1, OK);
        other.turn();
        ended(&other.hear(), "200");
    }
    assert_eq!(far[busy].calls(), 1);
}

#[test]
fn who_says_that_it_is_unwell_is_left_alone_until_it_is_well() {
    let far = Far::new();
    let health = Some(bundle::Health { path: "/health".into(), every: 5 });
    let relay = Relay::new(Proxy { health, ..words() }, vec![Rc::new(far.clone())]);
    let mut client = before(&relay);
    relay.begin(&client.tasks);
    client.turn();
    for (status, up) in [(500, true), (500, false), (200, false), (204, true)] {
        let call = far.calls() - 1;
        assert!(far.hear(call).starts_with("GET /health HTTP/1.1\r\n"));
        far.say(call, format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        client.turn();
        assert_eq!(relay.standings().next().unwrap().up, up, "after {status}");
        if !up {
            ended(&client.ask(GET), "503");
        }
        client.wait(5.0);
    }
}

#[test]
fn who_is_told_on_whose_behalf_we_call_is_told_too_that_we_ask_for_ourselves() {
    for (announce, begins) in [(true, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /health "), (false, "GET /health ")]
    {
        let far = Far::new();
        let health = Some(bundle::Health { path: "/health".into(), every: 5 });
        let relay = Relay::new(Proxy { health, announce, ..words() }, vec![Rc::new(far.clone())]);
        let mut client = before(&relay);
        relay.begin(&client.tasks);
        client.turn();
        let heard = far.hear(0);
        assert!(heard.starts_with(begins), "{heard:?}");
    }
}
