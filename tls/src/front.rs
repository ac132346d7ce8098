//! The way in for those who call us: the ClientHello is read first, and then one configuration speaks.
//!
//! Every site has a configuration of its own for every port. A configuration that several sites shared would
//! also share its tickets and its verifier, and a session of one site could be taken up at another.

use crate::calendar::Calendar;
use crate::engine::Engine;
use crate::refusal::{Kind, Refused};
use crate::session::Session;
use crate::shake::{self, Given, Stopped};
use crate::site::Site;
use crate::terms::{Ready, Terms};
use crate::tickets::TicketSecret;
use crate::trust::Flaw;
use crate::wire::{Scratch, Wire};
use core::cell::RefCell;
use core::fmt;
use core::future::poll_fn;
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::server::{AcceptedAlert, Acceptor, ClientHello, UnbufferedServerConnection};
use rustls::{CipherSuite, Error, ServerConfig};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tasks::Timers;

/// The sites that are served, and how a client finds its own.
pub struct Front {
    sites: Vec<Ready>,
    names: HashMap<String, SiteId>,
    default: Option<SiteId>,
    strangers: Option<SiteId>,
    calendar: Calendar,
    tickets: RefCell<TicketSecret>,
    terms: RefCell<HashMap<(u16, SiteId), Rc<Terms>>>,
    scratch: Rc<Scratch>,
}

/// The number of a site, as [`Front::new`] got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub usize);

impl Front {
    /// Loads the sites; their keys are wiped on the way. `default` answers clients that ask for no name.
    ///
    /// # Errors
    /// When a site cannot be served as it is.
    pub fn new(sites: Vec<Site>, default: Option<usize>, calendar: Calendar) -> Result<Self, Flaw> {
        if let Some(at) = default.filter(|at| *at >= sites.len()) {
            return Err(Flaw::NoSuchSite(at));
        }
        let names = index(&sites)?;
        let sites = sites.into_iter().map(Ready::load).collect::<Result<_, _>>()?;
        let tickets = RefCell::new(TicketSecret::fresh().map_err(|_| Flaw::NoEntropy)?);
        let (default, terms, scratch) = (default.map(SiteId), RefCell::default(), Rc::default());
        Ok(Self { sites, names, default, strangers: None, calendar, tickets, terms, scratch })
    }

    /// A front with one site, whatever name a client asks for: where names decide nothing.
    ///
    /// # Errors
    /// When the site cannot be served as it is.
    pub fn of_any_name(site: Site, calendar: Calendar) -> Result<Self, Flaw> {
        let strangers = Some(SiteId(0));
        Ok(Self { strangers, ..Self::new(vec![site], Some(0), calendar)? })
    }

    /// Makes tickets from another secret from now on, and takes up no session that was begun under the one
    /// before: a secret that several appliances share, or a fresh one when this machine was copied.
    pub fn make_tickets_from(&self, secret: TicketSecret) {
        self.tickets.replace(secret);
        self.terms.borrow_mut().clear();
    }

    /// The secret that tickets are made from: give it to the front that takes this one's place, and sessions
    /// go on.
    #[must_use]
    pub fn ticket_secret(&self) -> TicketSecret {
        self.tickets.borrow().clone()
    }

    /// The site that answers to `name`; exact names come before wildcards.
    #[must_use]
    pub fn site(&self, name: &str) -> Option<SiteId> {
        let name = name.to_ascii_lowercase();
        let wild = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
        self.names.get(&name).or_else(wild).copied()
    }

