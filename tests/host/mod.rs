//! A host with a running xentropyd, and guests to be fed.

use entropy::protocol::{Guest, HostBroke, Meaning, Version};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing here takes so long unless it is broken.
const LONG: Duration = Duration::from_secs(60);

/// A daemon in a folder of its own. It is killed when this is dropped.
pub struct Host {
    daemon: Child,
    folder: TempDir,
}

impl Host {
    /// Starts the daemon and waits until it feeds. `DIR` stands for its folder.
    pub fn start(arguments: &[&str]) -> Self {
        let host = Self::begin(arguments);
        host.wait_for(|host| host.log().contains("event=feeding"));
        host
    }

    /// The same, with a configuration file.
    pub fn start_with(config: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xentropyd.toml");
        std::fs::write(&path, config.replace("DIR", folder.path().to_str().unwrap())).unwrap();
        let arguments = [&["--config", path.to_str().unwrap()], arguments].concat();
        let host = Self::spawn(folder, &arguments, &[]);
        host.wait_for(|host| host.log().contains("event=feeding"));
        host
    }

    /// Starts the daemon and does not wait.
    pub fn begin(arguments: &[&str]) -> Self {
        Self::begin_with(arguments, &[])
    }

    pub fn begin_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn(tempfile::tempdir().unwrap(), arguments, environment)
    }

    fn spawn(folder: TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let path = folder.path();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let here = path.to_str().unwrap();
        let mut arguments: Vec<String> = arguments.iter().map(|word| word.replace("DIR", here)).collect();
        if !arguments.iter().any(|word| word == "--metrics") {
            arguments.extend(["--metrics".into(), format!("{here}/metrics")]);
        }
        let log = std::fs::File::create(path.join("log")).unwrap();
        let mut command = Command::new(bench::xentropyd());
        command.args(arguments).envs(environment.iter().copied()).stderr(log).stdout(Stdio::null());
        Self { daemon: command.spawn().unwrap(), folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    pub fn connect(&self, name: &str) -> UnixStream {
        connect(&self.path(name))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    pub fn metrics(&self) -> String {
        let mut stream = self.connect("metrics");
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    pub fn metric(&self, name: &str) -> u64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).trim().parse().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// The status that the daemon ended with.
    pub fn status(&mut self) -> i32 {
        self.daemon.wait().unwrap().code().unwrap()
    }

    pub fn wait_for(&self, mut what: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !what(self) {
            assert!(start.elapsed() < LONG, "it never came; the log says\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Connects, as soon as there is something to connect to.
pub fn connect(path: &Path) -> UnixStream {
    let start = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => {
                stream.set_read_timeout(Some(LONG)).unwrap();
                return stream;
            }
            Err(why) => assert!(start.elapsed() < LONG, "{}: {why}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for the daemon to connect.
pub fn accept(machine: &UnixListener) -> UnixStream {
    machine.set_nonblocking(true).unwrap();
    let start = Instant::now();
    loop {
        match machine.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(why) => assert!(start.elapsed() < LONG, "nobody connected: {why}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Says something and reads exactly so many bytes.
pub fn say(stream: &mut UnixStream, bytes: &[u8], length: usize) -> Vec<u8> {
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut heard = vec![0; length];
    stream.read_exact(&mut heard).unwrap();
    heard
}

/// Reads so many bytes, or fewer if the other end closes.
pub fn read_until(stream: &mut UnixStream, length: usize) -> Vec<u8> {
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut heard = Vec::new();
    let ended = stream.take(length as u64).read_to_end(&mut heard);
    assert!(ended.is_ok_and(|count| count == heard.len()) || heard.is_empty());
    heard
}

/// Bytes that no test has seen before.
pub fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

/// What a guest of version 2 was told.
#[derive(Default)]
pub struct Told {
    pub entropy: Vec<u8>,
    pub generation: Option<u128>,
    pub rate: Option<u32>,
    pub starved: bool,
}

/// A guest of version 2: the same machine that the appliance runs, on a socket.
pub struct Guest2 {
    stream: UnixStream,
    guest: Guest,
    start: Instant,
    pub told: Told,
}

impl Guest2 {
    pub fn on(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut guest = Guest::new(Version::Two);
        guest.opened(Duration::ZERO);
        Self { stream, guest, start: Instant::now(), told: Told::default() }
    }

    /// What such a guest says first.
    pub fn hello() -> Vec<u8> {
        let mut guest = Guest::new(Version::Two);
        guest.opened(Duration::ZERO);
        guest.outbox().to_vec()
    }

    pub fn hear_until(&mut self, enough: impl Fn(&Told) -> bool) {
        while !enough(&self.told) {
            self.turn().unwrap();
        }
    }

    pub fn hear_until_broken(&mut self) -> HostBroke {
        loop {
            if let Err(broke) = self.turn() {
                return broke;
            }
        }
    }

    /// True once the host has closed the channel.
    pub fn is_closed(&mut self) -> bool {
        self.stream.set_read_timeout(Some(LONG)).unwrap();
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        self.stream.write_all(b"x").is_err()
    }

    fn turn(&mut self) -> Result<(), HostBroke> {
        let now = self.start.elapsed();
        assert!(now < LONG, "it was only told this: {}", self.told.brief());
        self.guest.turn(now);
        while !self.guest.outbox().is_empty() {
            let count = self.stream.write(self.guest.outbox()).unwrap();
            self.guest.sent(count);
        }
        let mut bytes = [0; 700];
        let count = self.stream.read(&mut bytes).unwrap_or(0);
        let mut heard = &bytes[..count];
        while let Some(meaning) = self.guest.receive(&mut heard, now)? {
            self.told.note(&meaning);
        }
        Ok(())
    }
}

impl Told {
    fn brief(&self) -> String {
        format!("{} bytes, generation {:?}, starved {}", self.entropy.len(), self.generation, self.starved)
    }

    fn note(&mut self, meaning: &Meaning<'_>) {
        match meaning {
            Meaning::Entropy(bytes) => self.entropy.extend_from_slice(bytes),
            Meaning::Generation(generation) => self.generation = Some(*generation),
            Meaning::Starved(_) => self.starved = true,
            Meaning::Granted { rate, generation } => (self.rate, self.generation) = (*rate, *generation),
        }
    }
}

/// A pipe that poses as the hardware's random device.
pub struct Fifo {
    folder: TempDir,
    path: String,
    end: std::fs::File,
}

impl Fifo {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hwrng").to_str().unwrap().to_owned();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Opened for both, so that opening does not wait for the daemon and the daemon never sees an end.
        let end = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        Self { folder, path, end }
    }

    pub fn path(&self) -> &str {
        assert!(self.folder.path().exists());
        &self.path
    }

    pub fn write(&self, bytes: &[u8]) {
        (&self.end).write_all(bytes).unwrap();
    }
}

/// A Linux in QEMU whose virtio-rng is fed over EGD; `tests/rng/build` makes its image. It ends with this
/// value.
pub struct Linux {
    qemu: Child,
    folder: TempDir,
}

impl Linux {
    pub fn boot(socket: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = |name: &str| {
            let path = bench::top().join("tests/.cache").join(name);
            assert!(path.exists(), "{} is missing: `tests/run images` makes it", path.display());
            path
        };
        let ram = folder.path().join("ram");
        std::fs::write(
            &ram,
            [std::fs::read(image("rng.cpio")).unwrap(), archive(&bench::xentropyd())].concat(),
        )
        .unwrap();
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-M", "q35", "-cpu", "max", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(image("rng.vmlinuz")).arg("-initrd").arg(ram);
        qemu.args(["-append", "console=ttyS0 quiet panic=-1"]);
        qemu.arg("-serial").arg(format!("file:{}", folder.path().join("serial").display()));
        qemu.arg("-chardev").arg(format!("socket,path={},reconnect=1,id=e", socket.display()));
        qemu.args(["-object", "rng-egd,chardev=e,id=r", "-device", "virtio-rng-pci,rng=r"]);
        Self { qemu: qemu.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), folder }
    }

    pub fn console(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("serial")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Emulation on a busy host is slow.
    pub fn wait_for(&self, what: impl Fn(&str) -> bool) {
        let start = Instant::now();
        while !what(&self.console()) {
            assert!(start.elapsed() < 4 * LONG, "it never came; the console says\n{}", self.console());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// An initramfs with one file in it; the kernel takes one after the other.
fn archive(program: &Path) -> Vec<u8> {
    let mut cpio = Command::new("cpio");
    cpio.args(["-o", "-H", "newc", "--quiet"]).current_dir(program.parent().unwrap());
    let mut cpio = cpio.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cpio.stdin.take().unwrap().write_all(program.file_name().unwrap().as_encoded_bytes()).unwrap();
    cpio.wait_with_output().unwrap().stdout
}

impl Drop for Linux {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
