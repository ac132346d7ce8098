//! Session tickets: sessions that we can take up again without remembering them.
//!
//! A ticket is sealed under a key of its own, made from a secret, from where the ticket may be used (port,
//! site, policy: the [`Binding`]), from when, and from a random salt that travels with it. So a ticket never
//! opens another site, port or policy, and appliances that share a secret never share an AEAD key.
//!
//! The secret moves on with every slot of time and cannot be turned back: who takes it later cannot open
//! older tickets.

use crate::calendar::Calendar;
use core::fmt;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// What a secret is used for, before it is replaced: a ticket lives for one slot at least and for two at
/// most.
const SLOT: u64 = 6 * 3_600;

/// Where the slots are counted from, for all who share a secret: the first second of 2026.
const EPOCH: u64 = 1_767_225_600;

/// No calendar shows more than a century from the epoch: that many steps are never taken.
const MOST_STEPS: u64 = 100 * 366 * 86_400 / SLOT;

const SALT: usize = 16;
const HEADER: usize = 8 + SALT;

/// The secret that tickets are made from. Wiped when dropped; it has no `Debug`.
#[derive(Clone)]
pub struct TicketSecret(Arc<Mutex<Ratchet>>);

/// Where a ticket may be used: 32 bytes that stand for port, site and policy.
pub(crate) type Binding = [u8; 32];

struct Ratchet {
    slot: u64,
    current: Zeroizing<[u8; 32]>,
    previous: Option<Zeroizing<[u8; 32]>>,
}

/// There is no entropy, or not enough of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort;

impl fmt::Display for TooShort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a ticket secret has 32 random bytes or more")
    }
}

impl core::error::Error for TooShort {}

impl TicketSecret {
    /// A secret that nobody else has.
    ///
    /// # Errors
    /// When there is no entropy.
    pub fn fresh() -> Result<Self, TooShort> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(seed.as_mut()).map_err(|_| TooShort)?;
        Self::shared(seed.as_ref())
    }

    /// A secret that several appliances have, so that each takes up what another began.
    ///
    /// # Errors
    /// When it has fewer than 32 bytes.
    pub fn shared(secret: &[u8]) -> Result<Self, TooShort> {
        if secret.len() < 32 {
            return Err(TooShort);
        }
        let current = mixed(secret, b"gatehouse tickets 1");
        Ok(Self(Arc::new(Mutex::new(Ratchet { slot: 0, current, previous: None }))))
    }

    /// The tickets for one port, site and policy.
    pub(crate) fn bound(&self, binding: Binding, calendar: Calendar) -> Arc<dyn ProducesTickets> {
        Arc::new(Tickets { secret: self.clone(), binding, calendar })
    }

    /// The secret of today's slot and its number.
    fn today(&self, now: u64) -> Option<(u64, Zeroizing<[u8; 32]>)> {
        let mut ratchet = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ratchet.turn(now).then(|| (ratchet.slot, ratchet.current.clone()))
    }

    /// The secret of `slot`, if that is today's or the one before.
    fn of(&self, slot: u64, now: u64) -> Option<Zeroizing<[u8; 32]>> {
        let mut ratchet = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ratchet.turn(now).then_some(())?;
        match ratchet.slot.checked_sub(slot)? {
            0 => Some(ratchet.current.clone()),
            1 => ratchet.previous.clone(),
            _ => None,
        }
    }
}

impl Ratchet {
    /// Moves on to the slot of `now`, never back.
    fn turn(&mut self, now: u64) -> bool {
        let Some(target) = now.checked_sub(EPOCH).map(|seconds| seconds / SLOT) else { return false };
        if target > MOST_STEPS || target < self.slot {
            return false;
        }
        while self.slot < target {
            let next = mixed(self.current.as_ref(), b"next slot");
            self.previous = Some(core::mem::replace(&mut self.current, next));
            self.slot += 1;
        }
        true
    }
}

/// One way only: what comes out says nothing of what went in.
fn mixed(secret: &[u8], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), label);
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

/// The tickets of one configuration.
struct Tickets {
    secret: TicketSecret,
    binding: Binding,
    calendar: Calendar,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Tickets")
    }
}

