//! The way in for those whom we call: upstreams, and whoever knocks at the piñata's client doors.

use crate::calendar::Calendar;
use crate::engine::Engine;
use crate::refusal::Refused;
use crate::session::Session;
use crate::shake::{self, Guard, Stopped};
use crate::site::{Key, certified, paired};
use crate::trust::{Flaw, Trust};
use crate::usage::{Strict, signatures_as_within};
use crate::wire::{Scratch, Wire};
use crate::{Profile, provider};
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, CommonState, Error};
use std::rc::Rc;
use std::sync::Arc;
use tasks::Timers;

/// Whom the server's certificate must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This host or address.
    Named(String),
    /// Whoever our CA has given a server's certificate: there is no name to check.
    Anyone,
}

/// How we call a server.
pub struct Caller {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    trust: Trust,
    scratch: Rc<Scratch>,
}

impl Caller {
    /// Calls as `own` (a chain and its key), if that is given, and believes whom `trust` vouches for.
    ///
    /// # Errors
    /// When a name is no name, or the certificate and its key cannot be used.
    pub fn new(
        trust: Trust,
        expected: &Expected,
        own: Option<(Vec<Vec<u8>>, Key)>,
        profile: Profile,
        alpn: Vec<Vec<u8>>,
        calendar: Calendar,
    ) -> Result<Self, Flaw> {
        let own = own.map(|(chain, key)| certified(&chain, &key, None)).transpose()?;
        Self::showing(trust, expected, own, profile, alpn, calendar)
    }

    /// Calls anyone with a certificate that is somebody else's: the key is not its own, and is not asked about here.
    ///
    /// # Errors
    /// When the certificate or the key cannot be used at all.
    pub fn impostor(
        trust: Trust,
        (chain, key): (&[Vec<u8>], &Key),
        profile: Profile,
        calendar: Calendar,
    ) -> Result<Self, Flaw> {
        let stolen = Arc::new(paired(chain, key, None)?);
        Self::showing(trust, &Expected::Anyone, Some(stolen), profile, Vec::new(), calendar)
    }

    fn showing(
        trust: Trust,
        expected: &Expected,
        own: Option<Arc<CertifiedKey>>,
        profile: Profile,
        alpn: Vec<Vec<u8>>,
        calendar: Calendar,
    ) -> Result<Self, Flaw> {
        let builder = ClientConfig::builder_with_details(provider::provider(), Arc::new(calendar))
            .with_protocol_versions(profile.versions())
            .map_err(|error| Flaw::BadCertificate(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier(&trust, expected)?);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        };
        config.alpn_protocols = alpn;
        config.resumption = Resumption::disabled();
        config.enable_sni = *expected != Expected::Anyone;
        Ok(Self { config: Arc::new(config), name: name(expected)?, trust, scratch: Rc::default() })
    }

    /// Makes a session of a stream whose other end is a server, within `patience`.
    ///
    /// # Errors
    /// When no session came of it. The peer has then been told by an alert, and the stream is closed.
    pub async fn call<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        timers: &Timers,
        patience: Duration,
    ) -> Result<Session<S>, Refused> {
        let mut wire = Wire::new(stream, self.scratch.clone());
        let connection = UnbufferedClientConnection::new(self.config.clone(), self.name.clone())?;
        let shaking = shake::hands(&mut wire, Engine::Client(Box::new(connection)), &Unguarded);
        let shaken = Box::pin(timers.within(patience, shaking)).await.unwrap_or_else(|late| Err(late.into()));
        match shaken.map_err(Stopped::refused) {
            Ok(given) => Ok(given.under(Some(&self.trust)).session(wire, timers)),
            Err(refused) => {
                Box::pin(shake::part(&mut wire, timers)).await;
                Err(refused)
            }
        }
    }
}

/// We take up no session of our own again, so there is nothing to look at.
struct Unguarded;

impl Guard for Unguarded {
    fn admits(&self, _: &CommonState) -> Result<(), Refused> {
        Ok(())
    }
}

fn verifier(trust: &Trust, expected: &Expected) -> Result<Arc<dyn ServerCertVerifier>, Flaw> {
    let webpki = trust.server_verifier()?;
    Ok(match expected {
        Expected::Named(_) => Arc::new(Strict(webpki)),
        Expected::Anyone => Arc::new(Strict(Arc::new(Nameless(webpki)))),
    })
}

/// The name to verify, and to ask for; where there is none, an address that no certificate has and that is
/// never sent.
fn name(expected: &Expected) -> Result<ServerName<'static>, Flaw> {
    match expected {
        Expected::Named(name) => ServerName::try_from(name.clone()).map_err(|_| Flaw::BadName(name.clone())),
        Expected::Anyone => Ok(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4])))),
    }
}

/// The same verification, except that the name does not count. rustls looks at the name last, when chain,
/// dates, usage and revocation have passed; a test shows that a wrong name never hides another flaw.
#[derive(Debug)]
struct Nameless(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Nameless {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(leaf, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    signatures_as_within!();
}
