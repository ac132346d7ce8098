//! No key before the host has fed the appliance, and none that a copy of the machine has too: the shipped ELF, the real
//! daemon, and whatever else may sit at the other end of the channel.

#[allow(dead_code, reason = "each test that stands on it uses a part of it")]
mod host;

use bench::machine::{Board, Machine, Running};
use entropy::protocol::{BANNER_1, Host as Feeding};
use host::{Host, connect};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(120);
const CHANNEL_1: &str = "org.openmirage.entropy.1";
const CHANNEL_2: &str = "org.openmirage.entropy.2";

/// The appliance as a process on a cable. It ends with this value.
struct Process {
    child: Child,
    folder: tempfile::TempDir,
    cable: UnixDatagram,
}

impl Process {
    fn start(channel: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cable, end) = UnixDatagram::pair().unwrap();
        cable.set_nonblocking(true).unwrap();
        let console = std::fs::File::create(folder.path().join("console")).unwrap();
        let channel = format!("{channel}=listen:{}", folder.path().join("vm.entropy").display());
        let mut command = Command::new(bench::appliance());
        command.args(["--cable", "0", "--address", "10.9.8.7/24", "--channel", &channel]);
        command.stdin(OwnedFd::from(end)).stdout(console.try_clone().unwrap()).stderr(console);
        Self { child: command.spawn().unwrap(), folder, cable }
    }

    fn dial(&self) -> UnixStream {
        connect(&self.folder.path().join("vm.entropy"))
    }

    fn console(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("console")).unwrap()
    }

    fn said(&self, word: &str) {
        wait(|| self.console().contains(word), || format!("{word:?} was never said: {}", self.console()));
    }

    /// Frames that it has sent so far.
    fn frames(&self) -> usize {
        let mut frame = [0; 70_000];
        core::iter::from_fn(|| self.cable.recv(&mut frame).ok()).count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(mut enough: impl FnMut() -> bool, why: impl Fn() -> String) {
    let start = Instant::now();
    while !enough() {
        assert!(start.elapsed() < LONG, "{}", why());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Speaks version 2 as it should be spoken and pours `source` in, over and over.
fn feed(mut stream: UnixStream, source: Vec<u8>) {
    let (mut host, start, mut source) = (Feeding::new(1, 1024), Instant::now(), source.into_iter().cycle());
    let mut heard = [0; 500];
    while let Ok(count @ 1..) = stream.read(&mut heard) {
        host.receive(&heard[..count], start.elapsed()).unwrap();
        while host.appetite() > 0 || !host.outbox().is_empty() {
            let piece: Vec<u8> = source.by_ref().take(host.appetite().min(1024) as usize).collect();
            if stream.write_all(host.outbox()).is_err() {
                return;
            }
            host.sent(host.outbox().len());
            host.pour(&piece);
        }
    }
}

/// Starves the shipped ELF in this way, and hears why it says that it serves nobody.
fn starved(channel: &str, why: &str, way: impl FnOnce(UnixStream) + Send + 'static) {
    let process = Process::start(channel);
    process.said("waiting for the host's first seed; no port is open before");
    let stream = process.dial();
    let other = std::thread::spawn(move || way(stream));
    process.said(why);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!process.console().contains("ready"), "{}", process.console());
    assert_eq!(process.frames(), 0, "a stack that has no keys has nothing to say");
    drop(process);
    other.join().unwrap();
}

fn silent(mut stream: UnixStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

fn says(line: &'static [u8], byte: u8) -> impl FnOnce(UnixStream) {
    move |mut stream| {
        let _ = stream.write_all(line);
        while stream.write_all(&[byte; 100]).is_ok() {}
    }
}

#[test]
fn whoever_does_not_feed_it_gets_no_port_and_a_line_that_says_why() {
    starved(CHANNEL_2, "first seed", silent);
    starved(CHANNEL_1, "first seed", silent);
    starved(CHANNEL_2, "none of them was the answer to our hello", says(b"SSH-2.0-OpenSSH_9.2\r\n", b'x'));
    starved(CHANNEL_1, "something else is connected to this channel", says(b"SSH-2.0-OpenSSH_9.2\r\n", b'x'));
    starved(CHANNEL_1, "counts for nothing: the source is stuck", says(BANNER_1, 0));
    starved(CHANNEL_2, "counts for nothing: the source is stuck", |stream| feed(stream, vec![0; 1024]));
    let block = host::random(300);
    starved(CHANNEL_2, "counts for nothing: the source repeats itself", |stream| feed(stream, block));
}

#[test]
fn a_daemon_that_knows_only_version_1_is_enough() {
    let process = Process::start(CHANNEL_1);
    let mut stream = process.dial();
    let hello = host::say(&mut stream, b"", entropy::protocol::HELLO_1.len());
    assert_eq!(hello, entropy::protocol::HELLO_1);
    stream.write_all(&[BANNER_1, &host::random(2000)].concat()).unwrap();
    process.said("ready");
    assert!(process.frames() > 0, "it says who it is");
}

#[test]
fn a_daemon_that_is_started_again_feeds_again_and_one_that_is_gone_is_not_missed_at_once() {
    let process = Process::start(CHANNEL_2);
    let daemon = || {
        let folder = process.folder.path().to_str().unwrap().to_owned();
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Host::start(&["--watch", &folder, "--user", "root"])
    };
    let first = daemon();
    process.said("ready");
    drop(first);
    let second = daemon();
    second.wait_for(|host| host.metric("xentropyd_bytes_total ") >= 1024);
    assert!(!process.console().contains("copied"), "a daemon's restart is no copy: {}", process.console());
}

/// A network namespace with a TAP device in it.
struct Net(String);

const HERE: &str = "10.9.9.1/24";
const THERE: &str = "10.9.9.2";

impl Net {
    fn new(name: &str) -> Self {
        let net = Self(format!("seed-{name}-{}", std::process::id()));
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
    fn client(&self, folder: &Path, name: &str) -> Client {
        let log = folder.join(name);
        let out = std::fs::File::create(&log).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, "openssl", "s_client", "-msg", "-ign_eof"]);
        command.args(["-noservername", "-connect", &format!("{THERE}:443")]);
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

fn save(folder: &Path) -> String {
    let (part, saved) = (folder.join("part"), folder.join("saved"));
    let mut monitor = connect(&folder.join("monitor"));
    let (part, saved) = (part.display(), saved.display());
    writeln!(monitor, "migrate \"exec:cat >{part} && mv {part} {saved}\"").unwrap();
    wait(|| folder.join("saved").exists(), || "the machine was never saved".into());
    format!("exec:cat {saved}")
}

fn saved_once_and_restored_twice(board: Board, name: &str) {
    let (net, folder) = (Net::new(name), tempfile::tempdir().unwrap());
    let here = folder.path();
    let image = bench::appliance();
    let _daemon = Host::start(&["--watch", here.to_str().unwrap(), "--user", "root"]);
    let mut old: Vec<Client> = Vec::new();
    let original: Running = machine(board, &net, here).running(&image);
    let _ = original.said("ready");
    old.extend(["old-1", "old-2", "old-3"].map(|name| net.client(here, name)));
    let page = old.pop().unwrap().ask();
    assert!(page.contains("</h1>"), "the original serves: {page}");
    let state = save(here);
    drop(original);
    let randoms: Vec<Vec<u8>> = old
        .iter_mut()
        .map(|old| {
            let twin = machine(board, &net, here).with(&["-incoming", &state]).running(&image);
            // A vmgenid is seen at once. Where there is none the daemon must be heard: within a minute.
            let copied = "this machine was copied or put back in time: every connection is closed";
            wait(|| twin.console().contains(copied), || format!("it does not notice: {}", twin.console()));
            let _ = twin.said("ready");
            let answer = old.ask();
            assert!(!answer.contains("</h1>"), "an old connection goes on in a copy: {answer}");
            let mut new = net.client(here, "new");
            let random = new.server_random();
            assert!(new.ask().contains("</h1>"), "a copy serves");
            random
        })
        .collect();
    let [one, other] = randoms.try_into().unwrap();
    assert_eq!((one.len(), other.len()), (32, 32));
    assert_ne!(one, other, "the copies draw the same");
}

#[test]
fn a_pc_that_is_restored_twice_closes_every_connection_and_draws_apart() {
    saved_once_and_restored_twice(Board::Q35, "pc");
}

#[test]
fn a_microvm_that_is_restored_twice_closes_every_connection_and_draws_apart() {
    saved_once_and_restored_twice(Board::Microvm, "mv");
}
