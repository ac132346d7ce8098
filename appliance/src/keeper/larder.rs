//! The larder: how the pool is fed.
//!
//! The host's channel alone counts. Until it has brought a full seed nothing may draw, so [`Larder::fill`] runs before
//! the first hash table exists. Whatever sits at the other end, a turn ends: it hears so much and no more, and says each
//! complaint once.

use super::well;
use core::time::Duration;
use entropy::health::Health;
use entropy::pool::{Diet, Seeded};
use entropy::protocol::{CHANNEL_1, CHANNEL_2, Guest, Meaning, Starved, Version};
use world::{ChannelId, Heard, Instant, World};
use zeroize::Zeroizing;

/// What is heard in one turn: so many pieces of so many bytes.
const PIECES: usize = 32;
const PIECE: usize = 2048;

/// What feeds the pool.
pub(crate) struct Larder {
    channel: Option<ChannelId>,
    guest: Guest,
    health: Health,
    told: Told,
    /// The host's random device was asked and has not answered.
    asked: bool,
}

/// What was said on the console, so that it is not said again.
#[derive(Default)]
struct Told {
    diet: Option<Diet>,
    starved: Option<Starved>,
    broke: bool,
}

/// What the loop has to know of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct News {
    /// When the larder wants another turn.
    pub deadline: Option<Instant>,
    /// The machine was copied or put back in time.
    pub forked: bool,
}

impl Larder {
    /// Looks for the host's entropy channel, and shows the well what lies beneath it.
    pub(crate) fn open<W: World>(world: &mut W, cpu: well::Cpu) -> Self {
        well::dig(cpu, world.generation());
        let (guest, health) = (Guest::new(Version::Two), Health::new());
        let mut larder = Self { channel: None, guest, health, told: Told::default(), asked: false };
        larder.find(world);
        larder
    }

    /// Sleeps and feeds until the pool holds a full seed. Draws nothing and opens nothing.
    pub(crate) fn fill<W: World>(&mut self, world: &mut W) -> Option<Seeded> {
        if well::seeded().is_err() {
            self.say_what_is_awaited(world);
        }
        loop {
            let news = self.turn(world);
            if let Ok(seeded) = well::seeded() {
                return Some(seeded);
            }
            if world.asked_to_stop() {
                return None;
            }
            world.wait(news.deadline);
        }
    }

    /// Hears the host, asks it for more, and mixes in what else is there.
    pub(crate) fn turn<W: World>(&mut self, world: &mut W) -> News {
        let (now, forked, mut more) = (moment(world.now()), well::take_fork(), false);
        if self.channel.is_none() {
            self.find(world);
        }
        if forked {
            self.health.start_over();
            self.guest.start_over(now);
        }
        if let Some(channel) = self.channel {
            more = self.hear(world, channel, now);
            self.guest.turn(now);
            self.ask(world, channel, now);
        }
        self.stir(world);
        well::turn(now);
        self.tell_of_the_diet(world);
        let alarm = well::patience().map(|left| now + left);
        let deadline = [more.then_some(now), self.guest.deadline(), alarm].into_iter().flatten().min();
        let deadline = deadline.map(|deadline| Instant::START + deadline);
        News { deadline, forked: forked || well::is_forked() }
    }

    /// Version 2, or else version 1: a host may open its port late.
    fn find<W: World>(&mut self, world: &mut W) {
        let second = world.channel(CHANNEL_2).map(|channel| (channel, Version::Two));
        let found = second.or_else(|| Some((world.channel(CHANNEL_1)?, Version::One)));
        if let Some((channel, version)) = found {
            self.channel = Some(channel);
            self.guest = Guest::new(version);
        }
    }

    fn say_what_is_awaited<W: World>(&self, world: &mut W) {
        match self.channel {
            Some(_) => world.say("entropy: waiting for the host's first seed; no port is open before"),
            None => world.say(&format!(
                "entropy: the host offers no channel {CHANNEL_2} or {CHANNEL_1}: no key is made and no port opens; \
                 give this machine one and run xentropyd on the host"
            )),
        }
    }

