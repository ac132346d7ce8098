//! Every hostile certificate before the piñata that ships, in both worlds, over real connections: at each door, in each
//! version of TLS. None is told anything, each good one is told the secret, and the ledger has each under its kind.

use bench::party::Party;
use bench::running::World;
use bench::tap::Tap;
use bench::visitor::{Heard, Visitor, count};
use pinata::{DOORS, Door};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use tls_bench::hostile::{Ca, Case, Role, cases};

/// What is in every piñata here.
const SECRET: &[u8] = b"correct horse battery staple";

/// One certificate as both sides show it, and the version in which they do.
#[derive(Clone, Copy)]
struct Try<'a> {
    client: &'a Case,
    server: &'a Case,
    version: usize,
}

impl Try<'_> {
    fn case(&self, door: Door) -> &Case {
        if door == Door::Server { self.client } else { self.server }
    }

    /// The word that the ledger has for it.
    fn word(&self) -> &'static str {
        self.client.kind.map_or("given", tls::Kind::word)
    }

    /// Comes to all doors at once, and says what is wrong with what came of it.
    fn made_by(&self, visitor: Visitor) -> Vec<String> {
        let before = visitor.ledger();
        let heard = std::thread::scope(|scope| {
            let come = |door| scope.spawn(move || visitor.show(door, self.case(door), self.version));
            DOORS.map(come).map(|coming| coming.join().unwrap())
        });
        let after = visitor.ledger_of(before["attempts"].as_u64().unwrap() + 3);
        let wrong = |(door, heard): (Door, &Heard)| {
            let counted = count(&after, door, self.word()) == count(&before, door, self.word()) + 1;
            let right = self.is_right(heard);
            (!right || !counted).then(|| {
                let (name, version, word) = (self.client.name, self.version, self.word());
                format!("{name}, {version}, at {door:?}: {word} counted {counted}, heard {:?}", heard.told)
            })
        };
        DOORS.into_iter().zip(&heard).filter_map(wrong).collect()
    }

    fn is_right(&self, heard: &Heard) -> bool {
        match (self.word(), &heard.told) {
            ("given", told) => told.as_deref() == Ok(SECRET),
            (_, Ok(_)) => false,
            // Nobody listens to the end of a flight that is too large, so its sender may be cut off in the middle.
            ("too_large", Err(_)) => !heard.anything_of(SECRET),
            (_, Err(why)) => why.starts_with("AlertReceived") && !heard.anything_of(SECRET),
        }
    }
}

/// Some that come to one piñata: it has these revocation lists, and calls back no more of them at once.
fn parties<'a>(clients: &'a [Case], servers: &'a [Case]) -> Vec<Vec<Try<'a>>> {
    let mut parties: Vec<Vec<Try<'_>>> = Vec::new();
    for version in [0, 1] {
        for (client, server) in clients.iter().zip(servers) {
            let fits = |party: &&mut Vec<Try<'_>>| party.len() < 16 && party[0].client.crls == client.crls;
            let next = Try { client, server, version };
            match parties.iter_mut().find(fits) {
                Some(party) => party.push(next),
                None => parties.push(vec![next]),
            }
        }
    }
    parties
}

fn everybody_comes(world: World) {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ca = Ca::on(today, "Hostile CA");
    let [clients, servers] = [Role::Client, Role::Server].map(|role| cases(&ca, role));
    assert!(clients.iter().filter(|row| row.kind.is_some()).count() >= 80);
    assert!(clients.iter().zip(&servers).all(|(client, server)| client.kind == server.kind));
    let (parties, faults) = (Mutex::new(parties(&clients, &servers)), Mutex::new(Vec::new()));
    let next = || parties.lock().unwrap().pop();
    let hang_them = || {
        while let Some(tries) = next() {
            let party = Party::under(&ca, &tries[0].client.crls, SECRET);
            let tap = Tap::holding(world, &bench::appliance(), &party.bundle(), &["--pinata", "direct"]);
            let found = tap.among_clients(|| {
                let visitors = (0..).map(Visitor::number);
                tries.iter().zip(visitors).flat_map(|(one, visitor)| one.made_by(visitor)).collect::<Vec<_>>()
            });
            faults.lock().unwrap().extend(found);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(hang_them))));
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn none_of_them_is_told_anything_by_the_process() {
    everybody_comes(World::Process);
}

#[test]
fn none_of_them_is_told_anything_by_the_machine() {
    everybody_comes(World::Machine);
}
