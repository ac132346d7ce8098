//! What an operator asks of an appliance that runs, in both worlds, through the launcher.

use bench::running::{Running, World, curl, free_port, gatehouse};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const BOTH: [World; 2] = [World::Process, World::Machine];

#[test]
fn it_says_how_it_is_in_words_and_in_numbers() {
    for world in BOTH {
        let running = Running::demo(world);
        let page = running.curl("/");
        assert!(page.contains("You are through the gate"), "{page}");
        let status = running.ask(&["status"]);
        assert!(status.contains(": serving, up 0:0") && status.contains("fed by the host"), "{status}");
        let metrics = running.ask(&["metrics"]);
        assert!(metrics.contains("\ngatehouse_connections_accepted_total 1\n"), "{metrics}");
        assert!(metrics.contains("\ngatehouse_handshakes_done_total 1\n"), "{metrics}");
    }
}

#[test]
fn when_it_is_drained_nobody_is_let_in_and_who_is_inside_finishes() {
    for world in BOTH {
        let running = Running::demo(world);
        let mut inside = running.openssl();
        assert!(inside.ask("/").contains("200 OK"));
        assert!(running.ask(&["drain"]).contains(": draining"));
        assert!(running.try_curl("/").is_err(), "somebody was let in");
        let last = inside.ask("/");
        assert!(last.contains("200 OK") && last.contains("connection: close"), "{last}");
        assert!(running.ask(&["resume"]).contains(": serving"));
        assert!(running.curl("/").contains("You are through the gate"));
    }
}

#[test]
fn stop_ends_it_well_and_whoever_is_inside_is_told_goodbye() {
    for world in BOTH {
        let mut running = Running::demo(world);
        let mut inside = running.openssl();
        assert!(inside.ask("/").contains("200 OK"));
        let started = Instant::now();
        running.ask(&["stop"]);
        assert!(inside.ended_well(), "no close_notify");
        assert!(started.elapsed() < Duration::from_secs(9), "it waited for somebody who asked for nothing");
        assert_eq!(running.code(), Some(0));
        let gone = gatehouse(&["status", "--control"]).arg(running.socket()).output().unwrap();
        assert!(!gone.status.success() && String::from_utf8_lossy(&gone.stderr).contains("does not answer"));
        assert!(!running.socket().exists());
    }
}

#[test]
fn ctrl_c_ends_both_worlds_as_gently() {
    for world in BOTH {
        let mut running = Running::demo(world);
        let mut inside = running.openssl();
        assert!(inside.ask("/").contains("200 OK"));
        running.signal("-INT");
        assert!(inside.ended_well(), "no close_notify");
        assert_eq!(running.code(), Some(0));
    }
}

