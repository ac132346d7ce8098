//! Clients that leave while an upstream is silent, and clients that only seem to.

use super::*;

const POST: &str = "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
const OLD: &str = "GET /x HTTP/1.0\r\nHost: a.example\r\n\r\n";
const ASIDE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// The client's end is reset.
fn reset(client: &mut Client) {
    client.pipe.borrow_mut().reset = true;
    Pipe::stir(&client.pipe);
    client.turn();
}

/// A client that has asked for this, and waits.
fn asked(request: &str) -> (Client, Rc<Far>, Rc<Relay>) {
    let (mut client, far, relay) = one(words());
    client.send(request);
    assert_eq!(far.calls(), 1);
    (client, far, relay)
}

#[test]
fn who_resets_takes_the_request_back_at_once() {
    for request in [GET, POST, OLD, &format!("{GET}{GET}")] {
        let (mut client, far, relay) = asked(request);
        client.wait(1.0);
        assert!(!far.is_gone(0), "{request}");
        reset(&mut client);
        nothing_is_left(&mut client, &relay, &far);
        assert_eq!(far.calls(), 1, "{request} was sent again");
        assert_eq!(relay.standings().next().unwrap().failures, 0, "that is nobody's failure");
        assert!(client.is_gone());
    }
}

#[test]
fn who_resets_in_the_middle_of_an_answer_takes_the_request_back_at_once() {
    for request in [GET, POST] {
        let (mut client, far, relay) = asked(request);
        far.say(0, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel");
        client.turn();
        assert!(client.hear().ends_with("hel"));
        reset(&mut client);
        nothing_is_left(&mut client, &relay, &far);
    }
}

#[test]
fn who_has_said_all_is_asked_whether_it_listens_and_gone_if_it_does_not() {
    for request in [GET, POST] {
        let (mut client, far, relay) = asked(request);
        client.close();
        client.wait(1.9);
        assert_eq!(client.hear(), "", "most answers come sooner");
        client.wait(0.2);
        assert_eq!(client.hear(), ASIDE);
        assert!(!far.is_gone(0));
        // What a kernel says to words for somebody who has left.
        reset(&mut client);
        nothing_is_left(&mut client, &relay, &far);
    }
}

#[test]
fn who_has_said_all_and_listens_hears_its_answer_however_long_that_takes() {
    let (mut client, far, _) = asked(GET);
    client.close();
    for _ in 0..50 {
        client.wait(1.0);
    }
    far.say(0, OK);
    client.turn();
    let heard = client.hear();
    assert_eq!(heard.matches(ASIDE).count(), 4, "{heard}");
    ended(heard.trim_start_matches(ASIDE), "200");
}

#[test]
fn nobody_is_asked_more_often_than_some_clients_bear() {
    let mut wanted = words();
    wanted.waits.head = 600;
    let (mut client, _, _) = one(wanted);
    client.send(GET);
    client.close();
    (0..500).for_each(|_| client.wait(1.0));
    assert_eq!(client.hear(), ASIDE.repeat(4));
}

#[test]
fn who_may_not_know_interim_answers_is_told_none() {
    let (mut client, far, _) = asked(OLD);
    client.close();
    client.wait(50.0);
    assert!(!far.is_gone(0));
    far.say(0, OK);
    client.turn();
    let heard = client.hear();
    assert!(heard.starts_with("HTTP/1.1 200") || heard.starts_with("HTTP/1.0 200"), "{heard}");
}

#[test]
fn nothing_is_said_between_the_pieces_of_an_answer() {
    let (mut client, far, _) = asked(GET);
    client.close();
    far.say(0, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel");
    client.turn();
    client.wait(30.0);
    far.say(0, "lo you");
    client.turn();
    let heard = client.hear();
    assert!(!heard.contains(ASIDE) && heard.ends_with("\r\n\r\nhello you"), "{heard}");
}

#[test]
fn what_was_asked_ahead_is_answered_in_its_turn() {
    let (mut client, far, _) = asked(GET);
    client.send(GET);
    client.close();
    client.wait(30.0);
    assert_eq!(client.hear(), "", "it has said something that nobody has read");
    for _ in 0..2 {
        far.say(far.calls() - 1, OK);
        client.turn();
        ended(&client.hear(), "200");
    }
}

#[test]
fn a_question_that_does_not_fit_is_finished_before_the_answer() {
    let (client, far, _) = asked(GET);
    let mut client = client.with_room(10);
    client.close();
    client.wait(3.0);
    assert_eq!(client.pipe.borrow().down.bytes.len(), 10);
    far.say(0, OK);
    let mut heard = Vec::new();
    loop {
        client.turn();
        match client.take(10) {
            more if more.is_empty() => break,
            more => heard.extend(more),
        }
    }
    let heard = String::from_utf8(heard).unwrap();
    assert!(heard.starts_with(&format!("{ASIDE}HTTP/1.1 200")) && heard.ends_with("ok"), "{heard}");
}

#[test]
fn who_says_no_more_behind_a_body_hears_an_answer_to_its_end() {
    const MUCH: usize = 1 << 20;
    for early in [true, false] {
        let (client, far, _) = one(words());
        let mut client = client.with_room(10_000);
        client.send(if early { &POST[..POST.len() - 1] } else { POST });
        far.say(0, format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"));
        far.say(0, vec![b'y'; MUCH]);
        client.send(if early { "i" } else { "" });
        client.close();
        let mut came = 0;
        while let more @ 1.. = client.take(10_000).len() {
            came += more;
        }
        assert!(came > MUCH, "{came} bytes came; early: {early}");
    }
}
