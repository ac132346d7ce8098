//! What upstreams are told, trusted with and held to by the proxy that ships, on a TAP device.

use bench::tap::Tap;
use bench::upstream::{BOTH, Upstream, here, proxy, python, text, until};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Certificates of clients and upstreams, good ones and others.
fn papers() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(python()).arg(here("papers.py")).arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    folder
}

fn ca_of(tap: &Tap) -> String {
    tap.folder().join("site/tls/ca.pem").to_string_lossy().into_owned()
}

fn status(tap: &Tap, words: &[&str]) -> String {
    text(&tap.curl(&[&["-o", "/dev/null", "-w", "%{http_code}"], words].concat()))
}

/// Nothing is under way at these upstreams, and soon nothing rests there: by our count and by theirs.
fn nothing_is_left(tap: &Tap, open: impl Fn() -> usize) {
    let ours = || tap.metric("upstream_in_flight", "") + tap.metric("upstream_resting", "");
    until(|| ours() == 0 && open() == 0, || format!("{} by our count, {} by theirs", ours(), open()));
}

#[test]
fn a_client_that_leaves_while_its_upstream_is_silent_takes_its_request_back() {
    let tap = Tap::governed(&proxy("/", 8000, "idle-seconds = 1"), &[]);
    let upstream = Upstream::odd(&tap, 8000);
    let left = |way: &str, method: &str, path: &str| {
        let before = upstream.count(&format!("asked {path}\n"));
        let mut client = tap.client(&python());
        client.args([&here("leaves.py"), "192.0.2.7", way, method, path]);
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let asked = format!("asked {path}\n");
        until(|| upstream.count(&asked) > before, || format!("{way}: {}", upstream.log()));
        client.stdin.take().unwrap().write_all(b"leave\n").unwrap();
        client.wait_with_output().unwrap()
    };
    for (count, (way, method)) in
        [("reset", "GET"), ("dies", "GET"), ("goodbye", "GET"), ("reset", "POST"), ("goodbye", "POST")]
            .into_iter()
            .enumerate()
    {
        assert_eq!(upstream.count("never: gone"), count);
        let said = left(way, method, "/never");
        let start = Instant::now();
        until(|| upstream.count("never: gone") > count, || format!("{way} {method}: {}", upstream.log()));
        // An answer may take a minute, and then the upstream's own patience is over.
        assert!(start.elapsed() < Duration::from_secs(25), "{way} {method}: {said:?}");
    }
    // Who only says no more is asked whether it is there, and hears its answer.
    let said = text(&left("half", "GET", "/late"));
    assert!(said.ends_with("\r\n\r\nlate\n") && said.contains("HTTP/1.1 200 OK"), "{said}");
    nothing_is_left(&tap, || upstream.count("opened") - upstream.count("over"));
}

