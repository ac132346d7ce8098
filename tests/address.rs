//! Addresses from those who give them in real networks: dnsmasq and radvd, on a real TAP device.

use bench::horde::{figure, rest};
use bench::running::World;
use bench::tap::Tap;
use std::io::{BufRead, BufReader};
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

    /// radvd with one prefix whose addresses live for twelve seconds after its last word.
    fn radvd(tap: &Tap, prefix: &str) -> Self {
        let place = |end: &str| tap.folder().join(format!("radvd.{end}")).display().to_string();
        let words = format!(
            "interface tap0 {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; \
             prefix {prefix}/64 {{ AdvOnLink on; AdvAutonomous on; AdvValidLifetime 12; AdvPreferredLifetime 8; }}; }};"
        );
        std::fs::write(place("conf"), words).unwrap();
        let words =
            ["--nodaemon", "--logmethod=stderr", "--config", &place("conf"), "--pidfile", &place("pid")];
        Self::start(tap, "radvd", &words)
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
"$1" run --appliance "$2" --world qemu --tap gh0 --address dhcp --pcap "$3/tap.pcap" >"$3/console" 2>&1 &
launcher=$!
trap 'kill $launcher $server 2>/dev/null; wait $launcher; cat "$3/console" "$3/dnsmasq"' EXIT
for try in $(seq 900); do grep -q 'ready: ' "$3/console" && break; sleep 0.1; done
curl --silent --show-error --insecure --max-time 60 https://192.0.2.100/
sleep 1
tcpdump -n -r "$3/tap.pcap" 2>/dev/null
"#;

#[test]
fn a_machine_is_given_an_address_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", A_MACHINE, "sh"]);
    command.arg(bench::gatehouse()).arg(bench::appliance()).arg(folder.path());
    let said = text(&command.output().expect("unshare (util-linux) is installed"));
    assert!(said.contains("address: 192.0.2.100/24 from 192.0.2.1") && said.contains("<html"), "{said}");
    for seen in ["0.0.0.0.68 > 255.255.255.255.67: BOOTP/DHCP, Request", "192.0.2.100.443: Flags [S]"] {
        assert!(said.contains(seen), "the recording shows {seen:?}: {said}");
    }
}

/// Many who read a large file slowly, each over a connection of its own.
const READERS: &str = r#"
import asyncio, ssl, sys
async def main(address, count):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    ended, readers = [], []
    async def read(reader):
        try:
            while await reader.read(2000):
                await asyncio.sleep(0.5)
        except OSError as error:
            ended.append(error)
        ended.append("the end")
    for _ in range(count):
        reader, writer = await asyncio.open_connection(address, 443, ssl=context, limit=4000)
        writer.write(b"GET /big.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        readers.append((asyncio.ensure_future(read(reader)), writer))
    print("standing", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print("ended", len(ended), flush=True)
    import os; os._exit(0)
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"#;

/// Readers who have all begun.
fn readers(tap: &Tap, address: &str, count: u32) -> Child {
    let mut readers = tap.client("python3");
    readers.args(["-c", READERS, address, &count.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut readers = readers.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(readers.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "standing\n");
    readers
}

/// How many of them have seen an end until now.
fn ended(mut readers: Child) -> String {
    drop(readers.stdin.take());
    text(&readers.wait_with_output().unwrap()).trim().to_owned()
}

/// The address that begins so, once it is there.
fn found(tap: &Tap, start: &str) -> String {
    let console = tap.said(&format!("address: {start}"));
    let line = console.lines().find(|line| line.contains(&format!("address: {start}"))).unwrap();
    line.split(['/', ' ']).find(|word| word.starts_with(start)).unwrap().to_owned()
}

#[test]
fn when_addresses_change_their_connections_end_the_next_are_at_once_and_nothing_is_left_behind() {
    let tap = Tap::told(&["--address", "dhcp", "--address", "slaac", "--address", "192.0.2.7/24"]);
    tap.said("ready: ");
    for prefix in ["2001:db8:a::1/64", "2001:db8:b::1/64"] {
        assert!(tap.shell(&format!("ip addr add {prefix} dev tap0 nodad")).status.success());
    }
    let seen = Server::start(&tap, "tcpdump", &["-l", "-n", "-i", "tap0", "arp or icmp6"]);
    let (dhcp, router) = (Server::dnsmasq(&tap, "192.0.2.100"), Server::radvd(&tap, "2001:db8:a::"));
    let (v4, v6) = (found(&tap, "192.0.2.100"), found(&tap, "2001:db8:a:"));
    let before = figure(&tap, "heap in use").unwrap();
    let crowds = [readers(&tap, &v4, 200), readers(&tap, &v6, 200)];
    assert!(figure(&tap, "open now").unwrap() >= 400);
    drop((dhcp, router));
    let _next = (Server::dnsmasq(&tap, "192.0.2.200"), Server::radvd(&tap, "2001:db8:b::"));
    let (v4, v6) = (found(&tap, "192.0.2.200"), found(&tap, "2001:db8:b:"));
    assert!(served_at(&tap, &v4) && served_at(&tap, &format!("[{v6}]")), "the next are there at once");
    let gone = tap.said("no router renewed its prefix; its connections are gone");
    assert!(gone.contains("192.0.2.100 is ours no longer: its server wants it back"), "{gone}");
    // Those who wait in vain would be found out too, but in a minute or two.
    let begun = Instant::now();
    until("nobody is there any more", || figure(&tap, "open now").unwrap() < 20);
    assert!(begun.elapsed() < Duration::from_secs(25), "they did not end with their address");
    assert_eq!(
        crowds.map(ended),
        ["ended 0"; 2],
        "they are not told in the name of an address that is not ours"
    );
    let after = rest(&tap, before + 512);
    assert!(after <= before + 512, "{before} KiB before, {after} KiB afterwards");
    let frames = seen.said();
    let told = |words: &[&str]| frames.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(told(&["192.0.2.200", "tell 192.0.2.200"]) || told(&["Announcement 192.0.2.200"]), "{frames}");
    assert!(told(&[&format!("{v6} > ff02::1: "), "neighbor advertisement"]), "{frames}");
    assert!(tap.ended().success());
}

#[test]
fn an_address_that_follows_from_a_secret_is_the_same_after_a_restart() {
    const MAC: [&str; 4] = ["--address", "slaac", "--mac", "02:00:00:00:00:07"];
    let first = Tap::told_with(&MAC, "address-secret = \"tls/localhost.key\"\n---\n");
    let router = Server::radvd(&first, "2001:db8::");
    let address = found(&first, "2001:db8:");
    drop(router);
    let again = Tap::holding(World::Process, &bench::appliance(), &first.folder().join("bundle"), &MAC);
    let _router = Server::radvd(&again, "2001:db8::");
    assert_eq!(found(&again, "2001:db8:"), address);
    let other = Tap::told(&MAC);
    let _router = Server::radvd(&other, "2001:db8::");
    assert_ne!(found(&other, "2001:db8:"), address, "without the secret it is drawn");
}
