//! Whose turn it is: upstreams that fail and recover, connections that rest, lives that begin.

use super::*;

/// A client before so many upstreams.
fn several(count: usize) -> (Client, Vec<Rc<Far>>, Rc<Relay>) {
    let far: Vec<_> = (0..count).map(|_| Far::new()).collect();
    let mut wanted = words();
    wanted.targets = (0..count).map(|at| Target { host: format!("192.0.2.{}", 10 + at), port: 80 }).collect();
    let (client, relay) = many(wanted, &far);
    (client, far, relay)
}

/// Asks once, and the upstream of this call says this.
fn asked(client: &mut Client, far: &Far, answer: &str) -> String {
    client.send(GET);
    if far.calls() > 0 {
        far.say(far.calls() - 1, answer);
    }
    client.turn();
    client.hear()
}

/// It fails so often in a row.
fn fails(client: &mut Client, far: &Far, count: usize) {
    far.refuses.set(true);
    (0..count).for_each(|_| ended(&client.ask(GET), "502"));
    far.refuses.set(false);
}

fn only(relay: &Relay) -> Standing {
    relay.standings().next().unwrap()
}

#[test]
fn a_request_is_sent_three_times_and_no_more() {
    // The turns of those who were tried go to all others.
    for (bad, status) in [(&[0, 2][..], "200"), (&[0, 2, 4], "502")] {
        let (mut client, far, relay) = several(5);
        bad.iter().for_each(|bad| far[*bad].refuses.set(true));
        client.send(GET);
        far.iter().filter(|far| far.calls() > 0).for_each(|far| far.say(0, OK));
        client.turn();
        ended(&client.hear(), status);
        assert_eq!(relay.standings().map(|standing| standing.requests).sum::<u64>(), 3);
    }
}

#[test]
fn failures_that_are_not_in_a_row_eject_nobody() {
    let (mut client, far, relay) = one(words());
    for _ in 0..3 {
        fails(&mut client, &far, 2);
        assert!(only(&relay).up, "{:?}", only(&relay));
        ended(&asked(&mut client, &far, OK), "200");
        far.close(far.calls() - 1);
        client.turn();
    }
}

#[test]
fn when_all_are_ejected_anybody_is_better_than_nobody() {
    let (mut client, far, relay) = one(words());
    fails(&mut client, &far, 3);
    assert!(!only(&relay).up);
    ended(&asked(&mut client, &far, OK), "200");
    assert!(only(&relay).up, "and who has answered is well");
}

#[test]
fn who_says_that_it_is_well_is_forgiven_what_it_failed() {
    let (mut client, far, relay) = one(words());
    fails(&mut client, &far, 3);
    relay.upstreams[0].said_of_itself(true);
    relay.upstreams[0].said_of_itself(true);
    assert!(only(&relay).up);
}

#[test]
fn so_many_connections_rest_and_others_end() {
    let mut wanted = words();
    wanted.most = 100;
    let (client, far, relay) = one(wanted);
    let mut clients: Vec<_> = core::iter::once(client).chain((0..39).map(|_| before(&relay))).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    (0..40).for_each(|call| far.say(call, OK));
    clients.iter_mut().for_each(Client::turn);
    assert_eq!((far.calls(), only(&relay).resting), (40, 32));
    assert_eq!((0..40).filter(|call| far.is_gone(*call)).count(), 8);
}

#[test]
fn a_connection_that_ends_when_it_is_wanted_again_is_not_used() {
    let (mut client, far, _) = one(words());
    ended(&asked(&mut client, &far, OK), "200");
    // The request is there before the one who watches the connection has its turn.
    client
        .pipe
        .borrow_mut()
        .up
        .bytes
        .extend("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n".bytes());
    Pipe::stir(&client.pipe);
    far.close(0);
    client.turn();
    assert_eq!(far.calls(), 2);
    far.say(1, OK);
    client.turn();
    ended(&client.hear(), "200");
}

#[test]
fn a_life_begins_without_what_was_known_and_held_in_the_one_before() {
    let (mut client, far, relay) = one(words());
    ended(&asked(&mut client, &far, OK), "200");
    (0..3).for_each(|_| relay.upstreams[0].failed(client.tasks.timers().now()));
    assert_eq!((only(&relay).resting, only(&relay).up), (1, false));
    relay.begin(&client.tasks);
    client.turn();
    assert_eq!((only(&relay).resting, only(&relay).up, far.is_gone(0)), (0, true, true));
}

#[test]
fn who_asked_in_an_earlier_life_asks_no_more() {
    let far = Far::new();
    let health = Some(bundle::Health { path: "/health".into(), every: 5 });
    let relay = Relay::new(Proxy { health, ..words() }, vec![Rc::new(far.clone())]);
    let mut client = before(&relay);
    for calls in 1..=2 {
        relay.begin(&client.tasks);
        client.turn();
        assert_eq!(far.calls(), calls);
        far.say(calls - 1, OK);
        client.turn();
    }
    client.wait(5.0);
    assert_eq!(far.calls(), 3, "only one asks on");
}
