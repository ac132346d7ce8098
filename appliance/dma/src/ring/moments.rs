//! Whenever the other side does what it does, neither sleeps while there is something to do.

use super::*;
use crate::Transport;
use crate::pretend::{Act, Play, Pretend, every_way};
use std::cell::Cell;
use std::rc::Rc;

const EVENTS: u64 = 1 << 29;
const SIZE: u16 = 4;

fn met(events: u64) -> (Ring, Pretend, Pages) {
    let (mut way, device) = Pretend::new(0, &[SIZE], &[]);
    way.accept(events);
    let ring = Ring::new(device.pages(Ring::bytes(SIZE)).unwrap(), SIZE, events != 0).unwrap();
    way.install(0, &ring);
    let buffer = device.pages(64).unwrap();
    (ring, device, buffer)
}

/// Two acts for each buffer, as of a device: it gives it back, and asks itself afterwards whether to tell.
fn gives(device: &Pretend, interrupt: &Rc<Cell<bool>>, ids: &[u32]) -> Vec<Act> {
    let both = |id: &u32| {
        let (id, giver, teller, interrupt) = (*id, device.clone(), device.clone(), interrupt.clone());
        let give: Act = Box::new(move || {
            giver.give_back(0, id, 1);
            true
        });
        let tell: Act = Box::new(move || {
            interrupt.set(interrupt.get() | teller.announces(0));
            true
        });
        [give, tell]
    };
    ids.iter().flat_map(both).collect()
}

/// Takes what comes until there is nothing, and sleeps then; says how many came in all.
fn takes(ring: &mut Ring, interrupt: &Cell<bool>, play: &Play) -> usize {
    let mut taken = 0;
    loop {
        ring.hush();
        while ring.take().unwrap().is_some() {
            taken += 1;
        }
        if ring.listen() {
            continue;
        }
        while !interrupt.take() {
            if !play.goes_on() {
                return taken;
            }
        }
    }
}

#[test]
fn no_buffer_that_came_back_is_slept_through() {
    for events in [0, EVENTS] {
        let write = || {
            let ((mut ring, device, buffer), interrupt) = (met(events), Rc::default());
            (0..4).for_each(|id| ring.lend(id, &buffer, Way::FromDevice).unwrap());
            let _ = ring.publish();
            let acts = gives(&device, &interrupt, &[2, 0, 1, 3]);
            ((ring, interrupt), acts)
        };
        let ways = every_way(3, write, |(mut ring, interrupt): (Ring, Rc<Cell<bool>>), play| {
            assert_eq!(takes(&mut ring, &interrupt, play), 4);
        });
        assert!(ways > 1000, "{ways}");
    }
}

/// A device that says at which index it wants to be kicked, looks once more, and sleeps until it is.
#[derive(Clone)]
struct Sleeper {
    device: Pretend,
    kicked: Rc<Cell<bool>>,
    state: Rc<Cell<State>>,
    seen: Rc<Cell<u16>>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Looks,
    Wishes,
    LooksOnceMore,
    Sleeps,
}

impl Sleeper {
    fn step(&self) -> bool {
        let next = match self.state.get() {
            State::Looks | State::LooksOnceMore if self.device.next(0).is_some() => {
                self.seen.set(self.seen.get() + 1);
                State::Looks
            }
            State::Looks => State::Wishes,
            State::Wishes => {
                self.device.wake_at(0, self.seen.get());
                State::LooksOnceMore
            }
            State::LooksOnceMore => State::Sleeps,
            State::Sleeps if self.kicked.take() => State::Looks,
            State::Sleeps => return false,
        };
        self.state.set(next);
        true
    }
}

#[test]
fn a_device_that_sleeps_is_kicked() {
    let write = || {
        let (ring, device, buffer) = met(EVENTS);
        let (kicked, state, seen) = (Rc::default(), Rc::new(Cell::new(State::Looks)), Rc::default());
        let sleeper = Sleeper { device, kicked, state, seen };
        let acts = (0..24).map(|_| sleeper.clone()).map(|sleeper| Box::new(move || sleeper.step()) as Act);
        let acts = acts.collect();
        ((ring, buffer, sleeper), acts)
    };
    let ways = every_way(2, write, |(mut ring, buffer, sleeper): (Ring, Pages, Sleeper), play| {
        for id in 0..3 {
            ring.lend(id, &buffer, Way::ToDevice).unwrap();
            sleeper.kicked.set(ring.publish() | sleeper.kicked.get());
        }
        while play.goes_on() {}
        assert_eq!(sleeper.seen.get(), 3, "it sleeps on what was lent");
    });
    assert!(ways > 1000, "{ways}");
}
