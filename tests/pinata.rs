//! The piñata that ships, in both worlds, before OpenSSL, curl and its own `whack`: the page, the doors, the ledger, what
//! it attests, and what lies in its memory meanwhile.

use bench::launched::{Running, free_port};
use bench::party::Party;
use bench::running::World;
use bench::tap::Tap;
use bench::{house, memory};
use pinata::chain::follow;
use serde_json::Value;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Nothing here takes so long unless it is broken.
const LONG: Duration = Duration::from_secs(120);

/// A piñata that hangs at 192.0.2.7, in one of the worlds.
struct Scene<'a> {
    party: &'a Party,
    tap: Tap,
}

impl<'a> Scene<'a> {
    fn hung(world: World, party: &'a Party) -> Self {
        let tap = Tap::holding(world, &bench::appliance(), &party.bundle(), &["--pinata", "direct"]);
        Self { party, tap }
    }

    fn said(&self, line: &str) -> String {
        let output = self.tap.shell(line);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn page(&self, path: &str) -> String {
        self.said(&format!("curl -sS -m 60 http://192.0.2.7{path}"))
    }

    /// Each key where it must be and nowhere else.
    #[track_caller]
    fn look(&self, when: &str) {
        let faults = memory::faults(&self.tap.memory(), &self.party.needles());
        assert!(faults.is_empty(), "{when}:\n{}", faults.join("\n"));
    }

    fn whack(&self, words: &[&str]) -> Output {
        let mut command = self.tap.client(&bench::gatehouse().to_string_lossy());
        command.args(["pinata", "whack", "192.0.2.7"]).args(words).output().unwrap()
    }

    fn everything(&self) {
        self.look("after the start");
        let page = self.page("/");
        assert!(page.contains("It hangs whole.") && page.contains(&Party::code()), "{page}");
        assert!(self.said("curl -sSk -m 60 https://192.0.2.7/").contains("It hangs whole."));
        assert_eq!(self.page("/ca.pem"), self.party.read("site/tls/ca.pem"));
        self.a_thousand_attempts();
        self.look("after a thousand attempts");
        self.friends();
        self.with_all_that_the_operator_keeps();
        self.look("after successes at every door");
        self.ledger();
    }

    /// Everything that `whack` has, again and again, and what it says of liars.
    fn a_thousand_attempts(&self) {
        let key = self.page("/attestation?nonce=00112233445566778899aabbccddeeff");
        let key =
            key.lines().find_map(|line| line.strip_prefix("key ed25519 ")).unwrap_or_else(|| panic!("{key}"));
        let (code, other) = (Party::code(), "00".repeat(32));
        let whacked = self.whack(&["--rounds", "28", "--key", key, "--code", &code]);
        let table = String::from_utf8_lossy(&whacked.stdout);
        let trouble = String::from_utf8_lossy(&whacked.stderr);
        assert!(whacked.status.success() && table.ends_with("It hangs whole.\n"), "{table}{trouble}");
        assert_eq!(table.matches(", as you know it").count(), 3, "{table}");
        assert!(table.contains("it talked to itself: ") && !table.contains("not tried"), "{table}");
        for lie in [["--key", &other], ["--code", &other]] {
            let whacked = self.whack(&lie);
            let trouble = String::from_utf8_lossy(&whacked.stderr);
            assert!(!whacked.status.success() && trouble.contains("its attestation is a lie"), "{trouble}");
        }
    }

    /// Friends come to each door with real OpenSSL; a stranger gets nothing there.
    fn friends(&self) {
        let (friend, server) =
            (self.party.path("site/keep/friend.pem"), self.party.path("site/keep/friend-server.pem"));
        let secret = self.party.secret();
        for version in ["-tls1_2", "-tls1_3"] {
            let ask = |own: &str| {
                let words = "s_client -connect 192.0.2.7:10000 -quiet -noservername";
                self.said(&format!("timeout 60 openssl {words} {version} {own} </dev/null 2>&1"))
            };
            let told = ask(&format!("-cert {friend} -key {friend}"));
            assert!(told.contains(secret.trim()), "to a client, {version}: {told}");
            let told = ask("");
            assert!(!told.contains("PRIVATE KEY") && told.contains("alert"), "{version}: {told}");
            // OpenSSL does not play the server on a connection that it opened: somebody carries the bytes.
            let carry = "timeout 60 socat TCP:192.0.2.7:10002 TCP:127.0.0.1:4433";
            let told =
                self.served(&format!("-accept 127.0.0.1:4433 {version} -cert {server} -key {server}"), carry);
            assert!(told.contains(secret.trim()), "to a server, {version}: {told}");
        }
        // `whack` has knocked a moment ago: nobody is called at its address for ten seconds.
        let knock = "timeout 60 socat -u TCP:192.0.2.7:10001,bind=192.0.2.140 -";
        let told = self.served(&format!("-accept 192.0.2.140:40001 -cert {server} -key {server}"), knock);
        assert!(told.contains(secret.trim()), "to a server that is called back: {told}");
    }

    /// `whack` with the CA's key at hand: certificates of the true CA, each wrong in one thing, and then good ones.
    fn with_all_that_the_operator_keeps(&self) {
        let whacked = self.whack(&["--keep", &self.party.path("site/keep")]);
        let table = String::from_utf8_lossy(&whacked.stdout).into_owned();
        assert!(
            whacked.status.success() && table.contains(" without any right to it: nothing fell out"),
            "{table}"
        );
        for (what, why, count) in [
            ("of its CA, expired", "xpired", 4),
            ("of its CA, not valid yet", "", 4),
            ("of its CA, for the other side", "", 4),
            ("of its CA, and another key", "", 2),
            ("of its CA, revoked", "", 2),
            ("of its CA, revoked", "CertificateRevoked", 1),
            ("your certificate", "THE SECRET", 2),
        ] {
            let lines = table.lines().filter(|line| line.contains(what) && line.contains(why)).count();
            assert!(lines >= count && !table.contains("not tried"), "{what}: {table}");
        }
    }

    /// What OpenSSL hears as a server, once `bring` has brought a client to it. Its standard input never ends: it would
    /// end with that.
    fn served(&self, words: &str, bring: &str) -> String {
        let open = "pipe=$(mktemp -u) && mkfifo $pipe && exec 3<>$pipe && rm $pipe";
        let serve = format!("timeout 60 openssl s_server -quiet -naccept 1 {words} <&3 2>&1");
        let listens = "ss -Hltn | grep -qE ':(4433|40001) '";
        let wait = format!("for i in $(seq 600); do {listens} && break; sleep 0.05; done");
        self.said(&format!("{open}; {serve} & {wait}; {bring} 3<&-; wait"))
    }

    /// The ledger has every attempt, and its chain is what the console shows.
    fn ledger(&self) {
        let read = || serde_json::from_str::<Value>(&self.page("/ledger.json")).unwrap();
        let ledger = read();
        let count = |port: &str, kind: &str| ledger["doors"][port][kind].as_u64().unwrap_or(0);
        assert!(ledger["attempts"].as_u64().unwrap() >= 1000, "{ledger}");
        assert_eq!(["10000", "10002"].map(|port| count(port, "given")), [3, 3], "{ledger}");
        // `whack` asks to be called twice, and is called twice if it was slow.
        assert!((1..=2).contains(&count("10001", "given")), "{ledger}");
        for (port, kind, least) in [
            ("10000", "not_tls", 28),
            ("10000", "closed", 28),
            ("10000", "no_certificate", 56),
            ("10000", "not_yet_valid", 56),
            ("10000", "revoked", 2),
            ("10000", "untrusted_issuer", 56),
            ("10000", "bad_signature", 112),
            ("10000", "expired", 56),
            ("10000", "wrong_use", 112),
            ("10000", "itself", 28),
            ("10001", "untrusted_issuer", 1),
            ("10002", "untrusted_issuer", 56),
            ("10002", "bad_signature", 112),
            ("10002", "expired", 56),
            ("10002", "wrong_use", 112),
            ("10002", "not_yet_valid", 56),
            ("10002", "itself", 28),
        ] {
            assert!(count(port, kind) >= least, "{kind} at {port}: {ledger}");
        }
        assert!(self.page("/").contains("It has been broken"), "the page says that somebody was told");
        let start = Instant::now();
        while self.followed(&read()["chain"]).is_err() {
            assert!(start.elapsed() < LONG, "{:?}: {}", self.followed(&read()["chain"]), self.tap.said(""));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn followed(&self, chain: &Value) -> Result<(), String> {
        let console = self.tap.said("");
        let lines: Vec<&str> = console.lines().filter(|line| line.starts_with("piñata: ")).collect();
        let at = |name: &str| pinata::chain::Head::read(chain[name].as_str().unwrap()).unwrap();
        follow(at("start"), lines, at("head")).map_err(|gap| format!("{gap:?} in {chain}"))
    }
}

#[test]
fn as_a_process_it_tells_friends_only_and_holds_each_key_in_one_place() {
    Scene::hung(World::Process, &Party::default()).everything();
}

#[test]
fn as_a_machine_it_tells_friends_only_and_holds_each_key_in_one_place() {
    Scene::hung(World::Machine, &Party::default()).everything();
}

#[test]
fn whoever_has_a_minute_hangs_one_up_hits_it_and_fills_it_anew() {
    let party = Party::default();
    let (site, keep, control) = (party.path("site"), party.path("site/keep"), party.path("control"));
    let [page, server, client, nobody] = [(); 4].map(|()| free_port().to_string());
    let published = [(&page, 80), (&server, 10000), (&client, 10002)].map(|(at, to)| format!("{at}:{to}"));
    let words = published.iter().flat_map(|ports| ["--publish", ports]).collect::<Vec<_>>();
    let running = Running::hanging(&[&[&site, "--control", &control][..], &words].concat());
    running.until(&format!("http://127.0.0.1:{page}"));
    let ports = ["--page", &page, "--server", &server, "--client", &client, "--call-back", &nobody];
    let whack = || {
        let whacked = house::run(&[&["pinata", "whack", "127.0.0.1", "--keep", &keep], &ports[..]].concat());
        let table = String::from_utf8_lossy(&[whacked.stdout, whacked.stderr].concat()).into_owned();
        assert!(whacked.status.success() && table.contains("\nIt hangs whole.\n"), "{table}");
        table
    };
    // Visitors come to this one through the launcher: it calls nobody back.
    let table = whack();
    assert!(
        table.contains(party.secret().trim()) && table.matches("not tried: no connection").count() == 2,
        "{table}"
    );
    party.hide_another("Worth more.");
    assert!(house::run(&["reload", &site, "--control", &control]).status.success());
    assert!(whack().contains(party.secret().trim()));
    let curl = Command::new("curl").args(["-sS", &format!("http://127.0.0.1:{page}/")]).output().unwrap();
    let seen = String::from_utf8_lossy(&curl.stdout);
    assert!(seen.contains("Worth more.") && seen.contains("<dt>10001<dd>Closed here."), "{seen}");
}

#[test]
fn a_copy_of_the_secret_that_somebody_forgot_is_found() {
    let party = Party::worth("planted");
    let tap =
        Tap::holding(World::Process, bench::machine::probes(), &party.bundle(), &["--pinata", "direct"]);
    let faults = memory::faults(&tap.memory(), &party.needles());
    assert!(faults.iter().any(|fault| fault.starts_with("the secret as it is told: 2 at")), "{faults:?}");
}
