//! The appliance as it ships, as a process on a TAP device in a network namespace of its own.
//!
//! Everything has a name that no other test has, and ends with the value that holds it. It needs root: a TAP device
//! that a real kernel routes to cannot be had otherwise.

use crate::memory::{self, Run};
use crate::running::World;
use crate::{appliance, house, xentropyd};
use nix::sched::{CloneFlags, setns};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Nothing here takes so long unless it is broken.
const LONG: Duration = Duration::from_secs(60);

/// The size of `/big.bin` in the bundle.
pub const BIG: usize = 8 << 20;

/// Where it is if nothing else is said.
const STATIC: [&str; 6] =
    ["--address", "192.0.2.7/24", "--address", "2001:db8::7/64", "--gateway", "192.0.2.1"];

/// The appliance at 192.0.2.7 and 2001:db8::7, the clients' kernel at 192.0.2.1 and 2001:db8::1.
pub struct Tap {
    namespace: String,
    folder: tempfile::TempDir,
    daemon: Option<Child>,
    appliance: Child,
}

impl Tap {
    /// An appliance that is fed and says that it is ready.
    #[must_use]
    pub fn ready() -> Self {
        let tap = Self::started(true, "", Way::Process(&STATIC));
        tap.said("ready: ");
        tap
    }

    /// The same with more lines in its `gatehouse.toml`: at its end, and what stands before a line `---` at its top.
    #[must_use]
    pub fn with(sheet: &str) -> Self {
        let tap = Self::started(true, sheet, Way::Process(&STATIC));
        tap.said("ready: ");
        tap
    }

    /// The same, with a control channel that the operator's verbs reach by [`Tap::ask`]; DIR in a word is the
    /// folder.
    #[must_use]
    pub fn governed(sheet: &str, words: &[&str]) -> Self {
        let words = [&STATIC[..], &["--channel", "gatehouse.control=listen:DIR/control"], words].concat();
        let tap = Self::started(true, sheet, Way::Process(&words));
        tap.said("ready: ");
        tap
    }

    /// Asks the appliance over its control channel.
    #[must_use]
    pub fn ask(&self, words: &[&str]) -> Output {
        let control = self.folder.path().join("control");
        crate::tool().args(words).arg("--control").arg(control).output().expect("the tool runs")
    }

    /// What the metrics of one that is governed say of one thing: the sum of its rows that have this label.
    #[must_use]
    pub fn metric(&self, name: &str, label: &str) -> u64 {
        let said = self.ask(&["metrics"]);
        let page = String::from_utf8_lossy(&said.stdout).into_owned();
        let rows = page.lines().filter(|line| line.starts_with(&format!("gatehouse_{name}{{")));
        let rows = rows.filter(|line| line.contains(label)).map(|line| line.rsplit(' ').next());
        let values: Vec<u64> = rows.filter_map(|value| value?.parse().ok()).collect();
        assert!(!values.is_empty(), "no {name} of {label}: {page}{}", String::from_utf8_lossy(&said.stderr));
        values.iter().sum()
    }

    /// An appliance that may take so many MiB of memory.
    #[must_use]
    pub fn limited(memory: u32) -> Self {
        let tap =
            Self::started(true, "", Way::Process(&[&STATIC[..], &["--limit", &memory.to_string()]].concat()));
        tap.said("ready: ");
        tap
    }

    /// A microvm with so many MiB of RAM; its `/big.bin` is small.
    #[must_use]
    pub fn machine(memory: u32) -> Self {
        Self::machine_with(memory, "")
    }

    /// The same with more lines in its `gatehouse.toml`.
    #[must_use]
    pub fn machine_with(memory: u32, sheet: &str) -> Self {
        let tap = Self::started(true, sheet, Way::Machine(memory));
        tap.said("ready: ");
        tap
    }

    /// An appliance that is fed and told with these words where it is, or who knows.
    #[must_use]
    pub fn told(words: &[&str]) -> Self {
        Self::started(true, "", Way::Process(words))
    }

    /// The same with more lines in its `gatehouse.toml`, as [`Self::with`] takes them.
    #[must_use]
    pub fn told_with(words: &[&str], sheet: &str) -> Self {
        Self::started(true, sheet, Way::Process(words))
    }

    /// An appliance that nobody feeds.
    #[must_use]
    pub fn starved() -> Self {
        Self::started(false, "", Way::Process(&STATIC))
    }

