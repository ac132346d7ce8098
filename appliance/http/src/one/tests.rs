use crate::bench::{Client, house, visit};
use crate::{Crowd, Visit};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::rc::Rc;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n\
                     etag: \"01010101010101010101010101010101\"\r\n\
                     last-modified: Tue, 14 Nov 2023 22:13:20 GMT\r\naccept-ranges: bytes\r\n\
                     x-content-type-options: nosniff\r\nx-frame-options: SAMEORIGIN\r\n\
                     referrer-policy: strict-origin-when-cross-origin\r\n\
                     cross-origin-opener-policy: same-origin\r\ncontent-length: 8\r\n\r\n<p>hello";

#[test]
fn a_page_is_fetched_and_the_connection_stays() {
    let mut client = Client::new();
    for _ in 0..3 {
        assert_eq!(client.ask(GET), HELLO);
        assert!(!client.is_closed());
    }
}

#[test]
fn every_way_to_cut_a_request_gets_the_same_answer() {
    for cut in 1..GET.len() {
        let mut client = Client::new();
        assert_eq!(client.ask(&GET[..cut]), "", "cut at {cut}");
        assert_eq!(client.ask(&GET[cut..]), HELLO, "cut at {cut}");
    }
}

#[test]
fn requests_sent_at_once_are_answered_in_turn() {
    let mut client = Client::new();
    assert_eq!(client.ask(&GET.repeat(50)), HELLO.repeat(50));
    assert_eq!(client.ask(GET), HELLO);
}

#[test]
fn a_head_request_gets_a_head() {
    let mut client = Client::new();
    let head = HELLO.split("<p>").next().unwrap();
    assert_eq!(client.ask(&GET.replace("GET", "HEAD")), head);
    assert_eq!(client.ask(GET), HELLO, "and the connection is still in step");
}

#[test]
fn when_the_house_moves_each_connection_ends_after_one_more_answer() {
    let house = Rc::new(house());
    let mut client = Client::of(house.clone(), visit());
    assert_eq!(client.ask(GET), HELLO);
    house.notice.moving.ring();
    assert!(!client.is_closed(), "nobody is cut off");
    let answer = client.ask(GET);
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("<p>hello"), "{answer}");
    assert!(client.is_closed());
}

#[test]
fn when_the_house_closes_those_who_ask_for_nothing_leave_and_others_are_answered() {
    let house = Rc::new(house());
    let [mut idle, mut busy, mut fresh] = [(); 3].map(|()| Client::of(house.clone(), visit()));
    assert_eq!(idle.ask(GET), HELLO);
    assert_eq!(busy.ask(GET), HELLO);
    busy.ask(&GET[..10]);
    fresh.ask("");
    house.notice.close();
    assert_eq!((idle.ask(""), idle.is_closed()), (String::new(), true));
    assert!(!busy.is_closed() && !fresh.is_closed());
    assert!(busy.ask(&GET[10..]).ends_with("<p>hello") && busy.is_closed());
    assert!(fresh.ask(GET).ends_with("<p>hello") && fresh.is_closed());
}

#[test]
fn a_client_that_asks_to_close_is_closed() {
    let mut client = Client::new();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("<p>hello"), "{answer}");
    assert!(client.is_closed());
    client.close();
    assert!(client.is_gone());
}

#[test]
fn a_client_that_closes_its_half_is_still_answered() {
    let mut client = Client::new();
    client.send(&GET[..20]);
    client.send(&GET[20..]);
    client.close();
    assert_eq!(client.hear(), HELLO);
    assert!(client.is_gone());
}

#[test]
fn an_old_client_is_closed_unless_it_asks_to_stay() {
    let mut client = Client::new();
    assert!(client.ask("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").ends_with("<p>hello"));
    assert!(client.is_closed());
    let mut client = Client::new();
    let answer = client.ask("GET / HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer.contains("connection: keep-alive"), "{answer}");
    assert!(!client.is_closed());
}

#[test]
fn a_refused_head_gets_a_sentence_and_the_door() {
    let mut client = Client::new();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a.example\nX: y\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("Every line of a head ends with CR and LF."), "{answer}");
    assert!(client.is_closed() && !client.is_gone(), "it listens, so that the sentence is heard");
    client.wait(2.1);
    assert!(client.is_gone());
}

#[test]
fn a_body_nobody_wants_ends_the_connection() {
    let mut client = Client::new();
    let answer = client.ask("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 9000000\r\n\r\nabc");
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("connection: close"), "{answer}");
    assert!(client.is_closed());
}

