//! Clients that take their time, before what ships on a TAP device: `tests/slow` says of which kinds they are.

use bench::horde::{figure, rest};
use bench::{tap::Tap, top};
use std::collections::HashMap;
use std::fs::File;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Of each kind at once.
const COUNT: usize = 4;

/// Where the upstream of those listens who send to one.
const UPSTREAM: &str = "8000";

/// What the operator has written: shorter spans than the usual, so that the test is.
const SHEET: &str = r#"
[[site.proxy]]
path = "/up/"
upstreams = ["http://192.0.2.1:8000"]

[limits]
head-seconds = 5
idle-seconds = 6
stall-seconds = 7
"#;

/// Each kind, and the seconds after which it may go: whoever goes sooner was not waited for.
const DEADLINES: [(&str, f64); 12] = [
    // A handshake has ten seconds, whatever the sheet says.
    ("silent", 10.0),
    ("hello", 10.0),
    // `head-seconds`, from the first byte, or to it on a new connection.
    ("mute", 5.0),
    ("head_plain", 5.0),
    ("head_tls", 5.0),
    ("preface", 5.0),
    ("resting", 6.0),
    // The answer is there at once; for its sake the rest is heard for a moment.
    ("body", 0.0),
    // `stall-seconds`, in which `stall-bytes` must pass.
    ("upload", 7.0),
    ("upload_two", 7.0),
    ("window", 7.0),
    // The rest is thrown away then, with a reset: the stack by itself would wait a minute for this client.
    ("unread", 7.0),
];

/// How much later than its time somebody goes at the most: a last word and an ear for the answer take two seconds each,
/// HTTP/2 rests once more behind its last answer, and the machine may be slow.
const LATE: f64 = 30.0;

/// All are gone by then, or somebody never goes.
const LONG: Duration = Duration::from_secs(60);

/// KiB.
const ROOM: u64 = 256;

/// The program. It ends with this value.
struct Slow(Child);

impl Slow {
    fn before(tap: &Tap) -> Self {
        let log = File::create(tap.folder().join("slow")).unwrap();
        let mut slow = tap.client("python3");
        slow.arg(top().join("tests/slow")).args([&COUNT.to_string(), "192.0.2.7", UPSTREAM]);
        Self(slow.stdin(Stdio::null()).stdout(log).spawn().expect("python runs"))
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn whoever_takes_too_long_is_gone_in_time_and_everybody_else_is_served() {
    let tap = Tap::with(SHEET);
    let before = figure(&tap, "heap in use").unwrap();
    let mut slow = Slow::before(&tap);
    let said = || std::fs::read_to_string(tap.folder().join("slow")).unwrap();
    let (mut served, end) = (0, Instant::now() + LONG);
    while slow.0.try_wait().unwrap().is_none() {
        let page = ["-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "https://localhost/"];
        assert_eq!(tap.curl(&page).stdout, b"200", "after {served} pages: {}", tap.said(""));
        served += 1;
        assert!(Instant::now() < end, "somebody is still there; gone are {}", said());
        std::thread::sleep(Duration::from_millis(500));
    }
    let said = said();
    assert!(served > 5, "{served} pages: this test sees nothing");
    let mut gone: HashMap<&str, Vec<f64>> = HashMap::new();
    for (kind, seconds) in said.lines().filter_map(|line| line.split_once(' ')) {
        gone.entry(kind).or_default().push(seconds.parse().unwrap());
    }
    println!("{gone:?}");
    for (kind, deadline) in DEADLINES {
        let gone = gone.remove(kind).unwrap_or_default();
        assert_eq!(gone.len(), COUNT, "{kind}");
        let in_time = |seconds: &f64| (deadline..deadline + LATE).contains(seconds);
        assert!(gone.iter().all(in_time), "{kind}, which has {deadline} s, went after {gone:?}");
    }
    assert!(gone.is_empty(), "{gone:?} have no deadline here");
    let after = rest(&tap, before + ROOM);
    assert!(after <= before + ROOM, "{before} KiB before, {after} KiB afterwards");
    assert_eq!(figure(&tap, "open now"), Some(1), "who asks is alone");
}
