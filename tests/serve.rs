//! What ships, on a TAP device, before clients that know nothing of it: this machine's kernel, curl and OpenSSL.

use bench::tap::{BIG, Tap};
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};
use std::time::Duration;

const PAGE: &str = "https://localhost/";

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_page_comes_over_every_version_of_everything() {
    let tap = Tap::ready();
    for (words, wanted) in [
        (&["--http1.1", "--tlsv1.3"][..], "200 version 1.1"),
        (&["--http1.1", "--tls-max", "1.2"], "200 version 1.1"),
        (&["--http2", "--tlsv1.3"], "200 version 2"),
        (&["--http2", "--tls-max", "1.2"], "200 version 2"),
    ] {
        let told = ["-w", " status %{http_code} version %{http_version}", PAGE];
        let said = text(&tap.curl(&[words, &told[..]].concat()));
        assert!(said.contains("</h1>") && said.contains(wanted), "{words:?}: {said}");
    }
    let said = text(&tap.curl_at("[2001:db8::7]", &["--http2", "-w", " over %{remote_ip}", PAGE]));
    assert!(said.contains("</h1>") && said.contains("over 2001:db8::7"), "{said}");
}

#[test]
fn openssl_agrees_about_both_versions_of_tls() {
    let tap = Tap::ready();
    for (word, wanted) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let words = "s_client -connect 192.0.2.7:443 -servername localhost -alpn h2 -brief";
        let said = text(&tap.shell(&format!("openssl {words} {word} </dev/null 2>&1")));
        assert!(said.contains(&format!("Protocol version: {wanted}")), "{said}");
    }
    let refused = text(&tap.shell("openssl s_client -connect 192.0.2.7:443 -tls1_1 -brief </dev/null 2>&1"));
    assert!(!refused.contains("Protocol version"), "{refused}");
}

