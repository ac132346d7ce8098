//! One machine in QEMU, started for one test and ended with it, by its own process id.

use crate::{built, cargo};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a machine may take for what a test asks of it: emulation on a busy host is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The boards that the appliance boots on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// The small one, without PCI.
    Microvm,
    /// The PC of today.
    Q35,
    /// The PC of 1996.
    Pc,
}

/// All of them.
pub const BOARDS: [Board; 3] = [Board::Microvm, Board::Q35, Board::Pc];

/// A machine that is not started yet.
#[derive(Clone, Debug)]
pub struct Machine {
    board: Board,
    memory: u32,
    cpu: String,
    line: String,
    module: Option<PathBuf>,
    extra: Vec<String>,
    netns: Option<String>,
    exit_port: bool,
    serial: Option<String>,
}

/// A machine that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Everything that it wrote to its serial line.
    pub console: String,
    /// What QEMU itself had to say.
    pub complaints: String,
    /// What it left with: the number that it gave to the exit port; `None` when it was reset or had to be ended.
    pub left: Option<i32>,
    /// True when it ended by itself.
    pub by_itself: bool,
}

/// A machine that runs. It ends with this value.
#[derive(Debug)]
pub struct Running {
    qemu: Child,
    folder: tempfile::TempDir,
}

impl Running {
    /// Everything that it has written to its serial line so far.
    #[must_use]
    pub fn console(&self) -> String {
        text(&self.folder.path().join("serial"))
    }

