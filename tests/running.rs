//! A launcher that runs an appliance, for a test that asks something of it. It ends with its value.

use crate::{appliance, gatehouse as tool};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a busy host may take for what a test asks of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the appliance lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// A process on a cable.
    Process,
    /// A machine in QEMU.
    Machine,
}

/// A launcher and its appliance.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    folder: tempfile::TempDir,
    socket: PathBuf,
    port: u16,
}

/// The operator's tool.
#[must_use]
pub fn gatehouse(words: &[&str]) -> Command {
    let mut command = Command::new(tool());
    command.args(words).stdin(Stdio::null());
    command
}

impl Running {
    /// The demo, ready.
    #[must_use]
    pub fn demo(world: World) -> Self {
        Self::start(world, &[])
    }

    /// What the words say, ready.
    #[must_use]
    pub fn start(world: World, words: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("control");
        let mut command = gatehouse(&["run", "--control"]);
        command.arg(&socket).args(words);
        if world == World::Machine {
            command.args(["--world", "qemu"]);
        }
        Self::begin(command, folder, socket)
    }

    /// The demo under a name, in a folder of running appliances.
    #[must_use]
    pub fn named(name: &str, places: &Path) -> Self {
        let mut command = gatehouse(&["run", "--name", name]);
        command.env("GATEHOUSE_RUN_DIR", places);
        let folder = tempfile::tempdir().expect("a folder");
        Self::begin(command, folder, places.join(format!("{name}.sock")))
    }

    fn begin(mut command: Command, folder: tempfile::TempDir, socket: PathBuf) -> Self {
        let port = free_port();
        command.arg("--appliance").arg(appliance()).args(["--publish", &format!("{port}:443")]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the launcher starts");
        let console = BufReader::new(child.stdout.take().expect("a console"));
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            console.lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        let running = Self { child, lines, folder, socket, port };
        running.until("https://127.0.0.1");
        running
    }

    /// Waits for a line of the console that holds `word`.
    pub fn until(&self, word: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {word:?}"));
            if line.contains(word) {
                return line;
            }
        }
    }

    /// Where the operator is answered.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A folder that goes with this value.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port of this host that leads to its HTTPS.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The launcher's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process id of the appliance, which is a process.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn appliance(&self) -> String {
        let below = |id: &str| {
            let path = format!("/proc/{id}/task/{id}/children");
            let children = std::fs::read_to_string(path).unwrap_or_default();
            children.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let children = below(&self.id().to_string());
        let all = children.iter().flat_map(|id| below(id)).chain(children.clone());
        let is_it = |id: &String| {
            std::fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe.ends_with("appliance"))
        };
        all.into_iter().find(is_it).expect("an appliance runs")
    }

    /// Asks with a verb and what follows it; the test fails when there is no answer.
    pub fn ask(&self, words: &[&str]) -> String {
        let output = self.try_ask(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same, whatever is answered.
    pub fn try_ask(&self, words: &[&str]) -> Output {
        gatehouse(words).arg("--control").arg(&self.socket).output().expect("the tool runs")
    }

    /// A page, as curl gets it.
    pub fn curl(&self, path: &str) -> String {
        self.try_curl(path).unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// The same, or curl's complaint.
    ///
    /// # Errors
    /// When curl gets no answer.
    pub fn try_curl(&self, path: &str) -> Result<String, String> {
        curl(self.port, &[path])
    }

    /// A connection that stays.
    #[must_use]
    pub fn openssl(&self) -> Inside {
        Inside::at(self.port)
    }

    /// Sends the launcher a signal.
    pub fn signal(&self, name: &str) {
        let told = Command::new("kill").args([name, &self.id().to_string()]).status();
        assert!(told.expect("kill runs").success());
    }

    /// What the launcher ends with.
    pub fn code(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return status.code();
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Several pages over one connection to that port of this host.
///
/// # Errors
/// When curl does not get one of them.
pub fn curl(port: u16, paths: &[&str]) -> Result<String, String> {
    let mut curl = Command::new("curl");
    curl.args(["-sSkf", "--http1.1", "-m", "30"]);
    curl.args(paths.iter().map(|path| format!("https://localhost:{port}{path}")));
    let output = curl.stdin(Stdio::null()).output().expect("curl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody who is connected and speaks HTTP/1 by OpenSSL.
pub struct Inside {
    child: Child,
    input: ChildStdin,
    output: Tail,
}

impl Inside {
    /// Somebody at that port of this host.
    #[must_use]
    pub fn at(port: u16) -> Self {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]);
        openssl.args(["-servername", "localhost", "-nocommands", "-msg", "-ign_eof"]);
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = openssl.spawn().expect("openssl runs");
        let (input, output) = (child.stdin.take().expect("stdin"), child.stdout.take().expect("stdout"));
        Self { child, input, output: Tail::of(output) }
    }

    /// Asks for a page and gives what comes until the page's end.
    pub fn ask(&mut self, path: &str) -> String {
        write!(self.input, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("openssl reads");
        self.output.until("</html>").expect("a page comes")
    }

    /// Waits for the end, and says whether the other side said close_notify before it.
    pub fn ended_well(&mut self) -> bool {
        self.output.until("close_notify").is_some()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program prints, as it comes.
struct Tail(Receiver<Vec<u8>>, Vec<u8>);

impl Tail {
    fn of(mut output: ChildStdout) -> Self {
        let (tell, pieces) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut piece) {
                if tell.send(piece[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self(pieces, Vec::new())
    }

    /// What came up to `word`; nothing when the end comes first.
    fn until(&mut self, word: &str) -> Option<String> {
        loop {
            let at = self.1.windows(word.len()).position(|window| window == word.as_bytes());
            if let Some(at) = at {
                let said: Vec<u8> = self.1.drain(..at + word.len()).collect();
                return Some(String::from_utf8_lossy(&said).into_owned());
            }
            self.1.extend(self.0.recv_timeout(PATIENCE).ok()?);
        }
    }
}

/// A port of this host that nobody listens on now.
#[must_use]
pub fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("loopback has a port").port()
}
