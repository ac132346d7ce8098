//! What can be counted, in the text format of Prometheus, over the smallest HTTP that serves it.

use crate::guest::{Channel, Guest};
use crate::spring::Well;
use entropy::Moment;
use entropy::protocol::Version;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Readers at the same time.
pub(crate) const READERS: usize = 16;
/// A reader that is not done by then is sent away.
const TAKES: Duration = Duration::from_secs(5);
/// The longest request.
const REQUEST: usize = 4096;

/// What the daemon counts besides its guests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Bytes fed to guests that are gone.
    pub(crate) bytes: u64,
    /// Connections by door.
    pub(crate) connections: BTreeMap<&'static str, u64>,
    /// Connections refused, by reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// Guests that broke their protocol.
    pub(crate) faults: u64,
}

/// Everything, as text.
pub(crate) fn render(tally: &Tally, guests: &BTreeMap<u32, Guest>, well: &Well) -> String {
    let mut out = String::new();
    let current: u64 = guests.values().map(|guest| guest.fed).sum();
    head(&mut out, "xentropyd_up", "gauge", "1 while entropy is fed, 0 while a source has failed or starts");
    let _ = writeln!(out, "xentropyd_up {}", u8::from(well.is_good()));
    head(&mut out, "xentropyd_bytes_total", "counter", "Bytes of entropy fed to all guests");
    let _ = writeln!(out, "xentropyd_bytes_total {}", tally.bytes + current);
    head(&mut out, "xentropyd_reseeds_total", "counter", "Times that fresh entropy was taken up");
    let _ = writeln!(out, "xentropyd_reseeds_total {}", well.pool.reseeds());
    springs(&mut out, well);
    table(&mut out, "xentropyd_connections_total", "Connections by door", "door", &tally.connections);
    table(&mut out, "xentropyd_refused_total", "Connections refused", "reason", &tally.refused);
    head(&mut out, "xentropyd_faults_total", "counter", "Guests that broke the protocol");
    let _ = writeln!(out, "xentropyd_faults_total {}", tally.faults);
    per_guest(&mut out, guests);
    out
}

fn springs(out: &mut String, well: &Well) {
    head(out, "xentropyd_source_healthy", "gauge", "1 once a source is proven, 0 before and after it failed");
    for spring in &well.springs {
        let good = u8::from(spring.health.is_proven() && !well.failed);
        let _ = writeln!(out, "xentropyd_source_healthy{{source={}}} {good}", label(&spring.name));
    }
    head(out, "xentropyd_source_failed", "gauge", "1 if a health test of the source failed");
    for spring in &well.springs {
        let test = spring.health.failure().map_or("", |failure| failure.test());
        let failed = u8::from(!test.is_empty());
        let _ = writeln!(
            out,
            "xentropyd_source_failed{{source={},test=\"{test}\"}} {failed}",
            label(&spring.name)
        );
    }
}

fn per_guest(out: &mut String, guests: &BTreeMap<u32, Guest>) {
    head(out, "xentropyd_guests", "gauge", "Guests that are connected, by protocol");
    let count = |want: &str| guests.values().filter(|guest| protocol(guest) == want).count();
    for name in ["silent", "v1", "v2", "egd"] {
        let _ = writeln!(out, "xentropyd_guests{{protocol=\"{name}\"}} {}", count(name));
    }
    head(out, "xentropyd_guest_bytes", "gauge", "Bytes fed over the connections that a guest has now");
    let mut sums = BTreeMap::new();
    for guest in guests.values() {
        *sums.entry((guest.name.as_str(), guest.door)).or_insert(0) += guest.fed;
    }
    for ((name, door), fed) in sums {
        let _ = writeln!(out, "xentropyd_guest_bytes{{guest={},door=\"{door}\"}} {fed}", label(name));
    }
}

fn protocol(guest: &Guest) -> &'static str {
    match &guest.channel {
        Channel::Egd(_) => "egd",
        Channel::Entropy(host) => match host.version() {
            None => "silent",
            Some(Version::One) => "v1",
            Some(Version::Two) => "v2",
        },
    }
}

fn table(out: &mut String, name: &str, help: &str, key: &str, rows: &BTreeMap<&'static str, u64>) {
    head(out, name, "counter", help);
    for (value, count) in rows {
        let _ = writeln!(out, "{name}{{{key}=\"{value}\"}} {count}");
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A label's value in quotes.
fn label(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Somebody who reads the metrics: one request, one answer.
pub(crate) struct Reader {
    pub(crate) socket: OwnedFd,
    request: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
    pub(crate) until: Moment,
}

impl Reader {
    pub(crate) fn new(socket: OwnedFd, now: Moment) -> Self {
        Self { socket, request: Vec::new(), answer: Vec::new(), sent: 0, until: now + TAKES }
    }

    /// Reads the request, then sends the answer. Says what it waits for, or nothing when it is done.
    pub(crate) fn turn(&mut self, now: Moment, text: impl FnOnce() -> String) -> Option<EventFlags> {
        if now >= self.until {
            return None;
        }
        if self.answer.is_empty() && !self.hear()? {
            return Some(EventFlags::IN);
        }
        if self.answer.is_empty() {
            self.answer = answer(&self.request, text);
        }
        while self.sent < self.answer.len() {
            match rustix::io::write(&self.socket, self.answer.get(self.sent..).unwrap_or_default()) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Some(EventFlags::OUT),
                Err(_) => return None,
            }
        }
        None
    }

    /// True once the request is whole; nothing if it never will be.
    fn hear(&mut self) -> Option<bool> {
        let mut bytes = [0; 1024];
        loop {
            match rustix::io::read(&self.socket, &mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.request.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Some(false),
                Err(_) => return None,
            }
            if self.request.windows(4).any(|end| end == b"\r\n\r\n") {
                return Some(true);
            }
            if self.request.len() > REQUEST {
                return None;
            }
        }
    }
}

fn answer(request: &[u8], text: impl FnOnce() -> String) -> Vec<u8> {
    let asked =
        [&b"GET / "[..], b"GET /metrics ", b"GET /metrics?"].iter().any(|line| request.starts_with(line));
    let (status, kind, body) = match asked {
        true => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", text()),
        false => ("404 Not Found", "text/plain", "The metrics are at /metrics.\n".to_owned()),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_label() {
        assert_eq!(label("a\"} 1\nb\\"), r#""a\"} 1\nb\\""#);
    }

    #[test]
    fn only_metrics_are_served() {
        let status = |request: &[u8]| answer(request, || "x 1\n".into())[9..12].to_vec();
        assert_eq!(status(b"GET /metrics HTTP/1.1\r\n\r\n"), b"200");
        assert_eq!(status(b"GET /etc/passwd HTTP/1.1\r\n\r\n"), b"404");
        assert_eq!(status(b"POST /metrics HTTP/1.1\r\n\r\n"), b"404");
    }
}
