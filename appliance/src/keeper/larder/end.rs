//! One channel to the host: its protocol, its health tests, and what was complained of.
//!
//! Whatever sits at the other end, a turn ends: it hears so much and no more. Each complaint is said once, and again only
//! when the channel was opened anew and a minute has passed, so a peer that comes and goes cannot fill the console.

use crate::well::{self, Complaint};
use core::time::Duration;
use entropy::health::Health;
use entropy::protocol::{Guest, Meaning, Starved, Version};
use world::{ChannelId, Heard, World};
use zeroize::Zeroize;

/// What is heard in one turn: so many pieces of so many bytes.
pub(super) const PIECES: usize = 32;
pub(super) const PIECE: usize = 2048;
/// The same complaint is not said again within this time.
const QUIET: Duration = Duration::from_secs(60);

/// Our end of one channel.
pub(super) struct End {
    pub(super) version: Version,
    pub(super) guest: Guest,
    /// Nothing is said before it is its turn to ask.
    pub(super) speaks: bool,
    /// The host has answered at least once.
    pub(super) answered: bool,
    channel: ChannelId,
    health: Health,
    said: [Said; Complaint::KINDS],
}

/// When a complaint was said, and whether the channel was opened anew since.
#[derive(Clone, Copy, Default)]
struct Said {
    at: Option<Duration>,
    again: bool,
}

impl End {
    pub(super) fn of(channel: ChannelId, version: Version) -> Self {
        let (guest, health) = (Guest::new(version), Health::new());
        let said = [Said::default(); Complaint::KINDS];
        Self { version, guest, speaks: false, answered: false, channel, health, said }
    }

    /// The machine was copied: nothing that is under way counts.
    pub(super) fn start_over(&mut self, now: Duration) {
        self.health.start_over();
        self.guest.start_over(now);
    }

    /// True when there may be more.
    pub(super) fn hear<W: World>(&mut self, world: &mut W, now: Duration) -> bool {
        let mut piece = [0; PIECE];
        for _ in 0..PIECES {
            match world.hear(self.channel, &mut piece) {
                Heard::Nothing => return false,
                Heard::Opened => self.begin(now),
                Heard::Closed => self.guest.closed(),
                Heard::Bytes(count) => {
                    self.digest(world, piece.get(..count).unwrap_or_default(), now);
                    // Only here: there is a turn for each frame, and nearly all of them bring nothing.
                    piece.zeroize();
                }
            }
        }
        true
    }

    /// Asks the host for more. One that sends what is not random is not asked for more of it.
    pub(super) fn ask<W: World>(&mut self, world: &mut W, now: Duration) {
        self.guest.turn(now);
        if well::is_hungry() && self.health.failure().is_none() {
            self.guest.ask(now);
        }
        let taken = world.tell(self.channel, self.guest.outbox());
        self.guest.sent(taken);
    }

    fn begin(&mut self, now: Duration) {
        self.health.start_over();
        self.guest.opened(now);
        self.said.iter_mut().for_each(|said| said.again = true);
    }

    /// Takes apart what the host sent. Bytes that fail the health tests, and all that follow, count for nothing.
    fn digest<W: World>(&mut self, world: &mut W, mut bytes: &[u8], now: Duration) {
        loop {
            match self.guest.receive(&mut bytes, now) {
                Ok(None) => return,
                Ok(Some(meaning)) => self.take(world, meaning, now),
                Err(broke) => {
                    return self.complain(world, Complaint::Broke, now, || {
                        format!("not listening to the host until it connects anew: {broke}")
                    });
                }
            }
        }
    }

    fn take<W: World>(&mut self, world: &mut W, meaning: Meaning<'_>, now: Duration) {
        match meaning {
            Meaning::Granted { generation, .. } => {
                self.answered = true;
                well::note_host(self.version);
                generation.into_iter().for_each(well::hear_generation);
            }
            Meaning::Generation(generation) => well::hear_generation(generation),
            Meaning::Entropy(bytes) => self.credit(world, bytes, now),
            Meaning::Starved(why) => {
                let kind = match why {
                    Starved::SourceFailed => Complaint::SourceFailed,
                    Starved::StartingUp => Complaint::StartingUp,
                };
                self.complain(world, kind, now, || format!("the host has nothing to give: {why}"));
            }
        }
    }

    fn credit<W: World>(&mut self, world: &mut W, bytes: &[u8], now: Duration) {
        match self.health.judge(bytes) {
            Ok(tested) => well::credit(&tested),
            Err(unhealthy) => self.complain(world, Complaint::Unhealthy, now, || {
                format!("what the host sends is not random and counts for nothing: {unhealthy}")
            }),
        }
    }

    fn complain<W: World>(
        &mut self,
        world: &mut W,
        kind: Complaint,
        now: Duration,
        line: impl FnOnce() -> String,
    ) {
        let Some(said) = self.said.get_mut(kind as usize) else { return };
        let is_due = said.at.is_none_or(|at| said.again && now.saturating_sub(at) >= QUIET);
        if is_due {
            *said = Said { at: Some(now), again: false };
            well::note_complaint(kind);
            world.say(&format!("entropy: {}", line()));
        }
    }
}
