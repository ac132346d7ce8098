//! Arrows point inward only: words, then cores and worlds, then the wiring. Cargo knows every arrow, so ask Cargo.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Every room of the workspace and the rooms that it may import. There is no other.
const ROOMS: [(&str, &[&str]); 21] = [
    ("world", &[]),
    ("bundle", &[]),
    ("control", &[]),
    ("entropy", &[]),
    ("dma", &[]),
    ("tasks", &["world"]),
    ("runtime", &[]),
    ("symbols", &["runtime"]),
    ("boot", &["runtime", "dma"]),
    ("virtio", &["world", "dma", "boot"]),
    ("xen", &["world", "dma", "boot"]),
    ("linux", &["world", "bundle"]),
    ("net", &["world"]),
    ("tls", &["tasks"]),
    ("tls-bench", &["tls", "tasks"]),
    ("gatehouse-http", &["world", "bundle", "tasks"]),
    ("pinata", &["world", "tls", "tasks"]),
    ("xentropyd", &["entropy"]),
    // Both ends of a cable are the same link and the same stack; both sides of an attestation the same text.
    ("gatehouse", &["world", "bundle", "control", "tasks", "tls", "net", "linux", "pinata"]),
    (
        "appliance",
        &[
            "world",
            "bundle",
            "control",
            "entropy",
            "tasks",
            "runtime",
            "symbols",
            "boot",
            "virtio",
            "xen",
            "linux",
            "net",
            "tls",
            "gatehouse-http",
            "pinata",
        ],
    ),
    (
        "gatehouse-tests",
        &["world", "bundle", "entropy", "tasks", "gatehouse-http", "tls", "tls-bench", "pinata"],
    ),
];

/// Crates of others that only some rooms may name.
const ONLY: [(&str, &[&str]); 6] = [
    ("rustls", &["tls", "tls-bench"]),
    ("smoltcp", &["net"]),
    ("hyper", &["gatehouse-http"]),
    ("x509-parser", &["tls", "gatehouse"]),
    ("virtio-drivers", &["virtio"]),
    ("rustix", &["linux", "xentropyd", "gatehouse"]),
];

/// Rooms that may hold unsafe code; all others forbid it at their root.
const UNSAFE: [&str; 6] = ["runtime", "symbols", "boot", "dma", "xen", "linux"];

#[test]
fn every_arrow_points_inward() {
    for (room, wanted) in ours() {
        let allowed = ROOMS.iter().find(|(name, _)| *name == room);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{room} is not in the table of rooms"));
        for import in wanted {
            assert!(allowed.contains(&import.as_str()), "{room} must not import {import}");
        }
    }
}

#[test]
fn each_foreign_crate_is_named_in_its_own_room_only() {
    for package in packages() {
        for dependency in names_of(&package, true) {
            let rule = ONLY.iter().find(|(name, _)| *name == dependency);
            let room = name(&package);
            assert!(
                rule.is_none_or(|(_, rooms)| rooms.contains(&room.as_str())),
                "{room} must not name {dependency}"
            );
        }
    }
}

#[test]
fn unsafe_code_lives_in_its_rooms_only() {
    for package in packages().iter().filter(|package| !UNSAFE.contains(&name(package).as_str())) {
        for target in package["targets"].as_array().unwrap() {
            let kind = target["kind"][0].as_str().unwrap();
            if !["lib", "bin"].contains(&kind) {
                continue;
            }
            let path = target["src_path"].as_str().unwrap();
            let source = std::fs::read_to_string(path).unwrap();
            assert!(source.contains("\n#![forbid(unsafe_code)]"), "{path} does not forbid unsafe code");
        }
    }
}

/// Each of our rooms and the rooms that it imports (what only its tests import does not count).
fn ours() -> BTreeMap<String, BTreeSet<String>> {
    let packages = packages();
    let rooms: BTreeSet<String> = packages.iter().map(name).collect();
    packages
        .iter()
        .map(|package| {
            (name(package), names_of(package, false).into_iter().filter(|n| rooms.contains(n)).collect())
        })
        .collect()
}

fn names_of(package: &Value, tests_too: bool) -> Vec<String> {
    let all = package["dependencies"].as_array().unwrap().iter();
    all.filter(|dependency| tests_too || dependency["kind"].as_str() != Some("dev")).map(name).collect()
}

fn name(value: &Value) -> String {
    value["name"].as_str().unwrap().to_owned()
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    let output = Command::new(cargo).args(arguments).current_dir(bench::top()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}
