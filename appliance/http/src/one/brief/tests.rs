use super::*;
use crate::bench::Client;

/// Says the same to hyper: with a word about the connection that means nothing.
fn through_hyper(head: &str) -> String {
    head.replacen("\r\n\r\n", "\r\nConnection: nothing\r\n\r\n", 1)
}

fn read(head: &str) -> Option<Brief> {
    Brief::read(&Bytes::copy_from_slice(head.as_bytes()))
}

#[test]
fn what_is_said_at_once_is_what_hyper_says_to_the_last_byte() {
    for target in
        ["/", "/digits", "/sub/", "/sub", "/nothing", "/%2e%2e", "/none\"", "http://a.example/", "*"]
    {
        for method in ["GET", "HEAD"] {
            for more in [
                "",
                "Range: bytes=0-1\r\n",
                "Range: bytes=0-1,4-5\r\n",
                "Range: bytes=999-\r\n",
                "If-None-Match: *\r\n",
                "If-Match: \"x\"\r\n",
                "Accept-Encoding: gzip\r\n",
                "X-Odd: \u{e9}\r\n",
            ] {
                let head = format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n{more}\r\n");
                let (mut at_once, mut by_hyper) = (Client::new(), Client::new());
                let said = at_once.ask(&head);
                assert_eq!(said, by_hyper.ask(&through_hyper(&head)), "{head}");
                assert_eq!(at_once.is_closed(), by_hyper.is_closed(), "{head}");
                assert!(!said.is_empty(), "{head}");
            }
        }
    }
}

#[test]
fn only_what_is_plain_is_answered_at_once() {
    let plain = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert!(read(plain).is_some_and(|brief| !brief.last));
    assert!(read(&plain.replace("GET", "HEAD")).is_some());
    let with = |line: &str| read(&plain.replacen("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"), 1));
    assert!(with("connection: Keep-Alive").is_some_and(|brief| !brief.last));
    assert!(with("connection: Close").is_some_and(|brief| brief.last));
    for line in [
        "Connection: upgrade",
        "Connection: close, x",
        "Connection:",
        "Upgrade: websocket",
        "Expect: 100-continue",
        "Content-Length: 0",
        "Transfer-Encoding: chunked",
    ] {
        assert!(with(line).is_none(), "{line}");
    }
    assert!(with(&"A: b\r\n".repeat(LINES)).is_none(), "too many lines");
    for head in ["POST / HTTP/1.1", "OPTIONS * HTTP/1.1", "GET / HTTP/1.0", "GET /\"<x> HTTP/1.1"] {
        assert!(read(&plain.replace("GET / HTTP/1.1", head)).is_none(), "{head}");
    }
}

#[test]
fn a_long_page_is_said_as_fast_as_it_is_taken_and_ends_whole() {
    let (mut client, mut came) = (Client::new().with_room(10_000), Vec::new());
    client.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n");
    loop {
        let more = client.take(10_000);
        if more.is_empty() {
            break;
        }
        came.extend(more);
    }
    let page: Vec<u8> = (0..1_000_000_u32).map(|at| at as u8).collect();
    let behind = came.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(came[behind..] == page, "{} bytes came", came.len());
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").matches("<p>hello").count(), 1);
}

#[test]
fn who_leaves_in_the_middle_of_a_long_page_is_not_waited_for() {
    let mut client = Client::new().with_room(10_000);
    client.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(!client.is_gone());
    client.pipe.borrow_mut().reset = true;
    crate::bench::Pipe::stir(&client.pipe);
    client.turn();
    assert!(client.is_gone());
}
