//! Names that clients ask for, and names that are none.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use tls::{Front, Kind};
use tls_bench::raw::{ECDHE_ECDSA_AES128, extension, hello, names};
use tls_bench::{Bench, PATIENCE, close, pipe, read_all, refusal, run, write_all};

/// What becomes of a client.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// A site with this number answers.
    Served(u16),
    /// There is no such site.
    Unknown,
    /// That is no name: it is told how it was wrong.
    Wrong(u8),
}
use Fate::{Served, Unknown, Wrong};

const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const NO_NAME: Fate = Wrong(ILLEGAL_PARAMETER);
const NO_LIST: Fate = Wrong(DECODE_ERROR);

/// What becomes of a hello with these extensions. The second of the two sites is the default, if there is one.
fn fate(default: bool, more: &[u8]) -> Fate {
    let bench = Bench::default();
    let mut sites = [&["example.org", "*.example.net", "xn--bcher-kva.example"][..], &["other.org"]]
        .map(|names| bench.site(names));
    sites[0].alpn = vec![b"first".to_vec()];
    sites[1].alpn = vec![b"other".to_vec()];
    let front = Front::new(sites.into(), default.then_some(1), bench.calendar.clone()).unwrap();
    let alpn = extension(16, b"\x00\x0c\x05first\x05other");
    let (mut near, far) = pipe(100_000);
    let timers = bench.tasks.timers().clone();
    let bytes = hello(1, &[ECDHE_ECDSA_AES128], &[&alpn, more].concat());
    let (kind, said) = run(
        &bench.tasks,
        async move { refusal(front.accept(far, 443, &timers, PATIENCE).await) },
        async move {
            write_all(&mut near, &bytes).await.unwrap();
            close(&mut near).await.unwrap();
            read_all(&mut near).await.unwrap()
        },
    );
    let speaks = |word: &[u8]| said.windows(word.len()).any(|some| some == word);
    match (kind, &said[..]) {
        (Kind::Closed, [22, ..]) if speaks(b"first") => Served(0),
        (Kind::Closed, [22, ..]) if speaks(b"other") => Served(1),
        (Kind::UnknownName, [21, 3, 3, 0, 2, 2, 112]) => Unknown,
        (Kind::Malformed, [21, 3, 3, 0, 2, 2, alert]) => Wrong(*alert),
        odd => panic!("{odd:?}"),
    }
}

#[test]
fn a_name_leads_to_its_site_or_nowhere() {
    let (label, long) = ("a".repeat(64) + ".example.net", "a.".repeat(200) + "example.net");
    for (name, wanted) in [
        ("example.org", Served(0)),
        ("EXAMPLE.oRG", Served(0)),
        ("example.org.", Served(0)),
        ("OTHER.org", Served(1)),
        ("a.example.net", Served(0)),
        ("A.Example.Net.", Served(0)),
        ("_x.example.net", Served(0)),
        ("1.example.net", Served(0)),
        ("XN--bcher-kva.example", Served(0)),
        ("www.example.org", Unknown),
        ("a.b.example.net", Unknown),
        ("example.net", Unknown),
        ("example.org..", NO_NAME),
        (".example.org", NO_NAME),
        (".example.net", NO_NAME),
        ("*.example.net", NO_NAME),
        ("-x.example.net", NO_NAME),
        ("b\u{fc}cher.example", NO_NAME),
        ("example.org\0", NO_NAME),
        ("example.org\0.evil.test", NO_NAME),
        (" example.org", NO_NAME),
        ("example.org:443", NO_NAME),
        ("a/../b.example.net", NO_NAME),
        ("a\r\n.example.net", NO_NAME),
        ("127.1", NO_NAME),
        ("[2001:db8::7]", NO_NAME),
        (&label, NO_NAME),
        (&long, NO_NAME),
        ("", NO_LIST),
    ] {
        for default in [false, true] {
            assert_eq!(
                fate(default, &names(&[(0, name.as_bytes())])),
                wanted,
                "{name:?}, a default: {default}"
            );
        }
    }
}

#[test]
fn an_address_is_no_name_and_leads_to_the_default_site_alone() {
    for address in ["192.0.2.7", "2001:db8::7"] {
        assert_eq!(fate(false, &names(&[(0, address.as_bytes())])), Unknown);
        assert_eq!(fate(true, &names(&[(0, address.as_bytes())])), Served(1));
    }
    assert_eq!((fate(false, &[]), fate(true, &[])), (Unknown, Served(1)));
}

#[test]
fn a_list_of_names_that_is_odd_leads_nowhere() {
    let (one, other) = (names(&[(0, b"example.org")]), names(&[(0, b"other.org")]));
    for (what, more, wanted) in [
        ("two names", names(&[(0, b"example.org"), (0, b"other.org")]), NO_LIST),
        ("the same name twice", names(&[(0, b"example.org"), (0, b"example.org")]), NO_LIST),
        ("another kind", names(&[(1, b"example.org")]), NO_NAME),
        ("another kind first", names(&[(1, b"x"), (0, b"example.org")]), NO_NAME),
        ("nothing", extension(0, &[]), NO_LIST),
        ("an empty list", extension(0, &[0, 0]), NO_LIST),
        ("a list that is cut", extension(0, &[0, 9, 0, 0, 1, b'a']), NO_LIST),
        ("two lists", [one, other].concat(), NO_LIST),
        ("a byte behind the list", extension(0, b"\x00\x0e\x00\x00\x0bexample.org!"), NO_LIST),
    ] {
        for default in [false, true] {
            assert_eq!(fate(default, &more), wanted, "{what}, a default: {default}");
        }
    }
}
