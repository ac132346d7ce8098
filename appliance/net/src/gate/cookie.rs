//! Cookies: a handshake that is remembered by the peer.
//!
//! The sequence number of a SYN-ACK carries 29 bits that only we can make and 3 bits of the peer's segment size.
//! What does not fit, window scale and SACK, travels in the low bits of our timestamp, if the peer has timestamps.

use crate::secrets::Secrets;
use crate::wire::{Ends, Options, Seq, Stamps};
use core::time::Duration;
use world::Instant;

/// A cookie is good for the period in which it was baked and for the next.
const PERIOD: Duration = Duration::from_secs(60);
/// Segment sizes that fit into three bits; the peer's is rounded down.
const SIZES: [u16; 8] = [216, 536, 1024, 1220, 1300, 1400, 1440, 1460];
/// Low bits of a timestamp that carry what the peer can do.
const BITS: u32 = 0x3f;
const SACK: u32 = 0x10;
const NO_SCALE: u32 = 0x0f;

/// The sequence number of a SYN-ACK that nobody has to remember.
pub(crate) fn bake(secrets: &Secrets, ends: &Ends, theirs: Seq, mss: u16, now: Instant) -> Seq {
    let size = SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0);
    let size = u32::try_from(size).unwrap_or(0);
    Seq(secrets.cookie(ends, theirs, period(now)) ^ size)
}

/// The segment size in a cookie, if it is ours and fresh.
pub(crate) fn taste(secrets: &Secrets, ends: &Ends, theirs: Seq, cookie: Seq, now: Instant) -> Option<u16> {
    [0, 1].into_iter().find_map(|age| {
        let made = secrets.cookie(ends, theirs, period(now).checked_sub(age)?);
        let size = usize::try_from(made ^ cookie.0).ok()?;
        SIZES.get(size).copied()
    })
}

fn period(now: Instant) -> u64 {
    now.millis() / u64::try_from(PERIOD.as_millis()).unwrap_or(1)
}

/// For how long an acknowledgement can still be an answer to a cookie.
pub(crate) const GOOD_FOR: Duration = Duration::from_secs(120);

/// Our timestamp for a SYN-ACK, with what `options` say in its low bits. It is never ahead of `clock`.
pub(crate) fn stamp(options: &Options, clock: u32) -> u32 {
    let scale = options.scale.map_or(NO_SCALE, u32::from);
    let sack = if options.sack_ok { SACK } else { 0 };
    let stamp = (clock & !BITS) | scale | sack;
    if stamp.wrapping_sub(clock) <= u32::MAX / 2 && stamp != clock {
        stamp.wrapping_sub(BITS + 1)
    } else {
        stamp
    }
}

/// The options of a connection whose handshake nobody remembered.
pub(crate) fn options(mss: u16, stamps: Option<Stamps>) -> Options {
    let Some(stamps) = stamps else { return Options { mss: Some(mss), ..Options::default() } };
    let scale = stamps.echo & NO_SCALE;
    let scale = u8::try_from(scale).ok().filter(|scale| *scale <= 14);
    Options { mss: Some(mss), scale, sack_ok: stamps.echo & SACK != 0, stamps: Some(stamps), sack: [None; 3] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keys;

    fn ends() -> Ends {
        Ends { local: "10.0.0.1:80".parse().unwrap(), remote: "10.0.0.2:999".parse().unwrap() }
    }

    #[test]
    fn a_cookie_is_good_for_its_connection_and_for_two_periods() {
        let secrets = Secrets::new(Keys::new([7; 64]));
        let now = Instant::START + Duration::from_secs(600);
        for (mss, kept) in [(1460, 1460), (1459, 1440), (9000, 1460), (100, 216)] {
            let cookie = bake(&secrets, &ends(), Seq(5), mss, now);
            assert_eq!(taste(&secrets, &ends(), Seq(5), cookie, now), Some(kept));
            assert_eq!(taste(&secrets, &ends(), Seq(5), cookie, now + PERIOD), Some(kept));
            assert_eq!(taste(&secrets, &ends(), Seq(5), cookie, now + PERIOD * 2), None);
            assert_eq!(taste(&secrets, &ends(), Seq(6), cookie, now), None);
            let other = Ends { local: ends().remote, remote: ends().local };
            assert_eq!(taste(&secrets, &other, Seq(5), cookie, now), None);
        }
    }

    #[test]
    fn a_stamp_brings_back_what_the_peer_can_do_and_is_never_ahead() {
        for clock in [0, 63, 64, 1000, u32::MAX] {
            for scale in (0..=14).map(Some).chain([None]) {
                for sack_ok in [false, true] {
                    let said = Options { scale, sack_ok, ..Options::default() };
                    let echo = stamp(&said, clock);
                    assert!(clock.wrapping_sub(echo) <= 64, "{clock} {echo}");
                    let back = options(1460, Some(Stamps { value: 1, echo }));
                    assert_eq!((back.scale, back.sack_ok), (scale, sack_ok));
                }
            }
        }
    }
}
