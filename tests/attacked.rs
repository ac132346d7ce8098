//! Raw attacks on what ships, on a TAP device, by somebody on the same wire who sees everything: `tests/attack` says
//! which, and what the right answer to each is.

use bench::horde::{figure, is_served, rest};
use bench::tap::{BIG, Tap};
use bench::top;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

/// KiB that tables may have grown by, and room for half-done handshakes, which is not given back at once.
const TABLES: u64 = 512;
const HALVES: u64 = 5 * 1024;

/// An attack that has begun.
struct Attack(Child);

impl Attack {
    fn begun(tap: &Tap, words: &[&str]) -> Self {
        let mut attack = tap.client("python3");
        attack.arg(top().join("tests/attack")).args(words);
        Self(attack.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python runs"))
    }

    /// The next line that it says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let said = self.0.stdout.as_mut().map(|words| BufReader::new(words).read_line(&mut line));
        assert!(said.is_some_and(|said| said.is_ok()), "it says nothing");
        line
    }

    /// Ends it, or waits for its end; all must have been as the table says.
    fn over(mut self) {
        drop(self.0.stdin.take());
        let said = std::io::read_to_string(self.0.stdout.take().expect("it was piped")).expect("it is text");
        assert!(self.0.wait().expect("it ends").success(), "{said}");
        println!("{said}");
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A download of the large file that takes at least six seconds.
fn download(tap: &Tap, address: &str) -> Child {
    let mut curl = tap.client("curl");
    curl.args(["-sSk", "-m", "120", "--limit-rate", "1300k", &format!("https://{address}/big.bin")]);
    curl.stdout(Stdio::piped()).spawn().expect("curl runs")
}

fn is_whole(tap: &Tap, download: Child) {
    let output = download.wait_with_output().expect("it ends");
    let kept = output.stdout;
    assert!(kept.len() == BIG && kept == tap.big(), "{} bytes came; {}", kept.len(), output.status);
}

/// Pages over one connection, ten a second; says how many connections it took, and of how many pages.
fn pages(tap: &Tap, address: &str, count: u32) -> Child {
    let mut curl = tap.client("curl");
    curl.args([
        "-sSk",
        "-m",
        "120",
        "--rate",
        "10/s",
        "-o",
        "/dev/null",
        "-w",
        "%{num_connects} %{http_code}\n",
    ]);
    curl.arg(format!("https://{address}/?[1-{count}]")).stdout(Stdio::piped()).spawn().expect("curl runs")
}

fn is_served_and_as_before(tap: &Tap, before: u64, room: u64) {
    assert!(is_served(tap, Duration::from_secs(30)), "nobody is served any more");
    let after = rest(tap, before + room);
    assert!(after <= before + room, "{before} KiB before, {after} KiB afterwards");
}

#[test]
fn whatever_is_forged_gets_the_right_answer_and_no_more() {
    let tap = Tap::ready();
    let before = figure(&tap, "heap in use").unwrap();
    Attack::begun(&tap, &["answers"]).over();
    Attack::begun(&tap, &["junk"]).over();
    is_served_and_as_before(&tap, before, TABLES);
}

#[test]
fn connections_go_on_while_somebody_who_sees_them_forges_into_them() {
    let tap = Tap::ready();
    let before = figure(&tap, "heap in use").unwrap();
    let attack = Attack::begun(&tap, &["flows", "9"]);
    let both =
        ["192.0.2.7", "[2001:db8::7]"].map(|address| (download(&tap, address), pages(&tap, address, 60)));
    for (download, pages) in both {
        is_whole(&tap, download);
        let pages = String::from_utf8(pages.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!((pages.matches("1 200").count(), pages.matches("0 200").count()), (1, 59), "{pages}");
    }
    attack.over();
    is_served_and_as_before(&tap, before, TABLES);
}

#[test]
fn who_says_that_it_is_the_way_out_gets_nothing_of_what_goes_there() {
    let tap = Tap::ready();
    let before = figure(&tap, "heap in use").unwrap();
    let attack = Attack::begun(&tap, &["lies", "36"]);
    // An address is asked for again after half a minute: then the lies would count.
    for address in ["192.0.2.7", "[2001:db8::7]"].iter().cycle().take(5) {
        is_whole(&tap, download(&tap, address));
    }
    attack.over();
    assert!(tap.said("is claimed by 02:00:00:00:00:66").contains("we keep it"));
    is_served_and_as_before(&tap, before, HALVES);
}

#[test]
fn a_crowd_that_takes_nothing_or_crumbs_costs_the_others_nothing() {
    let tap = Tap::ready();
    let before = figure(&tap, "heap in use").unwrap();
    let mut attack = Attack::begun(&tap, &["windows", "240"]);
    assert!(attack.line().starts_with("standing 240"));
    is_whole(&tap, download(&tap, "192.0.2.7"));
    assert!(figure(&tap, "open now").unwrap() > 150, "they have gone: this test sees nothing");
    attack.over();
    is_served_and_as_before(&tap, before, TABLES);
}
