//! The journal: what was answered and what happened, counted for ever and told while somebody listens.
//!
//! It is kept in memory, so many lines and no more: what nobody took in time is lost, and counted. Nothing waits for it.

use super::moment::Moment;
use core::cell::{Cell, RefCell};
use core::fmt::Write as _;
use core::str::FromStr;
use core::time::Duration;
use http::{Asked, Books, Entry};
use std::collections::{BTreeMap, VecDeque};
use tls::{Facts, Kind};

/// Lines that wait at most.
const LINES: usize = 1024;
/// The upper ends of the latency histogram, in milliseconds.
const SPANS: [u64; 10] = [1, 2, 5, 10, 25, 100, 250, 1000, 5000, 30_000];

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As web servers always have.
    Common,
    /// One JSON object.
    Json,
}

impl FromStr for Style {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "common" | "" => Ok(Self::Common),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// What is told.
#[derive(Clone, Debug)]
pub(super) enum Line {
    /// A request and its answer.
    Request(Box<Asked>, u16, Option<u64>, Duration),
    /// Something that happened.
    Event(String),
}

/// Counters and the lines that wait.
#[derive(Default)]
pub(super) struct Journal {
    wanted: Cell<bool>,
    lines: RefCell<VecDeque<(Duration, Line)>>,
    lost: Cell<u64>,
    /// The date, as the loop said it last.
    today: Cell<Duration>,
    answers: RefCell<BTreeMap<(Option<usize>, u16), u64>>,
    bytes: Cell<u64>,
    spans: RefCell<[u64; SPANS.len()]>,
    took: Cell<Duration>,
    handshakes: RefCell<BTreeMap<(&'static str, &'static str, bool), u64>>,
    refusals: RefCell<BTreeMap<Kind, u64>>,
}

impl Journal {
    /// What the date is, and whether somebody listens.
    pub(super) fn turn(&self, today: Duration, wanted: bool) {
        self.today.set(today);
        self.wanted.set(wanted);
    }

    /// A handshake became a session.
    pub(super) fn greeted(&self, facts: &Facts) {
        let key = (facts.version, facts.suite, facts.resumed);
        *self.handshakes.borrow_mut().entry(key).or_default() += 1;
    }

    /// A handshake did not.
    pub(super) fn stumbled(&self, kind: Kind) {
        *self.refusals.borrow_mut().entry(kind).or_default() += 1;
    }

    /// Something happened.
    pub(super) fn event(&self, text: &str) {
        self.keep(|| Line::Event(text.to_owned()));
    }

    /// A listener did not take a line.
    pub(super) fn lose(&self) {
        self.lost.set(self.lost.get().saturating_add(1));
    }

    /// The lines that wait.
    pub(super) fn take(&self) -> VecDeque<(Duration, Line)> {
        self.lines.take()
    }

    fn keep(&self, line: impl FnOnce() -> Line) {
        if !self.wanted.get() {
            return;
        }
        let mut lines = self.lines.borrow_mut();
        if lines.len() < LINES {
            lines.push_back((self.today.get(), line()));
        } else {
            self.lose();
        }
    }

    /// For Prometheus; `site` names one by its place.
    pub(super) fn numbers(&self, site: impl Fn(usize) -> Option<String>, page: &mut String) {
        family(page, "requests_total", "Requests, by the site that TLS chose and by status.", "counter");
        for ((place, status), count) in &*self.answers.borrow() {
            let site = place.and_then(&site).unwrap_or_default();
            let _ = writeln!(page, "gatehouse_requests_total{{site=\"{site}\",status=\"{status}\"}} {count}");
        }
        family(page, "answer_bytes_total", "Bytes of bodies whose length was known.", "counter");
        let _ = writeln!(page, "gatehouse_answer_bytes_total {}", self.bytes.get());
        family(page, "answer_seconds", "Time until the head of an answer was there.", "histogram");
        let mut sum = 0;
        for (most, count) in SPANS.iter().zip(&*self.spans.borrow()) {
            sum += count;
            let most = Duration::from_millis(*most).as_secs_f64();
            let _ = writeln!(page, "gatehouse_answer_seconds_bucket{{le=\"{most}\"}} {sum}");
        }
        let all: u64 = self.answers.borrow().values().sum();
        let _ = writeln!(page, "gatehouse_answer_seconds_bucket{{le=\"+Inf\"}} {all}");
        let _ = writeln!(page, "gatehouse_answer_seconds_sum {}", self.took.get().as_secs_f64());
        let _ = writeln!(page, "gatehouse_answer_seconds_count {all}");
        family(page, "handshakes_total", "Handshakes of TLS that became a session.", "counter");
        for ((version, suite, resumed), count) in &*self.handshakes.borrow() {
            let _ = writeln!(
                page,
                "gatehouse_handshakes_total{{version=\"{version}\",suite=\"{suite}\",resumed=\"{resumed}\"}} {count}"
            );
        }
        family(page, "handshakes_refused_total", "Handshakes of TLS that did not, by kind.", "counter");
        for (kind, count) in &*self.refusals.borrow() {
            let _ = writeln!(page, "gatehouse_handshakes_refused_total{{kind=\"{kind:?}\"}} {count}");
        }
        family(page, "log_lines_lost_total", "Lines of the log that nobody took in time.", "counter");
        let _ = writeln!(page, "gatehouse_log_lines_lost_total {}", self.lost.get());
    }
}

fn family(page: &mut String, name: &str, about: &str, kind: &str) {
    let _ = writeln!(page, "# HELP gatehouse_{name} {about}\n# TYPE gatehouse_{name} {kind}");
}

impl Books for Journal {
    fn wants_lines(&self) -> bool {
        self.wanted.get()
    }