    /// True when there may be more.
    fn hear<W: World>(&mut self, world: &mut W, channel: ChannelId, now: Duration) -> bool {
        let mut piece = Zeroizing::new([0; PIECE]);
        for _ in 0..PIECES {
            match world.hear(channel, piece.as_mut_slice()) {
                Heard::Nothing => return false,
                Heard::Opened => self.begin(now),
                Heard::Closed => self.guest.closed(),
                Heard::Bytes(count) => self.digest(world, piece.get(..count).unwrap_or_default(), now),
            }
        }
        true
    }

    fn begin(&mut self, now: Duration) {
        self.health.start_over();
        self.guest.opened(now);
        self.told = Told { diet: self.told.diet, ..Told::default() };
    }

    /// Takes apart what the host sent. Bytes that fail the health tests, and all that follow, count for nothing.
    fn digest<W: World>(&mut self, world: &mut W, mut bytes: &[u8], now: Duration) {
        loop {
            match self.guest.receive(&mut bytes, now) {
                Ok(None) => return,
                Ok(Some(meaning)) => self.take(world, meaning),
                Err(broke) => {
                    if !core::mem::replace(&mut self.told.broke, true) {
                        world.say(&format!(
                            "entropy: not listening to the host until it connects anew: {broke}"
                        ));
                    }
                    return;
                }
            }
        }
    }

    fn take<W: World>(&mut self, world: &mut W, meaning: Meaning<'_>) {
        match meaning {
            Meaning::Granted { generation: Some(generation), .. } | Meaning::Generation(generation) => {
                well::hear_generation(generation);
            }
            Meaning::Granted { .. } => {}
            Meaning::Entropy(bytes) => self.credit(world, bytes),
            Meaning::Starved(why) => {
                if self.told.starved.replace(why) != Some(why) {
                    world.say(&format!("entropy: the host has nothing to give: {why}"));
                }
            }
        }
    }

    fn credit<W: World>(&mut self, world: &mut W, bytes: &[u8]) {
        let failed = self.health.failure().is_some();
        match self.health.judge(bytes) {
            Ok(tested) => well::credit(&tested),
            Err(_) if failed => {}
            Err(unhealthy) => {
                world.say(&format!(
                    "entropy: what the host sends is not random and counts for nothing: {unhealthy}"
                ));
            }
        }
    }

    /// A host that sends what is not random is not asked for more of it.
    fn ask<W: World>(&mut self, world: &mut W, channel: ChannelId, now: Duration) {
        if well::is_hungry() && self.health.failure().is_none() {
            self.guest.ask(now);
        }
        let taken = world.tell(channel, self.guest.outbox());
        self.guest.sent(taken);
    }

    /// The moment itself and the host's random device are mixed in; neither counts. What was asked for is fetched:
    /// bytes that nobody takes would end every sleep.
    fn stir<W: World>(&mut self, world: &mut W) {
        let mut bytes = Zeroizing::new([0; 64]);
        self.asked |= well::is_hungry();
        let count = if self.asked { world.host_random(bytes.as_mut_slice()) } else { 0 };
        self.asked &= count == 0;
        let now = world.now().nanos().to_le_bytes();
        well::stir(bytes.get(..count).unwrap_or_default());
        well::stir(&now);
    }

    fn tell_of_the_diet<W: World>(&mut self, world: &mut W) {
        let diet = well::diet();
        match (self.told.diet.replace(diet), diet) {
            (Some(Diet::Fed), Diet::Stale) => {
                world
                    .say("entropy: not fed for ten minutes; serving on from the pool: is xentropyd running?");
            }
            (Some(Diet::Starving), Diet::Fed) => world.say("entropy: seeded by the host"),
            (Some(Diet::Stale), Diet::Fed) => world.say("entropy: fed again"),
            _ => {}
        }
    }
}

fn moment(now: Instant) -> Duration {
    now - Instant::START
}

#[cfg(test)]
mod tests;
