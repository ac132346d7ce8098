//! A hostile host against the guest's end, the health tests and the pool. The first byte chooses the version;
//! then each piece of input is a turn: a byte that says what happens, and what is heard.
#![no_main]

use entropy::health::Health;
use entropy::pool::{Pool, Witness};
use entropy::protocol::{Guest, Meaning, Version};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

fuzz_target!(|input: &[u8]| {
    let Some((first, mut rest)) = input.split_first() else { return };
    let mut guest = Guest::new(if first & 1 == 0 { Version::One } else { Version::Two });
    let (mut health, mut pool, mut now) = (Health::new(), Pool::new(), Duration::ZERO);
    guest.opened(now);
    while let Some((what, more)) = rest.split_first() {
        let (heard, more) = more.split_at(more.len().min(usize::from(what >> 2)));
        rest = more;
        match what & 3 {
            0 => now += Duration::from_secs(30),
            1 => guest.opened(now),
            2 => guest.sent(usize::from(*what)),
            _ => guest.ask(now),
        }
        guest.turn(now);
        pool.turn(now);
        hear(&mut guest, heard, now, &mut health, &mut pool);
        assert!(guest.outbox().len() < 256, "the outbox grows");
    }
});

fn hear(guest: &mut Guest, mut heard: &[u8], now: Duration, health: &mut Health, pool: &mut Pool) {
    let before = heard.len();
    let mut entropy = 0;
    while let Ok(Some(meaning)) = guest.receive(&mut heard, now) {
        match meaning {
            Meaning::Entropy(bytes) => {
                entropy += bytes.len();
                match health.judge(bytes) {
                    Ok(tested) => pool.credit(&tested),
                    Err(_) => health.start_over(),
                }
            }
            Meaning::Generation(generation) => drop(pool.generation(Witness::Channel, generation)),
            Meaning::Granted { .. } | Meaning::Starved(_) => {}
        }
    }
    assert!(heard.is_empty(), "bytes were left over");
    assert!(entropy <= before, "entropy was made of nothing");
    assert_eq!(pool.draw(&mut [0; 16]).is_ok(), pool.seeded().is_ok());
}