#[test]
fn what_hides_behind_a_body_is_never_answered() {
    let mut client = Client::new();
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";
    let answer = client.ask(&format!("{post}{GET}"));
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_says_nothing_is_gone_in_time() {
    let mut client = Client::new();
    client.wait(9.9);
    assert!(!client.is_closed());
    client.wait(0.2);
    assert!(client.is_closed());
    client.wait(2.1);
    assert!(client.is_gone());
}

#[test]
fn a_client_that_trickles_its_head_is_gone_in_time() {
    let mut client = Client::new();
    for byte in GET.bytes().take(9) {
        client.send([byte]);
        client.wait(1.0);
    }
    assert!(!client.is_closed());
    client.send("x");
    client.wait(1.1);
    assert!(client.hear().starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert!(client.is_closed());
}

#[test]
fn a_resting_client_is_gone_in_time() {
    let mut client = Client::new();
    assert_eq!(client.ask(GET), HELLO);
    client.wait(59.0);
    assert_eq!(client.ask(GET), HELLO);
    client.wait(59.0);
    assert!(!client.is_closed());
    client.wait(1.1);
    assert!(client.is_closed() && !client.is_reset());
}

#[test]
fn a_client_that_takes_a_byte_a_second_is_gone_in_time() {
    let mut client = Client::new().with_room(1000);
    client.send(GET.replace("/ ", "/large "));
    for _ in 0..40 {
        client.take(1);
        client.wait(1.0);
    }
    assert!(client.is_gone() && client.is_reset(), "the rest is kept for it no longer");
}

#[test]
fn who_has_its_share_under_way_is_told_so_and_others_are_served() {
    let mut house = house();
    house.crowd = Some(Crowd::new(1, || true));
    let house = Rc::new(house);
    let from =
        |last| Client::of(house.clone(), Visit { peer: ([192, 0, 2, last], 40_000).into(), ..visit() });
    let mut slow = from(1).with_room(1000);
    slow.send(GET.replace("/ ", "/large "));
    let mut same = from(1);
    let answer = same.ask(GET);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 5\r\n"), "{answer}");
    assert!(same.is_closed());
    assert_eq!(from(2).ask(GET), HELLO);
    slow.wait(31.0);
    assert!(slow.is_gone());
    assert_eq!(from(1).ask(GET), HELLO, "its share is free again");
}

#[test]
fn a_client_that_takes_its_page_slowly_gets_all_of_it() {
    let mut client = Client::new().with_room(1000);
    client.send(GET.replace("/ ", "/large "));
    let mut taken = Vec::new();
    while taken.len() < 1_000_000 {
        taken.extend(client.take(1000));
        client.wait(1.0);
        assert!(!client.is_gone(), "gone after {} bytes", taken.len());
    }
    taken.extend(client.take(1000));
    assert!(taken.ends_with(&(0..1_000_000_u32).map(|at| at as u8).collect::<Vec<_>>()));
}

#[test]
fn the_last_page_of_a_connection_is_whole_however_slowly_it_is_taken() {
    for line in ["Connection: close", "Content-Length: 5"] {
        let mut client = Client::new().with_room(1000);
        client.send(format!("GET /large HTTP/1.1\r\nHost: a.example\r\n{line}\r\n\r\n"));
        let mut taken = Vec::new();
        while !client.is_closed() {
            taken.extend(client.take(1000));
            client.wait(0.1);
        }
        taken.extend(client.take(1000));
        assert!(taken.ends_with(&[62, 63]) && taken.len() > 1_000_000, "{} bytes", taken.len());
    }
}

#[test]
fn what_only_hyper_refuses_is_refused_politely() {
    let mut client = Client::new();
    let answer = client.ask("GET /\"<x> HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(client.is_closed() && !client.is_gone(), "it listens, so that the answer is heard");
    client.wait(2.1);
    assert!(client.is_gone());
}

#[test]
fn a_connection_ends_with_its_last_request() {
    let mut house = house();
    house.limits.requests = 3;
    let mut client = Client::of(Rc::new(house), visit());
    assert_eq!(client.ask(GET), HELLO);
    assert_eq!(client.ask(GET), HELLO);
    assert!(client.ask(GET).contains("connection: close"));
    assert!(client.is_closed());
}

#[test]
fn a_resting_connection_is_small() {
    fn size<F>(_: impl FnOnce(crate::Trunk, Rc<super::Desk>) -> F) -> usize {
        size_of::<F>()
    }
    let (task, desk) =
        (size(super::drive), size_of::<super::Desk>() + size_of::<crate::exchange::Exchange>());
    assert!(task + desk <= 768, "{task} and {desk} bytes");
}

proptest! {
    #[test]
    fn noise_is_refused_or_waited_for_and_never_served(noise in vec(any::<u8>(), 1..400), cut in any::<Index>()) {
        let mut client = Client::new();
        let cut = cut.index(noise.len());
        client.send(&noise[..cut]);
        client.send(&noise[cut..]);
        let said = client.hear();
        prop_assert!(said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 5"), "{said}");
        client.wait(10.1);
        client.wait(2.1);
        prop_assert!(client.is_gone());
    }

    #[test]
    fn a_spoiled_request_is_answered_once_at_most(at in any::<Index>(), byte in any::<u8>(), name in 0usize..6) {
        let names = ["Range", "If-Match", "If-None-Match", "If-Range", "Accept-Encoding", "If-Modified-Since"];
        let head = format!("GET /digits HTTP/1.1\r\nHost: a.example\r\n{}: bytes=0-1,-2;q=0.5, \"x\"\r\n\r\n", names[name]);
        let mut head = head.into_bytes();
        let at = at.index(head.len());
        head[at] = byte;
        let mut client = Client::new();
        client.send(&head);
        let said = client.hear();
        prop_assert!(said.matches("\r\ncontent-length: ").count() <= 1, "{said}");
    }
}

#[test]
fn who_says_no_more_behind_a_body_that_nobody_wants_still_hears_a_whole_page() {
    let client = Client::new();
    let mut client = client.with_room(10_000);
    client.send("GET /large HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi");
    client.close();
    let mut came = 0;
    loop {
        match client.take(10_000).len() {
            0 => break,
            more => came += more,
        }
    }
    assert!(came > 1_000_000, "{came} bytes came");
}
