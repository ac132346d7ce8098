//! X25519MLKEM768: a key exchange that holds as long as either X25519 or ML-KEM-768 does.
//!
//! TLS 1.3 only, as draft-ietf-tls-ecdhe-mlkem has it: on the wire ML-KEM comes first, then X25519, and so
//! does the secret. ML-KEM is libcrux's, X25519 is ring's; randomness is the pool's, by ring.

use libcrux_ml_kem::mlkem768::{self, MlKem768Ciphertext, MlKem768PrivateKey, MlKem768PublicKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, SharedSecret, SupportedKxGroup, ring::kx_group::X25519,
};
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};
use zeroize::Zeroizing;

/// The group, for a provider.
#[derive(Debug)]
pub(crate) struct X25519MlKem768;

const PUBLIC: usize = 1184;
const CIPHERTEXT: usize = 1088;
const PRIVATE: usize = 2400;
const CLASSIC: usize = 32;

impl SupportedKxGroup for X25519MlKem768 {
    /// The client's part: a key pair of each.
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let (private, public) = mlkem768::generate_key_pair(*random::<64>()?).into_parts();
        let classic = X25519.start()?;
        let share = [public.as_ref(), classic.pub_key()].concat();
        let private = Zeroizing::new(<[u8; PRIVATE]>::from(private));
        Ok(Box::new(Started { classic, private, share }))
    }

    /// The server's part: a secret for each of the client's keys.
    fn start_and_complete(&self, share: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (public, classic) = split::<PUBLIC>(share)?;
        let public = MlKem768PublicKey::from(public);
        if !mlkem768::validate_public_key(&public) {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        let classic = X25519.start_and_complete(classic)?;
        let (ciphertext, secret) = mlkem768::encapsulate(&public, *random::<32>()?);
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: [ciphertext.as_ref(), &classic.pub_key].concat(),
            secret: both(&Zeroizing::new(secret), &classic.secret),
        })
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

/// What the client keeps until the server answers.
struct Started {
    classic: Box<dyn ActiveKeyExchange>,
    private: Zeroizing<[u8; PRIVATE]>,
    share: Vec<u8>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        let (ciphertext, classic) = split::<CIPHERTEXT>(share)?;
        let classic = self.classic.complete(classic)?;
        let private = MlKem768PrivateKey::from(&*self.private);
        let secret = mlkem768::decapsulate(&private, &MlKem768Ciphertext::from(ciphertext));
        Ok(both(&Zeroizing::new(secret), &classic))
    }

    fn pub_key(&self) -> &[u8] {
        &self.share
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    /// The X25519 half, offered by itself to servers that know no other.
    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((self.classic.group(), self.classic.pub_key()))
    }

    fn complete_hybrid_component(self: Box<Self>, share: &[u8]) -> Result<SharedSecret, Error> {
        self.classic.complete(share)
    }
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(bytes.as_mut()).map_err(|_| Error::FailedToGetRandomBytes)?;
    Ok(bytes)
}

/// A share is exactly as long as both halves together.
fn split<const N: usize>(share: &[u8]) -> Result<(&[u8; N], &[u8]), Error> {
    let halves = share.split_first_chunk::<N>().filter(|(_, classic)| classic.len() == CLASSIC);
    halves.ok_or_else(|| PeerMisbehaved::InvalidKeyShare.into())
}

fn both(post_quantum: &[u8; 32], classic: &SharedSecret) -> SharedSecret {
    let mut secret = Zeroizing::new([0; 32 + CLASSIC]);
    let parts = post_quantum.iter().chain(classic.secret_bytes());
    secret.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    SharedSecret::from(&secret[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_to_one_secret_and_no_exchange_to_another_ones() {
        let client = X25519MlKem768.start().unwrap();
        let server = X25519MlKem768.start_and_complete(client.pub_key()).unwrap();
        assert_eq!((client.pub_key().len(), server.pub_key.len()), (1216, 1120));
        let secret = client.complete(&server.pub_key).unwrap();
        assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
        let other = X25519MlKem768.start().unwrap();
        let other = X25519MlKem768.start_and_complete(other.pub_key()).unwrap();
        assert_ne!(secret.secret_bytes(), other.secret.secret_bytes());
    }

    #[test]
    fn a_share_of_the_wrong_length_is_refused_by_both_sides() {
        let share = X25519MlKem768.start().unwrap().pub_key().to_vec();
        let answer = X25519MlKem768.start_and_complete(&share).unwrap().pub_key;
        for length in [0, 32, 1087, 1119, 1121, 1184, 1215, 1217] {
            let wrong = vec![0; length];
            assert!(X25519MlKem768.start_and_complete(&wrong).is_err(), "{length}");
            assert!(X25519MlKem768.start().unwrap().complete(&wrong).is_err(), "{length}");
        }
        assert!(
            X25519MlKem768.start().unwrap().complete(&answer).is_ok(),
            "implicit rejection: another secret"
        );
    }

    #[test]
    fn a_key_whose_coefficients_are_not_reduced_is_refused() {
        let mut share = X25519MlKem768.start().unwrap().pub_key().to_vec();
        share[..3].copy_from_slice(&[0xff; 3]);
        let refused = X25519MlKem768.start_and_complete(&share).err();
        assert_eq!(refused, Some(PeerMisbehaved::InvalidKeyShare.into()));
    }

    #[test]
    fn the_all_zero_x25519_share_is_refused() {
        let mut share = X25519MlKem768.start().unwrap().pub_key().to_vec();
        share[PUBLIC..].fill(0);
        assert!(X25519MlKem768.start_and_complete(&share).is_err());
    }
}
