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
    client.send("");
}
