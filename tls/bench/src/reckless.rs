//! Peers without manners: plain rustls that shows any chain, signs with any key and believes everybody.
//!
//! A refusal in a test is then the other side's doing. They speak rustls' buffered connections, so that
//! nothing of the shell under test is used on this side.

use crate::read_some;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::{ActiveKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, Connection, DigitallySignedStruct, Error, NamedGroup, ServerConfig, SignatureScheme,
};
use rustls::{SupportedProtocolVersion, version};
use std::sync::{Arc, Mutex};

/// One side of a connection, for those who may not name rustls.
pub type Peer = Connection;

/// Both versions.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// A chain and a key, whether they belong together or not.
pub struct Shown {
    /// The chain, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The key in PKCS #8.
    pub key: Vec<u8>,
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl Always {
    fn new(shown: &Shown) -> Arc<Self> {
        let chain = shown.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivateKeyDer::try_from(shown.key.as_slice()).unwrap();
        Arc::new(Self(Arc::new(CertifiedKey::new(chain, ring::sign::any_supported_type(&key).unwrap()))))
    }
}

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// What servers have signed in their handshakes, each with its signature.
pub type Notes = Arc<Mutex<Vec<(Vec<u8>, Vec<u8>)>>>;

/// Believes everybody, and takes notes if it is asked to.
#[derive(Debug, Default)]
struct Gullible(Option<Notes>);

impl Gullible {
    fn note(&self, message: &[u8], signed: &DigitallySignedStruct) -> HandshakeSignatureValid {
        if let Some(notes) = &self.0 {
            notes.lock().unwrap().push((message.to_vec(), signed.signature().to_vec()));
        }
        HandshakeSignatureValid::assertion()
    }
}

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        _: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(self.note(message, signed))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(self.note(message, signed))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client that shows what it is given. Its configuration remembers its sessions and offers them everywhere.
#[must_use]
pub fn client(version: &'static SupportedProtocolVersion, shown: Option<&Shown>) -> ClientConfig {
    client_of(version, shown, ring::default_provider().kx_groups)
}

/// The same, with the groups of its choice.
#[must_use]
pub fn client_of(
    version: &'static SupportedProtocolVersion,
    shown: Option<&Shown>,
    kx_groups: Vec<&'static dyn SupportedKxGroup>,
) -> ClientConfig {
    client_like(version, shown, kx_groups, Gullible::default())
}

/// A client without a certificate that takes notes of what servers sign.
#[must_use]
pub fn client_with(notes: &Notes, version: &'static SupportedProtocolVersion) -> ClientConfig {
    client_like(version, None, ring::default_provider().kx_groups, Gullible(Some(notes.clone())))
}

fn client_like(
    version: &'static SupportedProtocolVersion,
    shown: Option<&Shown>,
    kx_groups: Vec<&'static dyn SupportedKxGroup>,
    verifier: Gullible,
) -> ClientConfig {
    let provider = CryptoProvider { kx_groups, ..ring::default_provider() };
    let builder =
        ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[version]).unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match shown {
        Some(shown) => builder.with_client_cert_resolver(Always::new(shown)),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::store(Arc::new(Indiscreet::default()));
    config
}

/// A server that shows what it is given.
#[must_use]
pub fn server(version: &'static SupportedProtocolVersion, shown: &Shown) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
    let mut config = builder.with_cert_resolver(Always::new(shown));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

/// Remembers sessions as rustls does, and offers them to everybody, whatever the name.
#[derive(Debug)]
pub struct Indiscreet(ClientSessionMemoryCache);

impl Default for Indiscreet {
    fn default() -> Self {
        Self(ClientSessionMemoryCache::new(64))
    }
}

fn anybody() -> ServerName<'static> {
    ServerName::try_from("anybody.test").unwrap()
}

impl ClientSessionStore for Indiscreet {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(anybody(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&anybody())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&anybody());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(anybody(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&anybody())
    }
}

/// A connection of a client to a server that it takes for `name`.
#[must_use]
pub fn calling(config: &Arc<ClientConfig>, name: &str) -> Connection {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    rustls::ClientConnection::new(config.clone(), name).unwrap().into()
}

/// A connection of a server.
#[must_use]
pub fn answering(config: ServerConfig) -> Connection {
    rustls::ServerConnection::new(Arc::new(config)).unwrap().into()
}

/// Says `words` after the handshake and close_notify, and hears the peer to its end.
///
/// # Errors
/// What rustls says when the peer refuses, or misbehaves, or cuts the stream.
pub async fn converse(
    connection: &mut Connection,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    words: &[u8],
) -> Result<Vec<u8>, Error> {
    let (mut said, mut heard) = (false, Vec::new());
    connection.set_buffer_limit(None);
    loop {
        if !connection.is_handshaking() && !said {
            said = true;
            std::io::Write::write_all(&mut connection.writer(), words).unwrap();
            connection.send_close_notify();
        }
        say(connection, stream).await;
        heard.extend(hear(connection, stream).await?);
        if connection.process_new_packets()?.peer_has_closed() {
            return Ok(heard);
        }
    }
}

/// Says what comes first, and from then on only listens, until there is `enough`.
///
/// # Errors
/// As [`converse`].
pub async fn listen(
    connection: &mut Connection,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    enough: impl Fn() -> bool,
) -> Result<(), Error> {
    say(connection, stream).await;
    while !enough() {
        hear(connection, stream).await?;
    }
    Ok(())
}

/// Says `words` after the handshake and hears so many bytes.
///
/// # Errors
/// As [`converse`].
pub async fn talk(
    connection: &mut Connection,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    words: &[u8],
    count: usize,
) -> Result<Vec<u8>, Error> {
    let (mut said, mut heard) = (false, Vec::new());
    connection.set_buffer_limit(None);
    loop {
        if !connection.is_handshaking() && !said {
            said = true;
            std::io::Write::write_all(&mut connection.writer(), words).unwrap();
        }
        say(connection, stream).await;
        if heard.len() >= count && said {
            return Ok(heard);
        }
        heard.extend(hear(connection, stream).await?);
    }
}

/// Sends what waits.
async fn say(connection: &mut Connection, stream: &mut (impl AsyncWrite + Unpin)) {
    let mut out = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut out).unwrap();
    }
    let _ = crate::write_all(stream, &out).await;
}

/// Hears what comes next.
async fn hear(connection: &mut Connection, stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Error> {
    let mut bytes: &[u8] = &read_some(stream).await.unwrap_or_default();
    let mut heard = Vec::new();
    if bytes.is_empty() {
        return Err(Error::General("cut".into()));
    }
    while !bytes.is_empty() && connection.read_tls(&mut bytes).unwrap() > 0 {
        let state = connection.process_new_packets()?;
        let mut some = vec![0; state.plaintext_bytes_to_read()];
        std::io::Read::read_exact(&mut connection.reader(), &mut some).unwrap();
        heard.extend(some);
    }
    Ok(heard)
}

/// A group that no server has heard of: whoever offers it first is asked to try again.
#[derive(Debug)]
pub struct Unheard;

impl SupportedKxGroup for Unheard {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Self))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::Unknown(0x7a7a)
    }
}

impl ActiveKeyExchange for Unheard {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Err(Error::General("nobody speaks it".into()))
    }

    fn pub_key(&self) -> &[u8] {
        &[7; 32]
    }

    fn group(&self) -> NamedGroup {
        SupportedKxGroup::name(self)
    }
}
