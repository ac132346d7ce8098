//! Clients with keys of their own and no manners: what is authentic and still wrong comes to an end, bounded and told.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::ErrorKind;
use std::rc::Rc;
use tls::Front;
use tls_bench::forger::{ALERT, CCS, DATA, Forger, HANDSHAKE, Record, plain};
use tls_bench::{Bench, close, read_all, run};

const NAME: &str = "example.org";
const VERSIONS: [bool; 2] = [false, true];

/// Alerts, by their numbers.
const CLOSE_NOTIFY: u8 = 0;
const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const DECODE_ERROR: u8 = 50;
const NO_RENEGOTIATION: u8 = 100;

/// What the session heard, or how it broke; and what the client was told.
type Met = (Result<Vec<u8>, ErrorKind>, Vec<Record>);

/// Lets a client do something behind its handshake. The session says nothing, reads to its end and closes.
fn meet<F: Future<Output = Forger> + 'static>(new: bool, act: impl FnOnce(Forger) -> F + 'static) -> Met {
    let bench = Bench::default();
    let front = bench.front(vec![bench.site(&[NAME])]);
    meet_at(&bench, &front, new, act)
}

fn meet_at<F: Future<Output = Forger> + 'static>(
    bench: &Bench,
    front: &Rc<Front>,
    new: bool,
    act: impl FnOnce(Forger) -> F + 'static,
) -> Met {
    let (mut session, forger) = Forger::meet(bench, front, NAME, new);
    run(
        &bench.tasks,
        async move {
            let heard = read_all(&mut session).await.map_err(|error| error.kind());
            let _ = close(&mut session).await;
            heard
        },
        async move { act(forger).await.rest().await },
    )
}

/// The last thing that the client was told, as the number of an alert.
fn last(told: &[Record]) -> Option<u8> {
    told.last().filter(|(kind, words)| *kind == ALERT && words.len() == 2).map(|(_, words)| words[1])
}

#[track_caller]
fn broke(what: &str, (heard, told): &Met, alert: u8) {
    assert_eq!((heard.as_ref().err(), last(told)), (Some(&ErrorKind::InvalidData), Some(alert)), "{what}");
}

#[test]
fn an_honest_forger_is_understood() {
    for new in VERSIONS {
        let (heard, told) = meet(new, |mut forger| async move {
            assert!(forger.send(DATA, b"hello").await);
            assert!(forger.send(ALERT, &[1, CLOSE_NOTIFY]).await);
            forger
        });
        assert_eq!((heard.as_deref(), last(&told)), (Ok(&b"hello"[..]), Some(CLOSE_NOTIFY)));
    }
}

/// One byte of a message in each record, and each record as large as it can be: rustls keeps them all until the
/// message is whole, and the message may have 64 KiB.
#[test]
fn a_message_that_does_not_end_is_given_up_before_it_is_large() {
    for (new, padding) in [(true, 16_000), (true, 0), (false, 0)] {
        let bench = Bench::default();
        let front = bench.front(vec![bench.site(&[NAME])]);
        let (mut session, mut forger) = Forger::meet(&bench, &front, NAME, new);
        let (heard, sent) = run(
            &bench.tasks,
            async move { read_all(&mut session).await.map_err(|error| error.kind()) },
            async move {
                let mut sent = 0;
                for byte in [24, 0, 0xff, 0xff].into_iter().chain(std::iter::repeat_n(0, 50_000)) {
                    let record = forger.record(HANDSHAKE, &[byte], padding);
                    sent += record.len();
                    if sent > 2_000_000 || !forger.say(&record).await {
                        break;
                    }
                }
                sent
            },
        );
        assert_eq!(heard, Err(ErrorKind::InvalidData), "padded by {padding}");
        assert!(sent < 200_000, "{sent} bytes were taken");
    }
}

