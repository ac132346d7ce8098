//! Hordes that besiege an appliance on a TAP device: `tests/horde` says of which kinds they are.

use crate::{tap::Tap, top};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Every kind of horde.
pub const KINDS: [&str; 9] =
    ["silent", "hello", "half", "head1", "unread", "streams", "windows", "heads", "bodies"];

/// Those that are dear through a proxy for `/up/`.
pub const PROXIED: [&str; 3] = ["puts", "gets", "gets1"];

/// Many connections of one kind. Those that are ended are opened again, until the horde leaves.
pub struct Horde(Child);

impl Horde {
    /// A horde of `count` before an appliance, once each of them has tried.
    #[must_use]
    pub fn of(tap: &Tap, kind: &str, count: u32) -> Self {
        assert!(tap.shell("ip route replace local 10.9.0.0/16 dev lo").status.success());
        let mut horde = tap.client("python3");
        horde.arg(top().join("tests/horde")).args([kind, &count.to_string(), "192.0.2.7"]);
        let mut horde = horde.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python runs");
        let mut line = String::new();
        let said = horde.stdout.as_mut().map(|words| BufReader::new(words).read_line(&mut line));
        assert!(said.is_some() && line.starts_with("standing"), "{kind}: {line:?}");
        Self(horde)
    }

    /// All of it is reset.
    pub fn leaves(mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

impl Drop for Horde {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// True if somebody who behaves is served before `patience` is over.
#[must_use]
pub fn is_served(tap: &Tap, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        let said = tap.curl(&["-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "https://localhost/"]);
        if said.stdout == b"200" {
            return true;
        }
    }
    false
}

/// One of the live figures, as a number.
#[must_use]
pub fn figure(tap: &Tap, name: &str) -> Option<u64> {
    let said = tap.curl(&["-m", "10", "https://localhost/.well-known/gatehouse/figures"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let value = said.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// KiB of the heap that are in use when whoever was there has left.
#[must_use]
pub fn rest(tap: &Tap, at_most: u64) -> u64 {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let now = figure(tap, "heap in use").unwrap_or(u64::MAX);
        if now <= at_most || Instant::now() > end {
            return now;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
