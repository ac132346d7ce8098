//! HTTP/2 by hand: frames as an honest and as a hostile client would send them.

use crate::bench::{Client, house, visit};
use crate::{Crowd, House, Visit};
use proptest::collection::vec;
use proptest::prelude::*;
use std::rc::Rc;

mod early;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame: its kind, its flags, its stream and what it carries.
type Frame = (u8, u8, u32, Vec<u8>);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [head, payload.to_vec()].concat()
}

/// `:method: GET`, `:scheme: https`, `:path` and `:authority`, nothing compressed.
fn get(path: &str, host: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, path.len() as u8];
    block.extend(path.bytes());
    block.extend([0x01, host.len() as u8]);
    block.extend(host.bytes());
    block
}

fn ask(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(path, "a.example"))
}

/// A connection that has said hello and allows streams a window of so many bytes.
fn connected(house: House, window: u32) -> Client {
    let mut client = Client::of(Rc::new(house), Visit { h2: true, ..visit() });
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    client.send([PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat());
    client.send(frame(SETTINGS, 1, 0, &[]));
    client.take(usize::MAX);
    client
}

fn frames(client: &mut Client) -> Vec<Frame> {
    parsed(&client.take(usize::MAX))
}

fn parsed(mut rest: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((head, after)) = rest.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        frames.push((head[3], head[4], stream, after[..length].to_vec()));
        rest = &after[length..];
    }
    assert!(rest.is_empty(), "a frame is cut off");
    frames
}

/// What a stream carried, and whether it ended.
fn content(frames: &[Frame], stream: u32) -> (Vec<u8>, bool) {
    let ours = || frames.iter().filter(|frame| frame.2 == stream);
    let bytes = ours().filter(|frame| frame.0 == DATA).flat_map(|frame| frame.3.clone()).collect();
    (bytes, ours().any(|frame| frame.0 <= HEADERS && frame.1 & END_STREAM != 0))
}

/// The house has hung up, or said that it will.
fn is_over(client: &mut Client) -> bool {
    let goodbye = frames(client).iter().any(|frame| frame.0 == GOAWAY);
    goodbye || client.is_closed()
}

#[test]
fn when_the_house_moves_a_connection_says_goodbye_and_answers_what_was_asked() {
    let house = house();
    let notice = house.notice.clone();
    let mut client = connected(house, 65_535);
    notice.moving.ring();
    client.send(ask(1, "/"));
    let heard = frames(&mut client);
    assert!(heard.iter().any(|(kind, ..)| *kind == GOAWAY), "{heard:?}");
    assert!(heard.iter().any(|(kind, _, stream, _)| (*kind, *stream) == (DATA, 1)), "{heard:?}");
}

#[test]
fn pages_are_fetched_side_by_side() {
    let mut client = connected(house(), 65_535);
    client.send([ask(1, "/"), ask(3, "/digits"), ask(5, "/nowhere")].concat());
    let frames = frames(&mut client);
    assert_eq!(content(&frames, 1), (b"<p>hello".to_vec(), true));
    assert_eq!(content(&frames, 3), (b"0123456789".to_vec(), true));
    assert!(content(&frames, 5).1);
}

#[test]
fn every_way_to_cut_a_conversation_means_the_same() {
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[]), &ask(1, "/")].concat();
    for cut in 0..hello.len() {
        let mut client = Client::of(Rc::new(house()), Visit { h2: true, ..visit() });
        client.send(&hello[..cut]);
        client.send(&hello[cut..]);
        assert_eq!(content(&frames(&mut client), 1), (b"<p>hello".to_vec(), true), "cut at {cut}");
    }
}

#[test]
fn a_head_has_no_body() {
    let mut client = connected(house(), 65_535);
    let mut block = get("/digits", "a.example");
    block.splice(0..1, [0x02, 4, b'H', b'E', b'A', b'D']);
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    assert_eq!(content(&frames(&mut client), 1), (Vec::new(), true));
}

