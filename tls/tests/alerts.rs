//! Whoever breaks the protocol is told how: also where rustls itself would hang up without a word.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;
use tls::{ClientPolicy, Front, Kind};
use tls_bench::raw::{ECDHE_ECDSA_AES128, hello, message, record};
use tls_bench::{Bench, PATIENCE, pipe, read_all, refusal, run, write_all};

const FALLBACK_SCSV: u16 = 0x5600;
const TLS13_AES128: u16 = 0x1301;

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
        let (_, said) = answer(hello(first, &[ECDHE_ECDSA_AES128], b""));
        assert!(matches!(said[..], [21, 3, 3, 0, 2, 2, 10 | 50]), "type {first}: {said:?}");
    }
    told(hello(201, &[ECDHE_ECDSA_AES128], b""), Kind::Malformed, 10);
}

#[test]
fn a_key_share_that_cannot_be_read_is_told_so() {
    let mut bytes = hello(1, &[ECDHE_ECDSA_AES128], b"");
    bytes.extend(record(&message(16, &[])));
    told(bytes, Kind::Malformed, 50);
}

/// tlsfuzzer found that a client could make it look like a fault of ours.
#[test]
fn a_client_whose_schemes_our_key_does_not_sign_with_is_told_so() {
    let (known, other) = (b"\x00\x0d\x00\x04\x00\x02\x04\x03", b"\x00\x0d\x00\x04\x00\x02\x05\x03");
    let mut bytes = hello(1, &[ECDHE_ECDSA_AES128], b"");
    let at = bytes.windows(known.len()).position(|some| some == known).unwrap();
    bytes[at..at + other.len()].copy_from_slice(other);
    told(bytes, Kind::NothingInCommon, 40);
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
    told(hello(1, &[ECDHE_ECDSA_AES128, FALLBACK_SCSV], b""), Kind::Version, 86);
    let (_, said) = answer([hello(1, &[ECDHE_ECDSA_AES128], b""), record(&message(16, &[]))].concat());
    assert_eq!(said[5], 2, "without that word there is a ServerHello");
    let (kind, _) = answer(hello(1, &[TLS13_AES128, ECDHE_ECDSA_AES128, FALLBACK_SCSV], b""));
    assert_ne!(kind, Kind::Version, "who offers 1.3 was not led anywhere");
}

/// A site that asks for certificates, and a client that has said its hello.
fn asked(bench: &Bench) -> Front {
    let mut site = bench.site(&["example.org"]);
    site.clients = ClientPolicy::Required(bench.trust());
    Front::new(vec![site], Some(0), bench.calendar.clone()).unwrap()
}

#[test]
fn a_certificate_that_does_not_end_is_too_large_in_pieces_of_any_size() {
    for (length, size) in [(0xffff, 1), (0xffff, 20), (0x1_0000, 1), (0xff_ffff, 16_000)] {
        let bench = Bench::default();
        let (front, timers) = (asked(&bench), bench.tasks.timers().clone());
        let (mut near, far) = pipe(100_000);
        let [_, length @ ..] = u32::to_be_bytes(length);
        let whole = [&[11][..], &length, &[0; 65_000]].concat();
        let kind = run(
            &bench.tasks,
            async move { refusal(front.accept(far, 443, &timers, PATIENCE).await) },
            async move {
                write_all(&mut near, &hello(1, &[ECDHE_ECDSA_AES128], b"")).await.unwrap();
                let pieces: Vec<u8> = whole.chunks(size).flat_map(record).collect();
                let _ = write_all(&mut near, &pieces).await;
                read_all(&mut near).await.map(drop)
            },
        );
        assert_eq!(kind.0, Kind::TooLarge, "{length:?} in pieces of {size}");
    }
}

#[test]
fn a_client_that_trickles_its_certificate_is_gone_when_its_patience_is() {
    let bench = Bench::default();
    let (front, timers) = (asked(&bench), bench.tasks.timers().clone());
    let (mut near, far) = pipe(100_000);
    let clock = timers.clone();
    let (kind, end) = run(
        &bench.tasks,
        async move { refusal(front.accept(far, 443, &timers, PATIENCE).await) },
        async move {
            write_all(&mut near, &hello(1, &[ECDHE_ECDSA_AES128], b"")).await.unwrap();
            for byte in [11, 0, 2, 0].into_iter().chain(std::iter::repeat(0)) {
                clock.after(Duration::from_secs(1)).await;
                if write_all(&mut near, &record(&[byte])).await.is_err() {
                    break;
                }
            }
            clock.now().millis()
        },
    );
    assert_eq!(kind, Kind::TooSlow);
    assert!(end < 15_000, "gone after {end} ms, with the time that closing takes");
}