#[test]
fn requests_for_new_keys_are_answered_once_and_not_for_ever() {
    let (heard, told) = meet(true, |mut forger| async move {
        for _ in 0..32 {
            assert!(forger.update().await);
        }
        assert!(forger.send(DATA, b"still here").await);
        assert!(forger.send(ALERT, &[1, CLOSE_NOTIFY]).await);
        forger
    });
    assert_eq!((heard.as_deref(), last(&told)), (Ok(&b"still here"[..]), Some(CLOSE_NOTIFY)));
    assert!(told.len() < 4, "{told:?}");
    let met = meet(true, |mut forger| async move {
        for _ in 0..33 {
            let _ = forger.update().await;
        }
        forger
    });
    assert_eq!(met.0, Err(ErrorKind::InvalidData));
    assert!(met.1.len() < 4, "{:?}", met.1);
}

#[test]
fn records_that_hold_nothing_come_to_an_end() {
    for new in VERSIONS {
        let some = |count| {
            move |mut forger: Forger| async move {
                for _ in 0..count {
                    let _ = forger.send(DATA, b"").await;
                }
                let _ = forger.send(DATA, b"hello").await;
                let _ = forger.send(ALERT, &[1, CLOSE_NOTIFY]).await;
                forger
            }
        };
        assert_eq!(meet(new, some(32)).0.as_deref(), Ok(&b"hello"[..]));
        assert_eq!(meet(new, some(33)).0, Err(ErrorKind::InvalidData));
    }
}

/// Whatever message of a handshake comes when the handshake is over: it does nothing but end the connection.
#[test]
fn no_message_of_a_handshake_means_anything_behind_it() {
    for new in VERSIONS {
        for message in 0..=255 {
            // Those two have a meaning: a request for new keys, and in TLS 1.2 one for another handshake.
            if (new, message) == (true, 24) || (new, message) == (false, 1) {
                continue;
            }
            for body in [&[][..], &[0; 40]] {
                let said = [&[message, 0, 0, body.len() as u8], body].concat();
                let (heard, told) = meet(new, move |mut forger| async move {
                    assert!(forger.send(HANDSHAKE, &said).await);
                    forger
                });
                let alert = last(&told);
                assert_eq!(heard, Err(ErrorKind::InvalidData), "message {message}: {told:?}");
                assert!(
                    matches!(alert, Some(UNEXPECTED_MESSAGE | DECODE_ERROR | 47)),
                    "message {message} {new}: {told:?}"
                );
            }
        }
    }
}

#[test]
fn a_second_handshake_is_refused_once_by_a_word_and_then_for_good() {
    let hello = [&[1, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0]].concat();
    for count in [1, 2] {
        let hello = hello.clone();
        let (heard, told) = meet(false, move |mut forger| async move {
            for _ in 0..count {
                let _ = forger.send(HANDSHAKE, &hello).await;
            }
            let _ = forger.send(DATA, b"hello").await;
            let _ = forger.send(ALERT, &[1, CLOSE_NOTIFY]).await;
            forger
        });
        assert!(told.contains(&(ALERT, vec![1, NO_RENEGOTIATION])), "{told:?}");
        assert_eq!(heard, if count == 1 { Ok(b"hello".to_vec()) } else { Err(ErrorKind::InvalidData) });
    }
}

/// Whoever sits on the way has no keys. It cannot make an end of what was said, nor go on speaking.
#[test]
fn nothing_that_is_not_sealed_is_believed() {
    for new in VERSIONS {
        for forged in [
            plain(ALERT, &[1, CLOSE_NOTIFY]),
            plain(ALERT, &[2, CLOSE_NOTIFY]),
            plain(DATA, b"hello"),
            plain(DATA, &[7; 40]),
            plain(HANDSHAKE, &[24, 0, 0, 1, 0]),
            plain(CCS, &[1]),
            plain(99, &[7; 40]),
        ] {
            let said = forged.clone();
            let (heard, told) = meet(new, |mut forger| async move {
                assert!(forger.say(&said).await);
                forger
            });
            assert_eq!(heard, Err(ErrorKind::InvalidData), "{new} {forged:?}: {told:?}");
            assert!(told.iter().all(|(kind, _)| *kind != DATA), "{told:?}");
        }
    }
}