#[test]
fn the_authority_is_the_host() {
    let named = Visit { h2: true, server_name: Some("a.example".into()), ..visit() };
    for (host, status) in [("a.example:8443", 0x88), ("b.example", 0x48)] {
        let mut client = Client::of(Rc::new(house()), named.clone());
        client.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/", host)));
        let frames = frames(&mut client);
        let head = frames.iter().find(|frame| frame.0 == HEADERS).unwrap();
        // 0x88 is ":status: 200"; 0x48 begins a status that has no number of its own, such as 421.
        assert_eq!(head.3[0], status, "{host}");
    }
}

#[test]
fn a_large_page_follows_the_window() {
    let mut client = connected(house(), 1000);
    client.send(ask(1, "/large"));
    let mut all = content(&frames(&mut client), 1).0;
    assert_eq!(all.len(), 1000);
    client.send(frame(WINDOW, 0, 0, &2_000_000u32.to_be_bytes()));
    client.send(frame(WINDOW, 0, 1, &2_000_000u32.to_be_bytes()));
    all.extend(content(&frames(&mut client), 1).0);
    assert_eq!(all, (0..1_000_000u32).map(|at| at as u8).collect::<Vec<_>>());
}

#[test]
fn a_window_that_never_opens_ends_the_connection() {
    let mut client = connected(house(), 0);
    (0..50).for_each(|stream| client.send(ask(stream * 2 + 1, "/large")));
    client.wait(29.0);
    assert!(!client.is_gone());
    client.wait(1.1);
    assert!(client.is_gone() && client.is_reset(), "the rest is kept for it no longer");
}

#[test]
fn who_has_its_share_under_way_is_told_so_on_the_next_stream() {
    let mut house = house();
    house.crowd = Some(Crowd::new(2, || true));
    let mut client = connected(house, 0);
    client.send([ask(1, "/large"), ask(3, "/large"), ask(5, "/large")].concat());
    let heads: Vec<Frame> = frames(&mut client).into_iter().filter(|frame| frame.0 == HEADERS).collect();
    let told = |stream| heads.iter().find(|frame| frame.2 == stream).map(|frame| frame.3[0]);
    // 0x88 is ":status: 200"; 0x48 begins a status that has no number of its own, such as 503.
    assert_eq!([told(1), told(3), told(5)], [Some(0x88), Some(0x88), Some(0x48)]);
    client.send([frame(RESET, 0, 1, &8u32.to_be_bytes()), ask(7, "/large")].concat());
    let heads = frames(&mut client);
    let refused = |frame: &Frame| frame.2 == 7 && frame.3.first() != Some(&0x88);
    assert!(heads.iter().any(|frame| frame.0 == HEADERS && refused(frame)), "5 is under way, too");
    client.send([frame(RESET, 0, 5, &8u32.to_be_bytes()), frame(RESET, 0, 7, &8u32.to_be_bytes())].concat());
    client.send(ask(9, "/large"));
    let heads = frames(&mut client);
    assert!(heads.iter().any(|frame| (frame.2, frame.3.first()) == (9, Some(&0x88))), "{heads:?}");
}

/// RFC 9113 §8.1: all of the answer, and then a reset that says that nothing was wrong. Another word of h2's, and a
/// client that is still sending throws the answer away.
#[test]
fn an_answer_that_does_not_wait_for_the_body_is_whole_before_the_stream_is_reset() {
    let window = |stream, more: u32| frame(WINDOW, 0, stream, &more.to_be_bytes());
    for (first, room) in
        [(0, 1 << 20), (5, 1 << 20), (1000, 1 << 20), (0, 20), (5, 85), (1000, 20), (1000, 100)]
    {
        let mut client = connected(house(), first).with_room(room);
        let mut block = get("/", "a.example");
        block[0] = 0x83;
        client.send(frame(HEADERS, END_HEADERS, 1, &block));
        client.send(frame(DATA, 0, 1, &[0; 1000]));
        let mut bytes = client.take(usize::MAX);
        client.send(window(1, 1000));
        while !client.pipe.borrow().down.bytes.is_empty() {
            bytes.extend(client.take(usize::MAX));
            client.send(window(0, 1));
        }
        assert!(parsed(&bytes).iter().all(|frame| frame.0 != RESET), "it may still say the rest");
        client.wait(2.1);
        bytes.extend(client.take(usize::MAX));
        let heard = parsed(&bytes);
        let ours: Vec<_> = heard.iter().filter(|frame| frame.2 == 1).collect();
        assert!(content(&heard, 1).0.ends_with(b"nothing else.") && content(&heard, 1).1, "{heard:?}");
        let last = ours.last().map(|frame| (frame.0, frame.3.clone()));
        assert_eq!(last, Some((RESET, vec![0; 4])), "with a window of {first} and room for {room}");
        assert_eq!(ours.iter().filter(|frame| frame.0 == RESET).count(), 1);
    }
}

