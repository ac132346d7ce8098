//! `gatehouse pinata whack`: every attempt that is built in, and a table of what came of each.

use super::attempts::{Came, Whacker};
use super::keep::{FRIEND, FRIEND_SERVER, Keep};
use super::tools::{self, Bad, bad, fetch, shown, wait};
use crate::Outcome;
use crate::life::Bench;
use crate::pack::now;
use pinata::attest::{Attestation, Digits, Nonce};
use pinata::{CALLED, Door};
use rustix::rand::{GetRandomFlags, getrandom};
use std::cell::Cell;
use std::error::Error;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tls::mint::Minted;
use tls::{Calendar, Profile, Trust, papers};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whom to hit, and with what.
#[derive(clap::Args)]
pub(crate) struct Order {
    /// The piñata's name or address.
    host: String,
    /// The port of its page (plain HTTP).
    #[arg(long, default_value_t = 80, value_name = "PORT")]
    page: u16,
    /// The port at which door 10000 is reached; each door is tried at its own number unless told otherwise.
    #[arg(long, default_value_t = Door::Server.port(), value_name = "PORT")]
    server: u16,
    /// The port at which door 10001 is reached. It calls back to port 40001 of this machine.
    #[arg(long, default_value_t = Door::CallBack.port(), value_name = "PORT")]
    call_back: u16,
    /// The port at which door 10002 is reached.
    #[arg(long, default_value_t = Door::Client.port(), value_name = "PORT")]
    client: u16,
    /// The CA's certificate, if you have it from a better source than the page.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client's certificate of yours with its key, in PEM: it is tried last at door 10000.
    #[arg(long, value_name = "FILE")]
    with: Option<PathBuf>,
    /// A server's certificate of yours with its key: it is tried last at doors 10001 and 10002.
    #[arg(long, value_name = "FILE")]
    with_server: Option<PathBuf>,
    /// What `gatehouse pinata init` kept for you, its folder `keep`: with the CA's key, certificates are tried that are the
    /// CA's and wrong in one thing, and a friend's at last.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Hit it so often with all that it must not mind; only the first round is told line by line.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    rounds: u32,
    /// The bounty's public key, as you know it from elsewhere (64 digits): whoever else answers is a liar.
    #[arg(long, value_name = "DIGITS", value_parser = digits)]
    key: Option<Digits>,
    /// The code that should run there, as `gatehouse measure` says it of your own build (64 digits).
    #[arg(long, value_name = "DIGITS", value_parser = digits)]
    code: Option<Digits>,
}

fn digits(text: &str) -> Result<Digits, &'static str> {
    Digits::read(text).ok_or("64 hexadecimal digits are wanted")
}

/// The verb. It fails when something fell out that should not have, when a good certificate got nothing, and when the
/// attestation is a lie.
pub(crate) fn whack(order: &Order) -> Outcome {
    let host = resolve(&order.host)?;
    let ca = authority(order, host)?;
    let honest = attested(order, host, &ca)?;
    let today = Duration::from_secs(now());
    let (trust, calendar) = (Trust::new(core::slice::from_ref(&ca), Vec::new())?, Calendar::at(today));
    let keep = order.keep.as_ref().map(|folder| Keep::open(folder, &ca, today)).transpose()?;
    let hits = Hits { bad: bad(&ca, &name(&ca), today)?, keep };
    let whacker = Whacker { bench: Bench::new()?, trust, calendar, profile: Profile::Intermediate };
    let table = Table { order, host, whacker, tried: Cell::new(0) };
    println!("{:<7}{:<9}{:<46}what came of it", "door", "speaks", "with");
    let held = table.without_right(&hits) && (1..order.rounds).all(|_| table.hit(&hits, false));
    let fell = if held { "nothing fell out" } else { "THE SECRET FELL OUT" };
    println!("{} attempts without any right to it: {fell}", table.tried.get());
    let opened = table.with_right()?;
    if honest && held && opened {
        println!("It hangs whole.");
        return Ok(ExitCode::SUCCESS);
    }
    Err(match (honest, held) {
        (false, _) => "its attestation is a lie",
        (_, false) => "it broke: the secret fell out, and nobody had a right to it",
        _ => "a good certificate got nothing: was it made by this CA, and for this side?",
    }
    .into())
}

