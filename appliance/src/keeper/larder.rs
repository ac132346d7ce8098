//! The larder: how the pool is fed.
//!
//! The host's channel alone counts. Until it has brought a full seed nothing may draw, so [`Larder::fill`] runs before
//! the first hash table exists.
//!
//! A host may offer both versions of the channel, and somebody at one of them only. Version 2 is asked first, because it
//! tells of copies. If nobody has answered there for ten seconds, version 1 is asked too.

mod end;

use super::well;
use core::time::Duration;
use end::End;
use entropy::pool::{Diet, Seeded};
use entropy::protocol::{CHANNEL_1, CHANNEL_2, Version};
use std::hash::RandomState;
use world::{Instant, World};
use zeroize::Zeroizing;

/// Version 2 may take so long to answer before version 1 is asked too.
const PATIENCE: Duration = Duration::from_secs(10);

/// What feeds the pool.
pub struct Larder {
    ends: Vec<End>,
    /// Since when an answer is awaited.
    since: Option<Duration>,
    /// How the pool was fed when that was last looked at.
    diet: Option<Diet>,
    /// The host's random device was asked and has not answered.
    asked: bool,
}

/// What the loop has to know of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct News {
    /// When the larder wants another turn.
    pub deadline: Option<Instant>,
    /// The machine was copied or put back in time.
    pub forked: bool,
}

impl Larder {
    /// Looks for the host's entropy channels, and shows the well what lies beneath it.
    pub fn open<W: World>(world: &mut W, cpu: well::Cpu) -> Self {
        well::dig(cpu, world.generation());
        let mut larder = Self { ends: Vec::new(), since: None, diet: None, asked: false };
        larder.find(world);
        larder
    }

    /// Sleeps and feeds until the pool holds a full seed. Draws nothing and opens nothing.
    pub fn fill<W: World>(&mut self, world: &mut W) -> Option<Seeded> {
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

    /// Makes what needs random bytes, once there are some; nothing when the host asks us to end before. If the machine is
    /// copied meanwhile, draws fail and with them the making: it is done again with what the host brings then.
    pub fn once_fed<W: World, T, E>(
        &mut self,
        world: &mut W,
        mut make: impl FnMut(&mut W) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        while let Some(_seeded) = self.fill(world) {
            // std draws the keys of its hash tables once and panics if it cannot: better now than in the middle.
            let _ = RandomState::new();
            match make(world) {
                Err(_) if well::is_forked() => {}
                made => return made.map(Some),
            }
        }
        Ok(None)
    }

    /// Hears the host, asks it for more, and mixes in what else is there.
    pub fn turn<W: World>(&mut self, world: &mut W) -> News {
        let (now, forked) = (moment(world.now()), well::take_fork());
        self.find(world);
        if forked {
            self.ends.iter_mut().for_each(|end| end.start_over(now));
        }
        let more = self.ends.iter_mut().fold(false, |more, end| end.hear(world, now) | more);
        let fallback = self.choose(world, now);
        self.ends.iter_mut().filter(|end| end.speaks).for_each(|end| end.ask(world, now));
        self.stir(world);
        well::turn(now);
        self.tell_of_the_diet(world);
        let alarm = well::patience().map(|left| now + left);
        let ends = self.ends.iter().filter(|end| end.speaks).filter_map(|end| end.guest.deadline());
        let deadline = ends.chain([more.then_some(now), fallback, alarm].into_iter().flatten()).min();
        let deadline = deadline.map(|deadline| Instant::START + deadline);
        News { deadline, forked: forked || well::is_forked() }
    }

    /// Looks for what is not there yet, until somebody has answered: a host may open its ports late.
    fn find<W: World>(&mut self, world: &mut W) {
        if self.ends.len() == 2 || self.is_answered() {
            return;
        }
        for version in [Version::Two, Version::One] {
            if self.ends.iter().all(|end| end.version != version)
                && let Some(channel) = world.channel(version.channel())
            {
                self.ends.push(End::of(channel, version));
            }
        }
    }

    /// Whose turn it is to speak: version 2 at once; version 1 when there is no other, or when the other has not answered
    /// for too long. Says when that will be.
    fn choose<W: World>(&mut self, world: &mut W, now: Duration) -> Option<Duration> {
        if self.is_answered() {
            return None;
        }
        let due = *self.since.get_or_insert(now) + PATIENCE;
        let is_late = now >= due && self.ends.len() == 2;
        let is_alone = self.ends.len() == 1;
        for end in self.ends.iter_mut().filter(|end| !end.speaks) {
            end.speaks = is_alone || is_late || end.version == Version::Two;
            if is_late && end.version == Version::One {
                world.say(&format!("entropy: nobody answers on {CHANNEL_2}: asking on {CHANNEL_1} too"));
            }
        }
        self.ends.iter().any(|end| !end.speaks).then_some(due)
    }

    fn is_answered(&self) -> bool {
        self.ends.iter().any(|end| end.answered)
    }

    fn say_what_is_awaited<W: World>(&self, world: &mut W) {
        if !self.ends.is_empty() {
            return world.say("entropy: waiting for the host's first seed; no port is open before");
        }
        world.say(&format!(
            "entropy: the host offers no channel {CHANNEL_2} or {CHANNEL_1}: no key is made and no port opens; \
             give this machine one and run xentropyd on the host"
        ));
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
        match (self.diet.replace(diet), diet) {
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
mod bench;
#[cfg(test)]
mod tests;
