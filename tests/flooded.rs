//! Floods against what ships, on a TAP device, while people want pages.

use bench::horde::{figure, rest};
use bench::tap::{BIG, Tap};
use std::process::{Child, Stdio};

/// Packets a second that the sender is allowed: on an idle machine it sends that many and more.
const RATE: &str = "150000";
/// KiB.
const ROOM: u64 = 5 * 1024;

fn flood(tap: &Tap, kind: &str, count: u64) -> Child {
    let mut flood = tap.client(env!("CARGO_BIN_EXE_flood"));
    flood.args([kind, "192.0.2.7", "443", &count.to_string(), RATE]);
    flood.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// How many it sent.
fn over(mut flood: Child) -> u64 {
    drop(flood.stdin.take());
    let said = String::from_utf8(flood.wait_with_output().unwrap().stdout).unwrap();
    println!("{}", said.trim());
    said.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Milliseconds of CPU time that the appliance has had.
fn spent(tap: &Tap) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", tap.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    10 * [11, 12].map(|number: usize| fields[number].parse::<u64>().unwrap()).iter().sum::<u64>()
}

/// How many of so many that come one after the other have a page of HTTPS. How soon is for `tests/bench/syns` to say: a
/// machine that runs tests may be starved.
fn served(tap: &Tap, of: usize) -> usize {
    let line = format!(
        "for _ in $(seq {of}); do curl -sk -m 15 -o /dev/null -w '%{{http_code}}\\n' https://192.0.2.7/; done"
    );
    String::from_utf8(tap.shell(&line).stdout).unwrap().matches("200").count()
}

#[test]
fn under_a_flood_of_syns_newcomers_are_served_and_nobody_who_is_there_loses_a_byte() {
    let tap = Tap::ready();
    assert!(tap.shell("ip route add blackhole 10.128.0.0/9").status.success());
    let before = figure(&tap, "heap in use").unwrap();
    let mut there = tap.client("curl");
    there.args(["-sk", "-m", "120", "--limit-rate", "1500k", "https://192.0.2.7/big.bin"]);
    let there = there.stdout(Stdio::piped()).spawn().unwrap();
    let (flood, began) = (flood(&tap, "syn", 0), spent(&tap));
    let pages = served(&tap, 40);
    let kept = there.wait_with_output().unwrap().stdout;
    assert!(kept.len() == BIG && kept == tap.big(), "{} bytes came", kept.len());
    let sent = over(flood);
    let took = (spent(&tap) - began) * 1_000_000 / sent;
    println!("{took} ns of CPU time of the appliance for each SYN, the pages and the download included");
    assert!(sent >= 200_000, "only {sent} were sent: this test sees nothing");
    assert!(pages >= 38, "{pages} of 40 were served");
    let (cookies, half) = (figure(&tap, "cookies").unwrap(), figure(&tap, "half open").unwrap());
    assert!(cookies > 10_000, "{cookies} cookies: this test sees nothing");
    // Half-done handshakes have a room of their own, of four megabytes at the most.
    let (after, room) = (rest(&tap, before + ROOM), ROOM);
    assert!(after <= before + room, "{before} KiB before, {after} KiB afterwards, {half} half open");
}

#[test]
fn floods_of_all_that_belongs_to_no_connection_leave_nothing_behind() {
    let tap = Tap::ready();
    assert!(tap.shell("ip route add blackhole 10.128.0.0/9").status.success());
    let before = figure(&tap, "heap in use").unwrap();
    for kind in ["ack", "data", "fin", "rst", "fragment", "land"] {
        let flood = flood(&tap, kind, 100_000);
        let page = tap.curl(&["-m", "30", "-o", "/dev/null", "-w", "%{http_code}", "https://localhost/"]);
        assert_eq!(page.stdout, b"200", "{kind}");
        assert!(over(flood) >= 100_000, "{kind}");
    }
    let after = rest(&tap, before + 256);
    assert!(after <= before + 256, "{before} KiB before, {after} KiB afterwards");
}