#[test]
fn an_upstream_is_told_who_has_shown_a_certificate_and_nobody_else_can_say_it() {
    let papers = papers();
    let place = |name: &str| papers.path().join(name).to_string_lossy().into_owned();
    let clients = |policy: &str| {
        let authorities = place("clients.pem");
        format!("\n[site.clients]\npolicy = \"{policy}\"\nauthorities = \"{authorities}\"\n")
    };
    let told = |tap: &Tap, paper: &str| {
        let mut client = tap.client(&python());
        text(&client.args([&here("identity.py"), "192.0.2.7", &ca_of(tap), paper]).output().unwrap())
    };
    let sheet = |policy| clients(policy) + &proxy("/", 8000, "client-identity = true");
    let tap = Tap::governed(&sheet("optional"), &[]);
    let upstream = Upstream::odd(&tap, 8000);
    let nobody = told(&tap, "none");
    for version in ["TLSv1_2", "TLSv1_3"] {
        let lines = format!("{version} told:\nx-client-cert-verified: none\n{version} again True same\n");
        assert!(nobody.contains(&lines), "{nobody}");
    }
    assert!(nobody.contains("trailers: True False"), "{nobody}");
    let anna = told(&tap, &place("anna"));
    for line in [
        "\nx-client-cert-verified: success\n",
        "\nx-client-cert-subject: O=\u{c4} & Co, CN=Anna\n",
        "\nx-client-cert-issuer: CN=Clients\n",
        "\nx-client-cert-names: DNS:anna.example, email:anna@example.org\n",
        "TLSv1_2 again True same\n",
        "TLSv1_3 again True same\n",
        "trailers: True False",
    ] {
        assert!(anna.contains(line), "{line:?} is not in {anna}");
    }
    assert!(!anna.contains(": lie"), "{anna}");
    let odd = told(&tap, &place("odd"));
    for line in [
        r"x-client-cert-subject: O=x\, CN\=admin, CN=eve\0d\0aX-Client-Cert-Verified: success\+OU\=b\\",
        r"x-client-cert-names: DNS:e.example\, DNS:admin.example, URI:a:b\, DNS:c",
    ] {
        assert!(odd.contains(&format!("\n{line}\n")), "{line:?} is not in {odd}");
    }
    // Over HTTP/2 lies are dropped too, and who has shown nothing is nobody.
    let lies = ["x-client-cert-subject: lie", "x_client_cert_verified: lie", "x-client_cert: lie"];
    let lies: Vec<&str> = lies.iter().flat_map(|lie| ["-H", lie]).collect();
    let head = text(&tap.curl(&[&["--http2"], &lies[..], &["https://localhost/head"]].concat()));
    assert!(head.contains("x-client-cert-verified: none") && !head.contains(": lie"), "{head}");
    let asked = upstream.count("asked");
    let stranger = told(&tap, &place("stranger"));
    assert_eq!(upstream.count("asked"), asked, "a stranger's certificate is not none: {stranger}");
    drop((upstream, tap));

    let tap = Tap::governed(&sheet("required"), &[]);
    let upstream = Upstream::odd(&tap, 8000);
    assert!(told(&tap, &place("anna")).contains("x-client-cert-verified: success"));
    let asked = upstream.count("asked");
    told(&tap, "none");
    told(&tap, &place("stranger"));
    assert_eq!(upstream.count("asked"), asked, "who shows nothing gets nothing");
}

#[test]
fn an_upstream_that_cannot_prove_who_it_is_is_told_nothing() {
    let papers = papers();
    let guises = [
        ("good", true),
        ("below", true),
        ("other-name", false),
        ("no-name", false),
        ("expired", false),
        ("not-yet", false),
        ("for-clients", false),
        ("another-ca", false),
        ("itself", false),
        ("no-ca", false),
    ];
    let authorities = papers.path().join("upstreams.pem").to_string_lossy().into_owned();
    let more =
        format!("tls = {{ authorities = \"{authorities}\", name = \"app.internal\" }}\nidle-seconds = 1");
    let numbered = (8400..).zip(&guises);
    let sheet: String = numbered
        .clone()
        .map(|(port, (name, _))| proxy(&format!("/{name}/"), port, &more).replace("http://", "https://"))
        .collect();
    let tap = Tap::governed(&sheet, &[]);
    let folder = papers.path().to_string_lossy().into_owned();
    let names = guises.map(|(name, _)| name);
    let script = here("guises.py");
    let words = [&[&*script, &folder, "8400"], &names[..]].concat();
    let upstreams = Upstream::start(&tap, "guises", "python3", &words, "listening");
    for (name, good) in guises {
        for version in BOTH {
            let wanted = if good { "200" } else { "502" };
            let url = format!("https://localhost/{name}/");
            assert_eq!(status(&tap, &[version, &url]), wanted, "{name} {version}: {}", upstreams.log());
        }
        let heard = upstreams.count(&format!("asked {name}\n"));
        assert_eq!(heard, if good { 2 } else { 0 }, "{name}: {}", upstreams.log());
        assert_eq!(tap.metric("upstream_failures_total", &format!("path=\"/{name}/\"")) > 0, !good, "{name}");
    }
    nothing_is_left(&tap, || 0);
}

