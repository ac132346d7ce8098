//! Memory, and what may be found in it: every form in which a key or a secret could lie there, and how often it may.

use crate::numbers::{ED25519, Number, big, little, montgomery, read, reduced};
use memchr::memmem;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A dump of 64 MiB by an emulator on a busy host.
const LONG: Duration = Duration::from_secs(120);

/// A run of memory.
pub struct Run {
    /// Where it begins.
    pub start: u64,
    /// What is there.
    pub bytes: Vec<u8>,
}

/// Something that may be found so often, and no oftener.
#[derive(Clone)]
pub struct Needle {
    name: String,
    bytes: Vec<u8>,
    wanted: usize,
}

impl Needle {
    /// These bytes as they are.
    #[must_use]
    pub fn new(name: &str, bytes: &[u8], wanted: usize) -> Self {
        Self { name: name.to_owned(), bytes: bytes.to_vec(), wanted }
    }

    /// The same, when it must not be there any more.
    #[must_use]
    pub fn gone(self) -> Self {
        Self { wanted: 0, ..self }
    }

    /// Both halves of some bytes: half a key is as bad as a whole one.
    fn halves(name: &str, bytes: &[u8], wanted: usize) -> [Self; 2] {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        [("first", first), ("second", second)]
            .map(|(half, bytes)| Self::new(&format!("{name}, {half} half"), bytes, wanted))
    }
}

/// The number of a P-256 key (PKCS #8).
#[must_use]
pub fn key(pkcs8: &[u8]) -> Number {
    let at = memmem::find(pkcs8, &[2, 1, 1, 4, 32]).expect("a P-256 key") + 5;
    read(&pkcs8[at..at + 32])
}

/// A key of P-256, or another number that would give it away, in every form that it takes: as a file has it, in words,
/// and as ring multiplies with it. Only the last may be there, and only so often.
#[must_use]
pub fn p256(name: &str, number: Number, wanted: usize) -> Vec<Needle> {
    [
        Needle::halves(&format!("{name}, big-endian or DER"), &big(number), 0),
        Needle::halves(&format!("{name}, little-endian"), &little(number), 0),
        Needle::halves(&format!("{name}, Montgomery's form"), &little(montgomery(number)), wanted),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An Ed25519 seed, which must be gone, and what it is expanded to, which may be there so often.
#[must_use]
pub fn ed25519(name: &str, seed: &[u8], wanted: usize) -> Vec<Needle> {
    use sha2::Digest;
    let expanded = sha2::Sha512::digest(seed);
    let halves = Needle::halves(&format!("{name}, seed"), seed, 0);
    // Some bits of its first and last byte are changed.
    let scalar = Needle::new(&format!("{name}, scalar"), &expanded[1..31], wanted);
    halves
        .into_iter()
        .chain([scalar, Needle::new(&format!("{name}, prefix"), &expanded[32..], wanted)])
        .collect()
}

/// The number that is drawn from an Ed25519 key for signing this: whoever knows it has the key. It must be gone.
#[must_use]
pub fn drawn_by_ed25519(name: &str, seed: &[u8], message: &[u8]) -> Vec<Needle> {
    use sha2::Digest;
    let prefix = &sha2::Sha512::digest(seed)[32..];
    let drawn = sha2::Sha512::digest([prefix, message].concat());
    let reduced = little(reduced(&drawn, ED25519));
    [
        Needle::halves(&format!("{name}, whole"), &drawn, 0),
        Needle::halves(&format!("{name}, reduced"), &reduced, 0),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Everything that a process can read of itself; for root only.
#[must_use]
pub fn of_process(id: u32) -> Vec<Run> {
    let maps = std::fs::read_to_string(format!("/proc/{id}/maps")).expect("the process lives");
    let memory = std::fs::File::open(format!("/proc/{id}/mem")).expect("root may read another's memory");
    let run = |line: &str| {
        let (place, rest) = line.split_once(' ')?;
        let (start, end) = place.split_once('-')?;
        let [start, end] = [start, end].map(|digits| u64::from_str_radix(digits, 16).expect("an address"));
        let mut bytes = vec![0; usize::try_from(end - start).expect("it fits")];
        // The kernel's own pages cannot be read from outside.
        let own = rest.contains("[vvar") || rest.contains("[vsyscall]") || !rest.starts_with('r');
        (!own).then(|| memory.read_exact_at(&mut bytes, start).map(|()| Run { start, bytes }))
    };
    let runs: Vec<Run> = maps.lines().filter_map(run).map(|run| run.expect("it can be read")).collect();
    assert!(runs.iter().any(|run| run.bytes.starts_with(b"\x7fELF")), "the image itself is not there");
    runs
}

/// All RAM of a machine whose QEMU has a QMP monitor at this socket.
#[must_use]
pub fn of_machine(monitor: &Path, folder: &Path) -> Vec<Run> {
    let mut monitor = UnixStream::connect(monitor).expect("QEMU has a monitor");
    monitor.set_read_timeout(Some(LONG)).expect("a timeout");
    let file = folder.join("dump");
    let arguments = format!("{{\"paging\":false,\"protocol\":\"file:{}\"}}", file.display());
    let mut heard = String::new();
    for (word, arguments) in [("qmp_capabilities", "{}".to_owned()), ("dump-guest-memory", arguments)] {
        writeln!(monitor, "{{\"execute\":\"{word}\",\"arguments\":{arguments}}}").expect("QEMU listens");
        until_it_returns(&mut monitor, &mut heard);
    }
    let bytes = std::fs::read(&file).expect("QEMU has dumped it");
    std::fs::remove_file(&file).expect("it is ours");
    assert!(bytes.len() > 32 << 20, "only {} bytes were dumped", bytes.len());
    vec![Run { start: 0, bytes }]
}

fn until_it_returns(monitor: &mut UnixStream, heard: &mut String) {
    loop {
        if let Some((_, rest)) = heard.split_once("{\"return\":") {
            *heard = rest.to_owned();
            return;
        }
        assert!(!heard.contains("\"error\""), "{heard}");
        let mut some = [0; 4096];
        let count = monitor.read(&mut some).expect("QEMU answers");
        assert!(count > 0, "QEMU hung up: {heard}");
        heard.push_str(&String::from_utf8_lossy(&some[..count]));
    }
}

/// Everything that is there oftener or more seldom than it must be, and where.
#[must_use]
pub fn faults(memory: &[Run], needles: &[Needle]) -> Vec<String> {
    let fault = |needle: &Needle| {
        let finder = memmem::Finder::new(&needle.bytes);
        let places = memory
            .iter()
            .flat_map(|run| finder.find_iter(&run.bytes).map(|at| format!("{:#x}", run.start + at as u64)));
        let places: Vec<String> = places.collect();
        (places.len() != needle.wanted).then(|| format!("{}: {} at {places:?}", needle.name, places.len()))
    };
    needles.iter().filter_map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_twice_is_found_twice() {
        let memory = [Run { start: 0x1000, bytes: [&[0; 5][..], b"needle", &[0; 9], b"needle"].concat() }];
        assert!(
            faults(&memory, &[Needle::new("it", b"needle", 2), Needle::new("none", b"thread", 0)]).is_empty()
        );
        assert_eq!(
            faults(&memory, &[Needle::new("it", b"needle", 1)]),
            ["it: 2 at [\"0x1005\", \"0x1014\"]"]
        );
        assert_eq!(faults(&memory, &[Needle::new("it", b"thread", 1)]), ["it: 0 at []"]);
    }
}