    /// Waits until the console shows `word`, and gives all of it; the test fails when that takes too long.
    #[must_use]
    pub fn said(&self, word: &str) -> String {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let console = self.console();
            if console.contains(word) {
                return console;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let complaints = text(&self.folder.path().join("complaints"));
        panic!("it never said {word:?}, but {:?}; QEMU: {complaints:?}", self.console());
    }
}

impl Running {
    /// Waits for its end, and gives what it left with: the number that it gave to the exit port.
    #[must_use]
    pub fn left(&mut self) -> Option<i32> {
        let status = wait(&mut self.qemu, || false)?;
        (status & 1 == 1).then_some(status >> 1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Machine {
    /// A board with 64 MiB and every CPU feature that QEMU can emulate.
    #[must_use]
    pub fn on(board: Board) -> Self {
        let (cpu, line) = ("max".to_owned(), String::new());
        let (module, extra, netns, serial) = (None, Vec::new(), None, None);
        Self { board, memory: 64, cpu, line, module, extra, netns, exit_port: true, serial }
    }

    /// With so many MiB of RAM.
    #[must_use]
    pub fn memory(self, memory: u32) -> Self {
        Self { memory, ..self }
    }

    /// With another CPU.
    #[must_use]
    pub fn cpu(self, cpu: &str) -> Self {
        Self { cpu: cpu.to_owned(), ..self }
    }

    /// With a command line.
    #[must_use]
    pub fn line(self, line: &str) -> Self {
        Self { line: line.to_owned(), ..self }
    }

    /// With a module.
    #[must_use]
    pub fn module(self, module: &Path) -> Self {
        Self { module: Some(module.to_owned()), ..self }
    }

    /// Without the port that takes the number to leave with: it ends as a machine does.
    #[must_use]
    pub fn without_exit_port(self) -> Self {
        Self { exit_port: false, ..self }
    }

    /// With its serial line led elsewhere: then the console shows nothing.
    #[must_use]
    pub fn serial(self, to: &str) -> Self {
        Self { serial: Some(to.to_owned()), ..self }
    }

    /// Inside a network namespace: its TAP devices are there.
    #[must_use]
    pub fn inside(self, netns: &str) -> Self {
        Self { netns: Some(netns.to_owned()), ..self }
    }

    /// With more words for QEMU.
    #[must_use]
    pub fn with(mut self, words: &[&str]) -> Self {
        self.extra.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Runs an image until it leaves.
    #[must_use]
    pub fn run(&self, image: &Path) -> Ended {
        self.run_until(image, "\0")
    }

    /// Runs an image until it leaves, or until its console shows `word`: then the machine is ended.
    #[must_use]
    pub fn run_until(&self, image: &Path, word: &str) -> Ended {
        let folder = tempfile::tempdir().expect("a folder for the machine");
        let serial = folder.path().join("serial");
        let mut qemu = self.start(image, &serial);
        let status = wait(&mut qemu, || text(&serial).contains(word));
        let left = status.and_then(|status| (status & 1 == 1).then_some(status >> 1));
        let complaints = text(&folder.path().join("complaints"));
        Ended { console: text(&serial), complaints, left, by_itself: status.is_some() }
    }

    /// Starts an image and leaves it to the caller, for as long as the caller holds it.
    #[must_use]
    pub fn running(&self, image: &Path) -> Running {
        let folder = tempfile::tempdir().expect("a folder for the machine");
        let qemu = self.start(image, &folder.path().join("serial"));
        Running { qemu, folder }
    }

    /// The shell's words that start an image under the KVM of an outer machine, with its console on standard output.
    #[must_use]
    pub fn under_kvm(&self, image: &str) -> String {
        let mut words = vec![
            "qemu-system-x86_64".to_owned(),
            "-accel".into(),
            "kvm".into(),
            "-cpu".into(),
            "host".into(),
        ];
        words.extend(self.board_words());
        words.extend(["-kernel", image, "-serial", "stdio"].map(str::to_owned));
        let quoted = words.into_iter().chain(self.extra.clone()).map(|word| format!("'{word}'"));
        quoted.collect::<Vec<_>>().join(" ")
    }

    fn start(&self, image: &Path, serial: &Path) -> Child {
        let mut qemu = Command::new(if self.netns.is_some() { "ip" } else { "qemu-system-x86_64" });
        if let Some(netns) = &self.netns {
            qemu.args(["netns", "exec", netns, "qemu-system-x86_64"]);
        }
        qemu.args(["-accel", "tcg", "-cpu", &self.cpu]).args(self.board_words()).arg("-kernel").arg(image);
        let file = || format!("file:{}", serial.display());
        qemu.arg("-serial").arg(self.serial.clone().unwrap_or_else(file));
        if let Some(module) = &self.module {
            qemu.arg("-initrd").arg(module);
        }
        let complaints = std::fs::File::create(serial.with_file_name("complaints")).expect("a file");
        qemu.args(&self.extra).stdin(Stdio::null()).stderr(complaints).spawn().expect("QEMU starts")
    }

    fn board_words(&self) -> Vec<String> {
        let board = match self.board {
            Board::Microvm => "microvm,isa-serial=on,ioapic2=off,pit=off,pic=off,rtc=on",
            Board::Q35 => "q35",
            Board::Pc => "pc",
        };
        let memory = self.memory.to_string();
        let words = [
            "-M",
            board,
            "-m",
            &memory,
            "-append",
            &self.line,
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
        ];
        let exit: &[&str] =
            if self.exit_port { &["-device", "isa-debug-exit,iobase=0xf4,iosize=4"] } else { &[] };
        words.iter().chain(exit).map(|word| (*word).to_owned()).collect()
    }
}

fn text(file: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
}

/// Waits for the end, brings it about when it is time, and gives QEMU's exit status if it ended by itself.
fn wait(qemu: &mut Child, enough: impl Fn() -> bool) -> Option<i32> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end && !enough() {
        if let Some(status) = qemu.try_wait().expect("QEMU can be asked") {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = qemu.kill();
    let _ = qemu.wait();
    None
}

/// The appliance with its probes: images that must die, and their twins.
#[must_use]
pub fn probes() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let output = cargo(&["build", "--package=appliance", "--features=probes", "--profile=probes"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        built("probes/appliance")
    })
}