#[test]
fn a_record_may_be_large_and_not_larger() {
    for new in VERSIONS {
        let full = meet(new, |mut forger| async move {
            assert!(forger.send(DATA, &[7; 1 << 14]).await);
            assert!(forger.send(ALERT, &[1, CLOSE_NOTIFY]).await);
            forger
        });
        assert_eq!(full.0.map(|heard| heard.len()), Ok(1 << 14));
        // Far beyond, rustls says decode_error: its header alone is read.
        for (length, alert) in [(1, RECORD_OVERFLOW), (256, RECORD_OVERFLOW), (3000, DECODE_ERROR)]
            .map(|(over, alert)| ((1 << 14) + over, alert))
        {
            let met = meet(new, move |mut forger| async move {
                let _ = forger.send(DATA, &vec![7; length]).await;
                forger
            });
            broke(&format!("{length}"), &met, alert);
        }
    }
}

#[test]
fn types_and_alerts_that_nobody_knows_end_the_connection() {
    for new in VERSIONS {
        for kind in [0, 19, 24, 25, 99, 255] {
            let met = meet(new, move |mut forger| async move {
                let _ = forger.send(kind, b"hello").await;
                forger
            });
            assert_eq!(met.0, Err(ErrorKind::InvalidData), "{new} {kind}: {:?}", met.1);
        }
        for alert in [&[][..], &[1], &[2, 80], &[2, 255], &[1, 0, 1, 0], &[2, 10]] {
            let met = meet(new, move |mut forger| async move {
                let _ = forger.send(ALERT, alert).await;
                forger
            });
            assert!(met.0.is_err(), "{new} {alert:?}: {:?}", met.1);
        }
        // Warnings: a few of them, and not for ever.
        let met = meet(new, |mut forger| async move {
            for _ in 0..9 {
                let _ = forger.send(ALERT, &[1, 90]).await;
            }
            forger
        });
        assert_eq!(met.0, Err(ErrorKind::InvalidData));
    }
}

#[test]
fn nothing_behind_a_goodbye_is_heard() {
    for new in VERSIONS {
        let (heard, told) = meet(new, |mut forger| async move {
            for (kind, words) in [(DATA, &b"all"[..]), (ALERT, &[1, CLOSE_NOTIFY]), (DATA, b" and more")] {
                assert!(forger.send(kind, words).await);
            }
            forger
        });
        assert_eq!((heard.as_deref(), last(&told)), (Ok(&b"all"[..]), Some(CLOSE_NOTIFY)));
    }
}

/// A message that begins, and then something else: nobody may slip words between the parts of another.
#[test]
fn nothing_stands_between_the_parts_of_a_message() {
    for kind in [DATA, ALERT] {
        let met = meet(true, move |mut forger| async move {
            let _ = forger.send(HANDSHAKE, &[24, 0]).await;
            let _ = forger.send(kind, &[1, CLOSE_NOTIFY]).await;
            let _ = forger.send(HANDSHAKE, &[0, 1, 0]).await;
            forger
        });
        assert_eq!(met.0, Err(ErrorKind::InvalidData), "{:?}", met.1);
    }
    // And two in one record, of which the first changes the key, are as wrong.
    let met = meet(true, |mut forger| async move {
        let _ = forger.send(HANDSHAKE, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0]).await;
        forger
    });
    assert_eq!(met.0, Err(ErrorKind::InvalidData));
}

#[test]
fn a_record_that_was_seen_before_is_no_record() {
    for new in VERSIONS {
        let met = meet(new, |mut forger| async move {
            let record = forger.record(DATA, b"pay", 0);
            let _ = forger.say(&record).await;
            let _ = forger.say(&record).await;
            forger
        });
        broke("twice", &met, BAD_RECORD_MAC);
    }
}
