//! What the daemon says: one line for one event, as `key=value` words or as JSON, on standard error.
//!
//! Guests can cause events, so what they cause is limited: more than [`MOST`] lines a second are counted, not
//! written.

use entropy::Moment;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// Lines a second.
const MOST: u32 = 100;

/// How much an event matters. The numbers are syslog's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// The daemon does not do its work.
    Error = 3,
    /// Somebody should look.
    Warn = 4,
    /// Something changed.
    Info = 6,
    /// Everything.
    Debug = 7,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    /// `level=info event=fed guest=web`
    Text,
    /// `{"level":"info","event":"fed","guest":"web"}`
    Json,
}

/// The log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) level: Level,
    pub(crate) shape: Shape,
    journal: bool,
    second: Moment,
    written: u32,
    lost: u32,
}

impl Log {
    pub(crate) fn new(level: Level, shape: Shape) -> Self {
        let journal = std::env::var_os("JOURNAL_STREAM").is_some();
        Self { level, shape, journal, second: Moment::ZERO, written: 0, lost: 0 }
    }

    /// Says what happened, unless too much does.
    pub(crate) fn say(&mut self, now: Moment, level: Level, event: &str, words: &[(&str, &str)]) {
        if level > self.level {
            return;
        }
        if now.saturating_sub(self.second) >= Duration::from_secs(1) {
            let lost = std::mem::take(&mut self.lost);
            (self.second, self.written) = (now, 0);
            if lost > 0 {
                self.write(Level::Warn, "log-lines-lost", &[("count", &lost.to_string())]);
            }
        }
        if self.written < MOST || level == Level::Error {
            self.written += 1;
            self.write(level, event, words);
        } else {
            self.lost += 1;
        }
    }

    /// A log that cannot be written is no reason to stop feeding.
    fn write(&self, level: Level, event: &str, words: &[(&str, &str)]) {
        let line = line(self.shape, level, event, words);
        let before = if self.journal { format!("<{}>", level as u8) } else { String::new() };
        let _ = std::io::stderr().write_all(format!("{before}{line}\n").as_bytes());
    }
}

fn line(shape: Shape, level: Level, event: &str, words: &[(&str, &str)]) -> String {
    let name = format!("{level:?}").to_lowercase();
    let all = [("level", name.as_str()), ("event", event)].into_iter().chain(words.iter().copied());
    match shape {
        Shape::Text => all.map(|(key, value)| format!("{key}={}", bare(value))).collect::<Vec<_>>().join(" "),
        Shape::Json => {
            let pairs: Vec<_> = all.map(|(key, value)| format!("\"{key}\":{}", quoted(value))).collect();
            format!("{{{}}}", pairs.join(","))
        }
    }
}

/// A word that needs no quotes, or a quoted one: no value can look like another word or another line.
fn bare(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:+@%,".contains(c);
    if !value.is_empty() && value.chars().all(plain) { value.to_owned() } else { quoted(value) }
}

/// A JSON string.
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c) => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_make_a_line_or_a_word_of_its_own() {
        let evil = "x\nlevel=error event=\"fake\"\u{202e}";
        assert_eq!(
            line(Shape::Text, Level::Info, "fed", &[("guest", evil)]),
            r#"level=info event=fed guest="x\u000alevel=error event=\"fake\"\u202e""#
        );
        assert_eq!(
            line(Shape::Json, Level::Warn, "fed", &[("guest", "we\\b"), ("n", "")]),
            r#"{"level":"warn","event":"fed","guest":"we\\b","n":""}"#
        );
    }
}
