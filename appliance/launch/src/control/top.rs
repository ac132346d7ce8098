//! `gatehouse top`: how an appliance is, again and again, with what happens in a second.

use super::caller::{Caller, Whom, show};
use crate::Outcome;
use control::Verb;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// What is shown by the second: the name of a counter, and what it counts.
const RATES: [(&str, &str); 6] = [
    ("gatehouse_connections_accepted_total", "connections"),
    ("gatehouse_handshakes_done_total", "handshakes"),
    ("gatehouse_handshakes_failed_total", "failed handshakes"),
    ("gatehouse_requests_total", "requests"),
    ("gatehouse_answer_bytes_total", "bytes of answers"),
    ("gatehouse_frames_received_total", "frames in"),
];

/// What `gatehouse top` is told.
#[derive(clap::Args)]
pub(crate) struct Top {
    #[command(flatten)]
    whom: Whom,
    /// How many times; without it, until Ctrl-C.
    #[arg(long, value_name = "TIMES")]
    times: Option<u64>,
    /// Between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

/// Shows it.
pub(crate) fn top(order: &Top) -> Outcome {
    let mut caller = Caller::dial(&order.whom)?;
    let mut before: Option<(Instant, BTreeMap<&str, f64>)> = None;
    let mut times = 0;
    while order.times.is_none_or(|most| times < most) {
        let (status, metrics) = (caller.ask_whole(Verb::Status, "")?, caller.ask_whole(Verb::Metrics, "")?);
        let (now, counts) = (Instant::now(), counts(&metrics));
        let rates = before.as_ref().map(|(then, before)| rates(before, &counts, now - *then));
        // Home, and what is below is cleared.
        show(format!("\x1b[H\x1b[J{status}\n{}", rates.unwrap_or_default()).as_bytes())?;
        before = Some((now, counts));
        times += 1;
        if order.times != Some(times) {
            thread::sleep(Duration::from_secs(order.every));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What each counter of [`RATES`] shows, its labels added up.
fn counts(metrics: &str) -> BTreeMap<&'static str, f64> {
    let of = |name: &str| {
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
        let values = lines.filter(|rest| rest.starts_with([' ', '{']));
        values.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    RATES.iter().map(|(name, _)| (*name, of(name))).collect()
}

fn rates(before: &BTreeMap<&str, f64>, now: &BTreeMap<&str, f64>, span: Duration) -> String {
    let mut text = String::new();
    for (name, about) in RATES {
        let [before, now] = [before, now].map(|counts| counts.get(name).copied().unwrap_or(0.0));
        let _ = writeln!(text, "{:>12.1}  {about}/s", (now - before).max(0.0) / span.as_secs_f64());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_added_up_and_rates_are_by_the_second() {
        let page = "gatehouse_requests_total{site=\"a\",status=\"200\"} 5\ngatehouse_requests_total{site=\"a\",\
                    status=\"404\"} 2\ngatehouse_requests_totals 9\n";
        let counts = counts(page);
        assert_eq!(counts["gatehouse_requests_total"], 7.0);
        let text = rates(&super::counts(""), &counts, Duration::from_secs(2));
        assert!(text.contains("3.5  requests/s") && text.contains(" 0.0  frames in/s"), "{text}");
    }
}