    fn answered(&self, entry: &Entry<'_>) {
        *self.answers.borrow_mut().entry((entry.site, entry.status)).or_default() += 1;
        self.bytes.set(self.bytes.get().saturating_add(entry.bytes.unwrap_or(0)));
        self.took.set(self.took.get().saturating_add(entry.took));
        let (took, mut spans) = (entry.took.as_micros(), self.spans.borrow_mut());
        let place = SPANS.iter().position(|most| took <= u128::from(*most) * 1000);
        if let Some(span) = place.and_then(|place| spans.get_mut(place)) {
            *span += 1;
        }
        if let Some(asked) = entry.asked {
            let (status, bytes, took) = (entry.status, entry.bytes, entry.took);
            self.keep(|| Line::Request(Box::new(asked.clone()), status, bytes, took));
        }
    }
}

impl Line {
    /// Whether it is a request and its answer.
    pub(super) fn is_request(&self) -> bool {
        matches!(self, Self::Request(..))
    }

    /// The line as RFC 5424 has it: local use 0, a notice.
    pub(super) fn letter(&self, at: Duration) -> String {
        let kind = if self.is_request() { "access" } else { "event" };
        let text = self.written(at, Style::Json);
        format!("<133>1 {} - gatehouse - {kind} - {}", Moment(at), text.trim_end())
    }

    /// The line as it is told, with its end.
    pub(super) fn written(&self, at: Duration, style: Style) -> String {
        match (self, style) {
            (Self::Event(text), Style::Common) => {
                format!("- - - [{}] {}\n", Moment(at).common(), ours(text))
            }
            (Self::Event(text), Style::Json) => {
                format!("{{\"time\":\"{}\",\"event\":\"{}\"}}\n", Moment(at), ours(text))
            }
            (Self::Request(asked, status, bytes, took), style) => {
                let Asked { peer, method, version, .. } = &**asked;
                // What stood behind the question mark is not ours to tell.
                let path = plain(&asked.path) + if asked.had_query { "?-" } else { "" };
                let bytes = bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
                match style {
                    Style::Common => format!(
                        "{peer} - - [{}] \"{method} {path} {version:?}\" {status} {bytes}\n",
                        Moment(at).common()
                    ),
                    Style::Json => format!(
                        "{{\"time\":\"{}\",\"peer\":\"{peer}\",\"name\":\"{}\",\"method\":\"{method}\",\"path\":\"{path}\",\
                         \"version\":\"{version:?}\",\"status\":{status},\"bytes\":{},\"seconds\":{}}}\n",
                        Moment(at),
                        plain(asked.server_name.as_deref().unwrap_or_default()),
                        if bytes == "-" { "null" } else { &bytes },
                        took.as_secs_f64()
                    ),
                }
            }
        }
    }
}

/// Text of others that can stand between quotes in both styles.
fn plain(text: &str) -> String {
    quotable(text).take(512).collect()
}

/// Text of ours: it says no more than it must, and of a ledger's line nothing may be missing.
fn ours(text: &str) -> String {
    quotable(text).collect()
}

fn quotable(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|letter| match letter {
        '"' | '\\' => '\'',
        letter if letter.is_control() => '?',
        letter => letter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const NOW: Duration = Duration::from_secs(1_795_244_400);

    fn asked(path: &str) -> Asked {
        let peer: IpAddr = "192.0.2.9".parse().unwrap();
        let (method, version) = (http::Method::GET, http::Version::HTTP_11);
        Asked { peer, method, path: path.into(), had_query: true, version, server_name: None }
    }

    #[test]
    fn lines_say_who_asked_for_what_and_never_what_stands_behind_a_question_mark() {
        let line = Line::Request(Box::new(asked("/a\"b")), 200, Some(7), Duration::from_millis(5));
        assert_eq!(
            line.written(NOW, Style::Common),
            "192.0.2.9 - - [21/Nov/2026:07:00:00 +0000] \"GET /a'b?- HTTP/1.1\" 200 7\n"
        );
        let json = line.written(NOW, Style::Json);
        assert!(json.contains("\"path\":\"/a'b?-\"") && json.contains("\"seconds\":0.005}"), "{json}");
        let event = Line::Event("two\nlines \"quoted\"".into()).written(NOW, Style::Json);
        assert_eq!(event, "{\"time\":\"2026-11-21T07:00:00Z\",\"event\":\"two?lines 'quoted'\"}\n");
    }

    #[test]
    fn what_nobody_takes_is_lost_and_counted_and_nothing_grows() {
        let journal = Journal::default();
        journal.event("nobody listens");
        assert!(journal.take().is_empty());
        journal.turn(NOW, true);
        (0..LINES + 5).for_each(|_| journal.event("x"));
        assert_eq!((journal.take().len(), journal.lost.get()), (LINES, 5));
    }

    #[test]
    fn answers_are_counted_by_site_and_status_and_by_the_time_they_took() {
        let journal = Journal::default();
        for (status, millis) in [(200, 1), (200, 3), (404, 40_000)] {
            let took = Duration::from_millis(millis);
            journal.answered(&Entry { site: Some(0), status, bytes: Some(10), took, asked: None });
        }
        let mut page = String::new();
        journal.numbers(|_| Some("a.example".into()), &mut page);
        for wanted in [
            "requests_total{site=\"a.example\",status=\"200\"} 2\n",
            "answer_seconds_bucket{le=\"0.001\"} 1\n",
            "answer_seconds_bucket{le=\"0.005\"} 2\n",
            "answer_seconds_bucket{le=\"30\"} 2\n",
            "answer_seconds_bucket{le=\"+Inf\"} 3\n",
            "answer_bytes_total 30\n",
        ] {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
    }
}