    /// An appliance, this one or another build of it, in either world, that has a bundle and some words more, and says
    /// that it is ready. No gateway stands beside it, and its clients are at every address of 192.0.2.128/25, too.
    #[must_use]
    pub fn holding(world: World, image: &Path, bundle: &Path, words: &[&str]) -> Self {
        let (folder, namespace) = (tempfile::tempdir().expect("a folder"), namespace());
        let routed = ["-n", &namespace, "route", "add", "local", "192.0.2.128/25", "dev", "lo"];
        assert!(Command::new("ip").args(routed).status().expect("ip runs").success());
        let daemon = Some(feeder(folder.path()));
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let (bundle, socket, control) = (bundle.to_string_lossy(), at("appliance.entropy"), at("control"));
        let words = [&STATIC[..2], words].concat();
        let command = match world {
            World::Process => {
                let channel = format!("gatehouse.control=listen:{control}");
                let words = [&["--channel", &channel], &words[..]].concat();
                process(image, &namespace, &bundle, Some(&socket), &words)
            }
            World::Machine => {
                let mut qemu = machine(&namespace, &bundle, &socket, 64, &words);
                qemu.args(["-chardev", &format!("socket,path={control},server=on,wait=off,id=c")]);
                qemu.args(["-device", "virtserialport,chardev=c,name=gatehouse.control"]);
                qemu.args(["-qmp", &format!("unix:{},server=on,wait=off", at("monitor"))]);
                qemu
            }
        };
        let tap = Self::of(folder, namespace, daemon, command);
        tap.said("ready: ");
        tap
    }

    /// Everything that lies in its memory now, whichever world it is in; `holding` has started it.
    #[must_use]
    pub fn memory(&self) -> Vec<Run> {
        let monitor = self.folder.path().join("monitor");
        if monitor.exists() {
            memory::of_machine(&monitor, self.folder.path())
        } else {
            memory::of_process(self.appliance.id())
        }
    }

    /// Where its operator is answered; `holding` has started it.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// Does something among the clients: what is dialled and listened at in there, is so in their network.
    pub fn among_clients<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let place = std::fs::File::open(format!("/run/netns/{}", self.namespace)).expect("ip has made it");
        let inside = || {
            setns(place, CloneFlags::CLONE_NEWNET).expect("a thread of root's may go there");
            work()
        };
        let done = std::thread::scope(|scope| scope.spawn(inside).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn started(fed: bool, sheet: &str, way: Way<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let namespace = namespace();
        let size = if let Way::Machine(_) = way { BIG / 8 } else { BIG };
        let bundle = bundle(folder.path(), sheet, size);
        let daemon = fed.then(|| feeder(folder.path()));
        let socket = folder.path().join("appliance.entropy").to_string_lossy().into_owned();
        let command = match way {
            Way::Process(words) => {
                let here = |word: &&str| word.replace("DIR", &folder.path().to_string_lossy());
                let words: Vec<String> = words.iter().map(here).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                process(&appliance(), &namespace, &bundle, fed.then_some(&*socket), &words)
            }
            Way::Machine(memory) => machine(&namespace, &bundle, &socket, memory, &STATIC),
        };
        Self::of(folder, namespace, daemon, command)
    }

    fn of(folder: tempfile::TempDir, namespace: String, daemon: Option<Child>, mut command: Command) -> Self {
        let console = std::fs::File::create(folder.path().join("console")).expect("a file");
        command.stderr(console.try_clone().expect("a descriptor")).stdout(console).stdin(Stdio::null());
        let appliance = command.spawn().expect("the appliance starts");
        Self { namespace, folder, daemon, appliance }
    }

    /// The appliance's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.appliance.id()
    }

    /// Waits until the console shows `word`, and gives all of it; the test fails when that takes too long.
    pub fn said(&self, word: &str) -> String {
        let end = Instant::now() + LONG;
        loop {
            let console = std::fs::read_to_string(self.folder.path().join("console")).unwrap_or_default();
            if console.contains(word) {
                return console;
            }
            assert!(Instant::now() < end, "it never said {word:?}, but {console:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The folder in which everything of this test lies: the CA is `site/tls/ca.pem`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The most memory that the appliance has had at once, in KiB.
    #[must_use]
    pub fn peak(&self) -> u64 {
        let pid = self.appliance.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says it");
        line.trim_end_matches("kB").trim().parse().expect("it is a number")
    }

    /// Ends the daemon that feeds it.
    pub fn lose_the_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().and_then(|()| daemon.wait()).expect("the daemon ends");
        }
    }

    /// A program among the appliance's clients, not started yet.
    #[must_use]
    pub fn client(&self, program: &str) -> Command {
        inside(&self.namespace, program)
    }

    /// Runs a line of the shell among the clients.
    #[must_use]
    pub fn shell(&self, line: &str) -> Output {
        self.client("sh").args(["-c", line]).stdin(Stdio::null()).output().expect("a shell runs")
    }

    /// What curl says, with the development CA of the bundle and `localhost` at the appliance's address.
    #[must_use]
    pub fn curl(&self, words: &[&str]) -> Output {
        self.curl_at("192.0.2.7", words)
    }

    /// The same with another of its addresses, written as in a URL.
    #[must_use]
    pub fn curl_at(&self, address: &str, words: &[&str]) -> Output {
        let ca = self.folder.path().join("site/tls/ca.pem");
        let mut curl = self.client("curl");
        curl.args(["-sS", "-m", "60", "--connect-to", &format!("localhost:443:{address}:443")]);
        curl.arg("--cacert").arg(ca).args(words).output().expect("curl runs")
    }

    /// The bytes of `/big.bin`.
    #[must_use]
    pub fn big(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("site/site/big.bin")).expect("it was packed")
    }

