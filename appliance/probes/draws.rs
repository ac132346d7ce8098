//! An image that draws. `early=NAME` draws before there is a seed and must die of it; `late=NAME` does the same once it is
//! fed, and lives. `show=MIB` is fed as what ships is fed, through the same larder, and writes so much of what it draws
//! to a port of its own, so that anybody can judge the bytes. What ships holds nothing of this.
#![forbid(unsafe_code)]

use keeper::Larder;
use std::collections::HashMap;
use symbols as _;
use tls::TicketSecret;
use virtio::Guest;
use world::World;

/// Where the bytes are shown.
const PORT: &str = "gatehouse.draws";
const PIECE: usize = 4096;

/// A name, and whoever draws without knowing it.
type Draw = (&'static str, fn() -> bool);

const DRAWS: [Draw; 3] = [
    ("hash-map", || HashMap::from([(1, 2)]).len() == 1),
    ("ring", || TicketSecret::fresh().is_ok()),
    ("nothing", || true),
];

fn main() {
    runtime::panic_in_one_line();
    runtime::draw_from(keeper::draw);
    let mut world = Guest::open().unwrap_or_else(|unfit| runtime::fault(&unfit.to_string()));
    let words = world.boot().words.clone();
    for (word, what) in words.iter().filter_map(|word| word.split_once('=')) {
        match word {
            "early" => end(&mut world, &told("drew", drawn(what))),
            "late" => {
                let _ = Larder::open(&mut world, boot::rdrand).fill(&mut world);
                end(&mut world, &told("lived", drawn(what)));
            }
            "show" => show(&mut world, what.parse().unwrap_or(1)),
            _ => {}
        }
    }
    runtime::fault("draws: early=NAME, late=NAME or show=MIB");
}

fn drawn(name: &str) -> bool {
    DRAWS.iter().find(|(known, _)| *known == name).is_some_and(|(_, draw)| draw())
}

fn told(word: &str, well: bool) -> String {
    if well { word.to_owned() } else { format!("{word} nothing") }
}

/// The larder is turned between the pieces, as the appliance's loop does.
fn show(world: &mut Guest, mib: usize) {
    let mut larder = Larder::open(world, boot::rdrand);
    let _ = larder.fill(world);
    let mut piece = vec![0; PIECE];
    for _ in 0..mib << 20 >> PIECE.trailing_zeros() {
        let _ = larder.turn(world);
        if keeper::draw(&mut piece).is_err() {
            end(world, "refused");
        }
        write(world, &piece);
    }
    end(world, "shown");
}

fn write(world: &mut Guest, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let Some(port) = world.channel(PORT) else { runtime::fault("there is no port to show bytes at") };
        let taken = world.tell(port, bytes);
        bytes = bytes.get(taken..).unwrap_or_default();
        if taken == 0 {
            let _ = world.hear(port, &mut [0; 16]);
            let soon = world.now() + core::time::Duration::from_millis(1);
            world.wait(Some(soon));
        }
    }
}

fn end(world: &mut Guest, word: &str) -> ! {
    world.say(word);
    boot::leave(0)
}
