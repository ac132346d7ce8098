//! Answers that are there before the body of the request is, over HTTP/2: a client that has not said all when its stream is
//! reset may throw them away (curl 7.88).

use super::*;
use crate::Relay;
use crate::relay::tests::{Far, words};

const NO: &str = "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno";

/// A client that has begun to post to a relay, and its upstream.
fn posting(refuses: bool, most: u64) -> (Client, Rc<Far>, Rc<Relay>) {
    let far = Far::new();
    far.refuses.set(refuses);
    let relay = Relay::new(bundle::Proxy { body: most, ..words() }, vec![Rc::new(far.clone())]);
    let mut house = house();
    house.sites[0].relays = vec![relay.clone()];
    let mut client = connected(house, 65_535);
    client.send(post(1));
    client.send(frame(DATA, 0, 1, b"hello hello"));
    (client, far, relay)
}

fn post(stream: u32) -> Vec<u8> {
    let mut block = get("/", "a.example");
    block[0] = 0x83;
    frame(HEADERS, END_HEADERS, stream, &block)
}

fn resets(heard: &[Frame]) -> Vec<Vec<u8>> {
    heard.iter().filter(|frame| frame.0 == RESET).map(|frame| frame.3.clone()).collect()
}

type Answered = (Client, Rc<Far>, Rc<Relay>, &'static [u8]);

/// The ways to an answer that does not wait for the body, and how it ends.
fn answered() -> [Answered; 3] {
    let (mut client, far, relay) = posting(false, 1 << 20);
    far.say(0, NO);
    client.turn();
    let upstream = (client, far, relay, &b"no"[..]);
    let (client, far, relay) = posting(true, 1 << 20);
    let dead = (client, far, relay, &b"gave no answer."[..]);
    let (client, far, relay) = posting(false, 10);
    [upstream, dead, (client, far, relay, b"Too Large")]
}

#[test]
fn who_says_the_rest_sees_no_reset() {
    for (mut client, far, relay, end) in answered() {
        let mut heard = frames(&mut client);
        let (said, over) = content(&heard, 1);
        assert!(said.ends_with(end) && over, "{heard:?}");
        client.wait(1.0);
        client.send([frame(DATA, 0, 1, &[0; 1000]), frame(DATA, END_STREAM, 1, b"y")].concat());
        client.wait(3.0);
        heard.extend(frames(&mut client));
        assert_eq!(resets(&heard), Vec::<Vec<u8>>::new());
        assert_eq!(relay.standings().next().unwrap().in_flight, 0);
        assert!((0..far.calls()).all(|call| far.is_gone(call)), "nothing is held at the upstream");
    }
}

#[test]
fn who_never_says_the_rest_is_reset_after_a_moment_and_others_are_served() {
    for (mut client, ..) in answered() {
        let mut heard = frames(&mut client);
        client.wait(1.9);
        heard.extend(frames(&mut client));
        assert_eq!(resets(&heard), Vec::<Vec<u8>>::new(), "it has a moment");
        client.wait(0.2);
        heard.extend(frames(&mut client));
        assert_eq!(resets(&heard), [vec![0; 4]], "and is told that nothing was wrong");
    }
}

/// What is heard out is not taken for a flood, and what carries nothing is.
#[test]
fn many_at_once_are_heard_out_and_a_flood_of_nothing_is_hung_up_on() {
    let (mut client, far, _) = posting(true, 1 << 20);
    for stream in (3..41).step_by(2) {
        client.send(post(stream));
    }
    for stream in (3..41).step_by(2) {
        client.send(frame(DATA, 0, stream, &[0; 16_000]));
        client.send(frame(DATA, END_STREAM, stream, &[0; 16_000]));
    }
    let heard = frames(&mut client);
    assert!((3..41).step_by(2).all(|stream| content(&heard, stream).1) && resets(&heard).is_empty());
    far.refuses.set(false);
    client.send(post(41));
    for _ in 0..40 {
        client.send(frame(DATA, 0, 41, b"").repeat(1000));
    }
    assert!(is_over(&mut client));
}
