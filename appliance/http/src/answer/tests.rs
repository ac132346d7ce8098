use crate::bench::{Client, house, visit};
use crate::dress::Dress;
use crate::figures::Figures;
use crate::{House, Visit};
use bundle::{HeaderRule, Hsts, Redirect};
use std::rc::Rc;

/// The answer of `house` to a request of a visitor of whom `visit` is known.
fn said(house: House, visit: Visit, request: &str) -> String {
    Client::of(Rc::new(house), visit).ask(request)
}

/// The answer to a request for `target` with these header lines.
fn ask(target: &str, lines: &str) -> String {
    said(house(), visit(), &format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n"))
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("")
}

/// The value of a header; "" when it is not there.
fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(": "));
    fields.find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn an_address_finds_its_page_or_the_way_to_it() {
    for (target, wanted, location) in [
        ("/", "200", ""),
        ("/index.html", "200", ""),
        ("/sub/", "200", ""),
        ("/sub", "308", "/sub/"),
        ("/sub?a=b", "308", "/sub/?a=b"),
        ("/about", "200", ""),
        ("/about/", "404", ""),
        ("/sub/a%20b.html", "200", ""),
        ("/sub/a%20b", "200", ""),
        ("/empty", "404", ""),
        ("/nowhere", "404", ""),
        ("//evil.example", "404", ""),
        ("/%2e%2e/secret", "400", ""),
        ("/sub%2findex.html", "400", ""),
        ("/%00", "400", ""),
        ("/%ff", "400", ""),
        ("*", "400", ""),
        ("http://a.example/about", "200", ""),
        ("http://b.example/about", "400", ""),
    ] {
        let answer = ask(target, "");
        assert_eq!((status(&answer), field(&answer, "location")), (wanted, location), "{target}");
    }
}

