//! Every hostile certificate, per TLS version and per door: none gets the secret, every good one does, and
//! the ledger has each under its kind.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod yard;

use pinata::{DOORS, Door, Outcome};
use tls::Kind;
use tls_bench::hostile::{self, Role, cases};
use yard::{SECRET, Yard};

/// What is wrong with what came of it, if anything.
fn wrong(wanted: Outcome, counted: bool, heard: &Result<Vec<u8>, String>) -> Option<String> {
    let right = match wanted {
        Outcome::Given => heard.as_deref() == Ok(SECRET),
        // Nobody listens to the end of a flight that is too large, so its sender may be cut off in the middle.
        Outcome::Refused(Kind::TooLarge) => heard.is_err(),
        _ => heard.as_ref().is_err_and(|why| why.starts_with("AlertReceived")),
    };
    (!right || !counted).then(|| format!("{wanted:?}: counted {counted}, heard {heard:?}"))
}

fn every_certificate_at(door: Door) {
    let yard = Yard::default();
    let role = if door == Door::Server { Role::Client } else { Role::Server };
    let rows = cases(&yard.ca, role);
    assert!(rows.iter().filter(|row| row.kind.is_some()).count() >= 80);
    let mut faults = Vec::new();
    for row in &rows {
        for version in [0, 1] {
            let pinata = yard.hang(&row.crls);
            let heard = yard.show(&pinata, door, row, version);
            let wanted = row.kind.map_or(Outcome::Given, Outcome::Refused);
            let ledger = pinata.ledger();
            let counted = ledger.count(door, wanted) == 1 && ledger.attempts() == 1;
            faults.extend(
                wrong(wanted, counted, &heard).map(|fault| format!("{}, {version}: {fault}", row.name)),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_servers_door_tells_good_clients_only() {
    every_certificate_at(Door::Server);
}

#[test]
fn the_door_that_calls_back_tells_good_servers_only() {
    every_certificate_at(Door::CallBack);
}

#[test]
fn the_clients_door_tells_good_servers_only() {
    every_certificate_at(Door::Client);
}

#[test]
fn nobody_has_a_certificate_of_a_piñata_that_was_made_in_memory() {
    let yard = Yard::default();
    for door in DOORS {
        let role = if door == Door::Server { Role::Client } else { Role::Server };
        let pinata = yard.hang_forgotten();
        assert!(yard.show(&pinata, door, &hostile::good(&yard.ca, role), 1).is_err());
        let issuer = Outcome::Refused(Kind::UntrustedIssuer);
        assert_eq!(pinata.ledger().count(door, issuer), 1);
    }
}
