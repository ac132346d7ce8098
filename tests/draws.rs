//! What a machine draws: nothing before it is fed, on bare metal as in a process, and afterwards bytes that look as random
//! bytes must. `tests/bench/seed` looks at more of them for longer.

#[allow(dead_code, reason = "each test that stands on it uses a part of it")]
mod host;

use bench::deaths::EARLY;
use bench::machine::{BOARDS, Board, Machine, probes};
use host::Host;
use std::collections::HashSet;
use std::path::PathBuf;

fn image() -> PathBuf {
    probes().with_file_name("draws")
}

/// A board with the network device that no machine of ours goes without; nobody is at the other end.
fn machine(board: Board) -> Machine {
    let bus = if board == Board::Microvm { "device" } else { "pci" };
    let machine = Machine::on(board).with(&["-global", "virtio-mmio.force-legacy=false"]);
    machine.with(&["-netdev", "hubport,id=n,hubid=0", "-device", &format!("virtio-net-{bus},netdev=n")])
}

#[test]
fn whoever_draws_before_the_first_seed_is_the_end_of_the_machine() {
    for board in BOARDS {
        for name in ["hash-map", "ring"] {
            let dead = machine(board).line(&format!("early={name}")).run(&image());
            assert_eq!(dead.console, format!("gatehouse: fault: {EARLY}\n"), "{board:?}: {name}: {dead:?}");
            assert_eq!(dead.left, Some(1), "{board:?}: {name}");
        }
    }
    let idle = machine(Board::Microvm).line("early=nothing").run(&image());
    assert_eq!((idle.console.as_str(), idle.left), ("drew\n", Some(0)), "it dies of something else");
}

/// A microvm that a daemon of its own feeds, and what it wrote to its port.
fn fed(line: &str) -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let (here, shown) = (folder.path(), folder.path().join("shown"));
    let _daemon = Host::start(&["--watch", here.to_str().unwrap(), "--user", "root"]);
    let machine = machine(Board::Microvm).line(line).with(&[
        "-device",
        "virtio-serial-device",
        "-chardev",
        &format!("socket,path={}/vm.entropy,server=on,wait=off,id=e", here.display()),
        "-device",
        "virtserialport,chardev=e,name=org.openmirage.entropy.2",
        "-chardev",
        &format!("file,path={},id=d", shown.display()),
        "-device",
        "virtserialport,chardev=d,name=gatehouse.draws",
    ]);
    let ended = machine.run(&image());
    (ended.console, std::fs::read(shown).unwrap_or_default())
}

#[test]
fn the_same_draws_are_answered_once_the_machine_is_fed() {
    for name in ["hash-map", "ring"] {
        let (console, _) = fed(&format!("late={name}"));
        assert!(console.ends_with("entropy: seeded by the host\nlived\n"), "{name}: {console}");
    }
}

#[test]
fn two_megabytes_that_two_machines_drew_look_random_and_have_nothing_in_common() {
    let [one, other] = [(); 2].map(|()| {
        let (console, shown) = fed("show=1");
        assert!(console.ends_with("shown\n") && shown.len() == 1 << 20, "{} bytes: {console}", shown.len());
        looks_random(&shown);
        shown
    });
    let windows: HashSet<&[u8]> = one.windows(8).collect();
    assert_eq!(windows.len(), one.len() - 7, "a machine drew eight bytes twice");
    assert!(!other.windows(8).any(|window| windows.contains(window)), "two machines drew the same");
}

/// Pearson's χ² over bytes, and the correlation of each byte with the next. A true source fails either less than once in
/// ten thousand million times: χ² has 255 degrees of freedom, and the other is normal.
fn looks_random(bytes: &[u8]) {
    let (count, mut counts) = (bytes.len() as f64, [0_f64; 256]);
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1.0);
    let chi: f64 = counts.iter().map(|seen| (seen - count / 256.0).powi(2) / (count / 256.0)).sum();
    assert!((140.0..420.0).contains(&chi), "χ² is {chi}");
    let centred = |byte: u8| f64::from(byte) - 127.5;
    let together: f64 = bytes.windows(2).map(|pair| centred(pair[0]) * centred(pair[1])).sum();
    let correlation = together / (count * (256.0 * 256.0 - 1.0) / 12.0);
    assert!(correlation.abs() < 6.6 / count.sqrt(), "the serial correlation is {correlation}");
}

#[test]
fn bytes_that_do_not_look_random_are_told_from_those_that_do() {
    looks_random(&host::random(1 << 20));
    let biased = host::random(1 << 20).into_iter().map(|byte| if byte == 7 { 8 } else { byte });
    let sluggish: Vec<u8> = host::random(1 << 19).into_iter().flat_map(|byte| [byte, byte]).collect();
    let zeros = vec![0; 1 << 20];
    for poor in [biased.collect(), sluggish, zeros] {
        assert!(std::panic::catch_unwind(|| looks_random(&poor)).is_err());
    }
}
