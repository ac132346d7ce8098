//! Real clients against the front, over loopback: OpenSSL, GnuTLS, and an OpenSSL that is new enough for
//! ML-KEM.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use futures_io::{AsyncRead, AsyncWrite};
use std::cell::RefCell;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tls::mint::{Authority, Minted, Validity, pem};
use tls::{Calendar, ClientPolicy, Front, Kind, Profile, Session, Site, Trust, papers};
use tls_bench::{close, read_some, write_all};
use world::Instant;

/// A socket that never blocks, and the wakers of all that wait: whoever waits is woken every millisecond.
struct Socket(TcpStream, Rc<RefCell<Vec<Waker>>>);

impl Socket {
    fn or_wait<T>(&self, result: io::Result<T>, context: &Context<'_>) -> Poll<io::Result<T>> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.1.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.or_wait((&self.0).read(into), context)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.or_wait((&self.0).write(bytes), context)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown(Shutdown::Write))
    }
}

/// A front on a port of loopback, in a thread of its own; it answers one line to one line.
struct Served {
    port: u16,
    folder: PathBuf,
    refusals: Arc<Mutex<Vec<Kind>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

static SERVED: AtomicU32 = AtomicU32::new(0);

/// What a test may change of the site before it is served.
type Change = fn(&mut Site, Trust, &Path);

/// Serves `example.org` with a certificate of a CA that lies in the folder, beside a client's certificate.
fn serve(change: Change) -> Served {
    let name = format!("gatehouse-tls-{}-{}", std::process::id(), SERVED.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    fs::create_dir(&folder).unwrap();
    let ca = Authority::new("Real CA", Validity::days(now(), 9)).unwrap();
    let keep = |name: &str, label: &str, der: &[u8]| {
        fs::write(folder.join(name), pem(label, der).as_bytes()).unwrap()
    };
    let keep_minted = |name: &str, minted: &Minted| {
        keep(&format!("{name}.pem"), "CERTIFICATE", &minted.chain[0]);
        keep(&format!("{name}.key"), "PRIVATE KEY", minted.key.der());
    };
    keep("ca.pem", "CERTIFICATE", ca.certificate());
    keep("ca.key", "PRIVATE KEY", ca.key().der());
    keep_minted("ada", &ca.client("Ada", Validity::days(now(), 3)).unwrap());
    let server = ca.server(&["example.org"], Validity::days(now(), 3)).unwrap();
    keep_minted("server", &server);
    let trust = Trust::new(&[ca.certificate().to_vec()], Vec::new()).unwrap();
    let mut site = Site::new(vec!["example.org".to_owned()], server.chain, server.key);
    site.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    change(&mut site, trust, &folder);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (refusals, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let (told, stopped) = (refusals.clone(), stop.clone());
    let thread = std::thread::spawn(move || attend(&listener, site, &told, &stopped));
    Served { port, folder, refusals, stop, thread: Some(thread) }
}

fn attend(listener: &TcpListener, site: Site, refusals: &Arc<Mutex<Vec<Kind>>>, stop: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    let front = Rc::new(Front::new(vec![site], None, Calendar::at(now())).unwrap());
    let (tasks, wakers) = (tasks::Tasks::new(), Rc::new(RefCell::new(Vec::<Waker>::new())));
    let start = std::time::Instant::now();
    while !stop.load(Ordering::Relaxed) {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            let socket = Socket(stream, wakers.clone());
            let (front, timers, refusals) = (front.clone(), tasks.timers().clone(), refusals.clone());
            tasks.spawn(async move {
                match front.accept(socket, 443, &timers, Duration::from_secs(5)).await {
                    Ok((session, _)) => answer(session).await,
                    Err(refused) => refusals.lock().unwrap().push(refused.kind),
                }
            });
        }
        wakers.take().into_iter().for_each(Waker::wake);
        tasks.turn(Instant::from_nanos(start.elapsed().as_nanos() as u64), 10_000);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for a line, says what the handshake settled, and closes.
async fn answer(mut session: Session<Socket>) {
    while read_some(&mut session).await.is_ok_and(|some| !some.is_empty() && !some.ends_with(b"\n")) {}
    let facts = session.facts();
    let line = format!(
        "{} {} {} alpn={} resumed={} peer={}\n",
        facts.version,
        facts.suite,
        facts.group.unwrap_or("-"),
        String::from_utf8_lossy(session.alpn().unwrap_or(b"-")),
        facts.resumed,
        session.peer().map_or("-", |peer| &peer.subject),
    );
    let _ = write_all(&mut session, line.as_bytes()).await;
    let _ = close(&mut session).await;
}

impl Served {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Runs a client that says one line; what it prints, errors and all.
    fn client(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("timeout");
        command.arg("20").arg(program).args(arguments).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let saying = std::thread::spawn(move || {
            let _ = stdin.write_all(b"hello\n");
            std::thread::sleep(Duration::from_millis(500));
        });
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        saying.join().unwrap();
        let all = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (status.success(), all)
    }

    /// `openssl s_client` that verifies the server and says one line.
    fn openssl(&self, more: &[&str]) -> (bool, String) {
        let (to, ca) = (format!("127.0.0.1:{}", self.port), self.path("ca.pem"));
        let mut arguments = vec!["s_client", "-connect", &to, "-CAfile", &ca, "-verify_return_error"];
        arguments.extend(more);
        self.client("openssl", &arguments)
    }

    /// What the front refused so far.
    fn refusals(&self) -> Vec<Kind> {
        self.refusals.lock().unwrap().clone()
    }
}

const NAMED: [&str; 2] = ["-servername", "example.org"];

#[test]
fn openssl_speaks_both_versions_and_takes_sessions_up_again() {
    let served = serve(|_, _, _| {});
    let session = served.path("session");
    for (version, words) in
        [("-tls1_2", "TLSv1.2 ECDHE-ECDSA"), ("-tls1_3", "TLSv1.3 TLS_AES_128_GCM_SHA256")]
    {
        let first = words.split(' ').next().unwrap();
        let (_, said) = served.openssl(&[&NAMED[..], &[version, "-sess_out", &session]].concat());
        assert!(said.contains(&format!("\n{first} ")) && said.contains("resumed=false"), "{said}");
        let (_, said) = served.openssl(&[&NAMED[..], &[version, "-sess_in", &session]].concat());
        assert!(said.contains("resumed=true"), "{said}");
    }
    assert_eq!(served.refusals(), []);
}

#[test]
fn openssl_negotiates_protocol_suite_and_group_in_our_order() {
    let served = serve(|_, _, _| {});
    let suites = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
    let more = ["-alpn", "http/1.1,h2", "-ciphersuites", suites, "-groups", "P-256:X25519"];
    let (_, said) = served.openssl(&[&NAMED[..], &more].concat());
    assert!(said.contains("TLSv1.3 TLS_AES_128_GCM_SHA256"), "{said}");
    assert!(said.contains("alpn=h2"), "{said}");
    let (good, said) = served.openssl(&[&NAMED[..], &["-alpn", "spdy/1"]].concat());
    assert!(!good && said.contains("alert number 120"), "{said}");
    assert_eq!(served.refusals(), [Kind::Protocol]);
}

#[test]
fn openssl_reads_every_alert() {
    let served = serve(|site, _, _| site.profile = Profile::Modern);
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    for (more, alert, kind) in [
        (&["-servername", "example.com"][..], "alert number 112", Kind::UnknownName),
        (&["-noservername"], "alert number 112", Kind::UnknownName),
        (&[NAMED[0], NAMED[1], "-tls1_2"], "alert number 70", Kind::Version),
        (&[NAMED[0], NAMED[1], old[0], old[1], old[2]], "alert number 70", Kind::Version),
    ] {
        let (good, said) = served.openssl(more);
        assert!(!good && said.contains(alert), "{said}");
        assert_eq!(served.refusals().last(), Some(&kind));
    }
}

#[test]
fn openssl_shows_a_certificate_or_reads_that_one_is_required() {
    let served = serve(|site, trust, _| site.clients = ClientPolicy::Required(trust));
    let (ada, key, server) = (served.path("ada.pem"), served.path("ada.key"), served.path("server.pem"));
    for version in ["-tls1_2", "-tls1_3"] {
        let (_, said) = served.openssl(&[&NAMED[..], &[version, "-cert", &ada, "-key", &key]].concat());
        assert!(said.contains("peer=CN=Ada"), "{said}");
        let (_, said) = served.openssl(&[&NAMED[..], &[version]].concat());
        assert!(said.contains("alert number 116"), "certificate_required: {said}");
        let wrong = served.path("server.key");
        let (_, said) = served.openssl(&[&NAMED[..], &[version, "-cert", &server, "-key", &wrong]].concat());
        assert!(said.contains("alert number 43"), "unsupported_certificate: {said}");
    }
    let both = [Kind::NoCertificate, Kind::WrongUse];
    assert_eq!(served.refusals(), [both, both].concat());
}

#[test]
fn gnutls_speaks_both_versions_and_believes_the_chain() {
    let served = serve(|_, _, _| {});
    let (port, ca) = (served.port.to_string(), served.path("ca.pem"));
    for (version, words) in [("VERS-TLS1.2", "TLSv1.2"), ("VERS-TLS1.3", "TLSv1.3")] {
        let priority = format!("NORMAL:-VERS-ALL:+{version}");
        let to = ["--port", &port, "--x509cafile", &ca, "--sni-hostname", "example.org"];
        let more = ["--verify-hostname", "example.org", "--priority", &priority, "127.0.0.1"];
        let (_, said) = served.client("gnutls-cli", &[&to[..], &more].concat());
        assert!(said.contains("The certificate is trusted") && said.contains(words), "{said}");
    }
    assert_eq!(served.refusals(), []);
}

/// What speaks to us with an OpenSSL of 3.5 or newer: pyOpenSSL brings its own.
const PYTHON: &str = r#"
import socket, sys
from OpenSSL import SSL
context = SSL.Context(SSL.TLS_CLIENT_METHOD)
context.load_verify_locations(sys.argv[2])
context.set_verify(SSL.VERIFY_PEER)
stream = SSL.Connection(context, socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
stream.set_tlsext_host_name(b"example.org")
stream.set_connect_state()
stream.do_handshake()
stream.sendall(b"hello\n")
print(SSL.OpenSSL_version(0), stream.recv(1000))
"#;

#[test]
fn an_independent_ml_kem_comes_to_the_same_secret() {
    let served = serve(|_, _, _| {});
    let python = std::env::var("GATEHOUSE_PYTHON").expect(
        "GATEHOUSE_PYTHON names a Python with pyOpenSSL 25 or newer: `tests/run` makes one, or \
         `python3 -m venv V && V/bin/pip install pyOpenSSL`, then GATEHOUSE_PYTHON=V/bin/python",
    );
    let (good, said) =
        served.client(&python, &["-c", PYTHON, &served.port.to_string(), &served.path("ca.pem")]);
    assert!(good && said.contains("X25519MLKEM768"), "{said}");
}

/// Lets `openssl` make something in this folder.
fn made(folder: &Path, commands: &[&str]) {
    for command in commands {
        let output = Command::new("openssl").args(command.split(' ')).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "openssl {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn an_rsa_certificate_that_an_operator_made_with_openssl_is_served() {
    let served = serve(|site, _, folder| {
        let request = "req -new -newkey rsa:2048 -nodes -keyout rsa.key -subj /CN=example.org -out rsa.csr \
                       -addext subjectAltName=DNS:example.org";
        let sign =
            "x509 -req -in rsa.csr -CA ca.pem -CAkey ca.key -days 3 -copy_extensions copy -out rsa.pem";
        made(folder, &[request, sign]);
        site.chain = papers::certificates(&fs::read(folder.join("rsa.pem")).unwrap()).unwrap();
        site.key = papers::key(&fs::read(folder.join("rsa.key")).unwrap()).unwrap();
        assert!(papers::covers(&site.chain[0], "example.org"));
    });
    for (version, words) in
        [("-tls1_2", "TLSv1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), ("-tls1_3", "TLSv1.3")]
    {
        let (_, said) = served.openssl(&[&NAMED[..], &[version]].concat());
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_staple_reaches_the_client_and_says_what_it_said() {
    let served = serve(|site, _, folder| {
        let mut asked = Command::new("openssl");
        let asked = asked.args(["x509", "-serial", "-noout", "-in", "server.pem"]).current_dir(folder);
        let serial = asked.output().unwrap().stdout;
        let serial = String::from_utf8(serial).unwrap().trim().replace("serial=", "");
        fs::write(folder.join("index"), format!("V\t391231235959Z\t\t{serial}\tunknown\t/CN=example.org\n"))
            .unwrap();
        let respond = "ocsp -index index -CA ca.pem -rsigner ca.pem -rkey ca.key -issuer ca.pem \
                       -cert server.pem -respout staple -ndays 2";
        made(folder, &[respond]);
        site.ocsp = Some(fs::read(folder.join("staple")).unwrap());
    });
    for version in ["-tls1_2", "-tls1_3"] {
        let (_, said) = served.openssl(&[&NAMED[..], &["-status", version]].concat());
        assert!(
            said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good"),
            "{said}"
        );
    }
}