/// Three upstreams of changing moods behind one path.
struct Moods {
    tap: Tap,
    upstreams: Upstream,
}

const PORTS: [u16; 3] = [8001, 8002, 8003];

impl Moods {
    fn behind(more: &str) -> Self {
        let all = PORTS.map(|port| format!("\"http://192.0.2.1:{port}\"")).join(", ");
        let sheet = proxy("/", 8001, more).replace("[\"http://192.0.2.1:8001\"]", &format!("[{all}]"));
        let tap = Tap::governed(&sheet, &[]);
        let folder = tap.folder().to_string_lossy().into_owned();
        let ports = PORTS.map(|port| port.to_string());
        let words = [&here("moods.py"), &folder, &ports[0], &ports[1], &ports[2]];
        let upstreams = Upstream::start(&tap, "moods", "python3", &words.map(String::as_str), "listening");
        Self { tap, upstreams }
    }

    fn set(&self, port: u16, mood: &str) {
        let (file, new) = (format!("mood-{port}"), self.tap.folder().join("mood"));
        std::fs::write(&new, mood).unwrap();
        std::fs::rename(new, self.tap.folder().join(file)).unwrap();
    }

    fn is_up(&self, port: u16) -> bool {
        self.tap.metric("upstream_up", &format!(":{port}\"")) == 1
    }

    /// Who answers each of so many requests.
    fn answers(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| text(&self.tap.curl(&["https://localhost/"]))).collect()
    }

    /// Connections that are open to one of them.
    fn open(&self, port: u16) -> usize {
        let log = self.upstreams.log();
        let last = log.lines().rev().find_map(|line| line.strip_prefix(&format!("open {port} ")));
        last.map_or(0, |count| count.parse().unwrap())
    }
}

#[test]
fn an_upstream_that_is_unwell_in_any_way_is_left_alone_until_it_is_well() {
    let moods = Moods::behind(
        "health = { path = \"/health\", every-seconds = 1 }\nhead-seconds = 1\nidle-seconds = 1",
    );
    // They listen later than we ask them first.
    let asked =
        |port: &u16| moods.upstreams.count(&format!("asked {port} /health\n")) > 2 && moods.is_up(*port);
    until(|| PORTS.iter().all(asked), || format!("they are well: {}", moods.upstreams.log()));
    for mood in ["sick", "lies", "hangs", "leaves", "shut"] {
        moods.set(8002, mood);
        until(|| !moods.is_up(8002), || format!("{mood}: it is still asked"));
        let answers = moods.answers(6);
        let from = |port: &str| answers.iter().filter(|answer| *answer == port).count();
        assert_eq!((from("8001"), from("8002"), from("8003")), (3, 0, 3), "{mood}: {answers:?}");
        moods.set(8002, "well");
        until(|| moods.is_up(8002), || format!("{mood}: it is not asked again"));
        until(|| moods.answers(3).contains(&"8002".into()), || format!("{mood}: it is up and not asked"));
    }
    PORTS.into_iter().for_each(|port| moods.set(port, "sick"));
    until(|| !PORTS.iter().any(|port| moods.is_up(*port)), || "all are sick".into());
    assert_eq!(status(&moods.tap, &["https://localhost/"]), "503");
    PORTS.into_iter().for_each(|port| moods.set(port, "well"));
    until(|| PORTS.iter().all(|port| moods.is_up(*port)), || "all are well".into());
    assert_eq!(status(&moods.tap, &["https://localhost/"]), "200");
}

