//! What a visitor can check from outside, and that a lie shows.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod yard;

use pinata::attest::{Attestation, Digits, Nonce, Unproved};
use pinata::{Door, Keys, Outcome, Pinata};
use std::rc::Rc;
use tls_bench::TODAY;
use tls_bench::hostile::{self, Role};
use yard::{SECRET, Yard};

const CODE: Digits = Digits([0xc0; 32]);

/// A key as `openssl genpkey -algorithm ed25519` makes one, of this seed.
fn bounty(seed: u8) -> Vec<u8> {
    let der =
        [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &[seed; 32]].concat();
    tls::mint::pem("PRIVATE KEY", &der).as_bytes().to_vec()
}

fn holding(words: Vec<u8>) -> Rc<Pinata> {
    let pinata = Rc::into_inner(Yard::default().hang_with(&[], words)).unwrap();
    Rc::new(pinata.running(CODE))
}

fn nonce(byte: u8) -> Nonce {
    Nonce::read(&format!("{byte:02x}").repeat(32)).unwrap()
}

#[test]
fn who_holds_the_bounty_can_say_so_to_everybody() {
    let pinata = holding(bounty(7));
    let said = pinata.sheet("/attestation", &format!("nonce={}", nonce(1))).unwrap().text;
    let read = Attestation::read(&said, &nonce(1)).unwrap();
    assert_eq!((read.code, read.ca), (Some(CODE), Digits::of(&pem_of(&pinata))));
    let page = pinata.sheet("/", "").unwrap().text;
    assert!(page.contains(&read.key.unwrap().to_string()) && page.contains(&CODE.to_string()));
    assert_ne!(
        Attestation::read(&holding(bounty(8)).attestation(&nonce(1)), &nonce(1)).unwrap().key,
        read.key
    );
}

fn pem_of(pinata: &Pinata) -> Vec<u8> {
    let text = pinata.sheet("/ca.pem", "").unwrap().text;
    tls::papers::certificates(text.as_bytes()).unwrap().remove(0)
}

#[test]
fn whatever_is_changed_in_an_answer_it_proves_nothing() {
    let said = holding(bounty(7)).attestation(&nonce(1));
    assert_eq!(Attestation::read(&said, &nonce(2)), Err(Unproved::Stale), "an answer that somebody has kept");
    for at in 0..said.len() {
        let mut bytes = said.clone().into_bytes();
        bytes[at] ^= 1;
        let changed = String::from_utf8_lossy(&bytes).into_owned();
        assert!(Attestation::read(&changed, &nonce(1)).is_err(), "byte {at} of {said}");
    }
    for more in ["\n", " ", "signature none\n", "nonce 00\n"] {
        assert!(Attestation::read(&(said.clone() + more), &nonce(1)).is_err());
        assert!(Attestation::read(&(more.to_owned() + &said), &nonce(1)).is_err());
    }
}

#[test]
fn a_liar_with_another_key_or_with_none_shows() {
    let (true_one, liar) =
        (holding(bounty(7)).attestation(&nonce(1)), holding(bounty(8)).attestation(&nonce(1)));
    let line = |text: &str, name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let lie = true_one.replace(&line(&true_one, "signature"), &line(&liar, "signature"));
    assert_eq!(Attestation::read(&lie, &nonce(1)), Err(Unproved::Forged));
    let silent = true_one.replace(&line(&true_one, "signature"), "signature none");
    assert_eq!(Attestation::read(&silent, &nonce(1)), Err(Unproved::Forged));
    let other_code = true_one.replace("c0c0", "c1c0");
    assert_eq!(
        Attestation::read(&other_code, &nonce(1)),
        Err(Unproved::Forged),
        "it has signed what it runs"
    );
}

#[test]
fn a_bounty_that_is_no_key_proves_nothing_and_says_so() {
    let pinata = holding(SECRET.to_vec());
    let read = Attestation::read(&pinata.attestation(&nonce(1)), &nonce(1)).unwrap();
    assert_eq!(read.key, None);
    assert!(pinata.sheet("/", "").unwrap().text.contains("nothing can prove from outside"));
    for question in ["", "nonce=", "nonce=12", "nonce=zz", "other=1", &format!("nonce={}", "0".repeat(130))] {
        assert!(pinata.sheet("/attestation", question).unwrap().text.starts_with("Ask with a nonce"));
    }
}

