//! `gatehouse pinata whack`: every attempt that is built in, and a table of what came of each.

use super::attempts::{Came, Whacker};
use super::tools::{self, bad, fetch, shown, wait};
use crate::Outcome;
use crate::life::Bench;
use crate::pack::now;
use pinata::attest::{Attestation, Digits, Nonce};
use pinata::{CALLED, Door};
use rustix::rand::{GetRandomFlags, getrandom};
use std::error::Error;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tls::mint::Minted;
use tls::{Calendar, Trust, papers};
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
    let table = Table { order, host, whacker: Whacker { bench: Bench::new()?, trust, calendar } };
    let bad = bad(&ca, &name(&ca), today)?;
    println!("{:<7}{:<42}what came of it", "door", "with");
    let held = table.without_right(&bad) && (1..order.rounds).all(|_| table.once_more(&bad));
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

/// The attempts, line by line.
struct Table<'a> {
    order: &'a Order,
    host: IpAddr,
    whacker: Whacker,
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
    fn without_right(&self, bad: &[tools::Bad]) -> bool {
        let mut held = self.hit(bad, say);
        if let Some(bad) = bad.first() {
            held &=
                !say(Door::CallBack, &format!("a certificate {}", bad.name), &self.called_back(&bad.server));
        }
        held
    }

    /// The same without words, and without door 10001, which calls nobody so often.
    fn once_more(&self, bad: &[tools::Bad]) -> bool {
        self.hit(bad, |_, _, came| matches!(came, Came::Secret(_)))
    }

    fn hit(&self, bad: &[tools::Bad], say: fn(Door, &str, &Came) -> bool) -> bool {
        let mut held = true;
        let mut line = |door: Door, what: &str, came: Came| held &= !say(door, what, &came);
        let (server, client) = (self.at(Door::Server), self.at(Door::Client));
        for (door, at) in [(Door::Server, server), (Door::Client, client)] {
            let bytes = |bytes| self.wait(self.whacker.clone().with_bytes(at, bytes));
            line(door, "nothing: knocks and leaves", bytes(b""));
            line(door, "garbage", bytes(b"Open, sesame! Open, sesame! Open, sesame!\r\n\r\n"));
        }
        line(Door::Server, "no certificate", self.wait(self.whacker.clone().calls(server, None)));
        for bad in bad {
            let came = self.wait(self.whacker.clone().calls(server, Some(tools::again(&bad.client))));
            line(Door::Server, &format!("a certificate {}", bad.name), came);
        }
        for bad in bad {
            let came = self.wait(self.whacker.clone().answers(client, tools::again(&bad.server)));
            line(Door::Client, &format!("a certificate {}", bad.name), came);
        }
        line(Door::Client, "its own door 10000", self.wait(self.whacker.clone().between(client, server)));
        held
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
        let mut opened = true;
        if let Some(path) = &self.order.with {
            let came = self.whacker.clone().calls(self.at(Door::Server), Some(shown(path)?));
            opened &= say(Door::Server, "your certificate", &self.wait(came));
        }
        if let Some(path) = &self.order.with_server {
            let came = self.whacker.clone().answers(self.at(Door::Client), shown(path)?);
            opened &= say(Door::Client, "your certificate", &self.wait(came));
            let came = self.called_back(&shown(path)?);
            // The door may be closed, or have called a moment ago: the two others have told what there was to tell.
            let _ = say(Door::CallBack, "your certificate", &came);
        }
        Ok(opened)
    }
}

/// Prints a line of the table, and says whether the secret fell out.
fn say(door: Door, what: &str, came: &Came) -> bool {
    let (port, fell) = (door.port(), matches!(came, Came::Secret(_)));
    match came {
        Came::Secret(words) => {
            println!("{port:<7}{what:<42}THE SECRET, {} bytes:", words.len());
            println!("{}", String::from_utf8_lossy(words).trim_end());
        }
        Came::Nothing(seen) => println!("{port:<7}{what:<42}{seen}"),
        Came::Untried(why) => println!("{port:<7}{what:<42}not tried: {why}"),
    }
    fell
}
