//! Hardening is a claim that a test must try to break: images that must die of the right fault, and their twins that
//! do the allowed thing and live.

use bench::deaths::{FAULTS, fault};
use bench::machine::{BOARDS, Board, Machine, probes};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn machine(board: Board) -> Machine {
    static MODULE: LazyLock<PathBuf> = LazyLock::new(|| {
        let module = Path::new(env!("CARGO_TARGET_TMPDIR")).join("die-module");
        std::fs::write(&module, b"read me, never write me").unwrap();
        module
    });
    Machine::on(board).module(&MODULE)
}

#[test]
fn every_forbidden_thing_is_a_fault_and_every_twin_lives() {
    for (name, expected) in FAULTS {
        let dead = machine(Board::Microvm).line(&format!("probe={name}")).run(probes());
        let told = fault(&dead.console).unwrap_or_default();
        assert!(told.starts_with(expected), "{name} should be {expected}: {dead:?}");
        assert_eq!((dead.left, dead.console.lines().count()), (Some(64), 1), "{name}: {}", dead.console);
        let twin = machine(Board::Microvm).line(&format!("twin={name}")).run(probes());
        assert_eq!((twin.left, twin.console), (Some(0), format!("lived: {name}\n")));
    }
}

#[test]
fn the_boards_agree_about_what_is_forbidden() {
    for board in BOARDS {
        for (name, expected) in
            FAULTS.iter().filter(|(name, _)| ["write-text", "overflow-stack"].contains(name))
        {
            let dead = machine(board).line(&format!("probe={name}")).run(probes());
            let told = fault(&dead.console).unwrap_or_default();
            assert!(told.starts_with(expected), "{board:?}: {name} should be {expected}: {}", dead.console);
        }
    }
}

#[test]
fn a_fault_says_where_in_the_image_it_happened() {
    let dead = machine(Board::Microvm).line("probe=write-text").run(probes());
    let place = dead.console.split(" at image+0x").nth(1).and_then(|rest| rest.split(' ').next());
    let place = u64::from_str_radix(place.unwrap(), 16).unwrap();
    assert!(place < 64 << 20, "{}", dead.console);
}

#[test]
fn a_fault_while_one_is_told_still_ends_the_machine() {
    let dead = machine(Board::Microvm).line("probe=fault-twice").run(probes());
    assert_eq!((dead.console.as_str(), dead.left), ("", Some(65)));
}