#[test]
fn a_resting_connection_is_told_goodbye() {
    let mut client = connected(house(), 65_535);
    client.send(ask(1, "/"));
    client.take(usize::MAX);
    client.wait(59.0);
    assert!(!is_over(&mut client));
    client.wait(1.1);
    assert!(is_over(&mut client));
    client.wait(2.1);
    assert!(client.is_gone());
}

#[test]
fn a_connection_without_a_request_is_gone_in_time() {
    let mut client = Client::of(Rc::new(house()), Visit { h2: true, ..visit() });
    for byte in PREFACE.iter().take(11) {
        client.send([*byte]);
        client.wait(1.0);
    }
    client.wait(2.1);
    assert!(client.is_gone());
}

#[test]
fn pings_do_not_keep_a_connection_alive() {
    let mut client = connected(house(), 65_535);
    for _ in 0..14 {
        client.send(frame(PING, 0, 0, &[0; 8]));
        client.wait(1.0);
    }
    assert!(client.is_gone());
}

/// curl 7.88 throws an answer away when its stream is reset before it has said all.
#[test]
fn who_says_the_rest_of_a_body_that_nobody_wants_sees_no_reset() {
    let mut client = connected(house(), 65_535);
    let mut block = get("/", "a.example");
    block[0] = 0x83;
    client.send(frame(HEADERS, END_HEADERS, 1, &block));
    let mut heard = frames(&mut client);
    assert!(content(&heard, 1).1, "the answer waits for nothing");
    client.wait(1.0);
    client.send([frame(DATA, 0, 1, &[0; 1000]), frame(DATA, END_STREAM, 1, b"y")].concat());
    client.wait(3.0);
    heard.extend(frames(&mut client));
    assert!(heard.iter().all(|frame| frame.0 != RESET), "{heard:?}");
}

#[test]
fn who_says_too_much_of_a_body_that_nobody_wants_is_heard_slowly_and_reset_when_the_moment_is_over() {
    let mut client = connected(house(), 65_535);
    let mut block = get("/", "a.example");
    block[0] = 0x83;
    client.send(frame(HEADERS, END_HEADERS, 1, &block));
    let mut heard = frames(&mut client);
    let (mut room, mut said) = (65_535, 0);
    for _ in 0..19 {
        while room > 16_000 {
            client.send(frame(DATA, 0, 1, &[0; 16_000]));
            (room, said) = (room - 16_000, said + 16_000);
            let more = frames(&mut client);
            let windows = more.iter().filter(|frame| (frame.0, frame.2) == (WINDOW, 1));
            room += windows.map(|frame| u32::from_be_bytes(frame.3[..].try_into().unwrap())).sum::<u32>();
            heard.extend(more);
        }
        client.wait(0.1);
        let more = frames(&mut client);
        let windows = more.iter().filter(|frame| (frame.0, frame.2) == (WINDOW, 1));
        room += windows.map(|frame| u32::from_be_bytes(frame.3[..].try_into().unwrap())).sum::<u32>();
        heard.extend(more);
    }
    assert!(heard.iter().all(|frame| frame.0 != RESET), "it has time to see the answer");
    assert!(said < 500_000, "{said} bytes were taken of what nobody wants");
    client.wait(0.3);
    heard.extend(frames(&mut client));
    let resets: Vec<_> = heard.iter().filter(|frame| frame.0 == RESET).map(|frame| frame.3.clone()).collect();
    assert_eq!(resets, [vec![0; 4]], "{heard:?}");
    client.send(ask(3, "/"));
    assert!(content(&frames(&mut client), 3).1, "others are served on");
}

#[test]
fn a_flood_of_pings_is_hung_up_on() {
    let mut client = connected(house(), 65_535);
    let pings = frame(PING, 0, 0, &[0; 8]).repeat(1000);
    for _ in 0..20 {
        client.send(&pings);
        client.take(usize::MAX);
    }
    assert!(client.is_gone() && client.is_reset());
}

