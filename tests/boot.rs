//! The appliance boots by itself: on every board, with little memory and odd modules, each time at another place.

use bench::appliance;
use bench::machine::{BOARDS, Board, Ended, Machine, probes};
use std::collections::HashSet;

/// Runs one twin of the probes to its good end and gives what it said.
fn live(machine: Machine, twin: &str) -> String {
    let Ended { console, left, complaints, .. } = machine.line(&format!("twin={twin}")).run(probes());
    assert!(
        left == Some(0) && console.contains(&format!("lived: {twin}\n")),
        "{twin}: {left:?}: {console}{complaints}"
    );
    console
}

#[test]
fn what_ships_reaches_main_on_every_board() {
    for board in BOARDS {
        let ended = Machine::on(board).run_until(&appliance(), "gatehouse ");
        assert!(ended.console.contains("gatehouse "), "{board:?}: {}", ended.console);
    }
}

#[test]
fn it_boots_with_16_mib_and_with_more_than_4_gib() {
    for (board, memory, least) in [
        (Board::Microvm, 16, 6),
        (Board::Q35, 16, 6),
        (Board::Pc, 16, 6),
        (Board::Microvm, 5_000, 4_900),
        (Board::Q35, 5_000, 4_900),
    ] {
        let said = live(Machine::on(board).memory(memory), "memory");
        let free: u64 = said.split("free: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(free >= least * 1024, "{board:?} with {memory} MiB has {free} KiB to give");
    }
}

#[test]
fn the_page_tables_keep_their_promises_on_every_board() {
    for board in BOARDS {
        let _ = live(Machine::on(board).module(&module("plain", b"hello")), "tables");
    }
}

#[test]
fn protections_are_on_and_a_missing_register_is_no_fault() {
    for cpu in ["max", "qemu64", "Skylake-Client-v1", "EPYC-v1"] {
        let _ = live(Machine::on(Board::Microvm).cpu(cpu), "registers");
    }
}

#[test]
fn interrupts_come_by_edge_level_and_message() {
    for board in BOARDS {
        let _ = live(Machine::on(board), "lines");
    }
}

#[test]
fn a_sleep_is_never_too_short_and_the_date_is_today() {
    let today = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // The last one hides who runs it: there the interval timer has to tell the speed.
    for (board, cpu) in
        BOARDS.map(|board| (board, "max")).into_iter().chain([(Board::Q35, "max,-hypervisor")])
    {
        let said = live(Machine::on(board).cpu(cpu), "clock");
        let date: u64 = said.split("; ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(date.abs_diff(today) < 3_600, "{board:?}: {said}, but the host has {today}");
    }
}

#[test]
fn the_host_bridge_is_found_where_there_is_one() {
    assert!(live(Machine::on(Board::Q35), "pci").contains("host bridge 29c08086"));
    assert!(live(Machine::on(Board::Pc), "pci").contains("host bridge 12378086"));
}

#[test]
fn fifty_boots_lie_at_fifty_places() {
    let machine = Machine::on(Board::Microvm).memory(32);
    let boots: Vec<String> = std::thread::scope(|scope| {
        let lane = || (0..17).map(|_| live(machine.clone(), "where")).collect::<Vec<_>>();
        let lanes: Vec<_> = (0..3).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    for part in ["image ", "heap ", "stack ", "devices "] {
        let place =
            |said: &String| said.split(part).nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        let places: HashSet<String> = boots.iter().map(place).collect();
        assert_eq!(places.len(), boots.len(), "{part}was twice at one place");
    }
}

#[test]
fn a_module_is_taken_apart_only_when_it_is_sealed() {
    let sealed = pack(b"the public part", b"a secret", (15, 8));
    let wrong = pack(b"the public part", b"a secret", (15, 9));
    let short = b"GATEHOUSE-CARGO1".to_vec();
    let parts = |name, bytes: &[u8]| live(Machine::on(Board::Microvm).module(&module(name, bytes)), "module");
    assert!(parts("sealed", &sealed).contains(&format!(
        "public {:?} secret {:?} layout launcher",
        (15, sum(b"the public part")),
        (8, sum(b"a secret"))
    )));
    for (name, bytes) in [("wrong", &wrong), ("short", &short), ("one", &vec![7])] {
        let expected = format!("public {:?} secret (0, 0) layout rdrand", (bytes.len(), sum(bytes)));
        assert!(parts(name, bytes).contains(&expected), "{name}: {}", parts(name, bytes));
    }
}

#[test]
fn a_large_module_and_an_empty_one_are_no_trouble() {
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| (n >> 7) as u8).collect();
    for board in BOARDS {
        let said = live(Machine::on(board).module(&module("large", &large)), "module");
        assert!(said.contains(&format!("public {:?}", (large.len(), sum(&large)))), "{board:?}: {said}");
    }
    let ended = Machine::on(Board::Microvm).module(&module("empty", b"")).line("twin=where").run(probes());
    assert_eq!(ended.left, Some(0), "{}", ended.console);
}

#[test]
fn a_command_line_that_is_too_long_is_refused_in_one_line() {
    let long = "x ".repeat(400);
    let ended = Machine::on(Board::Microvm).line(&long).run(probes());
    assert_eq!(ended.console, "gatehouse cannot start: the command line has too many words\n");
    assert_eq!(ended.left, Some(66));
}

#[test]
fn without_an_exit_port_the_machine_ends_all_the_same() {
    for board in BOARDS {
        let ended = Machine::on(board).line("twin=where").without_exit_port().run(probes());
        assert!(ended.by_itself && ended.console.ends_with("lived: where\n"), "{board:?}: {ended:?}");
    }
}

#[test]
fn a_console_that_nobody_reads_loses_bytes_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console");
    let deaf = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let machine =
        Machine::on(Board::Microvm).line("twin=chatter").serial(&format!("unix:{}", path.display()));
    let ended = machine.run(probes());
    assert_eq!(ended.left, Some(0), "{ended:?}");
    let (mut client, mut heard) = (deaf.accept().unwrap().0, Vec::new());
    std::io::Read::read_to_end(&mut client, &mut heard).unwrap();
    assert!(
        heard.starts_with(b"a line that") && heard.len() < 10_000 * 53,
        "{} bytes were heard",
        heard.len()
    );
}

#[test]
fn a_cpu_without_nx_is_refused_in_one_line() {
    let ended = Machine::on(Board::Microvm).cpu("qemu64,-nx").run_until(probes(), "\n");
    assert!(
        ended.console.contains("gatehouse cannot start: this CPU lacks 64-bit mode or NX\n"),
        "{ended:?}"
    );
}

fn module(name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("module-{name}"));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A module as the launcher packs it: public, zeros, secret, trailer.
fn pack(public: &[u8], secret: &[u8], lengths: (u64, u64)) -> Vec<u8> {
    let mut module = public.to_vec();
    module.resize(module.len().next_multiple_of(4096), 0);
    module.extend(secret);
    module.extend(b"GATEHOUSE-CARGO1");
    module.extend(lengths.0.to_le_bytes());
    module.extend(lengths.1.to_le_bytes());
    module.extend([9; 32]);
    module
}

/// The sum that the twin `module` says.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
}
