//! Behind a switch that carries a question to a group only to those who say that they hear it: Linux' own bridge.

use bench::tap::Tap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A bridge that asks every second and forgets after three, with the appliance at one port and the clients at its own.
const SWITCH: &str = "
set -e
ip address flush dev tap0
ip link add br0 type bridge mcast_snooping 1 mcast_query_interval 100 \
    mcast_query_response_interval 50 mcast_membership_interval 300 mcast_startup_query_interval 50
ip link set br0 type bridge mcast_querier 1
echo 0 >/proc/sys/net/ipv6/conf/br0/accept_dad
ip link set tap0 master br0
ip link set br0 up
ip address add 2001:db8::1/64 dev br0 nodad
";

/// The group of 2001:db8::7, as the switch knows it at the appliance's port.
const GROUP: &str = "ff02::1:ff00:7";

fn said(tap: &Tap, line: &str) -> String {
    let output = tap.shell(line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_heard(tap: &Tap) -> bool {
    let known = said(tap, "bridge mdb show dev br0");
    known.lines().any(|line| line.contains("port tap0 ") && line.contains(GROUP))
}

/// What the switch carries to the appliance while somebody looks for `address`.
fn carried(tap: &Tap, address: &str) -> String {
    let mut tcpdump = tap.client("tcpdump");
    tcpdump.args(["-l", "-n", "-i", "tap0", "-Q", "out", "ip6"]);
    let mut tcpdump = tcpdump.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tcpdump runs");
    let mut line = String::new();
    let begun = tcpdump.stderr.as_mut().map(|words| BufReader::new(words).read_line(&mut line));
    assert!(begun.is_some_and(|read| read.is_ok()) && !line.is_empty(), "tcpdump listens: {line}");
    let found = tap.curl_at(&format!("[{address}]"), &["-m", "3", "https://localhost/"]);
    assert!(!found.status.success(), "there is nobody");
    tcpdump.kill().and_then(|()| tcpdump.wait()).expect("it ends");
    std::io::read_to_string(tcpdump.stdout.take().expect("it was piped")).expect("it is text")
}

#[test]
fn a_neighbour_finds_us_behind_a_switch_that_asks_who_hears_what_in_both_versions() {
    let tap = Tap::ready();
    said(&tap, SWITCH);
    for version in [1, 2] {
        said(&tap, &format!("ip link set br0 type bridge mcast_mld_version {version}"));
        let end = Instant::now() + Duration::from_secs(30);
        while !is_heard(&tap) {
            assert!(Instant::now() < end, "nothing was said: {}", said(&tap, "bridge -d mdb show dev br0"));
            std::thread::sleep(Duration::from_millis(100));
        }
        // Longer than it is remembered: it has answered since.
        std::thread::sleep(Duration::from_secs(5));
        assert!(is_heard(&tap), "version {version}");
        said(&tap, "ip neighbour flush dev br0");
        let page = tap.curl_at("[2001:db8::7]", &["-m", "20", "https://localhost/"]);
        assert!(page.status.success(), "{version}: {}", String::from_utf8_lossy(&page.stderr));
    }
    let carried = carried(&tap, "2001:db8::8:8");
    let other = carried.contains("who has 2001:db8::8:8");
    assert!(carried.contains("listener query") && !other, "it carries what nobody hears: {carried}");
    assert!(tap.ended().success());
}
