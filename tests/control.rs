//! What an operator asks of an appliance that runs, in both worlds, through the launcher.

use bench::running::{Running, World, gatehouse};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
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
