//! What copies of a machine may not share: one state is saved and restored twice. The shipped ELF, the real daemon,
//! OpenSSL's client.

#[allow(dead_code, reason = "each test that stands on it uses a part of it")]
mod host;

use bench::machine::{Board, Machine, Running};
use host::{Host, connect};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(120);
const CHANNEL_2: &str = "org.openmirage.entropy.2";

fn wait(mut enough: impl FnMut() -> bool, why: impl Fn() -> String) {
    let start = Instant::now();
    while !enough() {
        assert!(start.elapsed() < LONG, "{}", why());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A network namespace with a TAP device in it.
struct Net(String);

const HERE: &str = "10.9.9.1/24";
const THERE: &str = "10.9.9.2";

impl Net {
    fn new(name: &str) -> Self {
        let net = Self(format!("twins-{name}-{}", std::process::id()));
        net.ip(&["netns", "add", &net.0]);
        net.ip(&["-n", &net.0, "tuntap", "add", "dev", "tap", "mode", "tap"]);
        net.ip(&["-n", &net.0, "addr", "add", HERE, "dev", "tap"]);
        net.ip(&["-n", &net.0, "link", "set", "tap", "up"]);
        net
    }

    fn ip(&self, words: &[&str]) {
        let done = Command::new("ip").args(words).output().unwrap();
        assert!(done.status.success(), "{words:?} in {}: {}", self.0, String::from_utf8_lossy(&done.stderr));
    }

    /// Opens a TLS connection and waits until its handshake is over.
    fn client(&self, folder: &Path, name: &str, words: &str) -> Client {
        let log = folder.join(name);
        let out = std::fs::File::create(&log).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, "openssl", "s_client", "-msg", "-ign_eof"]);
        command.args(["-noservername", "-connect", &format!("{THERE}:443")]).args(words.split_whitespace());
        command.stdin(Stdio::piped()).stdout(out.try_clone().unwrap()).stderr(out);
        let client = Client { child: command.spawn().unwrap(), log };
        wait(
            || client.heard().contains("Verify return code"),
            || format!("no handshake: {}", client.heard()),
        );
        client
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// OpenSSL's client, which shows each message of the handshake.
struct Client {
    child: Child,
    log: PathBuf,
}

impl Client {
    fn heard(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The random bytes of the ServerHello: they stand behind its kind, length and version.
    fn server_random(&self) -> Vec<u8> {
        let heard = self.heard();
        let lines = heard.split("ServerHello\n").nth(1).unwrap_or_else(|| panic!("no ServerHello: {heard}"));
        let bytes = lines.split_whitespace().map_while(|word| u8::from_str_radix(word, 16).ok());
        bytes.skip(6).take(32).collect()
    }

    /// Asks for a page and gives everything that was heard when the connection has ended.
    fn ask(&mut self) -> String {
        let page = b"GET / HTTP/1.1\r\nHost: 10.9.9.2\r\nConnection: close\r\n\r\n";
        let _ = self.child.stdin.as_mut().unwrap().write_all(page);
        let mut ended = || self.child.try_wait().unwrap().is_some();
        let start = Instant::now();
        while !ended() {
            assert!(start.elapsed() < LONG, "the connection hangs");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.heard()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A machine that can be saved and restored, on the TAP device of `net`.
fn machine(board: Board, net: &Net, folder: &Path) -> Machine {
    let bus = if board == Board::Microvm { "device" } else { "pci" };
    let machine = Machine::on(board).inside(&net.0).line(&format!("--address {THERE}/24"));
    // Without a generator in the CPU only the new generation can make copies draw apart.
    let machine = machine.cpu("max,-rdrand,-rdseed").with(&[
        "-global",
        "virtio-mmio.force-legacy=false",
        "-netdev",
        "tap,id=n,ifname=tap,script=no,downscript=no",
        "-device",
        &format!("virtio-net-{bus},netdev=n{}", if board == Board::Microvm { "" } else { ",romfile=" }),
        "-chardev",
        &format!("socket,path={}/vm.entropy,server=on,wait=off,id=e", folder.display()),
        "-device",
        &format!("virtio-serial-{bus}"),
        "-device",
        &format!("virtserialport,chardev=e,name={CHANNEL_2}"),
        "-monitor",
        &format!("unix:{}/monitor,server=on,wait=off", folder.display()),
    ]);
    if board == Board::Microvm { machine } else { machine.with(&["-device", "vmgenid,guid=auto"]) }
}

/// Says something to QEMU's monitor, and waits until it is done: it prompts before and after.
fn order(folder: &Path, line: &str) {
    let mut monitor = connect(&folder.join("monitor"));
    writeln!(monitor, "{line}").unwrap();
    let mut answer = Vec::new();
    while String::from_utf8_lossy(&answer).matches("(qemu) ").count() < 2 {
        let mut piece = [0; 500];
        let count = monitor.read(&mut piece).unwrap();
        assert!(count > 0, "the monitor is gone: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..count]);
    }
}

fn save(folder: &Path) -> String {
    let (part, saved) = (folder.join("part"), folder.join("saved"));
    let (part, saved) = (part.display(), saved.display());
    order(folder, &format!("migrate \"exec:cat >{part} && mv {part} {saved}\""));
    wait(|| folder.join("saved").exists(), || "the machine was never saved".into());
    format!("exec:cat {saved}")
}

/// A session that a client may take up again, in each version of TLS: the ticket is in a file.
const SESSIONS: [(&str, &str); 2] = [("-tls1_3", "session-3"), ("-tls1_2", "session-2")];

/// Gets a ticket and sees that it is worth something while the machine is the one that made it.
fn takes_tickets(net: &Net, here: &Path) {
    for (version, file) in SESSIONS {
        let file = here.join(file);
        let _ = net.client(here, "first", &format!("{version} -sess_out {}", file.display())).ask();
        assert!(was_resumed(net, here, version, &file), "{version}: the ticket is good for nothing");
    }
}

fn was_resumed(net: &Net, here: &Path, version: &str, file: &Path) -> bool {
    let again = net.client(here, "again", &format!("{version} -sess_in {}", file.display())).ask();
    assert!(again.contains("</h1>"), "no page: {again}");
    assert!(again.contains("New, TLS") != again.contains("Reused, TLS"), "neither new nor reused: {again}");
    again.contains("Reused, TLS")
}

/// Restores a machine only when the daemon has already come to it: then it hears of no change by itself, because the
/// channel was open when it was saved and is open now.
fn restored(board: Board, net: &Net, here: &Path, state: &str, daemon: &Host) -> Running {
    let met = || daemon.metric("xentropyd_connections_total{door=\"watch\"}");
    let before = met();
    let twin = machine(board, net, here).with(&["-incoming", "defer"]).running(&bench::appliance());
    wait(|| met() > before, || "the daemon does not come".into());
    order(here, &format!("migrate_incoming \"{state}\""));
    twin
}

fn saved_once_and_restored_twice(board: Board, name: &str) {
    let (net, folder) = (Net::new(name), tempfile::tempdir().unwrap());
    let here = folder.path();
    let daemon =
        Host::start(&["--watch", here.to_str().unwrap(), "--user", "root", "--metrics", "DIR/metrics"]);
    let mut old: Vec<Client> = Vec::new();
    let original: Running = machine(board, &net, here).running(&bench::appliance());
    let _ = original.said("ready");
    old.extend(["old-1", "old-2", "old-3"].map(|name| net.client(here, name, "")));
    let page = old.pop().unwrap().ask();
    assert!(page.contains("</h1>"), "the original serves: {page}");
    takes_tickets(&net, here);
    let state = save(here);
    drop(original);
    let randoms: Vec<Vec<u8>> = old
        .iter_mut()
        .map(|old| {
            let twin = restored(board, &net, here, &state, &daemon);
            // A vmgenid is seen at once; where there is none the daemon calls again after a few seconds.
            let copied = "this machine was copied or put back in time: every connection is closed";
            wait(|| twin.console().contains(copied), || format!("it does not notice: {}", twin.console()));
            let _ = twin.said("ready");
            let answer = old.ask();
            assert!(!answer.contains("</h1>"), "an old connection goes on in a copy: {answer}");
            let mut new = net.client(here, "new", "");
            let random = new.server_random();
            assert!(new.ask().contains("</h1>"), "a copy serves");
            for (version, file) in SESSIONS {
                assert!(
                    !was_resumed(&net, here, version, &here.join(file)),
                    "{version}: an old ticket lives"
                );
            }
            random
        })
        .collect();
    let [one, other] = randoms.try_into().unwrap();
    assert_eq!((one.len(), other.len()), (32, 32));
    assert_ne!(one, other, "the copies draw the same");
    assert_eq!(daemon.metric("xentropyd_faults_total"), 0, "a copy found out by itself: {}", daemon.log());
}

#[test]
fn a_pc_that_is_restored_twice_closes_every_connection_and_draws_apart() {
    saved_once_and_restored_twice(Board::Q35, "pc");
}

#[test]
fn a_microvm_that_is_restored_twice_closes_every_connection_and_draws_apart() {
    saved_once_and_restored_twice(Board::Microvm, "mv");
}
