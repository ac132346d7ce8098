//! What links on the runtime and what must not, and how std behaves on it as a Linux process.
//!
//! The programs are the examples of the package `appliance`: the same flags, the same symbols.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// A program that must not link, and the symbol that the linker must miss.
const FORBIDDEN: [(&str, &str); 6] = [
    ("thread", "pthread_create"),
    ("socket", "socket"),
    ("directory", "opendir"),
    ("process", "posix_spawnp"),
    ("sleep", "clock_nanosleep"),
    ("library", "dlsym"),
];

const FAULT: i32 = 1;
const PANIC: i32 = 101;
const ABORT: i32 = 134;

#[test]
fn threads_sockets_directories_processes_sleep_and_libraries_do_not_link() {
    for (name, symbol) in FORBIDDEN {
        let output = example(name);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name} links");
        let missing = complaint.split("undefined symbol: ").skip(1).filter_map(|rest| rest.lines().next());
        assert!(
            missing.into_iter().any(|missing| missing == symbol),
            "{name} fails for another reason: {complaint}"
        );
    }
}

#[test]
fn arguments_arrive_whole() {
    assert_eq!(said("arguments", &["--a=b", "", "ü c"]), "[\"arguments\", \"--a=b\", \"\", \"ü c\"]");
}

#[test]
fn the_environment_does_not_arrive() {
    assert_eq!(said("environment", &[]), "None");
}

#[test]
fn the_date_is_the_hosts() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let date = said("date", &[]).parse::<u64>().unwrap();
    assert!((before..=now()).contains(&date), "{date} is not between {before} and now");
    assert_eq!(said("clock", &[]), "true");
}

#[test]
fn a_hash_map_of_a_hundred_thousand_works() {
    assert_eq!(said("map", &[]), "50000");
}

#[test]
fn thread_locals_start_with_their_values() {
    assert_eq!(said("locals", &[]), "(Aligned([1, 2, 3]), [4])");
}

#[test]
fn the_heap_counts_what_it_holds() {
    assert_eq!(said("heap", &[]), "0 1 true");
}

#[test]
fn a_file_cannot_be_opened_even_where_there_is_one() {
    assert_eq!(said("file", &[]), "Err(Some(38))");
}

#[test]
fn a_panic_is_one_line_with_its_place() {
    let line = dies("panic", PANIC);
    assert!(line.starts_with("gatehouse: panic at appliance/examples/stands.rs:"), "{line}");
    assert!(line.ends_with(": first line second line\n"), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn a_draw_before_there_is_a_source_is_a_fault() {
    let cause = "gatehouse: fault: a draw before the first full seed: no key is made without entropy\n";
    assert_eq!(dies("draw", FAULT), cause);
}

#[test]
fn everybody_who_asks_for_random_bytes_gets_those_of_the_one_source() {
    assert!(example("sources").status.success());
    let output = Command::new(bench::built("debug/examples/sources")).output().unwrap();
    let expected = "ring true 1 [0, 1, 2, 3] 4\n\
                    getrandom 0.2 true 1 [4, 5, 6, 7] 8\n\
                    getrandom 0.3 true 1 [8, 9, 10, 11] 12\n\
                    getrandom 0.4 true 1 [12, 13, 14, 15] 16\n\
                    HashMap true 1 [0, 0, 0, 0] 32\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
}

#[test]
fn a_lock_taken_twice_is_a_fault_and_no_hang() {
    assert_eq!(dies("lock", FAULT), "gatehouse: fault: dead lock: the only thread waits for itself\n");
}

#[test]
fn an_exhausted_heap_says_so_to_those_who_ask_and_aborts_for_the_others() {
    let output = run("exhaust", &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "true\n");
    assert_eq!(output.status.code(), Some(ABORT));
    let cause = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(cause.starts_with("memory allocation of 20000000 bytes failed"), "{cause}");
}

#[test]
fn without_its_three_descriptors_it_does_not_start() {
    let output = Command::new("sh").args(["-c", "exec \"$0\" date <&-"]).arg(stands()).output().unwrap();
    assert_eq!(output.status.code(), Some(FAULT));
}

#[test]
fn code_heap_stack_and_thread_locals_lie_elsewhere_each_time() {
    const RUNS: usize = 20;
    let runs: Vec<Vec<usize>> = (0..RUNS).map(|_| addresses()).collect();
    for column in 0..4 {
        let seen: BTreeSet<usize> = runs.iter().map(|run| run[column] >> 12).collect();
        assert_eq!(seen.len(), RUNS, "column {column} comes back: {runs:x?}");
    }
    // The heap is not at a fixed distance from the code either.
    let distances: BTreeSet<usize> = runs.iter().map(|run| run[1].wrapping_sub(run[0]) >> 12).collect();
    assert_eq!(distances.len(), RUNS);
}

#[test]
fn the_canary_is_another_each_time_and_stops_a_c_string() {
    assert!(example("canary").status.success());
    let canary = || {
        let output = Command::new(bench::built("debug/examples/canary")).output().unwrap();
        u64::from_str_radix(String::from_utf8(output.stdout).unwrap().trim(), 16).unwrap()
    };
    let seen: BTreeSet<u64> = (0..20).map(|_| canary()).collect();
    assert_eq!(seen.len(), 20, "{seen:x?}");
    assert!(seen.iter().all(|canary| canary & 0xff == 0), "{seen:x?}");
}

fn addresses() -> Vec<usize> {
    let line = said("addresses", &[]);
    line.split(' ').map(|word| usize::from_str_radix(word.trim_start_matches("0x"), 16).unwrap()).collect()
}

/// What it says, when all is well.
fn said(word: &str, more: &[&str]) -> String {
    let output = run(word, more);
    assert!(output.status.success(), "{word}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Its last words.
fn dies(word: &str, code: i32) -> String {
    let output = run(word, &[]);
    assert_eq!(output.status.code(), Some(code), "{word}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn run(word: &str, more: &[&str]) -> Output {
    Command::new(stands()).arg(word).args(more).env("RUST_BACKTRACE", "1").output().unwrap()
}

/// The example that links.
fn stands() -> &'static PathBuf {
    static STANDS: OnceLock<PathBuf> = OnceLock::new();
    STANDS.get_or_init(|| {
        let output = example("stands");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        bench::built("debug/examples/stands")
    })
}

fn example(name: &str) -> Output {
    bench::cargo(&["build", "--package=appliance", "--features=links", "--example", name])
}
