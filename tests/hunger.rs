//! Machines that are not fed, fed with the wrong thing, fed late, and fed again: what ships, on boards in QEMU. The test
//! holds the other end of the machine's cable and asks who it is; a machine that has no keys does not even say that.

#[allow(dead_code, reason = "each test that stands on it uses a part of it")]
mod host;

use bench::machine::{Board, Machine, Running};
use entropy::protocol::{BANNER_1, Host as Feeding};
use host::{Host, connect};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const CHANNEL_1: &str = "org.openmirage.entropy.1";
const CHANNEL_2: &str = "org.openmirage.entropy.2";
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine with a cable, and perhaps an entropy channel.
struct Bench {
    machine: Running,
    cable: TcpStream,
    folder: tempfile::TempDir,
}

impl Bench {
    fn with(channels: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cable = TcpListener::bind("127.0.0.1:0").unwrap();
        let net = format!("socket,id=n,connect={}", cable.local_addr().unwrap());
        let machine = machine(&net, folder.path(), channels).running(&bench::appliance());
        let (cable, _) = cable.accept().unwrap();
        cable.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        Self { machine, cable, folder }
    }

    fn peer(&self, channel: &str) -> UnixStream {
        connect(&self.folder.path().join(format!("vm.{channel}")))
    }

    /// Asks on the cable whose 10.9.8.7 is. A machine that serves tells.
    fn is_there(&mut self) -> bool {
        const WHO_HAS: &[u8] =
            b"\0\x01\x08\0\x06\x04\0\x01\x02\0\0\0\0\x01\x0a\x09\x08\x01\0\0\0\0\0\0\x0a\x09\x08\x07";
        let frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6], WHO_HAS, &[0; 18]].concat();
        self.cable.write_all(&[&(frame.len() as u32).to_be_bytes()[..], &frame].concat()).unwrap();
        self.cable.read(&mut [0; 2000]).is_ok_and(|count| count > 0)
    }

    fn starves(&mut self, why: &str) {
        let console = self.machine.said(why);
        assert!(!self.is_there(), "it speaks on the network without a key: {console}");
        assert!(!self.machine.console().contains("ready"), "{}", self.machine.console());
    }

    fn serves(&mut self) {
        let _ = self.machine.said("ready: ");
        let end = Instant::now() + PATIENCE;
        while !self.is_there() {
            assert!(Instant::now() < end, "nobody answers on the cable: {}", self.machine.console());
        }
    }
}

/// A board on a network of QEMU's, with a socket in `folder` for each channel.
fn machine(net: &str, folder: &Path, channels: &[&str]) -> Machine {
    let bus = ["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-serial-device"];
    let net = ["-netdev", net, "-device", "virtio-net-device,netdev=n"];
    let machine = Machine::on(Board::Microvm).line("--address 10.9.8.7/24").with(&bus).with(&net);
    channels.iter().fold(machine, |machine, name| {
        let path = folder.join(format!("vm.{name}"));
        let end = format!("socket,path={},server=on,wait=off,id={name}", path.display());
        let port = format!("virtserialport,chardev={name},name={name}");
        machine.with(&["-chardev", &end, "-device", &port])
    })
}

fn daemon(folder: &Path) -> Host {
    Host::start(&["--watch", folder.to_str().unwrap(), "--user", "root"])
}

/// What sits at the other end instead of xentropyd, until the machine is gone.
type Way = fn(UnixStream);

