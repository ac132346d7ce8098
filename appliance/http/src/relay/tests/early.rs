//! Answers that are there before the body of the request is.

use super::*;

const POST: &str = "POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 900000\r\n\r\n";
const NO: &str = "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno";

/// What was left of so many bytes with a client that still says them after its answer.
fn left(client: &mut Client, said: usize) -> usize {
    client.send(vec![b'x'; said]);
    client.wait(1.9);
    assert!(client.is_closed() && !client.is_gone(), "it is heard for a moment");
    client.pipe.borrow().up.bytes.len()
}

#[test]
fn who_is_told_no_hears_all_of_it_and_that_it_is_the_last_word() {
    let (mut client, far, relay) = one(words());
    client.send(format!("{POST}hello"));
    assert!(far.hear(0).ends_with("hello"));
    far.say(0, NO);
    client.turn();
    let answer = client.hear();
    ended(&answer, "413");
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("\r\n\r\nno"), "{answer}");
    assert!(left(&mut client, 100_000) == 0 && far.hear(0).is_empty(), "and nobody says it again");
    nothing_is_left(&mut client, &relay, &far);
    client.close();
    assert!(client.is_gone());
}

#[test]
fn who_never_ends_what_nobody_wants_is_heard_slowly_and_not_for_long() {
    let refusals: [fn(&Far); 3] = [|far| far.say(0, NO), |far| far.reset(0), |far| far.refuses.set(true)];
    for (number, refuse) in refusals.into_iter().enumerate() {
        let (mut client, far, relay) = one(words());
        if number == 2 {
            refuse(&far);
        }
        client.send(POST);
        if number < 2 {
            refuse(&far);
            client.turn();
        }
        assert!(client.hear().contains("\r\nconnection: close\r\n"));
        let left = left(&mut client, 8 << 20);
        assert!(left > 7 << 20, "{} bytes were taken", (8 << 20) - left);
        client.wait(0.2);
        assert!(client.is_gone());
        nothing_is_left(&mut client, &relay, &far);
    }
}

#[test]
fn an_upstream_that_says_no_and_hears_no_more_is_heard() {
    for (whole, flushing) in [(true, false), (false, false), (true, true), (false, true)] {
        let (mut client, far, relay) = one(words());
        client.send(POST);
        far.hear(0);
        let (first, last) = NO.split_at(if whole { NO.len() } else { NO.len() - 1 });
        (far.pipe(0).borrow_mut().deaf, far.pipe(0).borrow_mut().stuck) = (!flushing, flushing);
        far.say(0, first);
        client.send(vec![b'x'; 100_000]);
        far.say(0, last);
        far.close(0);
        client.turn();
        let answer = client.hear();
        ended(&answer, "413");
        assert!(answer.ends_with("\r\n\r\nno"), "{answer}");
        assert_eq!(relay.standings().next().unwrap().failures, 0, "it has answered");
        nothing_is_left(&mut client, &relay, &far);
    }
}

#[test]
fn an_upstream_that_says_no_slowly_and_hears_no_more_is_heard() {
    for leaves in [false, true] {
        let (mut client, far, relay) = one(words());
        far.room.set(1000);
        client.send(format!("{POST}{}", "x".repeat(100_000)));
        far.say(0, "HTTP/1.1 413 No\r\nContent-Length: 100\r\n\r\n");
        client.send(vec![b'x'; 700_000]);
        assert!(client.pipe.borrow().up.bytes.len() > 600_000, "what nobody wants is not read meanwhile");
        for _ in 0..50 {
            far.say(0, "y");
            client.wait(1.0);
        }
        if leaves {
            client.pipe.borrow_mut().reset = true;
            far.say(0, "y");
        } else {
            for _ in 0..50 {
                far.say(0, "y");
                client.wait(1.0);
            }
            let answer = client.hear();
            assert!(answer.ends_with(&"y".repeat(100)), "{answer}");
        }
        nothing_is_left(&mut client, &relay, &far);
    }
}

#[test]
fn an_upstream_that_says_yes_before_the_body_is_there_hears_the_rest() {
    let (mut client, far, _) = one(words());
    client.send(POST.replace("900000", "5"));
    far.say(0, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    client.send("he");
    far.say(0, "he");
    client.send("llo");
    assert!(far.hear(0).ends_with("hello"));
    far.say(0, "llo");
    client.turn();
    let answer = client.hear();
    assert!(!answer.contains("connection: close") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    client.send(GET);
    assert_eq!(far.calls(), 1, "both connections are used again");
}

#[test]
fn an_upstream_that_has_said_all_hears_no_more() {
    let (mut client, far, relay) = one(words());
    client.send(format!("{POST}hello"));
    far.say(0, OK);
    client.turn();
    ended(&client.hear(), "200");
    assert!(client.is_closed());
    nothing_is_left(&mut client, &relay, &far);
}

#[test]
fn an_upstream_that_hears_and_says_no_more_is_no_answer() {
    let (mut client, far, relay) = one(words());
    far.room.set(10);
    client.send(POST);
    far.pipe(0).borrow_mut().deaf = true;
    far.close(0);
    client.turn();
    ended(&client.hear(), "502");
    nothing_is_left(&mut client, &relay, &far);
}
