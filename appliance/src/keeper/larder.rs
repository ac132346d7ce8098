//! The larder: where the pool is kept and how it is fed.
//!
//! The host's channel alone counts. Until it has brought a full seed nothing may draw, so [`Larder::fill`] runs before
//! the first hash table exists. Whoever draws too early ends the appliance: a key made of nothing is worse than none.

use core::cell::RefCell;
use core::time::Duration;
use entropy::health::Health;
use entropy::pool::{Diet, Forked, Pool, Seeded, Witness};
use entropy::protocol::{CHANNEL_1, CHANNEL_2, Guest, Meaning, Version};
use world::{ChannelId, Heard, Instant, World};

thread_local! {
    static POOL: RefCell<Pool> = RefCell::new(Pool::new());
}

/// Fills `out` from the pool: the one source behind every random byte of the appliance.
pub fn draw(out: &mut [u8]) {
    if let Err(early) = POOL.with_borrow_mut(|pool| pool.draw(out)) {
        runtime::fault(&format!("a key was asked for too early: {early}"));
    }
}

/// What feeds the pool.
pub(crate) struct Larder {
    channel: Option<ChannelId>,
    guest: Guest,
    health: Health,
    told: Option<Diet>,
    /// The host's random device was asked and has not answered.
    asked: bool,
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
    /// Looks for the host's entropy channel.
    pub(crate) fn open<W: World>(world: &mut W) -> Self {
        let second = world.channel(CHANNEL_2).map(|channel| (channel, Version::Two));
        let found = second.or_else(|| Some((world.channel(CHANNEL_1)?, Version::One)));
        let version = found.map_or(Version::Two, |(_, version)| version);
        let (guest, health) = (Guest::new(version), Health::new());
        Self { channel: found.map(|(channel, _)| channel), guest, health, told: None, asked: false }
    }

    /// Sleeps and feeds until the pool holds a full seed. Draws nothing and opens nothing.
    pub(crate) fn fill<W: World>(&mut self, world: &mut W) -> Option<Seeded> {
        self.say_what_is_awaited(world);
        loop {
            let news = self.turn(world);
            if let Ok(seeded) = POOL.with_borrow(Pool::seeded) {
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
        let now = moment(world.now());
        let mut forked = watch(Witness::Machine, world.generation());
        if let Some(channel) = self.channel {
            forked |= self.hear(world, channel, now);
            self.guest.turn(now);
            self.ask(world, channel, now);
        }
        self.stir(world);
        POOL.with_borrow_mut(|pool| pool.turn(now));
        self.tell_of_the_diet(world);
        News { deadline: self.guest.deadline().map(|deadline| Instant::START + deadline), forked }
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

    fn hear<W: World>(&mut self, world: &mut W, channel: ChannelId, now: Duration) -> bool {
        let (mut forked, mut piece) = (false, zeroize::Zeroizing::new([0; 2048]));
        loop {
            match world.hear(channel, piece.as_mut_slice()) {
                Heard::Nothing => return forked,
                Heard::Opened => self.begin(now),
                Heard::Closed => self.guest.closed(),
                Heard::Bytes(count) => {
                    forked |= self.digest(world, piece.get(..count).unwrap_or_default(), now);
                }
            }
        }
    }

    fn begin(&mut self, now: Duration) {
        self.health.start_over();
        self.guest.opened(now);
    }

    /// Takes apart what the host sent. Bytes that fail the health tests, and all that follow, count for nothing.
    fn digest<W: World>(&mut self, world: &mut W, mut bytes: &[u8], now: Duration) -> bool {
        let mut forked = false;
        loop {
            match self.guest.receive(&mut bytes, now) {
                Ok(None) => return forked,
                Ok(Some(meaning)) => forked |= self.take(world, meaning),
                Err(broke) => {
                    world.say(&format!("entropy: not listening to the host any more: {broke}"));
                    return forked;
                }
            }
        }
    }

    fn take<W: World>(&mut self, world: &mut W, meaning: Meaning<'_>) -> bool {
        match meaning {
            Meaning::Granted { generation, .. } => watch(Witness::Channel, generation),
            Meaning::Generation(generation) => watch(Witness::Channel, Some(generation)),
            Meaning::Entropy(bytes) => {
                self.credit(world, bytes);
                false
            }
            Meaning::Starved(why) => {
                world.say(&format!("entropy: the host has nothing to give: {why:?}"));
                false
            }
        }
    }

    fn credit<W: World>(&mut self, world: &mut W, bytes: &[u8]) {
        let failed = self.health.failure().is_some();
        match self.health.judge(bytes) {
            Ok(tested) => POOL.with_borrow_mut(|pool| pool.credit(&tested)),
            Err(_) if failed => {}
            Err(unhealthy) => {
                world.say(&format!(
                    "entropy: what the host sends is not random and counts for nothing: {unhealthy}"
                ));
            }
        }
    }

    fn ask<W: World>(&mut self, world: &mut W, channel: ChannelId, now: Duration) {
        if POOL.with_borrow(Pool::is_hungry) {
            self.guest.ask(now);
        }
        let taken = world.tell(channel, self.guest.outbox());
        self.guest.sent(taken);
    }

    /// The moment itself and the host's random device are mixed in; neither counts. What was asked for is fetched:
    /// bytes that nobody takes would end every sleep.
    fn stir<W: World>(&mut self, world: &mut W) {
        let mut bytes = zeroize::Zeroizing::new([0; 64]);
        self.asked |= POOL.with_borrow(Pool::is_hungry);
        let count = if self.asked { world.host_random(bytes.as_mut_slice()) } else { 0 };
        self.asked &= count == 0;
        let now = world.now().nanos().to_le_bytes();
        POOL.with_borrow_mut(|pool| {
            pool.stir(bytes.get(..count).unwrap_or_default());
            pool.stir(&now);
        });
    }

    fn tell_of_the_diet<W: World>(&mut self, world: &mut W) {
        let diet = POOL.with_borrow(Pool::diet);
        match (self.told.replace(diet), diet) {
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

fn watch(witness: Witness, generation: Option<u128>) -> bool {
    let heard = |generation| POOL.with_borrow_mut(|pool| pool.generation(witness, generation));
    matches!(generation.and_then(heard), Some(Forked))
}

fn moment(now: Instant) -> Duration {
    now - Instant::START
}
