//! The front end before clients that know nothing of it: curl, h2load, Python and a browser.

use bench::house::{Open, example, open};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// The example, open to everybody in this file.
static HOUSE: LazyLock<(Open, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap().keep();
    (open(example(&folder)), folder)
});

/// Runs a client; its output and what it says of itself.
fn client(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program} cannot run ({error}): tests/run installs it"));
    let (said, words) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {said}{words}");
    format!("{said}{words}")
}

fn curl(arguments: &[&str]) -> String {
    client("curl", &[&["--silent", "--show-error", "--max-time", "30"], arguments].concat())
}

/// Both protocols: the words for curl, and the address.
fn both() -> [(Vec<&'static str>, String); 2] {
    let Open { one, two } = &HOUSE.0;
    [(vec!["--http1.1"], format!("http://{one}")), (vec!["--http2-prior-knowledge"], format!("http://{two}"))]
}

#[test]
fn curl_gets_every_page_as_it_was_packed() {
    for (words, base) in both() {
        for name in ["index.html", "404.html", "style.css", "gate.svg", "favicon.svg"] {
            let wanted = fs::read_to_string(HOUSE.1.join("site").join(name)).unwrap();
            let url = format!("{base}/{name}");
            assert_eq!(curl(&[&words[..], &[&url]].concat()), wanted, "{url}");
            assert_eq!(curl(&[&words[..], &["--compressed", &url]].concat()), wanted, "compressed {url}");
        }
    }
}

#[test]
fn curl_sees_the_status_and_the_headers() {
    for (words, base) in both() {
        for (path, more, wanted) in [
            ("/", "", "200 text/html; charset=utf-8"),
            ("/nowhere", "", "404 text/html; charset=utf-8"),
            ("/home", "", "308 text/plain; charset=utf-8"),
            ("/index", "", "200 text/html; charset=utf-8"),
            ("/style.css", "-r0-9", "206 text/css; charset=utf-8"),
            ("/style.css", "-r999999-", "416 "),
            ("/style.css", "-HIf-None-Match: *", "304 "),
            ("/style.css", "-dx=y", "405 text/plain; charset=utf-8"),
            ("/style.css", "-XOPTIONS", "204 "),
            ("/.well-known/gatehouse/figures", "", "200 text/plain; charset=utf-8"),
        ] {
            let url = format!("{base}{path}");
            let format =
                ["--output", "/dev/null", "--write-out", "%{http_code} %{content_type}", "--path-as-is"];
            let more: Vec<&str> = Some(more).filter(|more| !more.is_empty()).into_iter().collect();
            assert_eq!(curl(&[&words[..], &format, &more, &[&url]].concat()), wanted, "{url} {more:?}");
        }
        let head = curl(&[&words[..], &["--head", &base]].concat()).to_lowercase();
        for line in [
            "content-security-policy: default-src 'none'",
            "x-content-type-options: nosniff",
            "accept-ranges: bytes",
        ] {
            assert!(head.contains(line), "{line} is not in {head}");
        }
        assert!(!head.contains("strict-transport-security"), "{head}");
    }
}

#[test]
fn curl_puts_a_page_together_from_its_parts() {
    let wanted = fs::read_to_string(HOUSE.1.join("site/style.css")).unwrap();
    for (words, base) in both() {
        let url = format!("{base}/style.css");
        let part = |range: &str| curl(&[&words[..], &["--range", range, &url]].concat());
        assert_eq!(part("0-99") + &part("100-"), wanted);
        let several = part("0-4,-5");
        assert!(several.contains(&wanted[..5]) && several.contains(&wanted[wanted.len() - 5..]), "{several}");
    }
}

/// What h2load counts: all requests, and each answered with 2xx.
fn loaded(arguments: &[&str]) {
    let said = client("h2load", arguments);
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("status codes: 2000 2xx"), "{said}");
}

#[test]
fn h2load_is_answered_two_thousand_times_both_ways() {
    let [(_, one), (_, two)] = both();
    loaded(&["-n2000", "-c8", "-m16", &format!("{two}/gate.svg")]);
    loaded(&["--h1", "-n2000", "-c8", &format!("{one}/gate.svg")]);
}

#[test]
fn python_keeps_one_connection_for_many_requests() {
    let script = "import http.client, sys\n\
        c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=30)\n\
        c.connect(); s = c.sock\n\
        for i in range(200):\n\
        \x20   c.request('GET' if i % 3 else 'HEAD', '/style.css')\n\
        \x20   r = c.getresponse(); b = r.read()\n\
        \x20   assert r.status == 200 and len(b) == (int(r.headers['content-length']) if i % 3 else 0), (i, r.status)\n\
        \x20   assert c.sock is s, 'the connection was closed'\n";
    client("python3", &["-c", script, &HOUSE.0.one.port().to_string()]);
}

#[test]
fn a_browser_shows_the_example() {
    let shots = bench::built("screenshots");
    fs::create_dir_all(&shots).unwrap();
    let [(_, base), _] = both();
    for (name, size, more) in
        [("light", "1280,2600", ""), ("dark", "1280,2600", "--force-dark-mode"), ("phone", "500,3600", "")]
    {
        let file = shots.join(format!("example-{name}.png"));
        let _ = fs::remove_file(&file);
        let profile = tempfile::tempdir().unwrap();
        let mut words = vec![
            "--headless".into(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--hide-scrollbars".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--no-first-run".into(),
            "--blink-settings=preferredColorScheme=1".into(),
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={size}"),
            format!("--screenshot={}", file.display()),
            format!("{base}/"),
        ];
        if !more.is_empty() {
            words[7] = "--blink-settings=preferredColorScheme=0".into();
        }
        client("chromium", &words.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(fs::metadata(&file).unwrap().len() > 40_000, "there is little to see in {}", file.display());
    }
}
