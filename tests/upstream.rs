//! Upstreams behind an appliance on a TAP device: programs among its neighbours.

use crate::tap::Tap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes so long unless it is broken.
pub const LONG: Duration = Duration::from_secs(60);

/// Both versions, as curl calls them.
pub const BOTH: [&str; 2] = ["--http1.1", "--http2"];

/// An upstream among the appliance's neighbours, and what it says.
pub struct Upstream {
    child: Child,
    log: PathBuf,
}

impl Upstream {
    /// Starts a program and waits until it has said `word`.
    #[must_use]
    pub fn start(tap: &Tap, name: &str, program: &str, words: &[&str], word: &str) -> Self {
        let log = tap.folder().join(name);
        let file = File::create(&log).expect("a file");
        let mut command = tap.client(program);
        let also = file.try_clone().expect("a descriptor");
        command.args(words).stdin(Stdio::null()).stdout(also).stderr(file);
        let upstream = Self { child: command.spawn().expect("it starts"), log };
        upstream.said(word);
        upstream
    }

    /// The one on bare sockets.
    #[must_use]
    pub fn odd(tap: &Tap, port: u16) -> Self {
        Self::odd_with(tap, port, &[])
    }

    /// The same with more words.
    #[must_use]
    pub fn odd_with(tap: &Tap, port: u16, more: &[&str]) -> Self {
        let (script, number) = (here("upstream.py"), port.to_string());
        let words = [&[&*script, &*number], more].concat();
        Self::start(tap, &format!("odd-{port}"), "python3", &words, "listening")
    }

    /// All that it has said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often it has said this.
    #[must_use]
    pub fn count(&self, word: &str) -> usize {
        self.log().matches(word).count()
    }

    /// Waits until it has said this.
    pub fn said(&self, word: &str) {
        until(|| self.log().contains(word), || format!("it never said {word:?}, but {:?}", self.log()));
    }
}

impl Drop for Upstream {
    /// Asks first: some have workers, which would outlive a master that is killed.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so, but not for ever.
pub fn until(mut is_so: impl FnMut() -> bool, why: impl Fn() -> String) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "{}", why());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A file of the folder of upstreams and their clients.
#[must_use]
pub fn here(name: &str) -> String {
    crate::top().join("tests/proxy").join(name).to_string_lossy().into_owned()
}

/// Everything that a program has said.
#[must_use]
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a site says of one upstream on this port of the clients' kernel.
#[must_use]
pub fn proxy(path: &str, port: u16, more: &str) -> String {
    format!("\n[[site.proxy]]\npath = \"{path}\"\nupstreams = [\"http://192.0.2.1:{port}\"]\n{more}\n")
}

/// Python with pyOpenSSL, websockets and gunicorn, as `tests/run` makes it.
#[must_use]
pub fn python() -> String {
    std::env::var("GATEHOUSE_PYTHON").expect(
        "GATEHOUSE_PYTHON names a Python with pyOpenSSL, websockets and gunicorn: `tests/run` makes one",
    )
}
