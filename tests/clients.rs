//! What ships, in both worlds, before everything that people will point at it: clients, a browser, scanners.

use bench::launched::{Running, free_port};
use std::io::Write;
use std::process::{Command, Stdio};

/// The demo, served by a launcher that has just been started.
struct Demo {
    name: &'static str,
    port: u16,
    ca: String,
    _running: Running,
}

impl Demo {
    fn start(name: &'static str, words: &[&str]) -> Self {
        let port = free_port();
        let running = Running::start(&[words, &["--publish", &format!("{port}:443")]].concat());
        let invitation = running.until("curl --cacert");
        let ca = invitation.split_whitespace().nth(2).expect("the CA's file").to_owned();
        Self { name, port, ca, _running: running }
    }

    fn process() -> Self {
        Self::start("process", &[])
    }

    fn machine() -> Self {
        Self::start("machine", &["--world", "qemu", "--machine", "microvm"])
    }

    /// The shell's words, with the port and the CA in their places.
    fn filled(&self, words: &str) -> String {
        words.replace("PORT", &self.port.to_string()).replace("CA.PEM", &self.ca)
    }

    /// What a program says when it is given `input`; the test fails when it fails.
    fn said(&self, line: &str, input: &str) -> String {
        let line = self.filled(line);
        let mut shell = Command::new("timeout");
        shell.args(["120", "bash", "-c", &line]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = shell.spawn().expect("there is a shell");
        child.stdin.take().expect("it has one").write_all(input.as_bytes()).expect("it listens");
        let output = child.wait_with_output().expect("it ends");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {line}: {said}", self.name);
        said
    }
}

/// A sentence of the demo's page.
const PAGE: &str = "You are through the gate";

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

const PYTHON: &str = r#"
import http.client, ssl, sys
trust = ssl.create_default_context(cafile="CA.PEM")
link = http.client.HTTPSConnection("localhost", PORT, timeout=60, context=trust)
for turn in range(5):
    link.request("GET", "/"); answer = link.getresponse(); page = answer.read().decode()
    assert answer.status == 200, answer.status
print(page, link.sock.version())
"#;

const NODE: &str = r#"
const trust = { ca: require("fs").readFileSync("CA.PEM") };
const two = require("http2").connect("https://localhost:PORT", trust);
let open = 20;
for (let turn = 0; turn < 20; turn++) {
    let page = "";
    const stream = two.request({ ":path": turn % 2 ? "/" : "/style.css" });
    stream.on("response", (head) => { if (head[":status"] !== 200) throw Error(head[":status"]); });
    stream.on("data", (bytes) => { page += bytes; });
    stream.on("end", () => { if (turn % 2) console.log(page); if (--open === 0) two.close(); });
}
require("https").get("https://localhost:PORT/", trust, (answer) => {
    console.log("HTTP/" + answer.httpVersion, answer.statusCode); answer.resume();
});
"#;

fn is_open_to_every_client(demo: &Demo) {
    let curl =
        "curl -sS -m 60 --cacert CA.PEM -w ' then %{http_version} %{http_code}' https://localhost:PORT/";
    let openssl = "openssl s_client -connect localhost:PORT -servername localhost -CAfile CA.PEM -quiet";
    let gnutls = "gnutls-cli --x509cafile CA.PEM -p PORT localhost";
    for (line, input, wanted) in [
        (format!("{curl} --http1.1"), "", "then 1.1 200"),
        (format!("{curl} --http1.1 --tls-max 1.2"), "", "then 1.1 200"),
        (format!("{curl} --http2"), "", "then 2 200"),
        (format!("{openssl} -tls1_3 -verify_return_error"), REQUEST, "HTTP/1.1 200 OK"),
        (format!("{openssl} -tls1_2 -verify_return_error"), REQUEST, "HTTP/1.1 200 OK"),
        (format!("{gnutls} --priority NORMAL:-VERS-ALL:+VERS-TLS1.3"), REQUEST, "certificate is trusted"),
        (format!("{gnutls} --priority NORMAL:-VERS-ALL:+VERS-TLS1.2"), REQUEST, "certificate is trusted"),
        ("python3 -".to_owned(), &demo.filled(PYTHON), "TLSv1.3"),
        ("node -".to_owned(), &demo.filled(NODE), "HTTP/1.1 200"),
    ] {
        let said = demo.said(&line, input);
        assert!(said.contains(PAGE) && said.contains(wanted), "{}: {line}: {said}", demo.name);
    }
    // A client that trusts somebody else must not be content.
    let stranger = demo.said("curl -sS -m 60 https://localhost:PORT/ && exit 1; exit 0", "");
    assert!(stranger.contains("certificate"), "{stranger}");
}

/// Requests at and beyond the edges of HTTP/1, with an independent reader of the answers.
fn is_exact_with_rough_requests(demo: &Demo) {
    let script = bench::top().join("tests/rough");
    let said = demo.said(&format!("python3 '{}' 127.0.0.1 PORT", script.display()), "");
    assert!(said.contains("37 of 37 as they should be"), "{}: {said}", demo.name);
}

/// The demo as a browser shows it; the pictures stay in the target folder, to be looked at.
fn is_shown_by_a_browser(demo: &Demo) {
    let shots = bench::built("screenshots");
    std::fs::create_dir_all(&shots).expect("a folder");
    let shot = shots.join(format!("demo-{}.png", demo.name));
    let _ = std::fs::remove_file(&shot);
    let key = "openssl s_client -connect localhost:PORT -servername localhost </dev/null 2>/dev/null \
        | openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64";
    let key = demo.said(key, "");
    let profile = tempfile::tempdir().expect("a folder");
    let browser = format!(
        "chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-background-networking \
         --disable-component-update --no-first-run --user-data-dir={} --window-size=1280,2600 \
         --ignore-certificate-errors-spki-list={} --timeout=60000",
        profile.path().display(),
        key.trim()
    );
    let seen = demo.said(&format!("{browser} --dump-dom https://localhost:PORT/"), "");
    assert!(seen.contains(PAGE), "{seen}");
    let _ = demo.said(&format!("{browser} --screenshot={} https://localhost:PORT/", shot.display()), "");
    assert!(std::fs::metadata(&shot).expect("there is a picture").len() > 40_000);
}

/// Every suite, as the scanners name it.
const SUITES: [&str; 3] = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"];

fn is_in_order_for_sslscan(demo: &Demo) {
    let said = demo.said("sslscan --no-colour --show-certificate localhost:PORT", "");
    for line in [
        "SSLv2     disabled",
        "SSLv3     disabled",
        "TLSv1.0   disabled",
        "TLSv1.1   disabled",
        "TLSv1.2   enabled",
        "TLSv1.3   enabled",
        "Server supports TLS Fallback SCSV",
        "Session renegotiation not supported",
        "TLSv1.3 not vulnerable to heartbleed",
        "TLSv1.2 not vulnerable to heartbleed",
    ] {
        assert!(said.contains(line), "{}: no {line:?} in {said}", demo.name);
    }
    let suites = said.lines().filter(|line| line.starts_with("Preferred") || line.starts_with("Accepted"));
    let odd: Vec<_> = suites
        .clone()
        .filter(|line| {
            !SUITES.iter().any(|suite| {
                line.replace("_128", "128").replace("_256", "256").replace('_', "-").contains(suite)
            })
        })
        .collect();
    assert_eq!((suites.count(), odd), (6, vec![]), "{}: {said}", demo.name);
}

fn is_in_order_for_nmap(demo: &Demo) {
    let said =
        demo.said("nmap -Pn -p PORT --script ssl-enum-ciphers,ssl-dh-params,sslv2,ssl-poodle localhost", "");
    let graded = said.matches(" - A").count();
    assert!(said.contains("least strength: A") && graded == 6, "{}: {said}", demo.name);
    let all = said.matches("cipher preference: server").count();
    assert_eq!((all, said.contains("warnings"), said.contains("VULNERABLE")), (2, false, false), "{said}");
}

#[test]
fn a_process_satisfies_clients_a_browser_and_scanners() {
    let demo = Demo::process();
    is_open_to_every_client(&demo);
    is_exact_with_rough_requests(&demo);
    is_shown_by_a_browser(&demo);
    is_in_order_for_sslscan(&demo);
    is_in_order_for_nmap(&demo);
}

#[test]
fn a_machine_satisfies_clients_a_browser_and_a_scanner() {
    let demo = Demo::machine();
    is_open_to_every_client(&demo);
    is_shown_by_a_browser(&demo);
    is_in_order_for_sslscan(&demo);
}