fn resolve(host: &str) -> Result<IpAddr, Box<dyn Error>> {
    let found = (host, 0).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?.next();
    Ok(found.ok_or_else(|| format!("{host} has no address"))?.ip())
}

fn authority(order: &Order, host: IpAddr) -> Result<Vec<u8>, Box<dyn Error>> {
    let text = match &order.ca {
        Some(path) => std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => fetch(host, order.page, "/ca.pem")?.into_bytes(),
    };
    Ok(papers::certificates(&text)?.into_iter().next().ok_or("there is no CA certificate")?)
}

/// The common name of a certificate.
fn name(der: &[u8]) -> String {
    let parsed = X509Certificate::from_der(der);
    let name = parsed.ok().and_then(|(_, certificate)| {
        certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok().map(str::to_owned))
    });
    name.unwrap_or_default()
}

/// Asks whether the secret is there, and says what the answer proves.
fn attested(order: &Order, host: IpAddr, ca: &[u8]) -> Result<bool, Box<dyn Error>> {
    let mut random = [0; 32];
    getrandom(&mut random, GetRandomFlags::empty())?;
    let nonce = Nonce::read(&Digits(random).to_string()).ok_or("no nonce")?;
    let said = fetch(host, order.page, &format!("/attestation?nonce={nonce}"))?;
    let read = match Attestation::read(&said, &nonce) {
        Ok(read) => read,
        Err(unproved) => {
            println!("attestation: {unproved}");
            return Ok(false);
        }
    };
    let mut honest = true;
    let mut hold = |name: &str, said: Option<Digits>, known: Option<Digits>, unknown: &str| {
        let (shown, agrees) = match (said, known) {
            (None, None) => (unknown.to_owned(), true),
            (None, Some(_)) => (format!("{unknown}, but you know one"), false),
            (Some(said), None) => (format!("{said}, which you have from itself only"), true),
            (Some(said), Some(known)) if said == known => (format!("{said}, as you know it"), true),
            (Some(said), Some(_)) => (format!("{said}, and not what you know"), false),
        };
        println!("{name}: {shown}");
        honest &= agrees;
    };
    hold("CA", Some(read.ca), Some(Digits::of(ca)), "");
    hold(
        "bounty's key, which has signed your nonce",
        read.key,
        order.key,
        "none: nothing proves that the secret is there",
    );
    hold("code, as it says itself", read.code, order.code, "not measured");
    println!();
    Ok(honest)
}

/// What must get nothing.
struct Hits {
    bad: Vec<Bad>,
    keep: Option<Keep>,
}

impl Hits {
    fn bad(&self) -> impl Iterator<Item = &Bad> {
        self.bad.iter().chain(self.keep.iter().flat_map(|keep| &keep.bad))
    }
}

/// Each version by itself: what one refuses, the other might not.
const VERSIONS: [(Profile, &str); 2] = [(Profile::Modern, "TLS 1.3"), (Profile::Former, "TLS 1.2")];

/// The attempts, line by line.
struct Table<'a> {
    order: &'a Order,
    host: IpAddr,
    whacker: Whacker,
    tried: Cell<u32>,
}

