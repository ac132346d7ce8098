//! Addresses from those who give them in real networks: dnsmasq and radvd, on a real TAP device.

use bench::tap::Tap;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PAGE: &str = "https://localhost/";
/// Nothing here takes so long unless it is broken.
const LONG: Duration = Duration::from_secs(90);

/// A server among the clients, for as long as it is held, and what it writes.
struct Server(Child, std::path::PathBuf);

impl Server {
    fn start(tap: &Tap, program: &str, words: &[&str]) -> Self {
        let log = tap.folder().join(format!("{program}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let mut command = tap.client(program);
        command.args(words).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self(command.spawn().unwrap(), log)
    }

    /// dnsmasq with one address to give away, which it wants to hear of again after six seconds.
    fn dnsmasq(tap: &Tap, address: &str) -> Self {
        let range = format!("--dhcp-range={address},{address},255.255.255.0,2m");
        let leases = format!("--dhcp-leasefile={}", tap.folder().join(address).display());
        Self::start(
            tap,
            "dnsmasq",
            &[
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--pid-file=",
                "--user=root",
                "--port=0",
                "--interface=tap0",
                "--bind-interfaces",
                "--no-ping",
                "--dhcp-authoritative",
                "--log-dhcp",
                "--log-facility=-",
                "--dhcp-option=3,192.0.2.1",
                "--dhcp-option=6,192.0.2.53",
                "--dhcp-option-force=26,1400",
                "--dhcp-option-force=58,6",
                "--dhcp-option-force=59,100",
                &range,
                &leases,
            ],
        )
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.1).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn served_at(tap: &Tap, address: &str) -> bool {
    text(&tap.curl_at(address, &["-m", "5", PAGE])).contains("</h1>")
}

#[test]
fn a_dhcp_server_gives_an_address_renews_it_and_takes_it_back_while_somebody_reads() {
    let tap = Tap::told(&["--address", "dhcp"]);
    let waiting = tap.said("waiting for a DHCP server");
    assert!(!waiting.contains("ready: "), "{waiting}");
    let server = Server::dnsmasq(&tap, "192.0.2.100");
    let console = tap.said("ready: ");
    let line = "address: 192.0.2.100/24 from 192.0.2.1 for 120 s, gateway 192.0.2.1, MTU 1400";
    assert!(console.contains(line), "{console}\n{}", server.said());
    assert!(served_at(&tap, "192.0.2.100"));
    until("it is renewed", || server.said().matches("DHCPACK(tap0) 192.0.2.100").count() >= 2);
    let mut reader = tap.client("curl");
    let connect = "localhost:443:192.0.2.100:443";
    reader.args(["-sk", "-m", "60", "--limit-rate", "100k", "--connect-to", connect]);
    reader.args(["-o", "/dev/null", "https://localhost/big.bin"]);
    let mut reader = reader.stdin(Stdio::null()).spawn().unwrap();
    drop(server);
    let server = Server::dnsmasq(&tap, "192.0.2.200");
    let console = tap.said("address: 192.0.2.200/24");
    let lost = "192.0.2.100 is ours no longer: its server wants it back";
    assert!(console.contains(lost), "{console}\n{}", server.said());
    assert!(served_at(&tap, "192.0.2.200"), "{}", server.said());
    assert!(!served_at(&tap, "192.0.2.100"));
    assert!(reader.try_wait().unwrap().is_none(), "who read is not told; it finds out");
    let _ = reader.kill();
    let _ = reader.wait();
    let neighbours = text(&tap.shell("ip neigh show dev tap0"));
    assert!(neighbours.contains("192.0.2.200 lladdr"), "{neighbours}");
    assert!(tap.ended().success());
}

#[test]
fn a_router_tells_where_we_are_beside_a_static_address() {
    let tap = Tap::told(&["--address", "slaac", "--address", "192.0.2.7/24"]);
    tap.said("ready: ");
    let file = tap.folder().join("radvd.conf");
    let words = "interface tap0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvLinkMTU 1400; \
                 prefix 2001:db8::/64 { AdvOnLink on; AdvAutonomous on; }; \
                 prefix 2001:db8:9::/48 { AdvOnLink on; AdvAutonomous on; }; };";
    std::fs::write(&file, words).unwrap();
    let (file, pid) = (file.display().to_string(), tap.folder().join("radvd.pid").display().to_string());
    let words = ["--nodaemon", "--logmethod=stderr", "--config", &file, "--pidfile", &pid];
    let radvd = Server::start(&tap, "radvd", &words);
    let console = tap.said("address: 2001:db8:");
    let line = console.lines().find(|line| line.contains("address: 2001:db8:")).unwrap();
    let address = line.split(['/', ' ']).find(|word| word.starts_with("2001:")).unwrap();
    assert!(line.contains("/64, gateway fe80::") && line.ends_with("MTU 1400"), "{line}\n{}", radvd.said());
    assert!(served_at(&tap, &format!("[{address}]")), "{line}");
    assert!(served_at(&tap, "192.0.2.7"));
    assert_eq!(
        console.matches("address: 2001:").count(),
        1,
        "a prefix of 48 bits makes no address: {console}"
    );
    assert!(tap.ended().success());
}

/// The launcher passes the word on, and a machine hears a server as a process does.
const A_MACHINE: &str = r#"
set -eu
ip link set lo up
ip tuntap add dev gh0 mode tap vnet_hdr
ip address add 192.0.2.1/24 dev gh0
ip link set gh0 up
dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --port=0 --interface=gh0 --no-ping \
    --bind-interfaces --dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,2m --dhcp-leasefile="$3/leases" \
    >"$3/dnsmasq" 2>&1 &
server=$!
"$1" run --appliance "$2" --world qemu --tap gh0 --address dhcp >"$3/console" 2>&1 &
launcher=$!
trap 'kill $launcher $server 2>/dev/null; wait $launcher; cat "$3/console" "$3/dnsmasq"' EXIT
for try in $(seq 900); do grep -q 'ready: ' "$3/console" && break; sleep 0.1; done
curl --silent --show-error --insecure --max-time 60 https://192.0.2.100/
"#;

#[test]
fn a_machine_is_given_an_address_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", A_MACHINE, "sh"]);
    command.arg(bench::gatehouse()).arg(bench::appliance()).arg(folder.path());
    let said = text(&command.output().expect("unshare (util-linux) is installed"));
    assert!(said.contains("address: 192.0.2.100/24 from 192.0.2.1") && said.contains("<html"), "{said}");
}