    /// Makes a session of a stream that somebody opened to `port`, within `patience`.
    ///
    /// # Errors
    /// When no session came of it. The peer has then been told by an alert, and the stream is closed.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        port: u16,
        timers: &Timers,
        patience: Duration,
    ) -> Result<(Session<S>, SiteId), Refused> {
        let mut wire = Wire::new(stream, self.scratch.clone());
        // Boxed: a task that goes on with the session must not carry the room for a handshake to its end.
        let greeting = Box::pin(timers.within(patience, self.greet(&mut wire, port)));
        match greeting.await.unwrap_or_else(|late| Err(late.into())) {
            Ok((given, site)) => Ok((given.session(wire, timers), site)),
            Err(refused) => {
                Box::pin(shake::part(&mut wire, timers)).await;
                Err(refused)
            }
        }
    }

    async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &mut Wire<S>,
        port: u16,
    ) -> Result<(Given, SiteId), Refused> {
        let name = hello(wire).await?;
        let site = self.choose(name.as_deref()).ok_or_else(|| {
            wire.outgoing.append(&UNRECOGNIZED_NAME);
            Refused::new(Kind::UnknownName, format_args!("no site is named {name:?}"))
        })?;
        let terms = self.terms(port, site)?;
        let given = self.shake(wire, &terms).await?;
        Ok((given.named(name).under(terms.keeper.trust()), site))
    }

    /// Does the handshake. A session that is taken up again by a client whose certificate would not pass
    /// today is not taken up: the same ClientHello is answered anew, by a configuration that knows no
    /// tickets.
    async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &mut Wire<S>,
        terms: &Terms,
    ) -> Result<Given, Refused> {
        let hello = terms.keeper.trust().map(|_| wire.incoming.rest().to_vec());
        let first = shake::hands(wire, engine(&terms.resuming)?, &terms.keeper).await;
        let (refused, hello) = match (first, hello) {
            (Ok(given), _) => return Ok(given),
            (Err(Stopped::Refused(refused)), _) | (Err(Stopped::Stale(refused)), None) => {
                return Err(refused);
            }
            (Err(Stopped::Stale(refused)), Some(hello)) => (refused, hello),
        };
        wire.outgoing.clear();
        if wire.has_spoken() {
            wire.outgoing.append(&CERTIFICATE_UNKNOWN);
            return Err(refused);
        }
        wire.incoming.clear();
        wire.incoming.append(&hello);
        shake::hands(wire, engine(&terms.plain)?, &terms.keeper).await.map_err(Stopped::refused)
    }

    fn choose(&self, name: Option<&str>) -> Option<SiteId> {
        name.map_or(self.default, |name| self.site(name).or(self.strangers))
    }

    fn terms(&self, port: u16, site: SiteId) -> Result<Rc<Terms>, Refused> {
        if let Some(terms) = self.terms.borrow().get(&(port, site)) {
            return Ok(terms.clone());
        }
        let ours = |why: &dyn fmt::Display| Refused::new(Kind::Ours, why);
        let ready = self.sites.get(site.0).ok_or_else(|| ours(&"there is no such site"))?;
        let terms = ready.terms(port, &self.tickets.borrow(), &self.calendar).map_err(|flaw| ours(&flaw))?;
        let terms = Rc::new(terms);
        self.terms.borrow_mut().insert((port, site), terms.clone());
        Ok(terms)
    }
}

/// A connection that is about to read its ClientHello.
fn engine(config: &Arc<ServerConfig>) -> Result<Engine, Refused> {
    Ok(Engine::Server(Box::new(UnbufferedServerConnection::new(config.clone())?)))
}

/// Reads until the whole ClientHello is there, and says which name it asks for. The bytes stay where they
/// are: the connection that the name leads to reads them again.
async fn hello<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<Option<Box<str>>, Refused> {
    let mut acceptor = Acceptor::default();
    loop {
        let known = wire.incoming.len();
        if known > LARGEST_HELLO {
            wire.outgoing.append(&DECODE_ERROR);
            return Err(Refused::new(Kind::TooLarge, "the ClientHello does not end"));
        }
        if poll_fn(|context| wire.poll_fill(context)).await.unwrap_or(0) == 0 {
            return Err(Refused::new(Kind::Closed, "closed before a ClientHello"));
        }
        let mut fresh: &[u8] = wire.incoming.rest().get(known..).unwrap_or_default();
        while !fresh.is_empty() {
            if let Err(error) = acceptor.read_tls(&mut fresh) {
                wire.outgoing.append(&DECODE_ERROR);
                return Err(Refused::new(Kind::TooLarge, error));
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(hello)) => return asked(wire, &hello.client_hello()),
                Err((error, alert)) => return Err(unheard(wire, error, alert)),
            }
        }
    }
}

