//! The appliance: which world is this, and then the loop.
#![forbid(unsafe_code)]

// What std stands on.
use symbols as _;

use keeper::Ended;
use linux::{Draws, Process};
use world::World;

/// The command line, or something that it names, cannot be followed.
const BAD_START: i32 = 2;

fn main() {
    runtime::panic_in_one_line();
    runtime::draw_from(keeper::draw);
    if std::env::args().any(|word| word == "--help") {
        print!("{}", help());
        return;
    }
    println!("gatehouse {} (layout by {})", env!("CARGO_PKG_VERSION"), boot::layout());
    if boot::on_bare_metal() { in_a_machine() } else { in_a_process() }
}

fn in_a_machine() {
    if xen::is_beneath() {
        finish(&mut xen::Guest::open().unwrap_or_else(|unfit| refuse(&unfit)));
    } else {
        finish(&mut virtio::Guest::open().unwrap_or_else(|unfit| refuse(&unfit)));
    }
}

fn in_a_process() {
    let mut world = Process::start().unwrap_or_else(|bad| refuse(&bad));
    let locked = world.close_sandbox(Draws::Never).unwrap_or_else(|bad| refuse(&bad));
    world.say(&locked.to_string());
    finish(&mut world);
}

/// Lives until the end and says why it came.
fn finish(world: &mut impl World) {
    match keeper::live(world, boot::rdrand) {
        Ended::Asked => world.say("closed: the host asked for it"),
        ended => refuse(&ended),
    }
}

fn refuse(why: &impl core::fmt::Display) -> ! {
    runtime::say(format!("gatehouse: {why}\n").as_bytes());
    runtime::leave(BAD_START)
}

fn help() -> String {
    let line = |word: &linux::Word| format!("  {} {}: {}\n", word.name, word.value, word.about);
    let words: String = linux::WORDS.iter().map(line).collect();
    format!("appliance: TLS front end, as a process\n\n{words}{}", keeper::help())
}
