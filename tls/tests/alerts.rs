//! Whoever breaks the protocol is told how: also where rustls itself would hang up without a word.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use tls::{Front, Kind};
use tls_bench::{Bench, PATIENCE, pipe, read_all, refusal, run, write_all};

const ECDHE_ECDSA_AES128: u16 = 0xc02b;
const FALLBACK_SCSV: u16 = 0x5600;
const TLS13_AES128: u16 = 0x1301;

/// A ClientHello of TLS 1.2 that offers these suites, as a record; `first` is the type of the message.
fn hello(first: u8, suites: &[u16]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    // Groups: x25519. Signatures: ecdsa_secp256r1_sha256. Formats of points: plain. Extended master secret.
    let extensions = b"\x00\x0a\x00\x04\x00\x02\x00\x1d\x00\x0d\x00\x04\x00\x02\x04\x03\x00\x0b\x00\x02\x01\x00\x00\x17\x00\x00";
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    record(&message(first, &body))
}

fn message(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, 0], &(body.len() as u16).to_be_bytes()[..], body].concat()
}

fn record(payload: &[u8]) -> Vec<u8> {
    [&[22, 3, 1], &(payload.len() as u16).to_be_bytes()[..], payload].concat()
}

/// What a site answers to these bytes: its refusal, and everything that it said.
fn answer(bytes: Vec<u8>) -> (Kind, Vec<u8>) {
    let bench = Bench::default();
    let sites = vec![bench.site(&["example.org"])];
    let front = Front::new(sites, Some(0), bench.calendar.clone()).unwrap();
    let (mut near, far) = pipe(100_000);
    let timers = bench.tasks.timers().clone();
    run(&bench.tasks, async move { refusal(front.accept(far, 443, &timers, PATIENCE).await) }, async move {
        write_all(&mut near, &bytes).await.unwrap();
        read_all(&mut near).await.unwrap()
    })
}

#[track_caller]
fn told(bytes: Vec<u8>, kind: Kind, alert: u8) {
    let (refused, said) = answer(bytes);
    assert_eq!((refused, &said[said.len().saturating_sub(7)..]), (kind, &[21, 3, 3, 0, 2, 2, alert][..]));
}

#[test]
fn a_first_message_that_is_no_hello_is_unexpected() {
    for first in [0, 2, 11, 16, 20, 201] {
        let (_, said) = answer(hello(first, &[ECDHE_ECDSA_AES128]));
        assert!(matches!(said[..], [21, 3, 3, 0, 2, 2, 10 | 50]), "type {first}: {said:?}");
    }
    told(hello(201, &[ECDHE_ECDSA_AES128]), Kind::Malformed, 10);
}

#[test]
fn a_key_share_that_cannot_be_read_is_told_so() {
    let mut bytes = hello(1, &[ECDHE_ECDSA_AES128]);
    bytes.extend(record(&message(16, &[])));
    told(bytes, Kind::Malformed, 50);
}

#[test]
fn a_hello_that_does_not_end_is_told_so_at_either_limit() {
    for pieces in [100, 16_000] {
        let all = message(1, &[0; 60_000]);
        told(all.chunks(pieces).flat_map(record).collect(), Kind::TooLarge, 50);
    }
}

/// RFC 7507: it speaks 1.2 only because somebody made it believe that 1.3 is not spoken here.
#[test]
fn a_client_that_was_led_to_an_older_version_is_told_so() {
    told(hello(1, &[ECDHE_ECDSA_AES128, FALLBACK_SCSV]), Kind::Version, 86);
    let (_, said) = answer([hello(1, &[ECDHE_ECDSA_AES128]), record(&message(16, &[]))].concat());
    assert_eq!(said[5], 2, "without that word there is a ServerHello");
    let (kind, _) = answer(hello(1, &[TLS13_AES128, ECDHE_ECDSA_AES128, FALLBACK_SCSV]));
    assert_ne!(kind, Kind::Version, "who offers 1.3 was not led anywhere");
}
