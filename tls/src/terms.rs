//! The terms of one site on one port: its configurations and the guard of its resumed sessions.

use crate::calendar::Calendar;
use crate::refusal::Refused;
use crate::shake::Guard;
use crate::site::{ClientPolicy, Site, certified};
use crate::tickets::{Binding, TicketSecret};
use crate::trust::{Flaw, Trust};
use crate::{Profile, provider};
use ring::digest::{Context, SHA256};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WantsServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{CommonState, ConfigBuilder, Error, ServerConfig};
use std::sync::Arc;

/// A site whose key is loaded.
pub(crate) struct Ready {
    names: Vec<String>,
    certified: Arc<CertifiedKey>,
    profile: Profile,
    clients: ClientPolicy,
    alpn: Vec<Vec<u8>>,
    tickets: bool,
}

/// How one site speaks on one port.
pub(crate) struct Terms {
    /// Takes sessions up again, if the site wants that.
    pub(crate) resuming: Arc<ServerConfig>,
    /// Knows no tickets.
    pub(crate) plain: Arc<ServerConfig>,
    pub(crate) keeper: Keeper,
}

/// Verifies the client of a resumed session once more: rustls takes its chain from the ticket as it is.
pub(crate) struct Keeper {
    clients: ClientPolicy,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    calendar: Calendar,
}

impl Ready {
    pub(crate) fn load(site: Site) -> Result<Self, Flaw> {
        let certified = certified(&site.chain, &site.key, site.ocsp)?;
        let Site { names, profile, clients, alpn, tickets, .. } = site;
        Ok(Self { names, certified, profile, clients, alpn, tickets })
    }

    /// The terms on `port`, with tickets made from `secret`.
    pub(crate) fn terms(&self, port: u16, secret: &TicketSecret, calendar: &Calendar) -> Result<Terms, Flaw> {
        let keeper = Keeper::new(&self.clients, calendar)?;
        let plain = self.config(&keeper, calendar)?;
        let mut resuming = plain.clone();
        if self.tickets {
            resuming.ticketer = secret.bound(self.binding(port), calendar.clone());
        }
        Ok(Terms { resuming: Arc::new(resuming), plain: Arc::new(plain), keeper })
    }

    fn config(&self, keeper: &Keeper, calendar: &Calendar) -> Result<ServerConfig, Flaw> {
        let builder = ServerConfig::builder_with_details(provider::provider(), Arc::new(calendar.clone()))
            .with_protocol_versions(self.profile.versions())
            .map_err(|error| Flaw::BadCertificate(error.to_string()))?;
        let resolver = Arc::new(SingleCertAndKey::from(self.certified.clone()));
        let mut config = keeper.verifying(builder).with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&self.alpn);
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = TICKETS;
        Ok(config)
    }

    /// Everything that a session must not be carried across, each with its length.
    fn binding(&self, port: u16) -> Binding {
        let mut context = Context::new(&SHA256);
        let mut names = self.names.clone();
        names.sort_unstable();
        let (asked, trust) = match &self.clients {
            ClientPolicy::None => (0, [0; 32]),
            ClientPolicy::Optional(trust) => (1, *trust.digest()),
            ClientPolicy::Required(trust) => (2, *trust.digest()),
        };
        context.update(&port.to_be_bytes());
        context.update(&[asked, self.profile as u8]);
        context.update(&trust);
        for name in names {
            context.update(&name.len().to_be_bytes());
            context.update(name.as_bytes());
        }
        let mut binding = [0; 32];
        binding.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        binding
    }
}

/// How many tickets a client gets per handshake: one for each of two connections at a time.
const TICKETS: usize = 2;

impl Keeper {
    fn new(clients: &ClientPolicy, calendar: &Calendar) -> Result<Self, Flaw> {
        let verifier = match clients {
            ClientPolicy::None => None,
            ClientPolicy::Optional(trust) => Some(trust.client_verifier(false)?),
            ClientPolicy::Required(trust) => Some(trust.client_verifier(true)?),
        };
        Ok(Self { clients: clients.clone(), verifier, calendar: calendar.clone() })
    }

    /// The trust under which clients are verified, if they are.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.clients.trust()
    }

    fn verifying(
        &self,
        builder: ConfigBuilder<ServerConfig, rustls::WantsVerifier>,
    ) -> ConfigBuilder<ServerConfig, WantsServerCert> {
        match &self.verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        }
    }

    fn verify(&self, common: &CommonState) -> Result<(), Error> {
        let Some(verifier) = &self.verifier else { return Ok(()) };
        let Some((leaf, rest)) = common.peer_certificates().and_then(|chain| chain.split_first()) else {
            return if verifier.client_auth_mandatory() {
                Err(Error::NoCertificatesPresented)
            } else {
                Ok(())
            };
        };
        let now = self.calendar.current_time().ok_or(Error::FailedToGetCurrentTime)?;
        verifier.verify_client_cert(leaf, rest, now).map(|_| ())
    }
}

impl Guard for Keeper {
    fn admits(&self, common: &CommonState) -> Result<(), Refused> {
        self.verify(common).map_err(|error| {
            let refused = Refused::from(error);
            Refused::new(refused.kind, format_args!("in a resumed session, {}", refused.why))
        })
    }
}