#[test]
fn a_hundred_at_once_are_served_while_slow_ones_say_nothing() {
    let tap = Tap::ready();
    let mut slow: Vec<_> = (0..5)
        .map(|_| {
            let mut client = tap.client("openssl");
            client.args(["s_client", "-quiet", "-connect", "192.0.2.7:443"]);
            client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let words = ["-Z", "--parallel-max", "100", "--parallel-immediate", "--http1.1", "-w", "%{http_code} "];
    let pages: Vec<&str> = (0..100).flat_map(|_| ["-o", "/dev/null", PAGE]).collect();
    let output = tap.curl(&[&words[..], &pages].concat());
    let said = text(&output);
    assert_eq!(said.matches("200 ").count(), 100, "{said}");
    for client in &mut slow {
        assert!(client.try_wait().unwrap().is_none(), "a slow client was not waited for");
        let _ = client.kill();
        let _ = client.wait();
    }
}

/// The longest frame among the clients' while `line` runs, from the appliance and to it.
fn longest(tap: &Tap, line: &str) -> [usize; 2] {
    let capture = format!(
        "tcpdump -Z root -i tap0 -nn -e -l -s 96 'tcp port 443' >/tmp/$$.frames 2>/tmp/$$.ear & ear=$!
         for _ in $(seq 500); do grep -q listening /tmp/$$.ear && break; sleep 0.02; done
         {line}
         sleep 1; kill $ear; wait $ear; cat /tmp/$$.frames; rm -f /tmp/$$.frames /tmp/$$.ear"
    );
    let frames = text(&tap.shell(&capture));
    let longest_of = |word: &str| {
        let lines = frames.lines().filter(|line| line.contains(word));
        let length = |line: &str| line.split("length ").nth(1)?.split(':').next()?.parse::<usize>().ok();
        lines.filter_map(length).max().unwrap_or(0)
    };
    [longest_of("192.0.2.7.443 >"), longest_of("> 192.0.2.7.443")]
}

#[test]
fn large_bodies_cross_whole_both_ways_in_frames_larger_than_the_mtu_where_it_may_be() {
    let tap = Tap::ready();
    for (offload, is_large) in [("on", true), ("off", false)] {
        let switched = tap.shell(&format!("ethtool -K tap0 tso {offload} gso {offload} gro {offload}"));
        assert!(switched.status.success(), "{switched:?}");
        let body = tap.curl(&["--http1.1", "https://localhost/big.bin"]).stdout;
        assert!(body.len() == BIG && body == tap.big(), "{} bytes came", body.len());
        let head =
            r"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n";
        let upload = format!(
            "{{ printf '{head}'; head -c 100000 /dev/zero; }} >/tmp/$$.post
             timeout 30 openssl s_client -quiet -connect 192.0.2.7:443 </tmp/$$.post >/dev/null 2>&1
             rm -f /tmp/$$.post"
        );
        let download = "curl -sk -m 60 --http1.1 -o /dev/null https://192.0.2.7/big.bin";
        let [from, to] = longest(&tap, &format!("{upload}\n{download}"));
        assert_eq!(
            (to > 1514, to >= 1514),
            (is_large, true),
            "offloads {offload}: {to} bytes to the appliance"
        );
        // What it sends is cut by its own asking, whatever the clients' kernel was told to do with its own frames.
        assert!(from > 1514, "offloads {offload}: {from} bytes from the appliance");
    }
}

#[test]
fn an_upload_is_answered_and_the_next_request_too() {
    let tap = Tap::ready();
    let post =
        ["--http1.1", "-X", "POST", "--data-binary", "hello", "-o", "/dev/null", "-w", "%{http_code} "];
    let next =
        [PAGE, "--next", "-sS", "-m", "60", "--http1.1", "-o", "/dev/null", "-w", "%{http_code}", "-k"];
    let both = ["--connect-to", "localhost:443:192.0.2.7:443", PAGE];
    let said = text(&tap.curl(&[&post[..], &next, &both].concat()));
    assert_eq!(said, "405 200");
}

#[test]
fn it_ends_with_nought_when_it_is_asked_to() {
    let status = Tap::ready().ended();
    assert_eq!(status.code(), Some(0), "{status:?}");
}

#[test]
fn pages_are_served_and_hands_shaken_while_the_daemon_is_gone() {
    let mut tap = Tap::ready();
    tap.lose_the_daemon();
    for _ in 0..3 {
        assert!(text(&tap.curl(&[PAGE])).contains("</h1>"), "the pages went with the daemon");
    }
}

#[test]
fn no_port_opens_before_the_host_has_fed_it() {
    let tap = Tap::starved();
    tap.said("entropy: the host offers no channel");
    let ping = tap.shell("for _ in 1 2 3; do curl -sk -m 1 https://192.0.2.7/ && exit 1; done; exit 0");
    assert!(ping.status.success(), "it served a page: {}", text(&ping));
}

/// Hears datagrams and prints each as a line, until one tells of the end or nothing comes for long.
const COLLECTOR: &str = "import socket
ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ear.bind(('192.0.2.1', 5514))
ear.settimeout(30)
line = 'listening'
while not print(line, flush=True) and 'stopping: ' not in line: line = ear.recv(65536).decode()";

/// The text of a line as RFC 5424 has it: local use 0, a notice, no host's name, of this kind.
fn letter(line: &str, kind: &str) -> Option<serde_json::Value> {
    let (date, rest) = line.strip_prefix("<133>1 ")?.split_once(' ')?;
    assert!(date.len() == 20 && date.starts_with("20") && date.ends_with('Z'), "{line}");
    serde_json::from_str(rest.strip_prefix(&format!("- gatehouse - {kind} - "))?).ok()
}

#[test]
fn a_collector_that_comes_late_hears_of_each_request_from_then_on_and_of_the_end() {
    let tap = Tap::told(&["--address", "192.0.2.7/24", "--syslog", "192.0.2.1:5514"]);
    tap.said("ready: ");
    // Nobody listens yet: the kernel says so, and the appliance goes on.
    text(&tap.curl(&["https://localhost/early"]));
    let mut collector = tap.client("python3");
    collector.args(["-c", COLLECTOR]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut collector = collector.spawn().unwrap();
    let mut lines = BufReader::new(collector.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("listening"));
    text(&tap.curl(&["https://localhost/nowhere?token=geheim"]));
    assert_eq!(tap.ended().code(), Some(0));
    let told: Vec<String> = lines.collect();
    collector.wait().unwrap();
    let [access, event] = &told[..] else { panic!("{told:?}") };
    let access = letter(access, "access").unwrap_or_else(|| panic!("{told:?}"));
    let facts = ["peer", "path", "status"].map(|fact| access[fact].to_string());
    assert_eq!(facts, ["\"192.0.2.1\"", "\"/nowhere?-\"", "404"], "{told:?}");
    let event = letter(event, "event").unwrap_or_else(|| panic!("{told:?}"));
    assert!(event["event"].as_str().is_some_and(|event| event.starts_with("stopping: ")), "{told:?}");
}
