//! How the images that must die have to die, wherever they run.

/// Each probe, and the fault that it must die of.
pub const FAULTS: [(&str, &str); 19] = [
    ("read-null", "#PF (error 0x0, address 0x0,"),
    ("write-text", "#PF (error 0x3, address "),
    ("write-text-by-window", "#PF (error 0x2, address "),
    ("write-text-where-it-was-loaded", "#PF (error 0x2, address 0x"),
    ("write-rodata", "#PF (error 0x3, address "),
    ("write-relro", "#PF (error 0x3, address "),
    ("write-table", "#PF (error 0x3, address "),
    ("write-gate", "#PF (error 0x3, address "),
    ("write-plan", "#PF (error 0x3, address "),
    ("write-module", "#PF (error 0x3, address "),
    ("execute-heap", "#PF (error 0x11, address "),
    ("execute-data", "#PF (error 0x11, address "),
    ("execute-stack", "#PF (error 0x11, address "),
    ("execute-rodata", "#PF (error 0x11, address "),
    ("execute-device", "#PF (error 0x11, address "),
    ("execute-null", "#PF (error 0x10, address 0x0,"),
    ("overflow-stack", "#PF (error 0x2, address "),
    ("syscall", "#UD (error 0x0,"),
    ("divide-by-zero", "#DE (error 0x0,"),
];

/// What is said of a draw before the first seed.
pub const EARLY: &str = "a key was asked for too early: the pool is not seeded: 256 more bits must come over the entropy \
    channel (is xentropyd feeding this guest?)";

/// The one line of a fault, without the place where it happened.
#[must_use]
pub fn fault(console: &str) -> Option<String> {
    let line = console.strip_suffix('\n')?.lines().last()?.strip_prefix("fault: ")?;
    let (kind, rest) = line.split_once(" at ")?;
    let (_place, cause) = rest.split_once(" (")?;
    Some(format!("{kind} ({cause}"))
}