#[test]
fn openssl_verifies_what_was_signed_without_any_of_our_code() {
    let said = holding(bounty(7)).attestation(&nonce(1));
    let folder = std::env::temp_dir().join(format!("gatehouse-attest-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let verify = |words: &str| {
        let (words, signature) = words.split_at(words.find("signature ").unwrap());
        let digits = |line: &str, name| line.trim().strip_prefix(name).map(str::to_owned).unwrap();
        let bytes = |digits: &str| -> Vec<u8> {
            (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..][..2], 16).unwrap()).collect()
        };
        let key = bytes(&digits(words.lines().last().unwrap(), "key ed25519 "));
        let public = [&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0][..], &key].concat();
        std::fs::write(folder.join("words"), words).unwrap();
        std::fs::write(folder.join("key"), public).unwrap();
        std::fs::write(folder.join("signature"), bytes(&digits(signature, "signature "))).unwrap();
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin", "-inkey", "key"]);
        openssl.args(["-sigfile", "signature", "-in", "words"]).current_dir(&folder);
        openssl.output().unwrap().status.success()
    };
    assert!(verify(&said));
    assert!(!verify(&said.replace("nonce 01", "nonce 02")));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_copy_has_other_keys_the_same_secret_and_a_ledger_that_tells() {
    let yard = Yard::default();
    let pinata = yard.hang_forgotten();
    assert!(pinata.made_its_keys());
    yard.show(&pinata, Door::Server, &hostile::good(&yard.ca, Role::Client), 1).unwrap_err();
    let (before, line) = (pem_of(&pinata), pinata.line().unwrap());
    let keys = Keys::mint(&["pinata.example.org"], TODAY).unwrap();
    let pinata = Rc::new(Rc::into_inner(pinata).unwrap().rehung(keys).unwrap());
    let after = pem_of(&pinata);
    assert_ne!(before, after);
    let told = pinata.line().unwrap();
    assert!(told.contains(&format!("2 2026-09-21T14:13Z rehung ca={}", Digits::of(&after))), "{told}");
    assert_eq!(pinata.ledger().attempts(), 1, "what happened before is not forgotten");
    let chain = pinata.ledger().chain().clone();
    assert_eq!(pinata::chain::follow(chain.start(), [line.as_str(), &told], chain.head()), Ok(()));
    let visitor = hostile::good(&yard.ca, Role::Client);
    yard.show(&pinata, Door::Server, &visitor, 1).unwrap_err();
    assert_eq!(pinata.ledger().figures().map(|(_, _, count)| count).sum::<u64>(), 2);
}

#[test]
fn another_secret_takes_its_place_and_whoever_is_at_a_door_finds_the_old_one() {
    let yard = Yard::default();
    let (old, friend) = (yard.hang(&[]), hostile::good(&yard.ca, Role::Client));
    let fill = |keys| old.refilled(b"another".to_vec(), "It is worth more.".to_owned(), keys);
    let crooked = [Role::Server, Role::Client, Role::Client].map(|role| {
        let own = yard::good(&yard.ca, role);
        tls::mint::Minted { chain: own.chain, key: tls::Key::new(yard.ca.key()) }
    });
    assert!(fill(Some(Keys::given(yard.ca.der.clone(), Vec::new(), crooked).unwrap())).is_err());
    assert!(old.line().is_none(), "nothing has changed");
    let new = Rc::new(fill(None).unwrap());
    assert_eq!(yard.show(&old, Door::Server, &friend, 1).as_deref(), Ok(SECRET));
    assert_eq!(yard.show(&new, Door::Server, &friend, 1).as_deref(), Ok(&b"another"[..]));
    assert_eq!(new.ledger().count(Door::Server, Outcome::Given), 2, "there is one ledger");
    assert!(new.sheet("/", "").unwrap().text.contains("It is worth more."));
    assert!(new.line().unwrap().contains(" refilled "));
    let new = Rc::new(fill(Some(Keys::mint(&["pinata.example.org"], TODAY).unwrap())).unwrap());
    let words = [new.line().unwrap(), new.line().unwrap()];
    assert!(words[0].contains(" rehung ca=") && words[1].contains(" refilled "), "{words:?}");
    yard.show(&new, Door::Server, &friend, 1).unwrap_err();
}

#[test]
fn an_operators_keys_may_be_rsa() {
    let yard = Yard::default();
    for version in [0, 1] {
        let pinata = yard.hang_of_rsa();
        let visitor = hostile::good(&yard.ca, Role::Client);
        assert_eq!(yard.show(&pinata, Door::Server, &visitor, version).as_deref(), Ok(SECRET));
        let visitor = hostile::good(&yard.ca, Role::Server);
        assert_eq!(yard.show(&pinata, Door::Client, &visitor, version).as_deref(), Ok(SECRET));
        assert_eq!(pinata.ledger().count(Door::Server, Outcome::Given), 1);
    }
}
