//! The reverse proxy that ships, on a TAP device, between real clients and real upstreams.

use bench::tap::Tap;
use std::fs::File;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes so long unless it is broken.
const LONG: Duration = Duration::from_secs(60);

/// An upstream among the appliance's neighbours, and what it says.
struct Upstream {
    child: Child,
    log: std::path::PathBuf,
}

impl Upstream {
    /// Starts a program and waits until it has said `word`.
    fn start(tap: &Tap, name: &str, program: &str, words: &[&str], word: &str) -> Self {
        let log = tap.folder().join(name);
        let file = File::create(&log).unwrap();
        let mut command = tap.client(program);
        command.args(words).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let upstream = Self { child: command.spawn().unwrap(), log };
        upstream.said(word);
        upstream
    }

    /// The one on bare sockets.
    fn odd(tap: &Tap, port: u16) -> Self {
        let script = here("upstream.py");
        Self::start(tap, &format!("odd-{port}"), "python3", &[&script, &port.to_string()], "listening")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has said this.
    fn said(&self, word: &str) {
        let end = Instant::now() + LONG;
        while !self.log().contains(word) {
            assert!(Instant::now() < end, "it never said {word:?}, but {:?}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn here(name: &str) -> String {
    bench::top().join("tests/proxy").join(name).to_string_lossy().into_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a site says of one upstream on this port of the clients' kernel.
fn proxy(path: &str, port: u16, more: &str) -> String {
    format!("\n[[site.proxy]]\npath = \"{path}\"\nupstreams = [\"http://192.0.2.1:{port}\"]\n{more}\n")
}

const BOTH: [&str; 2] = ["--http1.1", "--http2"];

#[test]
fn an_upstream_answers_over_both_versions_and_pages_of_our_own_stay() {
    let tap = Tap::with(&proxy("/up/", 8000, "strip = true"));
    let _upstream = Upstream::odd(&tap, 8000);
    for version in BOTH {
        let said =
            text(&tap.curl(&[version, "-H", "X-Forwarded-For: 10.6.6.6", "https://localhost/up/head"]));
        assert!(
            said.starts_with("GET /head HTTP/1.1") && said.contains("x-forwarded-for: 192.0.2.1"),
            "{said}"
        );
        assert!(!said.contains("10.6.6.6"), "{said}");
        let said = text(&tap.curl(&[version, "https://localhost/"]));
        assert!(said.contains("</h1>"), "{said}");
        let body = "x".repeat(100_000);
        let said = text(&tap.curl(&[version, "--data-binary", &body, "https://localhost/up/echo"]));
        assert_eq!(said, body, "{version}");
    }
}
