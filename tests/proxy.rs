//! The reverse proxy that ships, on a TAP device, between real clients and real upstreams.

use bench::tap::Tap;
use bench::upstream::{BOTH, LONG, Upstream, here, proxy, python, text};
use std::fs::File;
use std::time::{Duration, Instant};

#[test]
fn an_upstream_answers_over_both_versions_and_pages_of_our_own_stay() {
    let tap = Tap::with(&proxy("/up/", 8000, "strip = true"));
    let _upstream = Upstream::odd(&tap, 8000);
    for version in BOTH {
        let said =
            text(&tap.curl(&[version, "-H", "X-Forwarded-For: 10.6.6.6", "https://localhost/up/head"]));
        assert!(
            said.starts_with("GET /head HTTP/1.1") && said.contains("x-forwarded-for: 192.0.2.1"),
            "{said}"
        );
        assert!(!said.contains("10.6.6.6"), "{said}");
        let said = text(&tap.curl(&[version, "https://localhost/"]));
        assert!(said.contains("</h1>"), "{said}");
        let body = "x".repeat(100_000);
        let said = text(&tap.curl(&[version, "--data-binary", &body, "https://localhost/up/echo"]));
        assert_eq!(said, body, "{version}");
    }
}

#[test]
fn an_upstream_that_fails_is_told_as_what_it_is_and_the_next_request_is_answered() {
    let tap = Tap::with(&proxy("/", 8000, "head-seconds = 2\nstall-seconds = 2\nconnect-seconds = 1"));
    let upstream = Upstream::odd(&tap, 8000);
    for version in BOTH {
        for (path, status, whole) in [
            ("/ok", "200", true),
            ("/short", "200", false),
            ("/long", "200", true),
            ("/cut", "200", false),
            ("/reset", "200", false),
            ("/garbage", "502", true),
            ("/heads", "502", true),
            ("/never", "504", true),
            ("/slow", "200", true),
        ] {
            let url = format!("https://localhost{path}");
            let output = tap.curl(&[version, "-o", "/dev/null", "-w", "%{http_code}", &url]);
            assert_eq!(
                (&*text(&output).chars().take(3).collect::<String>(), output.status.success()),
                (status, whole),
                "{path} {version}: {output:?}"
            );
            // One that has failed is not asked for a while once it has failed three times.
            std::thread::sleep(Duration::from_millis(100));
            let again = text(&tap.curl(&[version, "https://localhost/ok"]));
            assert_eq!(again, "ok", "after {path}");
        }
    }
    upstream.said("heads: gone");
    upstream.said("never: gone");
    drop(upstream);
    let said = text(&tap.curl(&["-o", "/dev/null", "-w", "%{http_code}", "https://localhost/ok"]));
    assert!(["502", "504"].contains(&&*said), "killed: {said}");
    let _upstream = Upstream::odd(&tap, 8000);
    let end = Instant::now() + LONG;
    while text(&tap.curl(&["https://localhost/ok"])) != "ok" {
        assert!(Instant::now() < end, "it is not asked again");
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_back() {
    let tap = Tap::with(&proxy("/", 8000, ""));
    let upstream = Upstream::odd(&tap, 8000);
    for (count, version) in BOTH.into_iter().enumerate() {
        let left = tap.curl(&[version, "-m", "2", "-o", "/dev/null", "https://localhost/endless"]);
        assert_eq!(left.status.code(), Some(28), "{left:?}");
        let end = Instant::now() + LONG;
        while upstream.log().matches("endless: gone").count() <= count {
            assert!(Instant::now() < end, "{version}: the upstream still sends");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // Over HTTP/2 also before there is an answer.
    let left = tap.curl(&["--http2", "-m", "1", "https://localhost/never"]);
    assert_eq!(left.status.code(), Some(28), "{left:?}");
    upstream.said("never: gone");
}

#[test]
fn large_bodies_cross_both_ways_and_memory_stays_flat() {
    let mib = std::env::var("GATEHOUSE_MUCH").map_or(256, |mib| mib.parse().unwrap());
    let much: u64 = mib << 20;
    let tap = Tap::with(&proxy("/", 8000, "body-mib = 1048576"));
    let _upstream = Upstream::odd(&tap, 8000);
    // Both ways at once warm up everything that is kept.
    let pass = |version: &str, size: u64| {
        let ca = tap.folder().join("site/tls/ca.pem");
        let file = tap.folder().join("much");
        File::create(&file).unwrap().set_len(size).unwrap();
        let line = format!(
            "curl -sS -m 7200 {version} --cacert {} --connect-to localhost:443:192.0.2.7:443 -H 'Expect:' -X POST -T {} \
             https://localhost/echo | wc -c",
            ca.display(),
            file.display()
        );
        let said = text(&tap.shell(&line));
        assert_eq!(said.trim(), size.to_string(), "{version}");
    };
    BOTH.into_iter().for_each(|version| pass(version, 8 << 20));
    let before = tap.peak();
    for version in BOTH {
        let start = Instant::now();
        pass(version, much);
        let grown = tap.peak() - before;
        println!(
            "{version}: {mib} MiB there and back in {:?}, {grown} KiB more than before",
            start.elapsed()
        );
        assert!(grown < 8 << 10, "{version}: {grown} KiB more than before, of {mib} MiB");
    }
}

#[test]
fn websockets_pass() {
    let tap = Tap::with(&proxy("/ws", 8000, ""));
    let ca = tap.folder().join("site/tls/ca.pem").to_string_lossy().into_owned();
    let said = tap.client(&python()).args([&here("talk.py"), "192.0.2.7", &ca, "8000"]).output().unwrap();
    assert!(said.status.success(), "{}", text(&said));
    assert_eq!(text(&said).matches("well: ").count(), 7, "{}", text(&said));
}

#[test]
fn no_upstream_sees_a_request_that_was_hidden_in_another() {
    let tap = Tap::with(&proxy("/", 8000, ""));
    let ca = tap.folder().join("site/tls/ca.pem").to_string_lossy().into_owned();
    let folder = tap.folder().to_string_lossy().into_owned();
    let conf = std::fs::read_to_string(here("nginx.conf")).unwrap();
    let file = format!("{folder}/nginx.conf");
    std::fs::write(&file, conf.replace("DIR", &folder).replace("PORT", "8000")).unwrap();
    let (python, top) = (python(), here(""));
    let gunicorn = [
        "-m",
        "gunicorn",
        "-b",
        "0.0.0.0:8000",
        "-k",
        "gthread",
        "--threads",
        "4",
        "--chdir",
        &top,
        "count:app",
    ];
    for (name, program, words, word) in [
        ("node", "node", &[&here("count.js")[..], "8000"][..], "listening"),
        ("plain", "python3", &[&here("plain.py"), "8000"], "listening"),
        ("gunicorn", &python, &gunicorn, "Booting worker"),
        ("nginx", "nginx", &["-c", &file], ""),
    ] {
        let upstream = Upstream::start(&tap, name, program, words, word);
        let end = Instant::now() + LONG;
        while text(&tap.curl(&["https://localhost/first"])) != "seen" {
            assert!(Instant::now() < end, "{name} answers nothing: {}", upstream.log());
        }
        for script in ["smuggle.py", "smuggle2.py"] {
            let sent = tap.client("python3").args([&here(script), "192.0.2.7", &ca]).output().unwrap();
            assert!(sent.status.success(), "{}", text(&sent));
            judge(name, &text(&sent), &upstream.log());
        }
    }
}

/// Holds what was answered against what an upstream saw.
fn judge(name: &str, answers: &str, saw: &str) {
    let seen = |path: &str| saw.lines().filter(|line| line.split(' ').any(|word| word == path)).count();
    // A request whose body breaks off is cut off at the upstream too; that is no request.
    let cut = |line: &&str| line.contains("HPE_INVALID_EOF_STATE") || line.contains("ECONNRESET");
    let odd: Vec<&str> = saw.lines().filter(|line| line.starts_with("odd") && !cut(line)).collect();
    assert!(odd.is_empty(), "{name} was sent what it cannot read: {odd:?}");
    let mut passed = 0;
    for line in answers.lines() {
        let mut words = line.split(' ');
        let number = words.next().unwrap();
        let statuses: Vec<&str> = words.collect();
        let answered = statuses.iter().filter(|status| **status == "200").count();
        let (case, hidden) = (seen(&format!("/case-{number}")), seen(&format!("/smuggled-{number}")));
        assert!(case <= 1, "{name}: case {number} arrived {case} times");
        // Over HTTP/2 no request follows another in one stream.
        assert!(hidden == 0 || number.len() < 4, "{name}: case {number} brought another");
        // Whatever the upstream saw is something that the client was answered for, one by one. A head whose body turned
        // out to be none may have been seen before we said 400.
        let most = if hidden == 0 { statuses.len() } else { answered };
        assert!(case + hidden <= most, "{name}: {line}: {case} and {hidden}");
        passed += case;
    }
    assert!(passed > 5, "{name}: {passed} honest requests arrived: {answers}");
}

#[test]
fn an_upstream_proves_who_it_is_and_hears_on_whose_behalf_it_is_called() {
    let tls = |path: &str, name: &str| {
        let more = format!(
            "tls = {{ authorities = \"tls/ca.pem\", name = \"{name}\" }}\nsend-proxy = true\nstrip = true"
        );
        proxy(path, 8443, &more).replace("http://", "https://")
    };
    let asked = tls("/asked/", "localhost") + "\nhealth = { path = \"/how-are-you\", every-seconds = 1 }\n";
    let tap = Tap::with(&(tls("/good/", "localhost") + &tls("/bad/", "other.example") + &asked));
    let paper = |name: &str| tap.folder().join("site/tls").join(name).to_string_lossy().into_owned();
    let (chain, key) = (paper("localhost.pem"), paper("localhost.key"));
    let upstream = Upstream::odd_with(&tap, 8443, &[&chain, &key, "announced"]);
    for version in BOTH {
        let said = text(&tap.curl(&[version, "https://localhost/good/head"]));
        assert!(said.starts_with("GET /head HTTP/1.1"), "{said}");
        let status =
            text(&tap.curl(&[version, "-o", "/dev/null", "-w", "%{http_code}", "https://localhost/bad/"]));
        assert_eq!(status, "502", "its certificate is another's");
    }
    // 192.0.2.1 called 192.0.2.7, port 443, over TLS 1.3 and with this name.
    let log = upstream.log();
    let ends = "announced 0d0a0d0a000d0a515549540a2111 c0000201c0000207";
    let line = log.lines().find(|line| line.starts_with(ends)).unwrap_or_else(|| panic!("{log}"));
    let hex = |word: &str| word.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(line.contains(&hex("TLSv1.3")) && line.contains(&hex("localhost")), "{line}");
    // On our own behalf we ask how it is.
    upstream.said("announced 0d0a0d0a000d0a515549540a2000 \n");
    upstream.said("asked /how-are-you\n");
}

#[test]
fn a_balancer_that_is_listed_says_who_calls_and_nobody_else_does() {
    let sheet = format!("proxy-protocol-from = [\"192.0.2.1\"]\n---\n{}", proxy("/", 8000, ""));
    let tap = Tap::with(&sheet);
    let _upstream = Upstream::odd(&tap, 8000);
    let ca = tap.folder().join("site/tls/ca.pem").to_string_lossy().into_owned();
    for (host, version, wanted) in [
        ("192.0.2.7", "1", "x-forwarded-for: 203.0.113.9"),
        ("192.0.2.7", "2", "x-forwarded-for: 203.0.113.9"),
        ("192.0.2.7", "none", "nothing"),
        ("2001:db8::7", "none", "x-forwarded-for: 2001:db8::1"),
        ("2001:db8::7", "1", "nothing"),
    ] {
        let said = tap.client("python3").args([&here("announce.py"), host, &ca, version]).output().unwrap();
        assert!(text(&said).contains(wanted), "{host} {version}: {}", text(&said));
    }
}

#[test]
fn names_are_looked_up_where_and_as_long_as_they_count() {
    let named =
        |path: &str, name: &str| proxy(path, 8000, "strip = true").replace("192.0.2.1:", &format!("{name}:"));
    let sheet =
        ["/app/", "/cut/", "/none/"].map(|path| named(path, &format!("{}.example", path.trim_matches('/'))));
    let tap = Tap::with(&format!("resolvers = [\"192.0.2.1\"]\n---\n{}", sheet.concat()));
    let _upstream = Upstream::odd(&tap, 8000);
    let names = Upstream::start(&tap, "names", "python3", &[&here("names.py")], "listening");
    for path in ["app", "app", "cut"] {
        assert_eq!(
            text(&tap.curl(&[&format!("https://localhost/{path}/ok")])),
            "ok",
            "{path}: {}",
            names.log()
        );
    }
    let status = || text(&tap.curl(&["-o", "/dev/null", "-w", "%{http_code}", "https://localhost/none/ok"]));
    assert_eq!((status(), status()), ("502".into(), "502".into()));
    let asked = |line: &str| names.log().lines().filter(|said| *said == line).count();
    // Kept while it counts, also that there is nothing; a forged answer and one that is cut off count for nothing.
    assert_eq!((asked("udp app.example 1"), asked("udp none.example 1")), (1, 1), "{}", names.log());
    assert_eq!((asked("udp cut.example 1"), asked("tcp cut.example 1")), (1, 1), "{}", names.log());
}
