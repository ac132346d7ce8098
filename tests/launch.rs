//! Both worlds as an operator meets them, through the launcher: on a cable, on a real TAP device, and in QEMU.

use bench::launched::{Running, free_port, run};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

/// Handshakes with port 443 that a recording shows: both of the first steps.
fn handshakes(pcap: &std::path::Path) -> usize {
    let file = std::fs::read(pcap).unwrap();
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert!([0xa1b2_c3d4, 0xa1b2_3c4d].contains(&word(0)) && word(20) == 1, "a capture of Ethernet frames");
    let (mut at, mut asked, mut answered) = (24, 0, 0);
    while at < file.len() {
        let frame = &file[at + 16..at + 16 + word(at + 8) as usize];
        if frame.len() >= 54 && frame[12..14] == [8, 0] && frame[23] == 6 {
            asked += usize::from(frame[36..38] == [1, 187] && frame[47] & 0x12 == 2);
            answered += usize::from(frame[34..36] == [1, 187] && frame[47] & 0x12 == 0x12);
        }
        at += 16 + frame.len();
    }
    asked.min(answered)
}

fn curl(address: &str) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--max-time", "30", address])
        .output()
        .unwrap()
}

/// Alive, and not a corpse that nobody has buried yet.
fn lives(id: &str) -> bool {
    let about = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    about.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

#[test]
fn on_a_cable_it_serves_and_ends_with_all_its_children_when_it_is_asked_to() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let pcap = folder.path().join("cable.pcap");
    let mut running =
        Running::start(&["--publish", &format!("{port}:443"), "--pcap", &pcap.to_string_lossy()]);
    let address = running.until("https://").trim().to_owned();
    assert_eq!(address, format!("https://127.0.0.1:{port}/"));
    let page = curl(&address);
    assert!(String::from_utf8_lossy(&page.stdout).contains("<html"), "{page:?}");
    let children = running.children();
    assert!(children.len() >= 2, "the appliance and its daemon: {children:?}");
    running.signal("-INT");
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    assert_eq!(children.iter().filter(|id| lives(id)).count(), 0, "{children:?}");
    assert!(handshakes(&pcap) > 0, "the recording shows whoever came");
}

#[test]
fn in_a_machine_it_serves_the_demo_to_whoever_knows_its_ca_on_every_board() {
    let folder = tempfile::tempdir().unwrap();
    for board in ["microvm", "q35", "pc"] {
        let (port, pcap) = (free_port(), folder.path().join(format!("{board}.pcap")));
        let (publish, file) = (format!("{port}:443"), pcap.to_string_lossy());
        let words = ["--world", "qemu", "--machine", board, "--publish", &publish, "--pcap", &file];
        let mut running = Running::start(&words);
        let invitation = running.until("curl --cacert");
        let page = Command::new("sh")
            .arg("-c")
            .arg(format!("{invitation} --silent --max-time 30"))
            .output()
            .unwrap();
        assert!(
            String::from_utf8_lossy(&page.stdout).contains("You are through the gate"),
            "{board}: {page:?}"
        );
        let children = running.children();
        running.signal("-INT");
        assert_eq!(running.0.wait().unwrap().code(), Some(0), "{board}");
        assert_eq!(children.iter().filter(|id| lives(id)).count(), 0, "{board}: {children:?}");
        assert!(handshakes(&pcap) > 0, "{board}: the recording shows whoever came");
    }
}

#[test]
fn no_child_outlives_a_launcher_that_is_killed() {
    let mut running = Running::start(&["--publish", &format!("{}:443", free_port())]);
    running.until("https://");
    let children = running.children();
    running.signal("-KILL");
    running.0.wait().unwrap();
    let gone = || !children.iter().any(|id| lives(id));
    assert!((0..600).any(|_| gone() || {
        thread::sleep(Duration::from_millis(100));
        false
    }));
}

#[test]
fn what_is_missing_is_said_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (words, wanted) in [
        (vec!["--publish".to_owned(), format!("{port}:443")], "is taken: end the program that listens there"),
        (vec!["--machine".to_owned(), "pc".to_owned()], "--world qemu only"),
        (vec!["/nonexistent".to_owned()], "/nonexistent"),
    ] {
        let output = run(&words.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(wanted) && said.lines().count() == 1, "{said}");
    }
}

/// In a network namespace of its own, which goes with its last process.
const ON_A_TAP: &str = r#"
set -eu
ip link set lo up
ip tuntap add dev gh0 mode tap
ip address add 192.0.2.1/24 dev gh0
ip link set gh0 up
setpriv --bounding-set=-net_raw --inh-caps=-net_raw "$1" run --appliance "$2" --tap gh0 --address 192.0.2.2/24 \
    --pcap "$3/none.pcap" 2>&1 || echo "and it ends with $?"
"$1" run --appliance "$2" --tap gh0 --address 192.0.2.2/24 --gateway 192.0.2.1 --pcap "$3/tap.pcap" >"$3/console" 2>&1 &
launcher=$!
trap 'kill $launcher 2>/dev/null || true; wait $launcher || true; cat "$3/console"' EXIT
for try in $(seq 600); do grep -q https:// "$3/console" && break; sleep 0.1; done
curl --silent --show-error --insecure --max-time 30 https://192.0.2.2/
ip neighbour show dev gh0
trap 'cat "$3/console"' EXIT
kill $launcher
wait $launcher
tcpdump -n -r "$3/tap.pcap" 2>/dev/null | grep -c 'ARP, Reply 192.0.2.2 is-at'
"#;

#[test]
fn on_a_real_tap_it_is_a_neighbour_that_answers() {
    let folder = tempfile::tempdir().unwrap();
    let root = std::fs::metadata("/proc/self")
        .map(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
        .unwrap();
    let mut command = Command::new("unshare");
    command.arg("--net").args((!root).then_some("--map-root-user")).args(["sh", "-c", ON_A_TAP, "sh"]);
    command.arg(bench::gatehouse()).arg(bench::appliance()).arg(folder.path());
    let output = command.output().expect("unshare (util-linux) is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "this test makes a TAP device in a network namespace: it needs root, or user namespaces and the right to open \
         /dev/net/tun\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("<html") && said.contains("192.0.2.2 lladdr"), "{said}");
    let refused = "--pcap needs the right to see all of gh0";
    assert!(said.contains(refused) && said.contains("and it ends with 1"), "{said}");
    assert!(handshakes(&folder.path().join("tap.pcap")) > 0, "the recording shows whoever came");
}
