//! No key before the host has fed the appliance: the shipped ELF as a process, the real daemon, and whatever else may sit
//! at the other end of the channel. `tests/hunger.rs` has the same for machines, `tests/twins.rs` what copies may not share.

#[allow(dead_code, reason = "each test that stands on it uses a part of it")]
mod host;

use entropy::protocol::{BANNER_1, Host as Feeding};
use host::{Host, connect};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command};
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
