//! The way in for those who call us: the ClientHello is read first, and then one configuration speaks.
//!
//! Every site has a configuration of its own for every port. A configuration that several sites shared would also
//! share its tickets and its verifier, and a session of one site could be taken up at another.

use crate::calendar::Calendar;
use crate::engine::Engine;
use crate::refusal::{Kind, Refused};
use crate::session::Session;
use crate::shake::{self, Given};
use crate::site::{ClientPolicy, Site, certified};
use crate::trust::Flaw;
use crate::wire::{Scratch, Wire};
use crate::{Profile, provider};
use core::cell::RefCell;
use core::future::poll_fn;
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::server::{Acceptor, NoServerSessionStorage, UnbufferedServerConnection};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, WantsVerifier};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tasks::Timers;

/// The sites that are served, and how a client finds its own.
pub struct Front {
    sites: Vec<Ready>,
    names: HashMap<String, SiteId>,
    default: Option<SiteId>,
    calendar: Calendar,
    configs: RefCell<HashMap<(u16, SiteId), Arc<ServerConfig>>>,
    scratch: Rc<Scratch>,
}

/// The number of a site, as [`Front::new`] got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub usize);

/// A site whose key is loaded.
struct Ready {
    certified: Arc<CertifiedKey>,
    profile: Profile,
    clients: ClientPolicy,
    alpn: Vec<Vec<u8>>,
}

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
        let (default, configs, scratch) = (default.map(SiteId), RefCell::default(), Rc::default());
        Ok(Self { sites, names, default, calendar, configs, scratch })
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
        match timers
            .within(patience, self.greet(&mut wire, port))
            .await
            .unwrap_or_else(|late| Err(late.into()))
        {
            Ok((given, site)) => Ok((given.session(wire, timers), site)),
            Err(refused) => {
                shake::part(&mut wire, timers).await;
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
        let config = self.config(port, site)?;
        let engine = Engine::Server(Box::new(UnbufferedServerConnection::new(config)?));
        let given = shake::hands(wire, engine).await?;
        Ok((given.named(name).under(self.sites.get(site.0).and_then(|site| site.clients.trust())), site))
    }

    fn choose(&self, name: Option<&str>) -> Option<SiteId> {
        name.map_or(self.default, |name| self.site(name))
    }

    fn config(&self, port: u16, site: SiteId) -> Result<Arc<ServerConfig>, Refused> {
        if let Some(config) = self.configs.borrow().get(&(port, site)) {
            return Ok(config.clone());
        }
        let ready = self.sites.get(site.0).ok_or_else(|| Refused::new(Kind::Ours, "no such site"))?;
        let config = ready.config(&self.calendar).map_err(|flaw| Refused::new(Kind::Ours, flaw))?;
        self.configs.borrow_mut().insert((port, site), config.clone());
        Ok(config)
    }
}

impl Ready {
    fn load(site: Site) -> Result<Self, Flaw> {
        let certified = certified(&site.chain, &site.key, site.ocsp)?;
        Ok(Self { certified, profile: site.profile, clients: site.clients, alpn: site.alpn })
    }

    fn config(&self, calendar: &Calendar) -> Result<Arc<ServerConfig>, Flaw> {
        let builder = ServerConfig::builder_with_details(provider::provider(), Arc::new(calendar.clone()))
            .with_protocol_versions(self.profile.versions())
            .map_err(|error| Flaw::BadCertificate(error.to_string()))?;
        let resolver = Arc::new(SingleCertAndKey::from(self.certified.clone()));
        let mut config = self.verifying(builder)?.with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&self.alpn);
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }

    fn verifying(
        &self,
        builder: rustls::ConfigBuilder<ServerConfig, WantsVerifier>,
    ) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>, Flaw> {
        Ok(match &self.clients {
            ClientPolicy::None => builder.with_no_client_auth(),
            ClientPolicy::Optional(trust) => builder.with_client_cert_verifier(trust.client_verifier(false)?),
            ClientPolicy::Required(trust) => builder.with_client_cert_verifier(trust.client_verifier(true)?),
        })
    }
}

/// Reads until the whole ClientHello is there, and says which name it asks for. The bytes stay where they are: the
/// connection that the name leads to reads them again.
async fn hello<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Result<Option<Box<str>>, Refused> {
    let mut acceptor = Acceptor::default();
    loop {
        let known = wire.incoming.len();
        if known > LARGEST_HELLO {
            return Err(Refused::new(Kind::TooLarge, "the ClientHello does not end"));
        }
        if poll_fn(|context| wire.poll_fill(context)).await.unwrap_or(0) == 0 {
            return Err(Refused::new(Kind::Closed, "closed before a ClientHello"));
        }
        let mut fresh: &[u8] = wire.incoming.rest().get(known..).unwrap_or_default();
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh).map_err(|error| Refused::new(Kind::TooLarge, error))?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(hello)) => {
                    return Ok(hello.client_hello().server_name().map(|n| n.to_ascii_lowercase().into()));
                }
                Err((error, mut alert)) => {
                    let mut words = Vec::new();
                    let _ = alert.write_all(&mut words);
                    wire.outgoing.append(&words);
                    return Err(Refused::at_hello(error));
                }
            }
        }
    }
}

/// The largest ClientHello: post-quantum shares and a ticket with a client's chain in it fit well.
const LARGEST_HELLO: usize = 24 * 1024;

/// A fatal alert as it stands on the wire: rustls would say `access_denied`, but the name is what is wrong.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

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