#[test]
fn only_the_oldest_requests_need_not_name_their_host() {
    for (head, wanted) in [
        ("GET / HTTP/1.0\r\n\r\n", "200"),
        ("GET / HTTP/1.0\r\nHost: b.example\r\n\r\n", "200"),
        ("GET / HTTP/1.0\r\nHost: \r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
    ] {
        assert_eq!(status(&said(house(), visit(), head)), wanted, "{head}");
    }
    let plain = Visit { secure: false, site: None, ..visit() };
    let answer = said(House { default_site: Some(0), ..house() }, plain.clone(), "GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(field(&answer, "location"), "https://a.example/x");
    let answer = said(House { default_site: None, ..house() }, plain, "GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(status(&answer), "400");
}

#[test]
fn only_fetching_is_allowed() {
    for (method, wanted) in
        [("OPTIONS", "204"), ("POST", "405"), ("DELETE", "405"), ("TRACE", "405"), ("BREW", "405")]
    {
        let answer = said(house(), visit(), &format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        assert_eq!((status(&answer), field(&answer, "allow")), (wanted, "GET, HEAD, OPTIONS"), "{method}");
    }
}

#[test]
fn a_part_is_served_and_several_parts_too() {
    let one = ask("/digits", "Range: bytes=2-4\r\n");
    assert_eq!((status(&one), field(&one, "content-range"), body(&one)), ("206", "bytes 2-4/10", "234"));
    let beyond = ask("/digits", "Range: bytes=10-\r\n");
    assert_eq!((status(&beyond), field(&beyond, "content-range")), ("416", "bytes */10"));
    let several = ask("/digits", "Range: bytes=0-1,-2\r\n");
    let boundary = field(&several, "content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range, bytes| {
        format!(
            "--{boundary}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-range: bytes {range}/10\r\n\r\n{bytes}\r\n"
        )
    };
    let wanted = format!("{}{}--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89"));
    assert_eq!((status(&several), body(&several)), ("206", wanted.as_str()));
    assert_eq!(field(&several, "content-length"), wanted.len().to_string());
}

#[test]
fn conditions_are_asked_after_the_page_was_found() {
    let tag = format!("\"{}\"", "01".repeat(16));
    let known = format!("If-None-Match: {tag}\r\n");
    assert_eq!(status(&ask("/nowhere", &known)), "404");
    let answer = ask("/", &known);
    assert_eq!((status(&answer), field(&answer, "etag"), body(&answer)), ("304", tag.as_str(), ""));
    assert_eq!(status(&ask("/", "If-Match: \"other\"\r\n")), "412");
    let range = format!("Range: bytes=0-0\r\nIf-Range: {tag}\r\n");
    assert_eq!(body(&ask("/digits", &range)), "0");
    assert_eq!(body(&ask("/digits", "Range: bytes=0-0\r\nIf-Range: \"other\"\r\n")), "0123456789");
}

#[test]
fn the_smaller_encoding_has_its_own_validator() {
    let answer = ask("/digits", "Accept-Encoding: gzip, br\r\n");
    assert_eq!((field(&answer, "content-encoding"), body(&answer)), ("gzip", "gz"));
    assert_eq!(field(&answer, "vary"), "accept-encoding");
    assert_eq!(field(&answer, "etag"), format!("\"{}\"", "02".repeat(16)));
    let plain = ask("/digits", "");
    assert_eq!((field(&plain, "content-encoding"), field(&plain, "vary")), ("", "accept-encoding"));
    let known =
        ask("/digits", &format!("Accept-Encoding: gzip\r\nIf-None-Match: {}\r\n", field(&plain, "etag")));
    assert_eq!(status(&known), "200", "the other encoding is another thing");
    assert_eq!(status(&ask("/digits", "Accept-Encoding: identity;q=0\r\n")), "406");
}

#[test]
fn a_head_says_what_a_get_would() {
    for target in ["/", "/digits", "/nowhere", "/sub"] {
        let get = ask(target, "");
        let head = said(house(), visit(), &format!("HEAD {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        assert_eq!(body(&head), "");
        for name in ["content-length", "etag", "content-type", "location"] {
            assert_eq!(field(&head, name), field(&get, name), "{name} of {target}");
        }
    }
}

#[test]
fn an_error_shows_the_page_of_the_site() {
    let mut house = house();
    house.sites[0].words.errors = vec![(404, "/404.html".into())];
    let answer = said(house, visit(), "GET /nowhere HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!((status(&answer), body(&answer), field(&answer, "etag")), ("404", "<p>lost", ""));
}

#[test]
fn a_name_given_to_tls_binds_the_host() {
    let named = |name: &str| Visit { server_name: Some(name.into()), ..visit() };
    for (name, host, wanted) in [
        ("a.example", "a.example", "200"),
        ("a.example", "A.Example:8443", "200"),
        ("a.example", "a.example.", "200"),
        ("a.example", "b.example", "421"),
        ("x.w.example", "y.w.example", "421"),
        ("a.example", "", "400"),
        ("a.example", "a.example:x", "400"),
        ("a.example", "a.example@b", "400"),
    ] {
        let answer = said(house(), named(name), &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(status(&answer), wanted, "{name} and {host}");
    }
    assert_eq!(status(&ask("/", "")), "200", "no name was given");
    let answer = said(house(), visit(), "GET / HTTP/1.1\r\nHost: 127.0.0.1:8443\r\n\r\n");
    assert_eq!(status(&answer), "200", "no name was given, and none is asked for");
}

#[test]
fn plain_http_is_the_way_to_https() {
    let plain = Visit { port: 80, secure: false, site: None, ..visit() };
    let asked = |host: &str, target: &str, port: u16| {
        let house = House { https_port: port, ..house() };
        said(house, plain.clone(), &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    };
    for (host, target, port, location) in [
        ("a.example", "/a?b=c", 443, "https://a.example/a?b=c"),
        ("a.example:8080", "/", 8443, "https://a.example:8443/"),
        ("x.w.example", "/%41", 443, "https://x.w.example/%41"),
        ("x.y.w.example", "/", 443, ""),
        ("b.example", "/", 443, ""),
        ("127.0.0.1", "/", 443, ""),
    ] {
        let answer = asked(host, target, port);
        assert_eq!(field(&answer, "location"), location, "{host}{target}");
        assert_eq!(status(&answer), if location.is_empty() { "404" } else { "308" });
        assert_eq!(field(&answer, "strict-transport-security"), "");
    }
    assert_eq!(body(&asked("a.example", "/.well-known/acme-challenge/token", 443)), "proof");
    assert_eq!(status(&asked("a.example", "/.well-known/acme-challenge/other", 443)), "308");
    let house = House { default_site: Some(0), ..house() };
    let answer = said(house, plain.clone(), "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n");
    assert_eq!(field(&answer, "location"), "https://[::1]/");
}

#[test]
fn a_house_that_shows_itself_plainly_sends_nobody_away_and_hears_what_is_asked() {
    let plain = Visit { port: 80, secure: false, site: None, ..visit() };
    let ask = |target: &str| {
        let house = House { plainly: true, ..house() };
        said(house, plain.clone(), &format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"))
    };
    assert_eq!((status(&ask("/")), body(&ask("/"))), ("200", "<p>hello"));
    assert_eq!(body(&ask("/echo?nonce=12&b=%20")), "nonce=12&b=%20");
    assert_eq!(body(&ask("/echo")), "");
}

#[test]
fn browsers_insist_on_https_for_public_names_only() {
    let hsts = |host: &str| {
        let mut house = house();
        house.sites[0].words.hsts = Some(Hsts { seconds: 9, subdomains: true, preload: false });
        house.sites[0].dress = Dress::of(&house.sites[0].words);
        let answer = said(house, visit(), &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        field(&answer, "strict-transport-security").to_owned()
    };
    assert_eq!(hsts("a.example"), "max-age=9; includeSubDomains");
    for host in ["localhost", "x.localhost", "127.0.0.1", "[::1]", "intranet"] {
        assert_eq!(hsts(host), "", "{host}");
    }
}

#[test]
fn redirects_carry_the_rest_and_cannot_leave_by_accident() {
    let rule = |from: &str, to: &str, status| Redirect { from: from.into(), to: to.into(), status };
    for (target, location) in [
        ("/old", "/new"),
        ("/old?q", "/new?q"),
        ("/older", ""),
        ("/blog/2020/x", "/posts/2020/x"),
        ("/out/x%20y", "https://b.example/x%20y"),
        ("/root//evil.example", "/evil.example"),
        ("/root/%0d%0aX:%20y", ""),
    ] {
        let mut house = house();
        house.sites[0].words.redirects = vec![
            rule("/old", "/new", 301),
            rule("/blog/*", "/posts/*", 308),
            rule("/out/*", "https://b.example/*", 302),
            rule("/root/*", "/*", 307),
        ];
        let answer = said(house, visit(), &format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        assert_eq!(field(&answer, "location"), location, "{target}");
    }
}

#[test]
fn later_rules_override_and_an_empty_value_takes_away() {
    let rule = |pattern: &str, name: &str, value: &str| HeaderRule {
        pattern: pattern.into(),
        name: name.into(),
        value: value.into(),
    };
    let mut house = house();
    house.sites[0].words.headers = vec![
        rule("/**", "cache-control", "no-cache"),
        rule("/sub/**", "cache-control", "max-age=9"),
        rule("/**", "x-frame-options", ""),
    ];
    house.sites[0].dress = Dress::of(&house.sites[0].words);
    let answer = said(house, visit(), "GET /sub/ HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(field(&answer, "cache-control"), "max-age=9");
    assert_eq!(field(&answer, "x-frame-options"), "");
    assert_eq!(field(&answer, "x-content-type-options"), "nosniff");
}

struct Seven;

impl Figures for Seven {
    fn now(&self) -> Vec<(&'static str, String)> {
        vec![("pages served", "7".into())]
    }
}

#[test]
fn figures_are_shown_where_the_site_wants_them() {
    for (wanted, status_wanted) in [(true, "200"), (false, "404")] {
        let mut house = house();
        house.figures = Some(Rc::new(Seven));
        house.sites[0].words.figures = wanted;
        let request =
            "GET /.well-known/gatehouse/figures HTTP/1.1\r\nHost: a.example\r\nRange: bytes=0-0\r\n\r\n";
        let answer = said(house, visit(), request);
        assert_eq!(status(&answer), status_wanted);
        assert_eq!(field(&answer, "cache-control"), if wanted { "no-store" } else { "" });
        assert!(!wanted || body(&answer) == "pages served  7\n");
    }
}
