//! An appliance that no launcher looks after, asked over a control channel of its own: a process on a TAP device, and
//! machines as the operator's page starts them.

use bench::machine::{Board, Machine, Running};
use bench::running::{Inside, curl, free_port, gatehouse};
use bench::tap::Tap;
use bench::{appliance, house, xentropyd};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A program among the appliance's neighbours that is told and says things line by line. It ends with its value.
struct Neighbour {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Neighbour {
    fn start(tap: &Tap, script: &str) -> Self {
        let mut python = tap.client("python3");
        python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut neighbour = Self { child, input, output: BufReader::new(output) };
        assert_eq!(neighbour.line(), "here");
        neighbour
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, word: &str) -> String {
        writeln!(self.input, "{word}").unwrap();
        self.line()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes a connection over and says back what it hears, until the other side has said all.
const ECHO: &str = r"
import socket, threading
def echo(sock):
    head = b''
    while b'\r\n\r\n' not in head:
        head += sock.recv(4096)
    sock.sendall(b'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
    while some := sock.recv(4096):
        sock.sendall(some)
    sock.close()
server = socket.create_server(('192.0.2.1', 8000))
print('here', flush=True)
while True:
    threading.Thread(target=echo, args=server.accept()[:1], daemon=True).start()
";

/// Has a connection taken over, sends each line that it is told and says what came back; at the end it says how that was.
const CLIENT: &str = r"
import socket, ssl, sys, threading
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
raw = socket.create_connection(('192.0.2.7', 443))
line = context.wrap_socket(raw, server_hostname='localhost', suppress_ragged_eofs=False)
line.sendall(b'GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
head = b''
while not head.endswith(b'\r\n\r\n'):
    head += line.recv(1)
print('here' if b' 101 ' in head else head, flush=True)
def listen():
    try:
        while heard := line.recv(4096):
            print(heard.decode(), flush=True)
        print('goodbye', flush=True)
    except OSError as error:
        print('cut off:', error, flush=True)
threading.Thread(target=listen, daemon=True).start()
for word in sys.stdin:
    line.sendall(word.strip().encode())
";

/// What a verb that is carried out says.
fn asked(tap: &Tap, words: &[&str]) -> String {
    let output = tap.ask(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn who_has_taken_a_connection_over_is_not_cut_off_by_a_reload_and_ends_when_the_doors_are_shut() {
    let tap =
        Tap::governed("\n[[site.proxy]]\npath = \"/ws\"\nupstreams = [\"http://192.0.2.1:8000\"]\n", &[]);
    let _upstream = Neighbour::start(&tap, ECHO);
    let mut before = Neighbour::start(&tap, CLIENT);
    asked(&tap, &["reload", &tap.folder().join("site").to_string_lossy()]);
    assert_eq!(before.ask("moved"), "moved");
    let mut after = Neighbour::start(&tap, CLIENT);
    asked(&tap, &["drain", "--within", "3600"]);
    assert_eq!((before.ask("one"), after.ask("one")), ("one".into(), "one".into()));
    // Another word, another time; whoever stayed behind in the old house hears it too.
    asked(&tap, &["drain", "--within", "2"]);
    assert_eq!((before.line(), after.line()), ("goodbye".into(), "goodbye".into()));

    asked(&tap, &["resume"]);
    let mut third = Neighbour::start(&tap, CLIENT);
    assert_eq!(third.ask("well"), "well");
    asked(&tap, &["stop", "--within", "6"]);
    assert_eq!(third.line(), "goodbye");
    assert_eq!(tap.status().code(), Some(0));
}

/// A daemon that feeds what stands in `folder`. It ends with its value.
struct Daemon(Child);

impl Daemon {
    fn start(folder: &Path) -> Self {
        let mut daemon = Command::new(xentropyd());
        daemon.arg("--watch").arg(folder).args(["--user", "root"]);
        Self(daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine as the operator's page starts it, at that port of this host.
fn machine(board: Board, folder: &Path, port: u16) -> Running {
    let net = format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:443");
    let socket = |name: &str| format!("socket,id={name},path={}/{name},server=on,wait=off", folder.display());
    let (entropy, control) = (socket("shop.entropy"), socket("control"));
    let monitor = format!("unix:{}/qmp,server=on,wait=off", folder.display());
    Machine::on(board)
        .memory(128)
        .module(&folder.join("bundle"))
        .line("--address 10.0.2.15/24 --gateway 10.0.2.2 --log common")
        .with(&["-no-user-config", "-qmp", &monitor, "-netdev", &net])
        .with(&["-device", "virtio-net-pci,netdev=net,romfile=,disable-legacy=on"])
        .with(&["-device", "virtio-serial-pci,disable-legacy=on"])
        .with(&["-chardev", &entropy.replace("id=shop.entropy", "id=entropy")])
        .with(&["-device", "virtserialport,chardev=entropy,name=org.openmirage.entropy.2"])
        .with(&["-chardev", &control, "-device", "virtserialport,chardev=control,name=gatehouse.control"])
        .with(&["-device", "vmgenid,guid=auto"])
        .running(&appliance())
}

/// Presses the power button over QEMU's machine protocol.
fn press(monitor: &Path) {
    let mut monitor = BufReader::new(UnixStream::connect(monitor).unwrap());
    let mut line = String::new();
    monitor.read_line(&mut line).unwrap();
    for order in ["qmp_capabilities", "system_powerdown"] {
        writeln!(monitor.get_mut(), "{{\"execute\": \"{order}\"}}").unwrap();
        line.clear();
        while !line.contains("\"return\"") {
            assert!(monitor.read_line(&mut line).unwrap() > 0, "{line}");
        }
    }
}

#[test]
fn a_machine_on_its_own_answers_the_operator_and_hears_the_power_button() {
    for board in [Board::Q35, Board::Pc] {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let site = folder.path().join("site").to_string_lossy().into_owned();
        let _ = house::example(&folder.path().join("site"));
        let packed = folder.path().join("site/test.bundle");
        std::fs::rename(packed, folder.path().join("bundle")).unwrap();
        let _daemon = Daemon::start(folder.path());
        let mut machine = machine(board, folder.path(), port);
        let _ = machine.said("ready: ");
        let ask = |words: &[&str]| {
            let output =
                gatehouse(words).arg("--control").arg(folder.path().join("control")).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
            said
        };
        assert!(ask(&["status"]).contains(": serving"));
        std::fs::write(format!("{site}/site/word.html"), "<html>new</html>").unwrap();
        assert!(ask(&["reload", &site]).contains("reloaded: 1 sites"));
        assert!(curl(port, &["/word.html"]).unwrap().contains("new"));
        assert!(ask(&["drain"]).contains(": draining"));
        assert!(curl(port, &["/"]).is_err(), "somebody was let in");
        assert!(ask(&["resume"]).contains(": serving"));
        assert!(ask(&["metrics"]).contains("\ngatehouse_reloads_total 1\n"));
        assert!(ask(&["top", "--times", "1"]).contains(": serving"));
        let mut inside = Inside::at(port);
        assert!(inside.ask("/").contains("200 OK"));
        press(&folder.path().join("qmp"));
        assert!(inside.ended_well(), "no close_notify on {board:?}");
        assert_eq!(machine.left(), Some(0), "{board:?}: {}", machine.console());
        assert!(machine.console().contains("stopping: "), "{}", machine.console());
    }
}
