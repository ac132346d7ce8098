//! A session is taken up again where it began, and nowhere else: CVE-2025-23419 and its family.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use rustls::crypto::ring::kx_group::X25519;
use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tls::mint::Validity;
use tls::{ClientPolicy, Front, Kind, Refused, Site, TicketSecret, Trust};
use tls_bench::hostile::{Ca, Role, cases};
use tls_bench::reckless::{Shown, Unheard, VERSIONS, calling, client, client_of, converse};
use tls_bench::{Bench, PATIENCE, TODAY, pipe, read_all, run};

const NAME: &str = "a.example.org";

/// What our side says (whether the session was taken up again, and by whom), and what the client made of it.
struct Met {
    ours: Result<(bool, Option<String>), Refused>,
    kind: Option<HandshakeKind>,
    theirs: Result<Vec<u8>, Error>,
}

impl Met {
    fn resumed(&self) -> bool {
        let (resumed, _) = self.ours.as_ref().unwrap();
        assert_eq!(*resumed, self.kind == Some(HandshakeKind::Resumed), "both sides agree");
        assert!(self.theirs.is_ok());
        *resumed
    }
}

fn meet(bench: &Bench, front: &Rc<Front>, port: u16, config: &Arc<ClientConfig>, name: &str) -> Met {
    let (mut near, far) = pipe(4096);
    let (front, timers) = (front.clone(), bench.tasks.timers().clone());
    let mut connection = calling(config, name);
    let (ours, (kind, theirs)) = run(
        &bench.tasks,
        async move {
            let (mut session, _) = front.accept(far, port, &timers, PATIENCE).await?;
            let _ = read_all(&mut session).await;
            let _ = tls_bench::close(&mut session).await;
            Ok((session.facts().resumed, session.peer().map(|peer| peer.subject.to_string())))
        },
        async move {
            let theirs = converse(&mut connection, &mut near, b"hello").await;
            (connection.handshake_kind(), theirs)
        },
    );
    Met { ours, kind, theirs }
}

fn secret() -> TicketSecret {
    TicketSecret::shared(&[9; 32]).unwrap()
}

/// A front whose tickets are made from the secret that all fronts here share.
fn sharing(bench: &Bench, sites: Vec<Site>) -> Rc<Front> {
    let front = bench.front(sites);
    front.make_tickets_from(secret());
    front
}

fn asking(bench: &Bench, names: &[&str], clients: ClientPolicy) -> Site {
    Site { clients, ..bench.site(names) }
}

#[test]
fn a_session_is_taken_up_again_at_the_same_site_and_port_and_only_there() {
    let bench = Bench::default();
    for version in VERSIONS {
        let front = bench.front(vec![bench.site(&[NAME]), bench.site(&["b.example.org"])]);
        let config = Arc::new(client(version, None));
        assert!(!meet(&bench, &front, 443, &config, NAME).resumed(), "there is nothing to take up yet");
        assert!(meet(&bench, &front, 443, &config, NAME).resumed());
        assert!(!meet(&bench, &front, 8443, &config, NAME).resumed(), "another port");
        assert!(meet(&bench, &front, 8443, &config, NAME).resumed());
        assert!(!meet(&bench, &front, 8443, &config, "b.example.org").resumed(), "another site");
        front.make_tickets_from(TicketSecret::fresh().unwrap());
        assert!(!meet(&bench, &front, 8443, &config, "b.example.org").resumed(), "another secret");
    }
}

#[test]
fn appliances_that_share_a_secret_take_up_each_others_sessions_and_others_do_not() {
    let bench = Bench::default();
    for version in VERSIONS {
        let fronts = [(); 2].map(|()| sharing(&bench, vec![bench.site(&[NAME])]));
        let config = Arc::new(client(version, None));
        assert!(!meet(&bench, &fronts[0], 443, &config, NAME).resumed());
        assert!(meet(&bench, &fronts[1], 443, &config, NAME).resumed());
        let stranger = bench.front(vec![bench.site(&[NAME])]);
        assert!(!meet(&bench, &stranger, 443, &config, NAME).resumed());
    }
}

#[test]
fn a_session_that_began_without_a_certificate_is_not_taken_up_where_one_is_asked_for() {
    let bench = Bench::default();
    for version in VERSIONS {
        let open = sharing(&bench, vec![bench.site(&[NAME])]);
        let closed = sharing(&bench, vec![asking(&bench, &[NAME], ClientPolicy::Required(bench.trust()))]);
        let polite = sharing(&bench, vec![asking(&bench, &[NAME], ClientPolicy::Optional(bench.trust()))]);
        for asks in [&closed, &polite] {
            let config = Arc::new(client(version, None));
            assert!(!meet(&bench, &open, 443, &config, NAME).resumed());
            let met = meet(&bench, asks, 443, &config, NAME);
            assert!(met.kind != Some(HandshakeKind::Resumed));
        }
        let config = Arc::new(client(version, None));
        assert!(!meet(&bench, &polite, 443, &config, NAME).resumed());
        let met = meet(&bench, &closed, 443, &config, NAME);
        assert_eq!(met.ours.unwrap_err().kind, Kind::NoCertificate, "optional is not required");
    }
}

#[test]
fn a_session_of_a_client_is_taken_up_with_its_identity() {
    let bench = Bench::default();
    for version in VERSIONS {
        let front = bench.front(vec![asking(&bench, &[NAME], ClientPolicy::Required(bench.trust()))]);
        let config = Arc::new(client(version, Some(&until(&bench, 9000))));
        for resumed in [false, true, true] {
            let met = meet(&bench, &front, 443, &config, NAME);
            assert_eq!(met.resumed(), resumed);
            assert_eq!(met.ours.unwrap().1.as_deref(), Some("CN=Ada"));
        }
    }
}

