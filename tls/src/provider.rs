//! Which cryptography is offered: Mozilla's *intermediate* and *modern* configurations, by ring.

use crate::hybrid::X25519MlKem768;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};
use std::sync::Arc;

/// What a site offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// TLS 1.3, and TLS 1.2 with forward secrecy and authenticated encryption only.
    #[default]
    Intermediate,
    /// TLS 1.3 only.
    Modern,
    /// TLS 1.2 only: for whoever wants to see what another side makes of it.
    Former,
}

/// In our order of preference: a peer with AES in hardware asks for it first anyway.
const SUITES: [SupportedCipherSuite; 9] = [
    ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
    ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
    ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ring::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Post-quantum first: whoever recorded the traffic must not be able to read it one day.
const GROUPS: [&dyn SupportedKxGroup; 4] =
    [&X25519MlKem768, ring::kx_group::X25519, ring::kx_group::SECP256R1, ring::kx_group::SECP384R1];

impl Profile {
    pub(crate) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        const NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];
        const FORMER: &[&SupportedProtocolVersion] = &[&version::TLS12];
        match self {
            Self::Intermediate => BOTH,
            Self::Modern => NEWEST,
            Self::Former => FORMER,
        }
    }
}

/// ring, in our order.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: SUITES.to_vec(),
        kx_groups: GROUPS.to_vec(),
        ..ring::default_provider()
    })
}