impl Table<'_> {
    fn at(&self, door: Door) -> SocketAddr {
        let port = match door {
            Door::Server => self.order.server,
            Door::CallBack => self.order.call_back,
            Door::Client => self.order.client,
        };
        SocketAddr::new(self.host, port)
    }

    fn wait(&self, work: impl Future<Output = Came> + 'static) -> Came {
        wait(&self.whacker.bench, work)
    }

    /// Everything that must get nothing. True if it got nothing.
    fn without_right(&self, hits: &Hits) -> bool {
        let mut held = self.hit(hits, true);
        if let Some(bad) = hits.bad.first() {
            self.tried.set(self.tried.get().saturating_add(1));
            let (what, came) = (format!("a certificate {}", bad.name), self.called_back(&bad.server));
            held &= !say(Door::CallBack, "", &what, &came);
        }
        held
    }

    /// The same without door 10001, which calls nobody so often; in silence, or aloud.
    fn hit(&self, hits: &Hits, aloud: bool) -> bool {
        let mut held = true;
        let mut line = |door: Door, version: &str, what: &str, came: Came| {
            self.tried.set(self.tried.get().saturating_add(1));
            let fell = matches!(came, Came::Secret(_));
            held &= !fell;
            if aloud || fell {
                say(door, version, what, &came);
            }
        };
        for door in [Door::Server, Door::Client] {
            let bytes = |bytes| self.wait(self.whacker.clone().with_bytes(self.at(door), bytes));
            line(door, "", "nothing: knocks and leaves", bytes(b""));
            line(door, "", "garbage", bytes(b"Open, sesame! Open, sesame! Open, sesame!\r\n\r\n"));
        }
        let relayed = self.whacker.clone().between(self.at(Door::Client), self.at(Door::Server));
        line(Door::Client, "", "its own door 10000", self.wait(relayed));
        for (profile, version) in VERSIONS {
            self.hit_in(&Whacker { profile, ..self.whacker.clone() }, hits, |door, what, came| {
                line(door, version, what, came);
            });
        }
        held
    }

    /// All that speaks TLS, in one version.
    fn hit_in(&self, whacker: &Whacker, hits: &Hits, mut line: impl FnMut(Door, &str, Came)) {
        let (server, client) = (self.at(Door::Server), self.at(Door::Client));
        let call = |own: Option<&Minted>| self.wait(whacker.clone().calls(server, own.map(tools::again)));
        line(Door::Server, "no certificate", call(None));
        for bad in hits.bad() {
            line(Door::Server, &format!("a certificate {}", bad.name), call(Some(&bad.client)));
        }
        for bad in hits.bad() {
            let came = self.wait(whacker.clone().answers(client, tools::again(&bad.server)));
            line(Door::Client, &format!("a certificate {}", bad.name), came);
        }
        let Some(keep) = &hits.keep else { return };
        let stolen = whacker.clone().poses(server, tools::again(&keep.stolen));
        line(Door::Server, "a certificate of its CA, and another key", self.wait(stolen));
        if let Some(revoked) = &keep.revoked {
            line(Door::Server, "a certificate of its CA, revoked", call(Some(revoked)));
        }
    }

    fn called_back(&self, own: &Minted) -> Came {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), CALLED);
        let listener = TcpListener::bind(any).or_else(|_| TcpListener::bind(("0.0.0.0", CALLED)));
        let ready = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| Rc::new(listener)));
        match ready {
            Ok(listener) => {
                let own = tools::again(own);
                self.wait(self.whacker.clone().called_back(self.at(Door::CallBack), listener, own))
            }
            Err(error) => Came::Untried(format!("cannot listen on port {CALLED}: {error}")),
        }
    }

    /// What should get it. True if it got it, or if there was nothing to try.
    fn with_right(&self) -> Result<bool, Box<dyn Error>> {
        let kept = |name: &str| self.order.keep.as_ref().map(|folder| folder.join(name));
        let mut opened = true;
        if let Some(path) = self.order.with.clone().or_else(|| kept(FRIEND)) {
            let came = self.whacker.clone().calls(self.at(Door::Server), Some(shown(&path)?));
            opened &= say(Door::Server, "", "your certificate", &self.wait(came));
        }
        if let Some(path) = self.order.with_server.clone().or_else(|| kept(FRIEND_SERVER)) {
            let came = self.whacker.clone().answers(self.at(Door::Client), shown(&path)?);
            opened &= say(Door::Client, "", "your certificate", &self.wait(came));
            let came = self.called_back(&shown(&path)?);
            // The door may be closed, or have called a moment ago: the two others have told what there was to tell.
            let _ = say(Door::CallBack, "", "your certificate", &came);
        }
        Ok(opened)
    }
}

/// Prints a line of the table, and says whether the secret fell out.
fn say(door: Door, version: &str, what: &str, came: &Came) -> bool {
    let line = format!("{:<7}{version:<9}{what:<46}", door.port());
    match came {
        Came::Secret(words) => {
            println!("{line}THE SECRET, {} bytes:", words.len());
            println!("{}", String::from_utf8_lossy(words).trim_end());
        }
        Came::Nothing(seen) => println!("{line}{seen}"),
        Came::Untried(why) => println!("{line}not tried: {why}"),
    }
    matches!(came, Came::Secret(_))
}