#[test]
fn a_client_whose_certificate_has_expired_since_does_a_full_handshake_and_reads_the_alert() {
    for version in VERSIONS {
        let bench = Bench::default();
        let front = bench.front(vec![asking(&bench, &[NAME], ClientPolicy::Required(bench.trust()))]);
        let config = Arc::new(client(version, Some(&until(&bench, 3600))));
        assert!(!meet(&bench, &front, 443, &config, NAME).resumed());
        bench.calendar.turn(TODAY + Duration::from_secs(3600));
        assert!(meet(&bench, &front, 443, &config, NAME).resumed());
        bench.calendar.turn(TODAY + Duration::from_secs(3601));
        let met = meet(&bench, &front, 443, &config, NAME);
        assert_eq!(met.ours.unwrap_err().kind, Kind::Expired);
        assert_ne!(met.kind, Some(HandshakeKind::Resumed));
        assert_eq!(met.theirs, Err(Error::AlertReceived(AlertDescription::CertificateExpired)));
    }
}

/// A client's certificate that is valid for so many seconds more.
fn until(bench: &Bench, seconds: u64) -> Shown {
    let validity = Validity { from: TODAY, until: TODAY + Duration::from_secs(seconds) };
    let minted = bench.ca.client("Ada", validity).unwrap();
    Shown { chain: minted.chain, key: minted.key.der().to_vec() }
}

#[test]
fn a_client_that_is_revoked_meanwhile_does_a_full_handshake_and_reads_the_alert() {
    let bench = Bench::default();
    let ca = Ca::new("Hostile CA");
    let rows = cases(&ca, Role::Client);
    let list = |name| rows.iter().find(|row| row.name == name).unwrap().crls.clone();
    let trust = |crls| Trust::new(std::slice::from_ref(&ca.der), crls).unwrap();
    for version in VERSIONS {
        let config = Arc::new(client(
            version,
            Some(&Shown { chain: rows[0].chain.clone(), key: rows[0].key.clone() }),
        ));
        let before = trust(list("on a list that revokes another"));
        let front = sharing(&bench, vec![asking(&bench, &[NAME], ClientPolicy::Required(before))]);
        assert!(!meet(&bench, &front, 443, &config, NAME).resumed());
        assert!(meet(&bench, &front, 443, &config, NAME).resumed());
        let after =
            sharing(&bench, vec![asking(&bench, &[NAME], ClientPolicy::Required(trust(list("revoked"))))]);
        let met = meet(&bench, &after, 443, &config, NAME);
        assert_eq!(met.ours.unwrap_err().kind, Kind::Revoked);
        assert_eq!(met.theirs, Err(Error::AlertReceived(AlertDescription::CertificateRevoked)));
    }
}

#[test]
fn a_list_that_went_out_of_date_ends_resumption_too() {
    let bench = Bench::default();
    let ca = Ca::new("Hostile CA");
    let good = cases(&ca, Role::Client).remove(0);
    for version in VERSIONS {
        bench.calendar.turn(TODAY);
        let trust = Trust::new(std::slice::from_ref(&ca.der), vec![ca.crl(&[0x77], 1)]).unwrap();
        let front = bench.front(vec![asking(&bench, &[NAME], ClientPolicy::Required(trust))]);
        bench.calendar.turn(TODAY + Duration::from_secs(23 * 3600));
        let config =
            Arc::new(client(version, Some(&Shown { chain: good.chain.clone(), key: good.key.clone() })));
        assert!(!meet(&bench, &front, 443, &config, NAME).resumed());
        bench.calendar.turn(TODAY + Duration::from_secs(25 * 3600));
        let met = meet(&bench, &front, 443, &config, NAME);
        assert_eq!(met.ours.unwrap_err().kind, Kind::RevocationUnknown);
        assert!(matches!(met.theirs, Err(Error::AlertReceived(_))));
    }
}

#[test]
fn after_a_hello_retry_the_expired_client_is_told_by_our_own_alert() {
    let bench = Bench::default();
    let front = bench.front(vec![asking(&bench, &[NAME], ClientPolicy::Required(bench.trust()))]);
    let config = client_of(VERSIONS[1], Some(&until(&bench, 3600)), vec![&Unheard, X25519]);
    let config = Arc::new(config);
    let met = meet(&bench, &front, 443, &config, NAME);
    assert!(!met.resumed());
    assert_eq!(met.kind, Some(HandshakeKind::FullWithHelloRetryRequest));
    bench.calendar.turn(TODAY + Duration::from_secs(2 * 3600));
    let met = meet(&bench, &front, 443, &config, NAME);
    assert_eq!(met.ours.unwrap_err().kind, Kind::Expired);
    assert!(matches!(met.theirs, Err(Error::AlertReceived(_))), "{:?}", met.theirs);
}

#[test]
fn a_site_without_tickets_takes_up_nothing() {
    let bench = Bench::default();
    for version in VERSIONS {
        let front = bench.front(vec![Site { tickets: false, ..bench.site(&[NAME]) }]);
        let config = Arc::new(client(version, None));
        for _ in 0..3 {
            assert!(!meet(&bench, &front, 443, &config, NAME).resumed());
        }
    }
}

#[test]
fn a_ticket_is_forgotten_after_two_slots() {
    for version in VERSIONS {
        let bench = Bench::default();
        let front = bench.front(vec![bench.site(&[NAME])]);
        let config = Arc::new(client(version, None));
        assert!(!meet(&bench, &front, 443, &config, NAME).resumed());
        bench.calendar.turn(TODAY + Duration::from_secs(12 * 3600));
        assert!(!meet(&bench, &front, 443, &config, NAME).resumed());
    }
}
