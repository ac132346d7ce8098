//! The sandbox of the Linux process is a claim that a test must try to break: each forbidden system call, and each way
//! around the list, dies of SIGSYS; its twin, which does the allowed thing next to it, lives.

use bench::machine::probes;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

const SIGSYS: i32 = 31;

/// Every family of system calls that an intruder would want, then the ways around the list.
const FORBIDDEN: [&str; 41] = [
    "openat",
    "open",
    "stat",
    "unlink",
    "socket",
    "connect",
    "sendmsg",
    "bind",
    "ioctl",
    "fcntl",
    "dup",
    "execve",
    "execveat",
    "fork",
    "vfork",
    "clone",
    "clone3",
    "ptrace",
    "process_vm_readv",
    "kill",
    "tgkill",
    "mount",
    "chroot",
    "unshare",
    "setns",
    "setuid",
    "prctl",
    "seccomp",
    "bpf",
    "io_uring_setup",
    "userfaultfd",
    "memfd_create",
    "shmget",
    "rt_sigaction",
    "no_such_call",
    "map_executable",
    "map_file",
    "protect_executable",
    "int80",
    "x32",
    "getrandom",
];

#[test]
fn every_forbidden_call_dies_of_sigsys_and_every_twin_lives() {
    for name in FORBIDDEN {
        let (dead, twin) = (probe(name), probe(&format!("{name}-twin")));
        assert_eq!(dead.status.signal(), Some(SIGSYS), "{name} lives: {dead:?}");
        assert!(!went_on(&dead), "{name} went on");
        assert!(twin.status.success() && went_on(&twin), "{name}: {twin:?}");
    }
}

#[test]
fn no_word_opens_the_sandbox() {
    let refused = start(&["--no-sandbox"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr) + String::from_utf8_lossy(&refused.stdout);
    assert!(said.contains("--no-sandbox"), "{said}");
}

/// What comes after the greeting is said by whoever is still alive.
fn went_on(output: &Output) -> bool {
    output.stdout.ends_with(b"\nlived\n")
}

fn probe(name: &str) -> Output {
    start(&["--probe", name])
}

/// The appliance on a cable that nobody holds the other end of.
fn start(words: &[&str]) -> Output {
    let (theirs, _ours) = UnixDatagram::pair().unwrap();
    let mut command = Command::new(probes());
    command.args(["--cable", "0"]).args(words).stdin(OwnedFd::from(theirs)).output().unwrap()
}