/// The name that a ClientHello asks for, unless the client was led to believe that we are older than we are (RFC 7507).
fn asked<S>(wire: &mut Wire<S>, hello: &ClientHello<'_>) -> Result<Option<Box<str>>, Refused> {
    let suites = hello.cipher_suites();
    let is_new = |suite: &CipherSuite| u16::from(*suite) >> 8 == 0x13;
    if suites.contains(&FALLBACK) && !suites.iter().any(is_new) {
        wire.outgoing.append(&INAPPROPRIATE_FALLBACK);
        return Err(Refused::new(
            Kind::Version,
            "an older version than the client's best, which is spoken here",
        ));
    }
    // The dot of the root does not belong here (RFC 6066), and some send it nevertheless.
    let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into();
    Ok(hello.server_name().map(bare))
}

/// A ClientHello that nobody here can answer, and the alert for it. To old versions rustls says
/// `handshake_failure`, because of what they cannot offer; but it is the version that is wrong.
fn unheard<S>(wire: &mut Wire<S>, error: Error, mut alert: AcceptedAlert) -> Refused {
    let version = wire.incoming.rest().get(9..11);
    if matches!(error, Error::PeerIncompatible(_))
        && version.is_some_and(|version| version < TLS12.as_slice())
    {
        wire.outgoing.append(&PROTOCOL_VERSION);
        return Refused::new(Kind::Version, "older than TLS 1.2");
    }
    let mut words = Vec::new();
    let _ = alert.write_all(&mut words);
    if words.is_empty() {
        words.extend(shake::alert(&error));
    }
    wire.outgoing.append(&words);
    Refused::at_hello(error)
}

/// TLS 1.2, as it stands in a ClientHello.
const TLS12: [u8; 2] = [3, 3];

/// The largest ClientHello: post-quantum shares and a ticket with a client's chain in it fit well.
const LARGEST_HELLO: usize = 24 * 1024;

/// A fatal alert as it stands on the wire: rustls would say `access_denied`, but the name is what is wrong.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The same, for a ClientHello that does not end.
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

/// The same, for a client that says that it could do better.
const INAPPROPRIATE_FALLBACK: [u8; 7] = [21, 3, 3, 0, 2, 2, 86];

/// What stands among the suites of a client that has lowered its version; no suite.
const FALLBACK: CipherSuite = CipherSuite::Unknown(0x5600);

/// The same, for a client that is too old.
const PROTOCOL_VERSION: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// The same, for a client whose certificate was good when its session began.
const CERTIFICATE_UNKNOWN: [u8; 7] = [21, 3, 3, 0, 2, 2, 46];

/// Which name leads to which site.
fn index(sites: &[Site]) -> Result<HashMap<String, SiteId>, Flaw> {
    let mut names = HashMap::new();
    for (at, site) in sites.iter().enumerate() {
        for name in &site.names {
            let known = names.insert(checked(name)?, SiteId(at));
            if known.is_some() {
                return Err(Flaw::TwoSites(name.clone()));
            }
        }
    }
    Ok(names)
}

/// The name in lower case, if a host can have it; the first label may be `*`.
fn checked(name: &str) -> Result<String, Flaw> {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    match rustls::pki_types::DnsName::try_from(plain) {
        Ok(_) if !plain.ends_with('.') => Ok(name.to_ascii_lowercase()),
        _ => Err(Flaw::BadName(name.to_owned())),
    }
}
