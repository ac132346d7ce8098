//! One verification path: every hostile certificate, per TLS version and per direction, and always the same
//! verdict.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use rustls::{AlertDescription, Error};
use std::rc::Rc;
use std::sync::Arc;
use tls::{Caller, ClientPolicy, Expected, Front, Kind, Profile, Refused, Trust};
use tls_bench::hostile::{Ca, Case, NAME, Role, cases};
use tls_bench::reckless::{Shown, VERSIONS, answering, calling, client, converse, server};
use tls_bench::{Bench, PATIENCE, pipe, read_all, run};

/// What our side says, and what the other side reads of it.
type Verdict = (Result<(), Kind>, Result<Vec<u8>, Error>);

fn trust(ca: &Ca, crls: &[Vec<u8>]) -> Trust {
    Trust::new(std::slice::from_ref(&ca.der), crls.to_vec()).unwrap()
}

/// A client shows this to our server.
fn to_our_server(bench: &Bench, ca: &Ca, case: &Case, version: usize) -> Verdict {
    let mut site = bench.site(&[NAME]);
    site.clients = ClientPolicy::Required(trust(ca, &case.crls));
    let front = Rc::new(Front::new(vec![site], None, bench.calendar.clone()).unwrap());
    let (mut near, far) = pipe(4096);
    let timers = bench.tasks.timers().clone();
    let shown = Shown { chain: case.chain.clone(), key: case.key.clone() };
    let config = Arc::new(client(VERSIONS[version], Some(&shown)));
    let (ours, theirs) = run(
        &bench.tasks,
        async move {
            let (mut session, _) = front.accept(far, 443, &timers, PATIENCE).await?;
            let _ = read_all(&mut session).await;
            tls_bench::close(&mut session).await.unwrap();
            Ok(())
        },
        async move { converse(&mut calling(&config, NAME), &mut near, b"hello").await },
    );
    (ours.map_err(|refused: Refused| refused.kind), theirs)
}

/// A server shows this to our client, which knows its name or does not care.
fn to_our_client(bench: &Bench, ca: &Ca, case: &Case, version: usize, expected: &Expected) -> Verdict {
    let own = bench.calendar.clone();
    let trust = trust(ca, &case.crls);
    let caller = Caller::new(trust, expected, None, Profile::Intermediate, Vec::new(), own).unwrap();
    let (near, mut far) = pipe(4096);
    let timers = bench.tasks.timers().clone();
    let shown = Shown { chain: case.chain.clone(), key: case.key.clone() };
    let config = server(VERSIONS[version], &shown);
    let (ours, theirs) = run(
        &bench.tasks,
        async move {
            let mut session = caller.call(near, &timers, PATIENCE).await?;
            let _ = read_all(&mut session).await;
            tls_bench::close(&mut session).await.unwrap();
            Ok(())
        },
        async move { converse(&mut answering(config), &mut far, b"hello").await },
    );
    (ours.map_err(|refused: Refused| refused.kind), theirs)
}

/// Says what is wrong with a verdict, if anything.
fn wrong(case: &Case, (ours, theirs): &Verdict) -> Option<String> {
    let told = match case.kind {
        None => theirs.is_ok(),
        // Nobody listens to the end of a flight that is too large: its sender may be cut off in the middle of it.
        Some(Kind::TooLarge) => theirs.is_err(),
        Some(_) => matches!(theirs, Err(Error::AlertReceived(_))),
    };
    let same = ours.err() == case.kind;
    (!told || !same)
        .then(|| format!("{}: wanted {:?}, got {ours:?}, the peer read {theirs:?}", case.name, case.kind))
}

fn every_row(role: Role, meet: impl Fn(&Bench, &Ca, &Case, usize) -> Verdict) {
    let (bench, ca) = (Bench::default(), Ca::new("Hostile CA"));
    let rows = cases(&ca, role);
    assert!(rows.iter().filter(|row| row.kind.is_some()).count() >= 80);
    let mut faults = Vec::new();
    for row in &rows {
        for version in [0, 1] {
            let verdict = meet(&bench, &ca, row, version);
            faults.extend(
                wrong(row, &verdict).map(|fault| format!("{:?}: {fault}", VERSIONS[version].version)),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_hostile_client_comes_in_and_each_is_told_by_an_alert() {
    every_row(Role::Client, to_our_server);
}

#[test]
fn no_hostile_server_is_believed_by_a_caller_that_knows_its_name() {
    let named = Expected::Named(NAME.to_owned());
    every_row(Role::Server, |bench, ca, row, version| to_our_client(bench, ca, row, version, &named));
}

#[test]
fn no_hostile_server_is_believed_by_a_caller_that_has_no_name_to_check() {
    every_row(Role::Server, |bench, ca, row, version| {
        to_our_client(bench, ca, row, version, &Expected::Anyone)
    });
}

#[test]
fn only_the_caller_that_knows_a_name_minds_another_one() {
    let (bench, ca) = (Bench::default(), Ca::new("Hostile CA"));
    let good = cases(&ca, Role::Server).remove(0);
    for version in [0, 1] {
        for name in ["example.com", "www.example.org", "192.0.2.1"] {
            let other = Expected::Named(name.to_owned());
            assert_eq!(to_our_client(&bench, &ca, &good, version, &other).0, Err(Kind::WrongName), "{name}");
        }
        assert_eq!(to_our_client(&bench, &ca, &good, version, &Expected::Anyone).0, Ok(()));
    }
}

#[test]
fn a_client_without_a_certificate_comes_in_only_where_that_is_optional() {
    let (bench, ca) = (Bench::default(), Ca::new("Hostile CA"));
    for version in VERSIONS {
        for required in [true, false] {
            let (mut site, trust) = (bench.site(&[NAME]), trust(&ca, &[]));
            site.clients =
                if required { ClientPolicy::Required(trust) } else { ClientPolicy::Optional(trust) };
            let front = bench.front(vec![site]);
            let (mut near, far) = pipe(4096);
            let timers = bench.tasks.timers().clone();
            let config = Arc::new(client(version, None));
            let (ours, theirs) = run(
                &bench.tasks,
                async move {
                    front
                        .accept(far, 443, &timers, PATIENCE)
                        .await
                        .map(|(session, _)| session.peer().is_none())
                },
                async move { converse(&mut calling(&config, NAME), &mut near, b"hello").await },
            );
            let alert = matches!(
                theirs,
                Err(Error::AlertReceived(
                    AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure
                ))
            );
            assert_eq!(
                ours.map_err(|refused| refused.kind),
                if required { Err(Kind::NoCertificate) } else { Ok(true) }
            );
            assert_eq!(alert, required, "{theirs:?}");
        }
    }
}

#[test]
fn a_chain_of_a_hundred_kilobytes_is_too_large() {
    let (bench, ca) = (Bench::default(), Ca::new("Hostile CA"));
    let mut case = cases(&ca, Role::Client).remove(0);
    let one = case.chain[0].clone();
    while case.chain.iter().map(Vec::len).sum::<usize>() < 100_000 {
        case.chain.push(one.clone());
    }
    for version in [0, 1] {
        assert_eq!(to_our_server(&bench, &ca, &case, version).0, Err(Kind::TooLarge));
    }
}
