//! Hardening of the Linux process is a claim that a test must try to break: each forbidden thing with memory dies of
//! SIGSEGV, and its twin, which does the allowed thing next to it, lives.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

const SIGSEGV: i32 = 11;

const FORBIDDEN: [&str; 10] = [
    "read-null",
    "write-text",
    "write-rodata",
    "write-relro",
    "execute-heap",
    "execute-data",
    "execute-stack",
    "execute-rodata",
    "execute-locals",
    "overflow-stack",
];

#[test]
fn every_forbidden_thing_dies_and_every_twin_lives() {
    let built = bench::cargo(&["build", "--package=appliance", "--features=links", "--example=dies"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    for name in FORBIDDEN {
        let (dead, twin) = (run(name, "dies"), run(name, "lives"));
        assert_eq!(dead.status.signal(), Some(SIGSEGV), "{name} lives: {dead:?}");
        assert!(dead.stdout.is_empty(), "{name} went on");
        assert_eq!(
            (twin.status.code(), twin.stdout.as_slice()),
            (Some(0), &b"lived\n"[..]),
            "{name}: {twin:?}"
        );
    }
}

fn run(name: &str, how: &str) -> Output {
    Command::new(bench::built("debug/examples/dies")).args([name, how]).output().unwrap()
}
