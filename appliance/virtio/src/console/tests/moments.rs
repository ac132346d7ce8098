//! Whenever the host does what it does: nobody's bytes are lost or mixed, and nobody sleeps while there is something to
//! do that no interrupt will announce.

use super::*;
use dma::Pages;
use dma::pretend::{Act, Play, every_way};
use std::cell::{Cell, RefCell};

/// The guest, which writes down what it hears: `O` for an opening, `C` for a closing, and bytes as they are.
struct Guest {
    console: Console<WayTo>,
    channel: ChannelId,
    host: Host,
    untold: usize,
}

/// What the host's acts share with it.
#[derive(Clone)]
struct Host {
    device: Pretend,
    heard: Rc<RefCell<String>>,
    interrupt: Rc<Cell<bool>>,
    got: Rc<Cell<usize>>,
}

/// Memory that run after run uses again.
type Pool = Rc<RefCell<Vec<Pages>>>;

/// Buffers of each ring: few, so that they are used up.
const SHORT: u16 = 4;

impl Guest {
    fn new(pool: &Pool, events: u64, untold: usize) -> Self {
        let config = [0, 0, 0, 0, 2, 0, 0, 0];
        let (way, device) = Pretend::new(MODERN | MULTIPORT | events, &[SHORT; 6], &config);
        let (pool, giver, next) = (pool.clone(), device.clone(), Cell::new(0));
        let memory: Memory = Rc::new(move |bytes| {
            let mut pool = pool.borrow_mut();
            let at = next.replace(next.get() + 1);
            match pool.get(at) {
                Some(known) => giver.reach(known),
                None => pool.push(giver.pages(bytes)?),
            }
            pool.get(at).cloned()
        });
        let (console, device, channel) = introduced(Console::new(way, &memory).unwrap(), device);
        let (heard, interrupt, got) = Default::default();
        Self { console, channel, host: Host { device, heard, interrupt, got }, untold }
    }

    /// Hears and tells until there is nothing to do, sleeps until it is interrupted, and so on to the end of the play.
    fn lives(mut self, play: &Play) -> Host {
        for _ in 0..200 {
            self.hears();
            let room = vec![7; self.untold];
            self.untold -= self.console.tell(self.channel, &room);
            if self.console.listen() {
                continue;
            }
            while !self.host.interrupt.take() {
                if !play.goes_on() {
                    assert!(play.is_over(), "nothing comes any more: {:?}", self.host.heard);
                    return self.host;
                }
            }
        }
        panic!("it never sleeps: {:?}", self.host.heard);
    }

    fn hears(&mut self) {
        loop {
            let mut bytes = [0; 3];
            let heard = self.console.hear(self.channel, &mut bytes);
            let mut written = self.host.heard.borrow_mut();
            match heard {
                Heard::Nothing => return,
                Heard::Opened => written.push('O'),
                Heard::Closed => written.push('C'),
                Heard::Bytes(count) => written.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
            }
        }
    }
}

impl Host {
    fn interrupts(&self, queue: u16) {
        self.interrupt.set(self.interrupt.get() | self.device.announces(queue));
    }

    /// A peer comes, or goes.
    fn opens(&self, is: u16) -> Act {
        let host = self.clone();
        Box::new(move || {
            let told = host.device.answer(CONTROL_IN, &message(1, 6, is, ""));
            host.interrupts(CONTROL_IN);
            told
        })
    }

    /// A peer says something.
    fn says(&self, bytes: &'static str) -> Act {
        let host = self.clone();
        Box::new(move || {
            let said = host.device.answer(4, bytes.as_bytes());
            host.interrupts(4);
            said
        })
    }

    /// The peer goes when it has got its answer, so the guest has heard it.
    fn goes_when_heard(&self, bytes: &'static str) -> Act {
        let (host, goes) = (self.clone(), self.opens(0));
        Box::new(move || host.heard.borrow().contains(bytes) && goes())
    }

    /// A peer reads what came.
    fn reads(&self) -> Act {
        let host = self.clone();
        Box::new(move || {
            let got = host.device.receive(5);
            host.got.set(host.got.get() + got.as_ref().map_or(0, Vec::len));
            host.interrupts(5);
            got.is_some()
        })
    }
}

/// Plays it in every way, without and with events, and lets `judge` see what was heard.
fn play(moments: usize, untold: usize, acts: impl Fn(&Host) -> Vec<Act>, judge: impl Fn(&Host)) {
    let pool = Pool::default();
    for events in [0, EVENTS] {
        let write = || {
            let guest = Guest::new(&pool, events, untold);
            let acts = acts(&guest.host);
            (guest, acts)
        };
        let ways = every_way(moments, write, |guest, play| judge(&guest.lives(play)));
        assert!(ways > 1000, "only {ways} ways");
    }
}

#[test]
fn who_comes_after_another_is_heard_from_the_first_byte() {
    let acts = |host: &Host| {
        vec![
            host.opens(1),
            host.says("a"),
            host.goes_when_heard("a"),
            host.opens(1),
            host.says("b"),
            host.says("c"),
            host.goes_when_heard("bc"),
        ]
    };
    play(2, 0, acts, |host| assert_eq!(*host.heard.borrow(), "OaCObcC"));
}

#[test]
fn who_goes_unheard_leaves_the_next_one_whole() {
    let acts = |host: &Host| {
        vec![
            host.opens(1),
            host.says("a"),
            host.says("a"),
            host.opens(0),
            host.opens(1),
            host.says("b"),
            host.says("c"),
        ]
    };
    let judge = |host: &Host| {
        let heard = host.heard.borrow();
        let (before, last) = heard.rsplit_once('O').unwrap();
        assert!(last.trim_start_matches('a') == "bc" && !before.contains(['b', 'c']), "{heard}");
        assert!(["", "OC", "OaC", "OaaC"].contains(&before), "{heard}");
    };
    play(2, 0, acts, judge);
}

#[test]
fn room_that_comes_is_never_slept_through() {
    const ALL: usize = 6 * 4096;
    let acts = |host: &Host| [host.opens(1)].into_iter().chain((0..6).map(|_| host.reads())).collect();
    play(2, ALL, acts, |host| assert_eq!(host.got.get(), ALL));
}
