//! Words that try what the sandbox forbids, for the tests that must see the process die of it.
//!
//! `--probe NAME` does the forbidden thing as soon as the sandbox is closed; `--probe NAME-twin` does its allowed
//! neighbour. Whoever lives says so and ends well. The product is built without this file.

use crate::raw::{self, Gate};

/// A forbidden thing, and the allowed one next to it.
struct Probe {
    name: &'static str,
    dies: Deed,
    lives: Deed,
}

/// A system call through one of the CPU's gates, with arguments that hold no pointer.
type Deed = (Gate, usize, [usize; 6]);

const WRITE_NOTHING: Deed = call(1, [1, 0, 0, 0, 0, 0]);
const MAP: Deed = map(3, 0x22, NO_FILE);
const NO_FILE: usize = usize::MAX;
const HERE: usize = -100_isize as usize;

const fn call(number: usize, arguments: [usize; 6]) -> Deed {
    (Gate::Syscall, number, arguments)
}

const fn map(protection: usize, flags: usize, file: usize) -> Deed {
    call(9, [0, 4096, protection, flags, file, 0])
}

const fn family(name: &'static str, number: usize, arguments: [usize; 6]) -> Probe {
    Probe { name, dies: call(number, arguments), lives: WRITE_NOTHING }
}

/// Every family of system calls that an intruder would want, and every way around the list.
const PROBES: [Probe; 41] = [
    family("openat", 257, [HERE, 0, 0, 0, 0, 0]),
    family("open", 2, [0; 6]),
    family("stat", 4, [0; 6]),
    family("unlink", 87, [0; 6]),
    family("socket", 41, [2, 1, 0, 0, 0, 0]),
    family("connect", 42, [0; 6]),
    family("sendmsg", 46, [1, 0, 0, 0, 0, 0]),
    family("bind", 49, [0; 6]),
    family("ioctl", 16, [1, 0x5413, 0, 0, 0, 0]),
    family("fcntl", 72, [1, 1, 0, 0, 0, 0]),
    family("dup", 32, [1, 0, 0, 0, 0, 0]),
    family("execve", 59, [0; 6]),
    family("execveat", 322, [0; 6]),
    family("fork", 57, [0; 6]),
    family("vfork", 58, [0; 6]),
    family("clone", 56, [0; 6]),
    family("clone3", 435, [0; 6]),
    family("ptrace", 101, [0; 6]),
    family("process_vm_readv", 310, [0; 6]),
    family("kill", 62, [0; 6]),
    family("tgkill", 234, [0; 6]),
    family("mount", 165, [0; 6]),
    family("chroot", 161, [0; 6]),
    family("unshare", 272, [0; 6]),
    family("setns", 308, [0; 6]),
    family("setuid", 105, [0; 6]),
    family("prctl", 157, [0; 6]),
    family("seccomp", 317, [0; 6]),
    family("bpf", 321, [0; 6]),
    family("io_uring_setup", 425, [0; 6]),
    family("userfaultfd", 323, [0; 6]),
    family("memfd_create", 319, [0; 6]),
    family("shmget", 29, [0; 6]),
    family("rt_sigaction", 13, [0; 6]),
    family("no_such_call", 9999, [0; 6]),
    Probe { name: "map_executable", dies: map(5, 0x22, NO_FILE), lives: MAP },
    Probe { name: "map_file", dies: map(1, 0x02, 1), lives: MAP },
    Probe { name: "protect_executable", dies: call(10, [0, 0, 5, 0, 0, 0]), lives: MAP },
    Probe { name: "int80", dies: (Gate::Int80, 20, [0; 6]), lives: WRITE_NOTHING },
    Probe { name: "x32", dies: call(0x4000_0001, [1, 0, 0, 0, 0, 0]), lives: WRITE_NOTHING },
    // Lives only where the process draws from the kernel; the twin is the same call's neighbour, the clock.
    Probe { name: "getrandom", dies: call(318, [0; 6]), lives: call(228, [1, 0, 0, 0, 0, 0]) },
];

/// Does what `--probe` names among the words, if it is one of ours.
pub(crate) fn try_what_is_asked(words: &[String]) {
    let asked = words.iter().skip_while(|word| *word != "--probe").nth(1);
    let Some((gate, number, arguments)) = asked.and_then(|name| deed(name)) else { return };
    raw::pointerless(gate, number, arguments);
    println!("lived");
    std::process::exit(0);
}

fn deed(name: &str) -> Option<Deed> {
    let (name, twin) = name.strip_suffix("-twin").map_or((name, false), |name| (name, true));
    let probe = PROBES.iter().find(|probe| probe.name == name)?;
    Some(if twin { probe.lives } else { probe.dies })
}
