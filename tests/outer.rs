//! A machine that holds a hypervisor: QEMU emulates a processor with SVM, and a real Xen or a real KVM runs on it.
//!
//! The images come from `tests/kvm/build` and `tests/xen/build`. Each machine has a control port behind which a shell
//! waits, and fetches files from this host's loopback. It is ended, by its process id, when the value is dropped.

use crate::top;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a machine may take to come up: emulation on a busy host is slow.
const PATIENCE: Duration = Duration::from_secs(180);

/// One outer machine.
pub struct Outer {
    qemu: Child,
    control: u16,
    https: u16,
    folder: tempfile::TempDir,
}

impl Outer {
    /// Starts a Linux host with a KVM that works.
    #[must_use]
    pub fn kvm() -> Self {
        let cpu = most();
        let kernel = cache("kvm.vmlinuz");
        let ram = cache("kvm.cpio");
        Self::start(&[
            "-M",
            "q35",
            "-cpu",
            &cpu,
            "-m",
            "1024",
            "-kernel",
            &kernel,
            "-initrd",
            &ram,
            "-append",
            "console=ttyS0 quiet mitigations=off",
            "-device",
            "virtio-net-pci,netdev=n,romfile=",
        ])
    }

    /// Starts a Xen host on all that QEMU has but SMAP, with which Xen cannot write to dom0's stack: dom0 dies at once.
    #[must_use]
    pub fn xen_of_today() -> Self {
        Self::xen(&format!("{},-smap", most()))
    }

    /// Starts a Xen host: the hypervisor and its dom0.
    #[must_use]
    pub fn xen(processor: &str) -> Self {
        let ram = format!("{} console=hvc0 quiet,{}", cache("dom0.vmlinuz"), cache("dom0.cpio.gz"));
        Self::start(&[
            "-cpu",
            processor,
            "-m",
            "1024",
            "-kernel",
            &cache("xen"),
            "-initrd",
            &ram,
            "-append",
            "console=com1 com1=115200,8n1 dom0_mem=384M,max:384M loglvl=warning guest_loglvl=all",
            "-device",
            "e1000,netdev=n,romfile=",
        ])
    }

    fn start(machine: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the machine");
        let (control, https) = (free_port(), free_port());
        let forward = format!("hostfwd=tcp:127.0.0.1:{control}-:2323,hostfwd=tcp:127.0.0.1:{https}-:443");
        let net = format!("user,id=n,{forward}");
        let serial = format!("file:{}", folder.path().join("serial").display());
        let qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-nodefaults", "-display", "none", "-no-reboot"])
            .args(machine)
            .args(["-netdev", &net, "-serial", &serial])
            .stdin(Stdio::null())
            .spawn()
            .expect("QEMU starts");
        let mut outer = Self { qemu, control, https, folder };
        outer.wait_until_ready();
        outer
    }

    fn wait_until_ready(&mut self) {
        let end = Instant::now() + PATIENCE;
        while !self.answers() {
            let gone = self.qemu.try_wait().expect("QEMU can be asked");
            assert!(gone.is_none() && Instant::now() < end, "the outer machine is not up: {}", self.serial());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether its door is open. It says that it is ready when the door is about to open, and is given time then.
    fn answers(&self) -> bool {
        let ready = self.serial().contains("outer is ready");
        self.try_run("true", Duration::from_secs(if ready { 20 } else { 2 })).is_ok()
    }

    /// What the machine has written to its serial line.
    #[must_use]
    pub fn serial(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("serial")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The port of this host that leads to port 443 of the machine.
    #[must_use]
    pub fn https(&self) -> u16 {
        self.https
    }

    /// Runs a shell script in the machine and gives what it printed.
    ///
    /// # Panics
    /// When the script fails or takes too long: a test has then failed.
    #[must_use]
    pub fn run(&self, script: &str) -> String {
        self.try_run(script, PATIENCE)
            .unwrap_or_else(|said| panic!("`{script}` failed in the machine: {said}"))
    }

    /// Runs a shell script in the machine.
    ///
    /// # Errors
    /// What it printed, when it failed or took longer than `limit`.
    pub fn try_run(&self, script: &str, limit: Duration) -> Result<String, String> {
        let mut control =
            TcpStream::connect(("127.0.0.1", self.control)).map_err(|error| error.to_string())?;
        let lines = format!("( {script}\n) </dev/null 2>&1; echo the-end-$?\nexit\n");
        control.write_all(lines.as_bytes()).map_err(|error| error.to_string())?;
        let said = read_all(control, limit);
        match said.rsplit_once("the-end-") {
            Some((said, "0\n")) => Ok(said.to_owned()),
            _ => Err(said),
        }
    }

    /// Copies a file that the tests have made beside the machine's image.
    pub fn put_cached(&self, name: &str, to: &str) {
        self.put(Path::new(&cache(name)), to);
    }

    /// Copies a file of this host into the machine, through a door that is open for this one file. (By QEMU's TFTP server
    /// it would cost the machine four times as much.)
    pub fn put(&self, from: &Path, to: &str) {
        let bytes = std::fs::read(from).expect("the file can be read");
        let door = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = door.local_addr().expect("its address").port();
        let (size, from) = (bytes.len(), from.display());
        let sender =
            std::thread::spawn(move || door.accept().and_then(|(mut line, _)| line.write_all(&bytes)));
        let _ = self.run(&format!(
            "nc 10.0.2.2 {port} </dev/null >{to} && [ $(stat -c %s {to}) = {size} ] && chmod +x {to}"
        ));
        let sent = sender.join().expect("the sender lives");
        sent.unwrap_or_else(|error| panic!("{from} was not sent: {error}"));
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn read_all(mut control: TcpStream, limit: Duration) -> String {
    let (end, mut said, mut piece) = (Instant::now() + limit, Vec::new(), [0; 4096]);
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        control.set_read_timeout(Some(left)).expect("a time limit");
        match control.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => said.extend_from_slice(&piece[..count]),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn cache(name: &str) -> String {
    let path = top().join("tests/.cache").join(name);
    assert!(path.exists(), "{} is missing: `tests/run images` makes it", path.display());
    path.to_str().expect("a plain path").to_owned()
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    socket.local_addr().expect("its address").port()
}

/// The processor with the most of what QEMU has. QEMU 7.2 does not intercept XSETBV in a nested guest: no XSAVE there.
fn most() -> String {
    if qemu_version() < 8 { "max,-xsave,-avx,-avx2,-f16c,-fma" } else { "max" }.to_owned()
}

fn qemu_version() -> u32 {
    let output = Command::new("qemu-system-x86_64").arg("--version").output().expect("QEMU is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split("version ").nth(1).and_then(|rest| rest.split('.').next());
    number.and_then(|number| number.parse().ok()).expect("QEMU says its version")
}
