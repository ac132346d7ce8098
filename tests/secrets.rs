//! What lies in the memory of a piñata that ships, in both worlds: keys that it made itself and nobody knows, what was
//! drawn for each signature, and a secret that another has replaced.

use bench::hunt::{AS_RING_HAS_IT, private_keys, public_keys};
use bench::memory::{Needle, faults};
use bench::party::Party;
use bench::running::{World, gatehouse};
use bench::tap::Tap;
use bench::visitor::Visitor;
use std::process::Output;
use tls_bench::hostile::{Ca, Role, good};

const BOTH: [World; 2] = [World::Process, World::Machine];

fn hung(world: World, party: &Party) -> Tap {
    Tap::holding(world, &bench::appliance(), &party.bundle(), &["--pinata", "direct"])
}

/// A certificate's key of P-256.
fn public_key(pem: &str) -> Vec<u8> {
    let der = tls::papers::certificates(pem.as_bytes()).unwrap();
    public_keys(&der[0]).pop_first().unwrap()
}

#[test]
fn keys_that_were_made_at_the_start_lie_in_one_place_and_the_cas_lies_nowhere() {
    for world in BOTH {
        let party = Party::of_nobody();
        let tap = hung(world, &party);
        let ca = public_key(&tap.among_clients(|| Visitor::number(1).page("/ca.pem")));
        let memory = tap.memory();
        let publics = memory.iter().flat_map(|run| public_keys(&run.bytes)).collect();
        let image = std::fs::read(bench::appliance()).unwrap();
        let known = [image, std::fs::read(party.bundle()).unwrap()];
        let found = private_keys(&memory, &ca, &publics, &known.each_ref().map(Vec::as_slice));
        let of = |public: &[u8]| found.iter().filter(|found| found.public == public).collect::<Vec<_>>();
        assert!(publics.contains(&ca) && of(&ca).is_empty(), "{world:?}: {found:?}");
        let others: Vec<_> =
            publics.iter().filter(|public| **public != ca).map(|public| of(public)).collect();
        // Three doors and the page; the CA of the page's certificate is not kept.
        let once = |found: &Vec<_>| matches!(found[..], [one] if is_rings(one));
        assert!(others.len() == 4 && others.iter().all(once), "{world:?}: {others:?}");
    }
}

fn is_rings(found: &bench::hunt::Found) -> bool {
    found.form == AS_RING_HAS_IT
}

#[test]
fn what_was_drawn_for_a_signature_is_gone() {
    for world in BOTH {
        let party = Party::default();
        let tap = hung(world, &party);
        let visitor = Visitor::number(1);
        let said = tap.among_clients(|| visitor.page("/attestation?nonce=00112233445566778899aabbccddeeff"));
        // What comes next covers what was left before: nothing comes behind the signature, its handshake hangs.
        for version in [0, 1] {
            let overhear = || (0..10).map(|_| visitor.overhears(version)).collect::<Vec<_>>();
            let hanging = tap.among_clients(overhear);
            let mut needles = party.drawn_for_attestation(&said);
            needles.extend(hanging.iter().flat_map(|(_, message, signed)| party.drawn_for(message, signed)));
            assert_eq!(needles.len(), 4 + 10 * 12);
            needles.extend(party.needles());
            let faults = faults(&tap.memory(), &needles);
            assert!(faults.is_empty(), "{world:?}, {version}:\n{}", faults.join("\n"));
        }
    }
}

/// Asks the operator's tool to put what is in the party's folder in the place of what hangs.
fn refill(tap: &Tap, party: &Party) -> Output {
    let mut command = gatehouse(&["reload", &party.path("site"), "--control"]);
    command.arg(tap.control()).output().unwrap()
}

/// What a friend is told at each door that somebody can walk to, and what lies on the page.
fn told(tap: &Tap, party: &Party) -> (String, String) {
    let friend = party.path("site/keep/friend.pem");
    let words = "s_client -connect 192.0.2.7:10000 -quiet -noservername";
    let line = format!("timeout 60 openssl {words} -cert {friend} -key {friend} </dev/null 2>&1");
    let told = String::from_utf8_lossy(&tap.shell(&line).stdout).into_owned();
    (told, tap.among_clients(|| Visitor::number(2).page("/")))
}

#[test]
fn another_secret_comes_over_the_operators_channel_and_nothing_is_left_of_the_old_one() {
    for world in BOTH {
        let party = Party::worth("The first.");
        let tap = hung(world, &party);
        let (old, first) = (party.secret(), party.needles_of_secret());
        assert!(told(&tap, &party).0.contains(old.trim()));
        party.hide_another("The second.");
        let said = refill(&tap, &party);
        let words = String::from_utf8_lossy(&[&said.stdout[..], &said.stderr].concat()).into_owned();
        assert!(said.status.success() && words.contains("reloaded: the piñata"), "{world:?}: {words}");
        let (heard, page) = told(&tap, &party);
        assert!(heard.contains(party.secret().trim()) && !heard.contains(old.trim()), "{world:?}: {heard}");
        assert!(page.contains("The second.") && !page.contains("The first."), "{page}");
        let mut needles: Vec<Needle> = first.into_iter().map(Needle::gone).collect();
        needles.extend(party.needles());
        let faults = faults(&tap.memory(), &needles);
        assert!(faults.is_empty(), "{world:?}:\n{}", faults.join("\n"));
        assert!(tap.said(" refilled ").lines().any(|line| line.starts_with("piñata: ")));
        only_a_whole_one(&tap, &party);
    }
}

/// What is no piñata is refused, and nothing has changed.
fn only_a_whole_one(tap: &Tap, party: &Party) {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site").to_string_lossy().into_owned();
    assert!(bench::house::run(&["init", &site]).status.success());
    let refused = gatehouse(&["reload", &site, "--control"]).arg(tap.control()).output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("has nothing named \"pinata\""), "{why}");
    assert!(told(tap, party).0.contains(party.secret().trim()));
}

#[test]
fn whoever_was_revoked_gets_nothing_once_the_list_has_come() {
    let today = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (ca, secret) = (Ca::on(today, "Friends"), b"a secret for friends only");
    let party = Party::under(&ca, &[], secret);
    let tap = hung(World::Process, &party);
    let friend = good(&ca, Role::Client);
    let show =
        |number| tap.among_clients(|| Visitor::number(number).show(pinata::Door::Server, &friend, 1).told);
    assert_eq!(show(1).as_deref(), Ok(&secret[..]));
    let revoking = Party::under(&ca, &[ca.crl(&tls_bench::hostile::SERIAL, 9)], secret);
    assert!(refill(&tap, &revoking).status.success());
    assert!(show(2).unwrap_err().contains("CertificateRevoked"));
    assert!(tap.said(" rehung ca=").contains(" 10000 given=1 "));
    assert_eq!(tap.among_clients(|| Visitor::number(1).ledger())["doors"]["10000"]["revoked"], 1);
}
