//! A launcher that runs, as an operator would start it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long a busy host may take for what a test asks of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// `gatehouse run` with what ships.
#[must_use]
pub fn run(words: &[&str]) -> Command {
    let mut command = crate::tool();
    command.arg("run").arg("--appliance").arg(crate::appliance()).args(words);
    command
}

/// A launcher that runs, and the lines that it prints.
pub struct Running(pub Child, Receiver<String>);

impl Running {
    /// Starts it.
    #[must_use]
    pub fn start(words: &[&str]) -> Self {
        Self::of(run(words))
    }

    /// Starts `gatehouse pinata run` instead.
    #[must_use]
    pub fn hanging(words: &[&str]) -> Self {
        let mut command = crate::tool();
        command.args(["pinata", "run", "--appliance"]).arg(crate::appliance()).args(words);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let console = BufReader::new(child.stdout.take().expect("it has one"));
        let (tell, lines) = channel();
        thread::spawn(move || console.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self(child, lines)
    }

    /// Waits for a line that holds `word`.
    pub fn until(&self, word: &str) -> String {
        loop {
            let line = self.1.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {word:?}"));
            if line.contains(word) {
                return line;
            }
        }
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// The process ids of its children.
    #[must_use]
    pub fn children(&self) -> Vec<String> {
        let path = format!("/proc/{0}/task/{0}/children", self.0.id());
        let children = std::fs::read_to_string(path).expect("it has a list");
        children.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Running {
    /// Asks first: a launcher that is killed leaves the folder of its demo behind.
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("-TERM");
            for _ in 0..100 {
                if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port of this machine that nobody has.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    listener.local_addr().expect("it has an address").port()
}
