//! The entropy daemon as it ships, with real guests on real sockets.

mod host;

use entropy::protocol::{BANNER_1, HELLO_1, HostBroke};
use host::{Guest2, Host, read_until, say};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

fn greeted(mut stream: UnixStream) -> UnixStream {
    stream.write_all(HELLO_1).unwrap();
    assert_eq!(say(&mut stream, b"", BANNER_1.len()), BANNER_1);
    stream
}

#[test]
fn a_guest_of_version_1_is_fed_without_end() {
    let host = Host::start(&["--listen", "DIR", "--rate", "100000"]);
    let bytes = say(&mut greeted(host.connect("entropy.sock")), b"what is said now is discarded", 50_000);
    let mut counts = [0; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    assert!(counts.iter().all(|count| (100..300).contains(count)), "{counts:?}");
}

#[test]
fn a_guest_of_version_2_gets_what_it_asks_for() {
    let host = Host::start(&["--listen", "DIR", "--guest", "web"]);
    let mut guest = Guest2::on(host.connect("web.sock"));
    guest.hear_until(|told| told.entropy.len() == 2048);
    assert!(guest.told.generation.is_some() && guest.told.rate == Some(1024));
}

#[test]
fn two_guests_never_hear_the_same_bytes() {
    let host = Host::start(&["--listen", "DIR"]);
    let hear = || say(&mut greeted(host.connect("entropy.sock")), b"", 4096);
    let (one, other) = (hear(), hear());
    let windows: std::collections::HashSet<_> = one.windows(8).collect();
    assert!(!other.windows(8).any(|window| windows.contains(window)));
}

#[test]
fn sockets_belong_to_their_owner_and_strangers_are_refused() {
    let host = Host::start(&["--listen", "DIR", "--guest", "web", "--egd", "DIR/egd"]);
    for name in ["entropy.sock", "web.sock", "egd"] {
        let facts = std::fs::metadata(host.path(name)).unwrap();
        assert!(facts.file_type().is_socket());
        assert_eq!(facts.permissions().mode() & 0o777, 0o600, "{name}");
        std::fs::set_permissions(host.path(name), PermissionsExt::from_mode(0o666)).unwrap();
        let address = format!("UNIX-CONNECT:{}", host.path(name).display());
        let mut stranger = Command::new("setpriv");
        stranger.args(["--reuid=54321", "--clear-groups", "socat", "-t1", "-", &address]);
        let mut stranger = stranger.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let hello = if name == "egd" { &[2, 100][..] } else { HELLO_1 };
        let _ = stranger.stdin.as_mut().unwrap().write_all(hello);
        assert_eq!(stranger.wait_with_output().unwrap().stdout, b"", "{name}");
    }
    assert!(host.metric("xentropyd_refused_total{reason=\"user\"}") == 3);
}

#[test]
fn the_daemon_is_locked_in() {
    let host = Host::start(&["--listen", "DIR"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(line("Uid:"), "65534\t65534\t65534\t65534");
    assert_eq!(line("Groups:"), "");
    for (name, value) in [("CapEff:", "0"), ("CapPrm:", "0"), ("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
        assert_eq!(line(name).trim_start_matches('0'), value.trim_start_matches('0'), "{name}");
    }
    assert_eq!(line("Threads:"), "1");
}

#[test]
fn whoever_speaks_nonsense_is_sent_away_and_the_others_are_fed() {
    let host = Host::start(&["--listen", "DIR", "--egd", "DIR/egd"]);
    for (name, nonsense) in
        [("entropy.sock", &b"GET / HTTP/1.1\r\n\r\n"[..]), ("egd", b"\x07"), ("entropy.sock", b"\xe2\x82")]
    {
        let mut stream = host.connect(name);
        stream.write_all(nonsense).unwrap();
        assert_eq!(read_until(&mut stream, 1), b"", "the channel is closed");
    }
    assert_eq!(host.metric("xentropyd_faults_total"), 3);
    assert!(host.log().contains("event=gone") && host.log().contains("not a guest that asks for entropy"));
    say(&mut greeted(host.connect("entropy.sock")), b"", 1000);
}

#[test]
fn a_guest_that_does_not_read_does_not_stall_the_others() {
    let host = Host::start(&["--listen", "DIR", "--rate", "1000000", "--burst", "1000000"]);
    let deaf: Vec<UnixStream> = (0..20).map(|_| greeted(host.connect("entropy.sock"))).collect();
    say(&mut greeted(host.connect("entropy.sock")), b"", 3_000_000);
    let fed = host.metric("xentropyd_bytes_total");
    assert!(
        fed < 3_000_000 + 1_200_000 + 20 * 400_000,
        "the deaf were given no more than their sockets hold: {fed}"
    );
    drop(deaf);
}

/// Counted between two moments at which the daemon stood still, so that it does not matter how busy this
/// machine is.
#[test]
fn two_hundred_guests_are_fed_alike() {
    let host = Host::start(&["--listen", "DIR", "--rate", "8192", "--burst", "8192"]);
    let mut guests: Vec<UnixStream> = (0..200).map(|_| greeted(host.connect("entropy.sock"))).collect();
    let mut hear = || {
        guests.iter_mut().for_each(|guest| drop(say(guest, b"", 20_000)));
        host.signal("STOP");
        let heard: Vec<usize> = guests.iter_mut().map(|guest| 20_000 + waiting(guest)).collect();
        host.signal("CONT");
        heard
    };
    hear();
    let heard = hear();
    let (least, most) = (heard.iter().min().unwrap(), heard.iter().max().unwrap());
    assert!(most - least <= 4 * 1024, "between {least} and {most} bytes in the same time");
}

#[test]
fn a_thousand_guests_cost_less_than_16_megabytes() {
    const GUESTS: usize = 1000;
    if std::env::var_os("CROWD").is_none() {
        // So many sockets are more than a shell commonly grants.
        let myself = std::env::current_exe().unwrap();
        let line = "ulimit -n 3000 && exec \"$0\" --exact a_thousand_guests_cost_less_than_16_megabytes";
        let done = Command::new("sh").args(["-c", line]).arg(myself).env("CROWD", "1").output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        return assert!(done.status.success() && said.contains("1 passed"), "{said}");
    }
    let host = Host::start(&["--listen", "DIR", "--max-guests", "1000"]);
    let mut guests: Vec<UnixStream> = (0..GUESTS).map(|_| greeted(host.connect("entropy.sock"))).collect();
    guests.iter_mut().for_each(|guest| drop(say(guest, b"", 4096)));
    assert_eq!(host.metric("xentropyd_guests{protocol=\"v1\"}"), GUESTS as u64);
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(most < 16 * 1024, "{most} kB");
}

/// Bytes that can be read at once.
fn waiting(stream: &mut UnixStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    stream.set_nonblocking(false).unwrap();
    bytes.len()
}

#[test]
fn coming_back_does_not_fill_the_bucket() {
    let host = Host::start(&["--listen", "DIR", "--guest", "web", "--rate", "1", "--burst", "4096"]);
    say(&mut greeted(host.connect("web.sock")), b"", 4096);
    let mut again = greeted(host.connect("web.sock"));
    assert!(waiting(&mut again) < 100, "the burst was given once already");
}

#[test]
fn a_machine_that_is_started_again_does_not_wait_for_what_it_used_up_before() {
    let host = Host::start(&["--listen", "DIR", "--guest", "web", "--rate", "1", "--burst", "4096"]);
    say(&mut greeted(host.connect("web.sock")), b"", 4096);
    let address = format!("UNIX-CONNECT:{}", host.path("web.sock").display());
    let mut other = Command::new("socat");
    let mut other =
        other.args(["-T20", "-", &address]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    other.stdin.as_mut().unwrap().write_all(HELLO_1).unwrap();
    let mut heard = [0; BANNER_1.len() + 4096];
    other.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn guests_that_come_and_go_in_a_watched_folder_are_fed_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let watched = folder.path().to_str().unwrap();
    let host = Host::start(&["--watch", watched, "--user", "root", "--metrics", "DIR/metrics"]);
    for name in ["vm1.entropy", "vm2.org.openmirage.entropy.2", "vm3.egd"] {
        let path = folder.path().join(name);
        for _ in 0..2 {
            let machine = UnixListener::bind(&path).unwrap();
            let stream = host::accept(&machine);
            match name {
                "vm1.entropy" => drop(say(&mut greeted(stream), b"", 1024)),
                "vm3.egd" => drop(say(&mut { stream }, &[2, 200], 200)),
                _ => Guest2::on(stream).hear_until(|told| told.entropy.len() == 2048),
            }
            drop(machine);
            std::fs::remove_file(&path).unwrap();
        }
    }
    host.wait_for(|host| host.metric("xentropyd_guests{protocol=\"v1\"}") == 0);
    host.wait_for(|host| host.metric("xentropyd_guests{protocol=\"v2\"}") == 0);
    assert_eq!(host.metric("xentropyd_connections_total{door=\"watch\"}"), 6);
}

#[test]
fn sockets_of_other_names_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let monitor = UnixListener::bind(folder.path().join("vm1.qmp")).unwrap();
    let machine = UnixListener::bind(folder.path().join("vm1.entropy")).unwrap();
    let _host = Host::start(&["--watch", folder.path().to_str().unwrap(), "--user", "root"]);
    drop(host::accept(&machine));
    monitor.set_nonblocking(true).unwrap();
    assert!(monitor.accept().is_err());
}

#[test]
fn a_guest_survives_the_daemon_and_keeps_its_generation() {
    let folder = tempfile::tempdir().unwrap();
    let machine = UnixListener::bind(folder.path().join("vm1.entropy")).unwrap();
    let generations = [(); 2].map(|()| {
        let host = Host::start(&["--watch", folder.path().to_str().unwrap(), "--user", "root"]);
        let mut guest = Guest2::on(host::accept(&machine));
        guest.hear_until(|told| told.entropy.len() == 2048);
        drop(host);
        assert!(guest.is_closed());
        guest.told.generation.unwrap()
    });
    assert_eq!(generations[0], generations[1], "a restart of the daemon is no fork of the machine");
}

#[test]
fn a_machine_that_runs_in_another_process_is_of_another_generation() {
    let host = Host::start(&["--listen", "DIR", "--guest", "vm1"]);
    let mut guest = Guest2::on(host.connect("vm1.sock"));
    guest.hear_until(|told| told.generation.is_some());
    // The same hello from another process: what a restored machine would say.
    let address = format!("UNIX-CONNECT:{}", host.path("vm1.sock").display());
    let mut other = Command::new("socat");
    let mut other =
        other.args(["-t1", "-", &address]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    other.stdin.as_mut().unwrap().write_all(&Guest2::hello()).unwrap();
    let mut heard = [0; 32];
    other.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    let welcome: [u8; 16] = heard[12..28].try_into().unwrap();
    assert_ne!(guest.told.generation, Some(u128::from_be_bytes(welcome)));
    assert!(guest.is_closed(), "the newest connection of a named guest is the one that lives");
}

#[test]
fn on_sigusr1_every_guest_hears_that_it_may_be_a_copy() {
    let host = Host::start(&["--listen", "DIR"]);
    let mut guest = Guest2::on(host.connect("entropy.sock"));
    guest.hear_until(|told| told.entropy.len() == 2048);
    let before = guest.told.generation;
    host.signal("USR1");
    guest.hear_until(|told| told.generation != before);
}

#[test]
fn a_zero_source_feeds_nobody_and_ends_with_status_3() {
    let mut host = Host::begin(&["--listen", "DIR", "--hardware", "/dev/zero"]);
    assert_eq!(host.status(), 3);
    assert!(
        host.log().contains("event=source-failed why=\"/dev/zero: the source is stuck"),
        "{}",
        host.log()
    );
    assert!(!host.log().contains("event=feeding"));
}

#[test]
fn a_source_that_gets_stuck_starves_its_guests_and_says_so() {
    for (stuck, said) in [(vec![7; 4096], "is stuck"), (host::random(64).repeat(64), "repeats itself")] {
        let fifo = host::Fifo::new();
        let mut host =
            Host::begin(&["--listen", "DIR", "--hardware", fifo.path(), "--rate", "64", "--burst", "64"]);
        fifo.write(&host::random(2048));
        host.wait_for(|host| host.log().contains("event=feeding"));
        let mut guest = Guest2::on(host.connect("entropy.sock"));
        guest.hear_until(|told| told.entropy.len() == 64);
        fifo.write(&stuck);
        guest.hear_until(|told| told.starved);
        assert_eq!(host.status(), 3);
        assert!(host.log().contains(said), "{}", host.log());
        assert!(guest.is_closed());
    }
}

#[test]
fn a_daemon_that_is_to_stay_serves_its_metrics_and_nobody_else() {
    let fifo = host::Fifo::new();
    let host = Host::begin(&[
        "--listen",
        "DIR",
        "--hardware",
        fifo.path(),
        "--on-failure",
        "stay",
        "--metrics",
        "DIR/metrics",
    ]);
    fifo.write(&host::random(2048));
    host.wait_for(|host| host.log().contains("event=feeding"));
    assert_eq!(host.metric("xentropyd_up"), 1);
    fifo.write(&[0; 4096]);
    host.wait_for(|host| host.metric("xentropyd_up") == 0);
    let failed = format!("xentropyd_source_failed{{source=\"{}\",test=\"repetition\"}}", fifo.path());
    assert_eq!(host.metric(&failed), 1);
    let mut guest = Guest2::on(host.connect("entropy.sock"));
    guest.hear_until(|told| told.starved);
    assert_eq!(guest.told.entropy.len(), 0);
}

#[test]
fn egd_is_spoken_to_the_letter() {
    let host = Host::start(&["--egd", "DIR/egd"]);
    let mut client = host.connect("egd");
    assert_eq!(say(&mut client, &[0], 4), 4096_u32.to_be_bytes());
    assert_eq!(say(&mut client, &[1, 32], 33)[0], 32);
    assert_eq!(say(&mut client, &[2, 255], 255).len(), 255);
    assert_eq!(say(&mut client, &[3, 0, 8, 1, 0xaa, 4], 1), [0]);
}

#[test]
fn a_qemu_that_lost_its_request_with_the_connection_is_woken() {
    let host = Host::start(&["--egd", "DIR/egd"]);
    let qemu = host.path("qemu-in-name-only");
    std::fs::copy("/usr/bin/socat", &qemu).unwrap();
    let address = format!("UNIX-CONNECT:{}", host.path("egd").display());
    let mut client = Command::new(&qemu).args(["-u", &address, "-"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut bytes = [0; 512];
    client.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
}

/// QEMU's own `rng-egd` is an EGD client that we did not write. It loses its request when the connection
/// breaks.
#[test]
fn a_linux_guest_is_fed_by_qemus_rng_egd_and_over_vsock_and_again_after_the_daemon_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("egd");
    let daemon = || Host::start(&["--egd", socket.to_str().unwrap(), "--user", "root"]);
    let first = daemon();
    let guest = host::Linux::boot(&socket);
    guest.wait_for(|console| console.contains("source: virtio_rng"));
    // Within the guest runs a daemon too, for this is a place where vsock has a loopback.
    let fed = "vsock: You may treat everything following this message as entropy. 1";
    assert!(guest.console().contains(fed), "{}", guest.console());
    assert!(guest.console().contains("event=connected guest=vsock-1 door=vsock"));
    guest.wait_for(|console| heard(console).len() >= 2);
    drop(first);
    let before = heard(&guest.console()).len();
    let _second = daemon();
    guest.wait_for(|console| heard(console).len() >= before + 3);
    let heard = heard(&guest.console());
    let different: std::collections::HashSet<_> = heard.iter().collect();
    assert_eq!(different.len(), heard.len(), "the guest heard the same bytes twice");
}

/// The digests of each 256 bytes that the guest read.
fn heard(console: &str) -> Vec<String> {
    console.lines().filter_map(|line| line.trim().strip_prefix("heard: 256 ")).map(str::to_owned).collect()
}

#[test]
fn a_typo_ends_with_status_2_and_a_hint_and_does_not_end_a_running_daemon() {
    let host = Host::start_with("listen = 'DIR'\nrate = 2048\n", &["--metrics", "DIR/metrics"]);
    let config = host.path("xentropyd.toml");
    std::fs::write(&config, "listen = 'x'\nrte = 5\n").unwrap();
    let checked =
        Command::new(bench::xentropyd()).arg("--check").arg("--config").arg(&config).output().unwrap();
    assert_eq!(checked.status.code(), Some(2));
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(
        said.contains("xentropyd.toml:2: unknown field `rte`") && said.contains("did you mean `rate`?"),
        "{said}"
    );
    host.signal("HUP");
    host.wait_for(|host| host.log().contains("event=settings-kept"));
    say(&mut greeted(host.connect("entropy.sock")), b"", 2048);
}

#[test]
fn a_new_rate_and_a_new_guest_come_with_sighup() {
    let host = Host::start_with("listen = 'DIR'\n", &["--user", "root"]);
    let rate = |host: &Host, name: &str| {
        let mut guest = Guest2::on(host.connect(name));
        guest.hear_until(|told| told.rate.is_some());
        guest.told.rate.unwrap()
    };
    assert_eq!(rate(&host, "entropy.sock"), 1024);
    let text = format!("listen = '{}'\nrate = 2048\nguest = ['late']\n", host.path("").display());
    std::fs::write(host.path("xentropyd.toml"), text).unwrap();
    host.signal("HUP");
    host.wait_for(|host| host.log().contains("event=reloaded"));
    assert_eq!(rate(&host, "late.sock"), 2048);
    std::fs::write(host.path("xentropyd.toml"), format!("listen = '{}'\n", host.path("").display())).unwrap();
    host.signal("HUP");
    host.wait_for(|host| !host.path("late.sock").exists());
}

#[test]
fn the_last_guest_that_fits_is_served_and_the_next_is_not() {
    let host = Host::start(&["--listen", "DIR", "--max-guests", "3"]);
    let _three: Vec<UnixStream> = (0..3).map(|_| greeted(host.connect("entropy.sock"))).collect();
    let mut fourth = host.connect("entropy.sock");
    let _ = fourth.write_all(HELLO_1);
    assert_eq!(read_until(&mut fourth, 1), b"");
    assert_eq!(host.metric("xentropyd_refused_total{reason=\"full\"}"), 1);
}

#[test]
fn metrics_are_served_on_loopback_too_and_nothing_else_is() {
    let host = Host::start(&["--listen", "DIR", "--metrics", "127.0.0.1:39417"]);
    let ask = |path: &str| {
        let mut stream = std::net::TcpStream::connect("127.0.0.1:39417").unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(ask("/metrics").contains("\nxentropyd_up 1\n"));
    assert!(ask("/../etc/passwd").starts_with("HTTP/1.1 404"));
    drop(host);
}

#[test]
fn a_clean_stop_removes_the_sockets() {
    let mut host = Host::start(&["--listen", "DIR", "--user", "root", "--egd", "DIR/egd"]);
    host.signal("TERM");
    assert_eq!(host.status(), 0);
    assert!(!host.path("entropy.sock").exists() && !host.path("egd").exists());
}

#[test]
fn a_second_daemon_does_not_take_the_sockets_of_the_first() {
    let host = Host::start(&["--listen", "DIR"]);
    let folder = host.path("");
    let second = Command::new(bench::xentropyd()).arg("--listen").arg(&folder).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("is another xentropyd running?"));
    say(&mut greeted(host.connect("entropy.sock")), b"", 100);
}

#[test]
fn a_socket_that_systemd_holds_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let (any, egd) = (folder.path().join("any"), folder.path().join("egd"));
    let mut systemd = Command::new("systemd-socket-activate");
    systemd.arg("-l").arg(&any).arg("-l").arg(&egd).arg("--fdname=entropy:egd").arg(bench::xentropyd());
    let mut systemd = systemd.stderr(Stdio::null()).spawn().unwrap();
    let mut guest = Guest2::on(host::connect(&any));
    guest.hear_until(|told| told.entropy.len() == 2048);
    assert_eq!(say(&mut host::connect(&egd), &[2, 100], 100).len(), 100);
    systemd.kill().unwrap();
    systemd.wait().unwrap();
}

#[test]
fn systemd_hears_when_the_daemon_feeds_reloads_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let mut host = Host::begin_with(&["--listen", "DIR"], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let hear = || {
        let mut bytes = [0; 512];
        let length = systemd.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert!(hear().starts_with("READY=1"));
    host.signal("HUP");
    assert!(hear().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(hear().starts_with("READY=1"));
    host.signal("TERM");
    assert!(hear().starts_with("STOPPING=1"));
    assert_eq!(host.status(), 0);
}

#[test]
fn a_guest_that_is_served_by_something_else_says_so() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"Debian GNU/Linux 12 web hvc0\n\nweb login: ").unwrap();
    theirs.write_all(&[b'.'; 70_000]).unwrap();
    let mut guest = Guest2::on(ours);
    assert_eq!(guest.hear_until_broken(), HostBroke::Babble);
}