/// CVE-2023-44487.
#[test]
fn requests_taken_back_at_once_end_the_connection() {
    let mut client = connected(house(), 0);
    let mut rapid = Vec::new();
    for stream in (1..4001).step_by(2) {
        rapid.extend(ask(stream, "/large"));
        rapid.extend(frame(RESET, 0, stream, &8u32.to_be_bytes()));
    }
    client.send(rapid);
    assert!(is_over(&mut client));
}

/// CVE-2025-8671: the client makes *us* reset its streams, here by windows that overflow.
#[test]
fn resets_that_the_client_provokes_end_the_connection() {
    let mut client = connected(house(), 1000);
    let mut flood = Vec::new();
    for stream in (1..2001).step_by(2) {
        flood.extend(ask(stream, "/large"));
        flood.extend(frame(WINDOW, 0, stream, &0x7fff_ffffu32.to_be_bytes()));
    }
    client.send(flood);
    assert!(is_over(&mut client));
}

/// CVE-2024-27316.
#[test]
fn a_head_that_never_ends_ends_the_connection() {
    let mut client = connected(house(), 65_535);
    client.send(frame(HEADERS, END_STREAM, 1, &get("/", "a.example")));
    let line = [&[0x00, 1, b'a', 100][..], &[b'b'; 100]].concat();
    let more = frame(CONTINUATION, 0, 1, &line.repeat(150));
    for _ in 0..30 {
        client.send(&more);
    }
    assert!(is_over(&mut client));
}

#[test]
fn a_small_head_that_decodes_to_a_large_one_is_refused() {
    let mut client = connected(house(), 65_535);
    // One entry of 4,000 bytes in the table, and then its number, a thousand times.
    let mut block = get("/", "a.example");
    block.extend([0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
    block.extend([b'x'; 4000]);
    block.extend([0xbe; 1000]);
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    let frames = frames(&mut client);
    let served = frames.iter().any(|frame| frame.0 == HEADERS && frame.3.first() == Some(&0x88));
    assert!(!served, "four megabytes of head were taken");
}

#[test]
fn more_streams_than_allowed_are_refused_and_the_others_live() {
    let mut client = connected(house(), 0);
    let asked: Vec<u8> = (0..110).flat_map(|stream| ask(stream * 2 + 1, "/large")).collect();
    client.send(asked);
    let refused = frames(&mut client).iter().filter(|frame| frame.0 == RESET).count();
    assert_eq!(refused, 10);
}

#[test]
fn a_connection_ends_with_its_last_request() {
    let mut house = house();
    house.limits.requests = 3;
    let mut client = connected(house, 65_535);
    client.send([ask(1, "/"), ask(3, "/")].concat());
    assert!(!frames(&mut client).iter().any(|frame| frame.0 == GOAWAY));
    client.send(ask(5, "/"));
    let frames = frames(&mut client);
    assert!(content(&frames, 5).1 && frames.iter().any(|frame| frame.0 == GOAWAY));
}

#[test]
fn a_body_nobody_wants_is_not_waited_for() {
    let mut client = connected(house(), 65_535);
    let mut block = get("/", "a.example");
    block[0] = 0x83;
    client.send(frame(HEADERS, END_HEADERS, 1, &block));
    let frames = frames(&mut client);
    assert!(content(&frames, 1).1, "405 without having seen the body");
    client.send([frame(DATA, 0, 1, &[0; 1000]), ask(3, "/")].concat());
    assert_eq!(content(&self::frames(&mut client), 3).0, b"<p>hello");
}

proptest! {
    #[test]
    fn frames_of_noise_never_hold_a_connection(
        noise in vec((0u8..12, any::<u8>(), 0u32..9, vec(any::<u8>(), 0..60)), 1..30),
        raw in vec(any::<u8>(), 0..40),
    ) {
        let mut client = connected(house(), 65_535);
        for (kind, flags, stream, payload) in noise {
            client.send(frame(kind, flags, stream, &payload));
        }
        client.send(&raw);
        client.wait(61.0);
        client.take(usize::MAX);
        client.wait(61.0);
        prop_assert!(client.is_gone());
    }
}
