//! A hostile guest against both protocols of the host's end.
#![no_main]

use entropy::egd::Egd;
use entropy::protocol::{Host, LARGEST_SEED};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

fuzz_target!(|input: &[u8]| {
    let (mut host, mut egd) = (Host::new(1, 1000), Egd::new());
    let (mut rest, mut now) = (input, Duration::ZERO);
    let (mut host_lives, mut egd_lives) = (true, true);
    while let Some((what, more)) = rest.split_first() {
        let (said, more) = more.split_at(more.len().min(usize::from(what >> 2)));
        rest = more;
        now += Duration::from_secs(u64::from(what & 3));
        host_lives = host_lives && host.receive(said, now).is_ok() && host.turn(now).is_ok();
        egd_lives = egd_lives && egd.receive(said).is_ok();
        if what & 1 == 0 {
            host.pour(&[1; 2000]);
            egd.pour(&[1; 300]);
        }
        if what & 2 == 0 {
            host.renew(u128::from(*what));
            host.sent(host.outbox().len() / 2);
            egd.sent(egd.outbox().len());
        }
        assert!(host.outbox().len() <= LARGEST_SEED + 256 && egd.outbox().len() <= 2048, "an outbox grows");
        assert!(host_lives || host.appetite() == 0, "a guest that broke the protocol is fed");
    }
});
