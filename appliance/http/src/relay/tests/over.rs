//! Connections that are taken over.

use super::*;

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
const YES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n";

#[test]
fn both_talk_past_us_until_both_have_said_all() {
    let (mut client, far, relay) = one(words());
    client.send(format!("{ASK}early"));
    let heard = far.hear(0);
    assert!(
        heard.contains("\r\nconnection: upgrade\r\n") && heard.contains("\r\nupgrade: websocket\r\n"),
        "{heard}"
    );
    assert!(heard.contains("sec-websocket-key: k"), "{heard}");
    far.say(0, format!("{YES}first"));
    client.turn();
    let answer = client.hear();
    ended(&answer, "101");
    assert!(answer.contains("upgrade: websocket\r\n") && answer.ends_with("\r\n\r\nfirst"), "{answer}");
    assert_eq!(far.hear(0), "early");
    client.send("\x01\x02\0");
    assert_eq!(far.hear(0), "\x01\x02\0");
    far.close(0);
    client.turn();
    assert!(client.pipe.borrow().down.closed, "one direction has ended");
    client.send("last");
    assert_eq!(far.hear(0), "last", "and the other lives");
    client.close();
    nothing_is_left(&mut client, &relay, &far);
}

#[test]
fn silence_and_breaking_end_it() {
    let ends: [fn(&mut Client, &Far); 2] = [|client, _| client.wait(601.0), |_, far| far.reset(0)];
    for end in ends {
        let (mut client, far, relay) = one(words());
        client.send(ASK);
        far.say(0, YES);
        client.turn();
        ended(&client.hear(), "101");
        client.wait(599.0);
        far.say(0, "x");
        client.turn();
        client.wait(599.0);
        assert_eq!(client.hear(), "x", "it lives as long as somebody speaks");
        end(&mut client, &far);
        nothing_is_left(&mut client, &relay, &far);
        assert!(client.is_gone());
    }
}

/// A client whose connection was taken over, its upstream, and what the house says to those who are in it.
fn taken_over() -> (Client, Rc<Far>, Rc<Relay>, crate::Notice) {
    let far = Far::new();
    let relay = Relay::new(words(), vec![Rc::new(far.clone()) as Rc<dyn Dial>]);
    let mut house = house();
    house.sites[0].relays = vec![relay.clone()];
    let notice = house.notice.clone();
    let house = Rc::new(house);
    let weak = Rc::downgrade(&house);
    let mut client = Client::of(house, visit());
    client.send(ASK);
    far.say(0, YES);
    client.turn();
    ended(&client.hear(), "101");
    far.hear(0);
    assert!(weak.upgrade().is_none(), "who talks past us holds no house");
    (client, far, relay, notice)
}

#[test]
fn when_the_house_parts_both_hear_what_was_said_and_then_that_it_is_over() {
    let (mut client, far, relay, notice) = taken_over();
    notice.close();
    client.turn();
    client.send("still");
    assert_eq!(far.hear(0), "still", "who is drained or moved is not cut off");
    far.say(0, "last words");
    notice.parting.ring();
    client.turn();
    assert_eq!(client.hear(), "last words");
    assert!(client.pipe.borrow().down.closed && far.pipe(0).borrow().down.closed, "both are told");
    assert!(!client.is_gone(), "who has not left yet would hear a reset");
    client.send("too late");
    assert_eq!(far.hear(0), "");
    far.close(0);
    client.close();
    nothing_is_left(&mut client, &relay, &far);
    assert!(client.is_gone());
}

#[test]
fn who_does_not_go_when_the_house_parts_is_left_behind() {
    for room in [1 << 30, 200] {
        let (mut client, far, relay, notice) = taken_over();
        far.pipe(0).borrow_mut().room = room;
        client.send(vec![b'x'; 1000]);
        notice.parting.ring();
        client.turn();
        client.wait(1.9);
        assert!(!client.is_gone(), "it has a moment");
        client.send("and talks on");
        client.wait(0.2);
        nothing_is_left(&mut client, &relay, &far);
        assert!(client.is_gone());
    }
}

#[test]
fn a_side_that_does_not_listen_stops_the_other() {
    let (client, far, _) = one(words());
    let mut client = client.with_room(10_000);
    client.send(ASK);
    far.say(0, YES);
    client.turn();
    client.hear();
    far.say(0, vec![b'x'; 1 << 20]);
    client.turn();
    assert!(far.pipe(0).borrow().up.bytes.len() > (1 << 20) - 100_000);
}

#[test]
fn an_upstream_may_decline() {
    let (mut client, far, _) = one(words());
    client.send(ASK);
    far.say(0, OK);
    client.turn();
    let answer = client.hear();
    ended(&answer, "200");
    client.send(GET);
    assert_eq!(far.calls(), 1, "and HTTP goes on");
}

#[test]
fn nobody_takes_a_connection_over_where_that_is_not_wanted() {
    let mut wanted = words();
    wanted.upgrades = false;
    let (mut client, far, _) = one(wanted);
    client.send(ASK);
    assert!(!far.hear(0).contains("upgrade"));
    let (mut client, far, _) = one(words());
    client.send("GET /ws HTTP/1.1\r\nHost: a.example\r\nUpgrade: h2c\r\n\r\n");
    assert!(!far.hear(0).contains("upgrade"), "not named in Connection");
    let more = ["h2c", "websocket, H2C", "websocket,h2c", "HTTP/2.0", "TLS/1.2", "x\u{e9}"];
    let more = more.map(|protocol| ("websocket\r\n", format!("{protocol}\r\nHTTP2-Settings: AAMAAABk\r\n")));
    let ways =
        [("HTTP/1.1", "HTTP/1.0"), ("GET", "POST"), ("GET", "HEAD")].map(|(from, to)| (from, to.to_owned()));
    for (from, to) in ways.into_iter().chain(more) {
        let (mut client, far, _) = one(words());
        client.send(ASK.replace(from, &to));
        let heard = far.hear(0);
        let quiet = !heard.contains("upgrade") && !heard.contains("http2-settings");
        assert!(heard.contains("sec-websocket-key") && quiet, "{heard}");
    }
}