impl Tickets {
    /// The key of one ticket. It seals once, so its nonce is always zero.
    fn key(&self, secret: &[u8; 32], header: &[u8; HEADER]) -> Option<LessSafeKey> {
        let prk = Salt::new(HKDF_SHA256, header).extract(secret);
        let place: [&[u8]; 2] = [b"gatehouse ticket", &self.binding];
        let okm = prk.expand(&place, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// A slot in seconds.
    fn lifetime(&self) -> u32 {
        SLOT as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (slot, secret) = self.secret.today(self.calendar.seconds()?)?;
        let mut header = [0; HEADER];
        let (time, salt) = header.split_at_mut_checked(8)?;
        time.copy_from_slice(&slot.to_be_bytes());
        SystemRandom::new().fill(salt).ok()?;
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        self.key(&secret, &header)?.seal_in_place_append_tag(nonce, Aad::from(&header), &mut sealed).ok()?;
        Some([&header[..], &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (header, sealed) = ticket.split_first_chunk::<HEADER>()?;
        let slot = u64::from_be_bytes(*header.first_chunk::<8>()?);
        let secret = self.secret.of(slot, self.calendar.seconds()?)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let plain =
            self.key(&secret, header)?.open_in_place(nonce, Aad::from(header), &mut sealed).ok()?.len();
        sealed.truncate(plain);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const NOON: u64 = EPOCH + 1_000 * SLOT + 5;

    fn tickets(secret: &TicketSecret, binding: u8, now: u64) -> Arc<dyn ProducesTickets> {
        secret.bound([binding; 32], Calendar::at(Duration::from_secs(now)))
    }

    fn shared() -> TicketSecret {
        TicketSecret::shared(&[7; 32]).unwrap()
    }

    #[test]
    fn a_ticket_opens_where_it_was_made_and_wherever_the_secret_is_shared() {
        let ticket = tickets(&shared(), 1, NOON).encrypt(b"session").unwrap();
        assert_eq!(tickets(&shared(), 1, NOON).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(tickets(&shared(), 2, NOON).decrypt(&ticket), None, "another site, port or policy");
        let fresh = TicketSecret::fresh().unwrap();
        assert_eq!(tickets(&fresh, 1, NOON).decrypt(&ticket), None, "another secret");
    }

    #[test]
    fn a_ticket_lives_for_one_slot_and_never_for_more_than_two() {
        let secret = shared();
        let ticket = tickets(&secret, 1, NOON).encrypt(b"session").unwrap();
        assert!(tickets(&secret, 1, NOON + SLOT).decrypt(&ticket).is_some());
        assert!(tickets(&secret, 1, NOON + 2 * SLOT).decrypt(&ticket).is_none());
        assert!(tickets(&secret, 1, NOON).decrypt(&ticket).is_none(), "the secret never turns back");
        assert!(tickets(&secret, 1, NOON).encrypt(b"session").is_none());
    }

    #[test]
    fn no_bit_of_a_ticket_can_be_changed_and_none_can_be_left_out() {
        let tickets = tickets(&shared(), 1, NOON);
        let ticket = tickets.encrypt(b"session").unwrap();
        for bit in 0..ticket.len() * 8 {
            let mut other = ticket.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tickets.decrypt(&other), None, "bit {bit}");
        }
        for length in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..length]), None);
        }
    }

    #[test]
    fn two_tickets_for_one_session_have_nothing_in_common_but_the_time() {
        let tickets = tickets(&shared(), 1, NOON);
        let (one, other) = (tickets.encrypt(&[0; 64]).unwrap(), tickets.encrypt(&[0; 64]).unwrap());
        let equal = one.iter().zip(&other).skip(8).filter(|(a, b)| a == b).count();
        assert!(equal < 16, "{equal} of {} bytes are equal", one.len() - 8);
    }

    #[test]
    fn a_calendar_that_shows_nothing_or_nonsense_makes_no_ticket() {
        for now in [0, EPOCH - 1, EPOCH + (MOST_STEPS + 1) * SLOT, u64::MAX] {
            assert!(tickets(&shared(), 1, now).encrypt(b"session").is_none(), "{now}");
        }
        assert!(TicketSecret::shared(&[1; 31]).is_err());
    }
}