fn silent(mut stream: UnixStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Says its line, and then what `more` gives for ever.
fn says(mut stream: UnixStream, line: &[u8], more: impl Fn() -> Vec<u8>) {
    let _ = stream.write_all(line);
    while stream.write_all(&more()).is_ok() {}
}

/// Speaks version 2 as it should be spoken and gives `food` over and over.
fn feeds(mut stream: UnixStream, food: Vec<u8>) {
    let (mut host, start, mut food) = (Feeding::new(1, 1024), Instant::now(), food.into_iter().cycle());
    let mut heard = [0; 500];
    while let Ok(count @ 1..) = stream.read(&mut heard) {
        host.receive(&heard[..count], start.elapsed()).unwrap();
        while host.appetite() > 0 || !host.outbox().is_empty() {
            let piece: Vec<u8> = food.by_ref().take(host.appetite().min(1024) as usize).collect();
            if stream.write_all(host.outbox()).is_err() {
                return;
            }
            host.sent(host.outbox().len());
            host.pour(&piece);
        }
    }
}

const WAITS: &str = "waiting for the host's first seed; no port is open before";
const OTHER: &str = "not listening to the host until it connects anew";
const NOT_RANDOM: &str = "what the host sends is not random and counts for nothing";

/// What a host of version 2 answers first, to the attempt 0 of a guest of generation 1.
const WELCOME: [u8; 32] = *b"\xe2\x81\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\x04\0";

const WAYS: [(&str, &str, Way); 9] = [
    (CHANNEL_2, WAITS, silent),
    (CHANNEL_1, WAITS, silent),
    (CHANNEL_2, OTHER, |stream| says(stream, b"SSH-2.0-OpenSSH_9.2\r\n", || vec![b'x'; 100])),
    (CHANNEL_1, OTHER, |stream| says(stream, b"SSH-2.0-OpenSSH_9.2\r\n", || vec![b'x'; 100])),
    // A flood of the best bytes is none: nobody asked for them and nothing says what they are.
    (CHANNEL_2, OTHER, |stream| says(stream, b"", || host::random(65_536))),
    // The wrong version, both ways round.
    (CHANNEL_2, OTHER, |stream| says(stream, BANNER_1, || host::random(4096))),
    (CHANNEL_1, OTHER, |stream| says(stream, &WELCOME, || host::random(4096))),
    (CHANNEL_1, NOT_RANDOM, |stream| says(stream, BANNER_1, || vec![0x41; 1000])),
    (CHANNEL_2, NOT_RANDOM, |stream| feeds(stream, vec![0; 1024])),
];

#[test]
fn whoever_does_not_feed_a_machine_gets_no_answer_from_it_and_a_line_that_says_why() {
    for (channel, why, way) in WAYS {
        let mut bench = Bench::with(&[channel]);
        let stream = bench.peer(channel);
        let other = std::thread::spawn(move || way(stream));
        bench.starves(why);
        drop(bench);
        other.join().unwrap();
    }
}

#[test]
fn a_machine_without_a_channel_says_what_it_lacks_and_one_without_a_daemon_waits_for_it() {
    Bench::with(&[])
        .starves("the host offers no channel org.openmirage.entropy.2 or org.openmirage.entropy.1");
    let mut late = Bench::with(&[CHANNEL_2]);
    late.starves(WAITS);
    let daemon = daemon(late.folder.path());
    late.serves();
    assert!(daemon.metric("xentropyd_bytes_total ") >= 1024 + 64, "the daemon fed it");
}

#[test]
fn a_machine_with_both_channels_is_fed_by_a_daemon_that_knows_only_one() {
    let mut bench = Bench::with(&[CHANNEL_2, CHANNEL_1]);
    let stream = bench.peer(CHANNEL_1);
    let other = std::thread::spawn(move || {
        let mut stream = stream;
        let hello = host::say(&mut stream, b"", entropy::protocol::HELLO_1.len());
        assert_eq!(hello, entropy::protocol::HELLO_1);
        says(stream, BANNER_1, || host::random(1000));
    });
    let _ = bench.machine.said("nobody answers on org.openmirage.entropy.2");
    bench.serves();
    drop(bench);
    other.join().unwrap();
}

#[test]
fn a_machine_serves_pages_while_its_daemon_is_gone_and_is_fed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let net = format!("user,id=n,net=10.9.8.0/24,hostfwd=tcp:127.0.0.1:{port}-10.9.8.7:443");
    let machine = machine(&net, folder.path(), &[CHANNEL_2]).running(&bench::appliance());
    let first = daemon(folder.path());
    let _ = machine.said("ready: ");
    assert!(page(port).contains("</h1>"), "it serves");
    drop(first);
    assert!(page(port).contains("</h1>"), "its pages went with its daemon: {}", machine.console());
    let next = daemon(folder.path());
    next.wait_for(|host| host.metric("xentropyd_bytes_total ") >= 1024);
    assert!(page(port).contains("</h1>"));
    assert!(!machine.console().contains("copied"), "a daemon's restart is no copy");
}

/// The page, over a connection and a handshake of its own.
fn page(port: u16) -> String {
    let curl = Command::new("curl").args(["-sk", "-m", "60", &format!("https://127.0.0.1:{port}/")]).output();
    String::from_utf8_lossy(&curl.unwrap().stdout).into_owned()
}
