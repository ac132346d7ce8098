//! What Prometheus is told by rows: one for each upstream, one for each door of a piñata and outcome.

use super::Page;
use http::{Site, Standing};
use pinata::Ledger;

/// How each upstream of the bundle that is served now does. Two paths of a site may lead to the same one, by connections
/// of their own: so the path is told, too.
pub(super) fn upstreams(sites: &[Site], page: &mut Page) {
    let relays = sites.iter().flat_map(|site| site.relays.iter().map(move |relay| (site, relay)));
    let known = relays.flat_map(|(site, relay)| {
        let name = site.words.names.first().map_or("", String::as_str);
        relay.standings().map(move |standing| ([name, relay.path()], standing))
    });
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        return;
    }
    for (name, about, kind, value) in STANDING {
        page.head(name, about, kind);
        for ([site, path], standing) in &known {
            let labels = [("site", *site), ("path", path), ("upstream", &standing.name)];
            page.row(name, &labels, value(standing));
        }
    }
}

type Told = (&'static str, &'static str, &'static str, fn(&Standing) -> u64);

/// What is told of an upstream.
const STANDING: [Told; 6] = [
    ("upstream_up", "1 while requests are sent to this upstream.", "gauge", |one| u64::from(one.up)),
    ("upstream_in_flight", "Requests under way at this upstream.", "gauge", |one| one.in_flight.into()),
    ("upstream_resting", "Connections to this upstream that rest.", "gauge", |one| one.resting as u64),
    ("upstream_requests_total", "Requests that it was sent.", "counter", |one| one.requests),
    ("upstream_failures_total", "Requests, and connections to it, that came to nothing.", "counter", |one| {
        one.failures
    }),
    ("upstream_retries_total", "Requests that were sent once more.", "counter", |one| one.retries),
];

/// What came of the attempts on a piñata, by its doors.
pub(crate) fn ledger(ledger: &Ledger, page: &mut Page) {
    let name = "pinata_attempts_total";
    page.head(name, "Attempts on the piñata, by the port of its door and by what came of them.", "counter");
    for (door, outcome, count) in ledger.figures() {
        page.row(name, &[("door", &door.port().to_string()), ("outcome", outcome.word())], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::{Proxy, Target, Waits};
    use http::{Dial, Dialed, Found, Relay, Shelf};
    use pinata::{DOORS, Outcome};
    use std::rc::Rc;

    struct Nobody;

    impl Dial for Nobody {
        fn dial(&self, _preface: Vec<u8>) -> Dialed {
            Box::pin(core::future::pending())
        }
    }

    impl Shelf for Nobody {
        fn find(&self, _path: &str) -> Found {
            Found::Nothing
        }
    }

    fn relay(path: &str, hosts: &[&str]) -> Rc<Relay> {
        let targets: Vec<_> = hosts.iter().map(|host| Target { host: (*host).into(), port: 8080 }).collect();
        let dials = hosts.iter().map(|_| Rc::new(Nobody) as Rc<dyn Dial>).collect();
        let words = Proxy {
            path: path.into(),
            targets,
            least: false,
            strip: false,
            host: None,
            verified: None,
            announce: false,
            upgrades: false,
            identity: false,
            health: None,
            waits: Waits::default(),
            most: 1,
            body: 1,
        };
        Relay::new(words, dials)
    }

    fn site(name: &str, relays: Vec<Rc<Relay>>) -> Site {
        let words = bundle::Site { names: vec![name.into()], ..bundle::Site::default() };
        let mut site = Site::new(words, Rc::new(Nobody));
        site.relays = relays;
        site
    }

    #[test]
    fn upstreams_are_told_by_site_path_and_name_and_no_two_lines_are_the_same() {
        let mut page = Page(String::new());
        upstreams(&[site("still.example", Vec::new())], &mut page);
        assert_eq!(page.0, "", "a site that answers all itself");
        let both = vec![relay("/a\"b/", &["192.0.2.10", "2001:db8::9"]), relay("/", &["192.0.2.10"])];
        upstreams(
            &[site("a.example", both), site("b.example", vec![relay("/", &["192.0.2.10"])])],
            &mut page,
        );
        for wanted in [
            "# TYPE gatehouse_upstream_up gauge\n\
             gatehouse_upstream_up{site=\"a.example\",path=\"/a\\\"b/\",upstream=\"192.0.2.10:8080\"} 1\n\
             gatehouse_upstream_up{site=\"a.example\",path=\"/a\\\"b/\",upstream=\"[2001:db8::9]:8080\"} 1\n\
             gatehouse_upstream_up{site=\"a.example\",path=\"/\",upstream=\"192.0.2.10:8080\"} 1\n\
             gatehouse_upstream_up{site=\"b.example\",path=\"/\",upstream=\"192.0.2.10:8080\"} 1\n\
             # HELP ",
            "# TYPE gatehouse_upstream_failures_total counter\ngatehouse_upstream_failures_total{site=\"a.example\"",
        ] {
            assert!(page.0.contains(wanted), "{wanted}: {}", page.0);
        }
        let mut lines: Vec<&str> = page.0.lines().collect();
        let all = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!((lines.len(), all), (36, 36), "six families, each with a head of two and four samples");
    }

    #[test]
    fn what_is_told_of_an_upstream_is_what_it_is_called() {
        let standing = Standing {
            name: "192.0.2.10:80".into(),
            up: false,
            requests: 1,
            failures: 2,
            retries: 3,
            in_flight: 4,
            resting: 5,
        };
        let told = STANDING.map(|(name, _, _, value)| (name, value(&standing)));
        let wanted = [
            ("upstream_up", 0),
            ("upstream_in_flight", 4),
            ("upstream_resting", 5),
            ("upstream_requests_total", 1),
            ("upstream_failures_total", 2),
            ("upstream_retries_total", 3),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn attempts_on_a_pinata_are_told_by_door_and_outcome_those_too_that_never_came() {
        let mut book = Ledger::new(0, b"ca");
        book.note(DOORS[1], Outcome::Unanswered, 0);
        book.note(DOORS[1], Outcome::Unanswered, 0);
        let mut page = Page(String::new());
        ledger(&book, &mut page);
        for wanted in [
            "# TYPE gatehouse_pinata_attempts_total counter\ngatehouse_pinata_attempts_total{door=\"10000\",",
            "\ngatehouse_pinata_attempts_total{door=\"10001\",outcome=\"unanswered\"} 2\n",
            "\ngatehouse_pinata_attempts_total{door=\"10002\",outcome=\"unanswered\"} 0\n",
        ] {
            assert!(page.0.contains(wanted), "{wanted}: {}", page.0);
        }
        assert_eq!(page.0.lines().count(), 2 + DOORS.len() * Outcome::all().count());
    }
}