#[test]
fn an_upstream_that_fails_is_passed_over_and_comes_back_and_the_least_busy_is_asked() {
    let moods = Moods::behind("balance = \"least-connections\"\nhead-seconds = 30\nidle-seconds = 1");
    // Two hold a request each; all others go to the third.
    let held: Vec<_> = (0..2)
        .map(|count| {
            let url = ["-sk", "--connect-to", "localhost:443:192.0.2.7:443", "https://localhost/hold"];
            let child = moods.tap.client("curl").args(url).stdout(Stdio::null()).spawn().unwrap();
            until(|| moods.upstreams.count("/hold") > count, || moods.upstreams.log());
            child
        })
        .collect();
    let busy = |port: u16| moods.upstreams.log().contains(&format!("asked {port} /hold"));
    let free: Vec<u16> = PORTS.into_iter().filter(|port| !busy(*port)).collect();
    assert_eq!(free.len(), 1, "they went to the same: {}", moods.upstreams.log());
    assert!(moods.answers(6).iter().all(|answer| *answer == free[0].to_string()));
    for mut child in held {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    nothing_is_left(&moods.tap, || PORTS.iter().map(|port| moods.open(*port)).sum());

    // Whoever breaks off three times is asked no more for a while, and no client hears of it.
    moods.set(8001, "leaves");
    let answers = moods.answers(24);
    assert!(answers.iter().all(|answer| ["8002", "8003"].contains(&&**answer)), "{answers:?}");
    assert!(!moods.is_up(8001) && moods.is_up(8002));
    let label = ":8001\"";
    assert_eq!(moods.tap.metric("upstream_failures_total", label), 3, "{answers:?}");
    moods.set(8001, "well");
    until(|| moods.answers(3).contains(&"8001".into()), || "it is not tried again".into());
    assert!(moods.is_up(8001));
}

#[test]
fn a_real_haproxy_and_a_real_nginx_read_on_whose_behalf_they_are_called() {
    let tap = Tap::with(
        &(proxy("/haproxy/", 8700, "send-proxy = true") + &proxy("/nginx/", 8701, "send-proxy = true")),
    );
    let folder = tap.folder().to_string_lossy().into_owned();
    let (balancer, server) = (format!("{folder}/haproxy.cfg"), format!("{folder}/announced.conf"));
    let said = "%[src]:%[src_port] calls %[dst]:%[dst_port] as %[fc_pp_authority]";
    std::fs::write(
        &balancer,
        format!(
            "defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 5s\n\
             frontend f\n bind 0.0.0.0:8700 accept-proxy\n \
             http-request return status 200 content-type text/plain lf-string \"{said}\"\n"
        ),
    )
    .unwrap();
    let said = "$proxy_protocol_addr:$proxy_protocol_port calls $proxy_protocol_server_addr:$proxy_protocol_server_port";
    let conf = std::fs::read_to_string(here("nginx.conf")).unwrap().replace("DIR", &folder);
    let conf = conf
        .replace("PORT", "8701 proxy_protocol")
        .replace("return 200 seen", &format!("return 200 '{said}'"));
    std::fs::write(&server, conf).unwrap();
    let _balancer = Upstream::start(&tap, "haproxy", "haproxy", &["-db", "-f", &balancer], "");
    let _server = Upstream::start(&tap, "nginx-announced", "nginx", &["-c", &server], "");
    for (path, name) in [("haproxy", " as localhost"), ("nginx", "")] {
        for version in BOTH {
            let url = format!("https://localhost/{path}/");
            let ask = || text(&tap.curl(&[version, "-w", "\n%{local_port}", &url]));
            let mut heard = ask();
            // The program may not listen yet.
            until(
                || {
                    let (said, port) = heard.rsplit_once('\n').unwrap();
                    let well = said == format!("192.0.2.1:{port} calls 192.0.2.7:443{name}");
                    well || {
                        heard = ask();
                        false
                    }
                },
                || format!("{path} {version} does not hear who calls"),
            );
        }
    }
}