#[test]
fn the_socket_is_the_users_alone() {
    let running = Running::demo(World::Process);
    let mode = std::fs::metadata(running.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Even where the file's mode would let somebody in, the kernel's word on who dials decides.
    std::fs::set_permissions(running.socket(), PermissionsExt::from_mode(0o666)).unwrap();
    std::fs::set_permissions(running.socket().parent().unwrap(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--clear-groups"]).arg(bench::gatehouse()).args(["status", "--control"]);
    let other = other.arg(running.socket()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(!other.status.success() && said.contains("does not know you"), "{said}");
    assert!(running.ask(&["status"]).contains(": serving"));
}

#[test]
fn who_asks_for_what_is_not_there_is_told_what_is() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |words: &[&str]| {
        let output = gatehouse(words).env("GATEHOUSE_RUN_DIR", folder.path()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(ask(&["status"]).contains("`gatehouse run` starts one"));
    let one = Running::named("one", folder.path());
    assert!(ask(&["status", "two"]).contains("no appliance named two is running; these are: one"));
    let _two = Running::named("two", folder.path());
    assert!(ask(&["stop"]).contains("several appliances are running: name one of one, two"));
    let elf = bench::appliance().to_string_lossy().into_owned();
    assert!(
        ask(&["run", "--name", "one", "--appliance", &elf])
            .contains("an appliance named one is running already")
    );
    assert!(one.ask(&["status"]).contains(": serving"));
}

/// A site in `folder` whose page says `word`, with some other files, as `gatehouse init` makes it.
fn site(folder: &Path, word: &str) -> PathBuf {
    let site = folder.join("site");
    if !site.exists() {
        let made = gatehouse(&["init"]).arg(&site).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    std::fs::write(site.join("site/word.html"), format!("<html>{word}</html>")).unwrap();
    site
}

/// What is said to a question that is refused.
fn refusal(running: &Running, words: &[&str]) -> String {
    let output = running.try_ask(words);
    assert!(!output.status.success(), "{words:?} was not refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_reload_is_all_or_nothing_and_nobody_is_cut_off() {
    for world in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = site(folder.path(), "one").to_string_lossy().into_owned();
        let running = Running::start(world, &[&path]);
        assert!(running.curl("/word.html").contains("one"));
        let mut inside = running.openssl();
        assert!(inside.ask("/word.html").contains("one"));
        site(folder.path(), "two");
        let said = running.ask(&["reload", &path]);
        assert!(said.contains("reloaded: "), "{said}");
        assert!(running.curl("/word.html").contains("two"));
        let last = inside.ask("/word.html");
        assert!(last.contains("200 OK") && last.contains("connection: close"), "{last}");

        let toml = std::fs::read_to_string(format!("{path}/gatehouse.toml")).unwrap();
        std::fs::write(format!("{path}/gatehouse.toml"), toml.replace("[[site]]", "[[sight]]")).unwrap();
        site(folder.path(), "three");
        assert!(refusal(&running, &["reload", &path]).contains("nothing was packed"));
        assert!(refusal(&running, &["reload", "/dev/null"]).contains("/dev/null"));
        assert!(running.curl("/word.html").contains("two"), "half of it was taken");
        let metrics = running.ask(&["metrics"]);
        assert!(metrics.contains("\ngatehouse_reloads_total 1\n"), "{metrics}");
    }
}

#[test]
fn new_certificates_come_without_the_pages_that_lie_beside_them() {
    for world in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = site(folder.path(), "one").to_string_lossy().into_owned();
        let running = Running::start(world, &[&path]);
        let serial = || {
            let line = format!(
                "openssl s_client -connect 127.0.0.1:{} -servername localhost </dev/null 2>/dev/null \
                 | openssl x509 -noout -serial",
                running.port()
            );
            Command::new("sh").args(["-c", &line]).output().unwrap().stdout
        };
        let before = serial();
        assert!(before.starts_with(b"serial="), "{before:?}");
        let other = tempfile::tempdir().unwrap();
        let papers = site(other.path(), "not yet").to_string_lossy().into_owned();
        running.ask(&["reload", "--certificates", &papers]);
        assert_ne!(serial(), before);
        assert!(running.curl("/word.html").contains("one"));
    }
}

/// Sets a flag when it goes, also in a panic: threads of a scope are waited for.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn reloads_under_load_lose_no_request() {
    // Emulation is slow.
    for (world, clients, reloads) in [(World::Process, 3, 10), (World::Machine, 1, 4)] {
        let folder = tempfile::tempdir().unwrap();
        let path = site(folder.path(), "0").to_string_lossy().into_owned();
        let running = Running::start(world, &[&path]);
        let (stop, port) = (AtomicBool::new(false), running.port());
        let asked = AtomicUsize::new(0);
        // Five on one connection, as browsers do; whatever fails makes curl fail.
        let pages = ["/word.html", "/style.css", "/", "/gate.svg", "/word.html"];
        std::thread::scope(|scope| {
            let stopping = Until(&stop);
            let client = || {
                while !stop.load(SeqCst) {
                    curl(port, &pages).unwrap();
                    asked.fetch_add(pages.len(), SeqCst);
                }
            };
            let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
            for word in 1..=reloads {
                site(folder.path(), &word.to_string());
                running.ask(&["reload", &path]);
                assert!(running.curl("/word.html").contains(&format!(">{word}<")));
            }
            drop(stopping);
            clients.into_iter().for_each(|client| client.join().unwrap());
        });
        assert!(asked.load(SeqCst) >= pages.len(), "there was no load");
    }
}

#[test]
fn what_falls_is_started_again_and_counted() {
    let running = Running::start(World::Process, &["--supervise"]);
    let fallen = running.appliance();
    assert!(Command::new("kill").args(["-SEGV", &fallen]).status().unwrap().success());
    running.until("https://127.0.0.1");
    assert_ne!(running.appliance(), fallen);
    let status = running.ask(&["status"]);
    assert!(status.contains("started again 1 times"), "{status}");
    assert!(running.ask(&["metrics"]).contains("\ngatehouse_restarts_total 1\n"));
    let mut running = running;
    running.signal("-TERM");
    assert_eq!(running.code(), Some(0));
}

#[test]
fn a_scraper_gets_the_metrics_and_nothing_else() {
    let running = Running::demo(World::Process);
    let mut served = gatehouse(&["metrics", "--listen", "127.0.0.1:0", "--control"]);
    let mut served = served.arg(running.socket()).stdout(Stdio::piped()).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(served.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let fetch = |path: &str| {
        let url = address.trim().replace("/metrics", path);
        let curl = Command::new("curl").args(["-sS", "-m", "30", "-w", " %{http_code}", &url]).output();
        String::from_utf8_lossy(&curl.unwrap().stdout).into_owned()
    };
    let metrics = fetch("/metrics");
    assert!(metrics.contains("\ngatehouse_serving 1\n") && metrics.ends_with(" 200"), "{metrics}");
    well_formed(metrics.trim_end_matches(" 200"));
    assert!(fetch("/etc/passwd").ends_with(" 404"));
    drop(running);
    assert!(fetch("/metrics").ends_with(" 503"));
    served.kill().unwrap();
    served.wait().unwrap();
}

/// The rules of Prometheus' text format: each family is described once, before its samples, which stand together,
/// and no sample is told twice.
fn well_formed(metrics: &str) {
    let (mut described, mut samples, mut family) = (BTreeSet::new(), BTreeSet::new(), String::new());
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(described.insert(family.clone()), "{family} is described twice");
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(samples.insert(name), "{name} is told twice");
            assert!(name.starts_with(&family) && value.parse::<f64>().is_ok(), "{line} is not of {family}");
        }
    }
    assert!(described.len() > 20, "{metrics}");
}

#[test]
fn the_manual_and_the_completions_know_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    assert!(gatehouse(&["man"]).arg(folder.path()).status().unwrap().success());
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(page("gatehouse-reload.1").contains("nobody is cut off"));
    let bash = gatehouse(&["completions", "bash"]).output().unwrap();
    let bash = String::from_utf8_lossy(&bash.stdout).into_owned();
    for verb in ["init", "check", "pack", "run", "status", "metrics", "drain", "resume", "reload", "stop"] {
        assert!(page("gatehouse.1").contains(verb) && bash.contains(verb), "{verb}");
    }
}

#[test]
fn the_log_tells_who_asked_for_what_and_keeps_secrets_to_itself() {
    for world in BOTH {
        let folder = tempfile::tempdir().unwrap();
        let path = site(folder.path(), "one").to_string_lossy().into_owned();
        let mut running = Running::start(world, &["--log", "common", &path]);
        let mut log = gatehouse(&["log", "-f", "--json", "--control"]);
        let mut log = log.arg(running.socket()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(log.stdout.take().unwrap()).lines();
        // Whoever follows hears of what comes later, and nobody knows when that begins.
        let (mut line, stop) = (String::new(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let stopping = Until(&stop);
            let (port, stop) = (running.port(), &stop);
            scope.spawn(move || {
                while !stop.load(SeqCst) {
                    curl(port, &["/word.html?token=geheim"]).unwrap();
                }
            });
            line = lines.next().unwrap().unwrap();
            drop(stopping);
        });
        let told: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(
            (told["status"].as_u64(), told["path"].as_str()),
            (Some(200), Some("/word.html?-")),
            "{line}"
        );
        let shown = running.until("\"GET /word.html?- HTTP/1.1\" 200 ");
        assert!(is_common(&shown), "{shown}");
        assert!(!shown.contains("geheim") && !line.contains("geheim"), "{shown}");
        running.ask(&["stop"]);
        assert_eq!(running.code(), Some(0));
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        assert!(rest.iter().any(|line| line.contains("\"event\":\"stopping: ")), "{rest:?}");
        assert!(log.wait().unwrap().success());
    }
}

/// Whether a line is one of the common log format: `10.0.2.2 - - [10/Oct/2000:13:55:36 +0000] "…" 200 2326`.
fn is_common(line: &str) -> bool {
    let Some(((front, date), rest)) =
        line.split_once("] \"").and_then(|(front, rest)| Some((front.split_once(" - - [")?, rest)))
    else {
        return false;
    };
    let Some((_, numbers)) = rest.rsplit_once("\" ") else { return false };
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let shape = shape.get(..3).zip(shape.get(6..));
    let number = |word: &str| word == "-" || word.parse::<u64>().is_ok();
    front.parse::<std::net::IpAddr>().is_ok()
        && shape == Some(("00/", "/0000:00:00:00 +0000"))
        && numbers.split_once(' ').is_some_and(|(status, bytes)| number(status) && number(bytes))
}

#[test]
fn whoever_reads_no_further_has_seen_enough() {
    let running = Running::demo(World::Process);
    let mut top = gatehouse(&["top", "--every", "1", "--control"]);
    let mut top = top.arg(running.socket()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    BufReader::new(top.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let end = top.wait_with_output().unwrap();
    assert!(end.status.success() && end.stderr.is_empty(), "{end:?}");
}

#[test]
fn answers_and_handshakes_are_counted_by_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = site(folder.path(), "one").to_string_lossy().into_owned();
    let running = Running::start(World::Process, &[&path]);
    running.curl("/word.html");
    assert!(running.try_curl("/nowhere").is_err());
    let mut old = Command::new("openssl");
    old.args([
        "s_client",
        "-connect",
        &format!("127.0.0.1:{}", running.port()),
        "-servername",
        "nobody.example",
    ]);
    assert!(old.stdin(Stdio::null()).output().unwrap().status.code() != Some(0));
    let metrics = running.ask(&["metrics"]);
    for wanted in [
        "gatehouse_requests_total{site=\"localhost\",status=\"200\"} 1\n",
        "gatehouse_requests_total{site=\"localhost\",status=\"404\"} 1\n",
        "gatehouse_answer_seconds_count 2\n",
        "gatehouse_handshakes_total{version=\"TLSv1.3\",suite=\"",
        "gatehouse_handshakes_refused_total{kind=\"UnknownName\"} 1\n",
    ] {
        assert!(metrics.contains(wanted), "{wanted}: {metrics}");
    }
    well_formed(&metrics);
    let top = running.ask(&["top", "--times", "2"]);
    assert!(top.contains(": serving") && top.contains("  requests/s"), "{top}");
}

#[test]
fn a_short_soak_loses_nothing_and_grows_nothing() {
    let _ = bench::appliance();
    let soak = Command::new(bench::top().join("tests/soak")).arg("10").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&soak.stdout).into_owned() + &String::from_utf8_lossy(&soak.stderr);
    assert!(soak.status.success() && said.contains(" 0 failed; 0 left inside"), "{said}");
}

/// HAProxy in TCP mode before two ports of this host. It ends with its value.
struct Balancer {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Balancer {
    fn before(ports: [u16; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = format!(
            "global\n stats socket {}/admin level admin\ndefaults\n mode tcp\n timeout connect 10s\n timeout client 60s\n \
             timeout server 60s\nlisten front\n bind 127.0.0.1:{port}\n balance roundrobin\n \
             server one 127.0.0.1:{}\n server two 127.0.0.1:{}\n",
            folder.path().display(),
            ports[0],
            ports[1]
        );
        std::fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
        let mut haproxy = Command::new("haproxy");
        haproxy.arg("-f").arg(folder.path().join("haproxy.cfg")).stdin(Stdio::null());
        let child = haproxy.spawn().expect("haproxy is installed (tests/run does it)");
        let balancer = Self { child, folder, port };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "haproxy does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        balancer
    }

    fn tell(&self, order: &str) {
        let mut admin = UnixStream::connect(self.folder.path().join("admin")).unwrap();
        writeln!(admin, "{order}").unwrap();
        let mut said = String::new();
        admin.read_to_string(&mut said).unwrap();
        assert!(said.trim().is_empty(), "{order}: {said}");
    }

    /// Asks for a page with a session in `file`, if there is one, and keeps the new one there. True if it was taken up.
    fn resumed(&self, file: &Path) -> bool {
        let taken = if file.exists() { format!("-sess_in {}", file.display()) } else { String::new() };
        let line = format!(
            "printf 'GET /word.html HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' | timeout 30 \
             openssl s_client -connect 127.0.0.1:{} -servername localhost -ign_eof {taken} -sess_out {} 2>/dev/null",
            self.port,
            file.display()
        );
        let said = Command::new("sh").args(["-c", &line]).output().unwrap().stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("200 OK"), "{said}");
        said.contains("Reused, TLSv1.3")
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn behind_a_balancer_sessions_go_on_at_the_other_appliance_and_one_is_replaced_without_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = site(folder.path(), "one").to_string_lossy().into_owned();
    std::fs::write(format!("{path}/tickets"), [7; 48]).unwrap();
    std::fs::set_permissions(format!("{path}/tickets"), PermissionsExt::from_mode(0o600)).unwrap();
    let toml = std::fs::read_to_string(format!("{path}/gatehouse.toml")).unwrap();
    std::fs::write(format!("{path}/gatehouse.toml"), format!("ticket-secret = \"tickets\"\n{toml}")).unwrap();
    let one = Running::start(World::Process, &[&path]);
    let two = Running::start(World::Process, &[&path]);
    let ports = [one.port(), two.port()];
    let balancer = Balancer::before(ports);
    let session = folder.path().join("session");
    balancer.resumed(&session);
    for turn in 0..4 {
        assert!(balancer.resumed(&session), "the other appliance did not take it up, turn {turn}");
    }
    let counts = [&one, &two].map(|appliance| appliance.ask(&["metrics"]));
    assert!(counts.iter().all(|count| !count.contains("handshakes_done_total 0\n")), "one had no share");

    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let stopping = Until(&stop);
        let client = scope.spawn(|| {
            while !stop.load(SeqCst) {
                curl(balancer.port, &["/word.html", "/", "/style.css"]).unwrap();
                asked.fetch_add(1, SeqCst);
            }
        });
        balancer.tell("set server front/one state drain");
        one.ask(&["drain"]);
        one.ask(&["stop"]);
        drop(one);
        let publish = format!("{}:443", ports[0]);
        let new = Running::start(World::Process, &["--publish", &publish, &path]);
        balancer.tell("set server front/one state ready");
        let enough = asked.load(SeqCst) + 10;
        while asked.load(SeqCst) < enough && !client.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(stopping);
        client.join().unwrap();
        for turn in 0..2 {
            assert!(balancer.resumed(&session), "the new appliance did not take it up, turn {turn}");
        }
        assert!(!new.ask(&["metrics"]).contains("handshakes_done_total 0\n"), "the new one had no share");
    });
}
