//! Many at once and many in a row, on what ships: what one that stays costs, and that one who fails leaves nothing.

use bench::tap::Tap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Clients of `tests/crowd` that stay until this value goes.
struct Standing(Child);

impl Standing {
    fn of(tap: &Tap, kind: &str, count: usize) -> Self {
        let mut crowd = tap.client("python3");
        crowd.arg(bench::top().join("tests/crowd")).args([kind, &count.to_string(), "192.0.2.7"]);
        let mut crowd = crowd.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(crowd.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), format!("standing {count}"));
        Self(crowd)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// One of the appliance's live figures.
fn figure(tap: &Tap, name: &str) -> usize {
    let said = tap.curl(&["--http1.1", "https://localhost/.well-known/gatehouse/figures"]).stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let line =
        said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {said}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Waits until only the one who asks is open.
fn alone(tap: &Tap) {
    let end = Instant::now() + Duration::from_secs(60);
    while figure(tap, "open now") > 1 {
        assert!(Instant::now() < end, "somebody stays");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Bytes of the heap that each of `count` idle connections holds, when their buffers have been put away.
fn each(tap: &Tap, kind: &str, count: usize) -> usize {
    // The tables grow once, and stay.
    drop(Standing::of(tap, kind, count));
    alone(tap);
    let before = figure(tap, "heap in use");
    let standing = Standing::of(tap, kind, count);
    std::thread::sleep(Duration::from_secs(2));
    let held = figure(tap, "heap in use") - before;
    assert!(figure(tap, "open now") >= count, "they were put out");
    drop(standing);
    held * 1024 / count
}

#[test]
fn an_idle_connection_is_small() {
    let tap = Tap::ready();
    let one = each(&tap, "idle1", 600);
    assert!((2000..=12_000).contains(&one), "{one} bytes for HTTP/1");
    alone(&tap);
    let two = each(&tap, "idle2", 200);
    assert!((one..=48_000).contains(&two), "{two} bytes for HTTP/2");
    println!("an idle connection holds {one} bytes with HTTP/1, {two} with HTTP/2");
}

#[test]
fn whoever_fails_leaves_nothing_behind() {
    let tap = Tap::ready();
    let all = |count: &str| {
        let mut crowd = tap.client("timeout");
        crowd.args(["300", "python3"]).arg(bench::top().join("tests/crowd")).args([
            "all",
            count,
            "192.0.2.7",
        ]);
        let output = crowd.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.lines()
            .map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
            .collect::<Vec<usize>>()
    };
    // The record of whom it has heard grows at first.
    let first = *all("100").last().unwrap();
    let then = all("300");
    assert_eq!(then.len(), 13);
    let most = then.iter().max().unwrap();
    assert!(most - first <= 64, "the heap grew from {first} to {then:?} KiB");
    assert!(figure(&tap, "refused") > 3000, "they did not fail");
}