    /// Asks the appliance to end, and gives what it left with.
    #[must_use]
    pub fn ended(self) -> ExitStatus {
        let told = Command::new("kill").arg(self.appliance.id().to_string()).status();
        assert!(told.expect("kill runs").success());
        self.status()
    }

    /// Waits for the appliance's end, and gives what it left with.
    #[must_use]
    pub fn status(mut self) -> ExitStatus {
        let end = Instant::now() + LONG;
        loop {
            if let Some(status) = self.appliance.try_wait().expect("it can be asked") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        for child in [Some(&mut self.appliance), self.daemon.as_mut()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
    }
}

/// How an appliance is started.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// As a process, with these words more.
    Process(&'a [&'a str]),
    /// As a microvm with so many MiB.
    Machine(u32),
}

fn process(image: &Path, namespace: &str, bundle: &str, socket: Option<&str>, words: &[&str]) -> Command {
    let mut command = inside(namespace, &image.to_string_lossy());
    command.args(["--tap", "tap0", "--bundle", bundle]).args(words);
    if let Some(socket) = socket {
        command.args(["--entropy", &format!("listen:{socket}")]);
    }
    command
}

fn machine(namespace: &str, bundle: &str, socket: &str, memory: u32, words: &[&str]) -> Command {
    let mut qemu = inside(namespace, "qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-cpu", "max", "-m", &memory.to_string(), "-nodefaults", "-display", "none"]);
    qemu.args(["-M", "microvm,isa-serial=on,ioapic2=off,pit=off,pic=off,rtc=on", "-no-reboot"]);
    qemu.args(["-global", "virtio-mmio.force-legacy=false", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(appliance()).args(["-initrd", bundle, "-append", &words.join(" ")]);
    qemu.args(["-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no,vnet_hdr=on"]);
    qemu.args(["-device", "virtio-net-device,netdev=n", "-device", "virtio-serial-device"]);
    qemu.args(["-chardev", &format!("socket,path={socket},server=on,wait=off,id=e")]);
    qemu.args(["-device", "virtserialport,chardev=e,name=org.openmirage.entropy.2"]);
    qemu
}

fn inside(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

/// A namespace with a TAP device that is up.
fn namespace() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("gatehouse-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
    let made = Command::new("ip").args(["netns", "add", &name]).output().expect("iproute2 is installed");
    let why = String::from_utf8_lossy(&made.stderr);
    assert!(
        made.status.success(),
        "this test makes a network namespace and a TAP device: run it as root: {why}"
    );
    for line in [
        "link set lo up",
        "tuntap add dev tap0 mode tap vnet_hdr",
        "addr add 192.0.2.1/24 dev tap0",
        "addr add 2001:db8::1/64 dev tap0 nodad",
        "link set tap0 up",
    ] {
        let done = Command::new("ip").args(["-n", &name]).args(line.split(' ')).status();
        assert!(done.expect("ip runs").success(), "ip {line}");
    }
    name
}

/// The example with one large file and some lines more, packed.
fn bundle(folder: &Path, lines: &str, size: usize) -> String {
    let site = folder.join("site");
    let made = house::run(&["init", &site.to_string_lossy()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let noise: Vec<u8> =
        (0_u64..size as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    std::fs::write(site.join("site/big.bin"), noise).expect("the file is written");
    let sheet = site.join("gatehouse.toml");
    let (top, end) = lines.split_once("---\n").unwrap_or(("", lines));
    let whole = top.to_owned() + &std::fs::read_to_string(&sheet).expect("it was made") + end;
    std::fs::write(&sheet, whole.replace("DIR", &folder.to_string_lossy())).expect("it is written");
    let bundle = folder.join("bundle").to_string_lossy().into_owned();
    let packed = house::run(&["pack", &site.to_string_lossy(), "-o", &bundle]);
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    bundle
}

fn feeder(folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("daemon")).expect("a file");
    let mut command = Command::new(xentropyd());
    command.arg("--watch").arg(folder).args(["--user", "root"]).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("xentropyd starts")
}
