//! A larder before whatever may sit at the other end of its channels.

use super::bench::{Bench, Other, daemon};
use super::end::{PIECE, PIECES};
use super::*;
use entropy::protocol::BANNER_1;
use runtime::Refused;

fn fed(bench: &mut Bench) -> Larder {
    let mut larder = Larder::open(bench, || None);
    assert!(larder.fill(bench).is_some());
    larder
}

#[test]
fn a_daemon_feeds_and_the_console_says_so_once() {
    let mut bench = Bench::with(daemon(1, 1));
    let mut larder = fed(&mut bench);
    assert!(!bench.live(&mut larder, 3600));
    assert_eq!((bench.count("waiting"), bench.count("seeded by the host"), bench.said.len()), (1, 1, 2));
}

#[test]
fn without_a_channel_it_waits_says_what_it_lacks_and_takes_one_that_comes_late() {
    let mut bench = Bench::with(daemon(1, 1));
    bench.name = "something else";
    bench.starves("no key is made and no port opens");
    let mut larder = Larder::open(&mut bench, || None);
    (bench.name, bench.stop_at) = (CHANNEL_2, Duration::MAX);
    assert!(larder.fill(&mut bench).is_some());
}

#[test]
fn whoever_is_no_daemon_feeds_nothing_and_is_complained_of_once() {
    Bench::with(Other::Nobody).starves("waiting for the host's first seed");
    Bench::with(Other::Says(b"")).starves("waiting for the host's first seed");
    Bench::with(Other::Says(b"SSH-2.0-OpenSSH_9.2\r\n")).starves("waiting for the host's first seed");
    Bench::with(Other::SaysForEver(b"hello", 0)).starves("none of them was the answer to our hello");
    let mut first = Bench::with(Other::Says(b"SSH-2.0-OpenSSH_9.2\r\n"));
    first.name = CHANNEL_1;
    first.starves("something else is connected");
}

#[test]
fn a_stuck_daemon_of_version_1_is_caught() {
    for byte in [0, 0xff, 0x5a] {
        let mut bench = Bench::with(Other::SaysForEver(BANNER_1, byte));
        bench.name = CHANNEL_1;
        bench.starves("is not random and counts for nothing: the source is stuck");
    }
}

#[test]
fn a_flood_holds_no_turn() {
    let mut bench = Bench::with(Other::SaysForEver(b"", 1));
    let mut larder = Larder::open(&mut bench, || None);
    bench.under_way.extend(vec![1; 1 << 20]);
    let news = larder.turn(&mut bench);
    assert!(bench.heard <= PIECES * PIECE, "{} bytes in one turn", bench.heard);
    assert_eq!(news.deadline, Some(bench.now()), "and the rest is heard in the next");
}

#[test]
fn a_daemon_that_went_is_missed_after_ten_minutes_and_one_that_comes_again_feeds_again() {
    let mut bench = Bench::with(daemon(1, 1));
    let mut larder = fed(&mut bench);
    bench.replace(Other::Nobody);
    // What was waiting is taken up after a minute, so the pool was last fed then.
    bench.live(&mut larder, 650);
    assert_eq!(bench.count("not fed for ten minutes"), 0, "{:?}", bench.said);
    let sleep = larder.turn(&mut bench).deadline.map(|deadline| deadline - bench.now());
    assert!(sleep.is_some_and(|sleep| sleep < Duration::from_secs(15)), "the alarm ends a sleep: {sleep:?}");
    bench.live(&mut larder, 3600);
    assert_eq!(bench.count("not fed for ten minutes"), 1);
    assert_eq!(well::draw(&mut [0; 8]), Ok(()), "it serves on");
    bench.replace(daemon(1, 2));
    bench.live(&mut larder, 5);
    assert_eq!(bench.count("fed again"), 1, "{:?}", bench.said);
}

#[test]
fn a_copy_draws_nothing_before_a_host_has_answered_a_new_hello() {
    let mut bench = Bench::with(daemon(1, 1));
    let mut larder = fed(&mut bench);
    // Bytes that were under way when the machine was saved reach each of its copies.
    let Other::Daemon(host, stream) = &mut bench.other else { panic!() };
    let guest = &mut larder.ends[0].guest;
    host.receive(guest.outbox(), bench.now).unwrap();
    guest.ask(bench.now);
    host.receive(guest.outbox(), bench.now).unwrap();
    guest.sent(guest.outbox().len());
    let mut piece = [0; 256];
    stream.draw(&mut piece);
    host.pour(&piece);
    let stale: Vec<u8> = host.outbox().to_vec();
    assert!(stale.len() > 256);
    bench.other = daemon(1, 9);
    bench.under_way = stale.into();
    bench.generation.set(8);
    assert!(larder.turn(&mut bench).forked);
    assert_eq!(well::draw(&mut [0; 8]), Err(Refused), "what both copies hold was counted");
    assert!(bench.under_way.iter().next().is_some(), "the new host has answered the new hello");
    assert!(larder.fill(&mut bench).is_some());
    assert_eq!(well::draw(&mut [0; 8]), Ok(()));
}

#[test]
fn the_daemons_word_that_the_machine_was_copied_counts_as_much() {
    let mut bench = Bench::with(daemon(1, 1));
    let mut larder = fed(&mut bench);
    assert!(!bench.live(&mut larder, 60));
    bench.replace(daemon(1, 2));
    assert!(!bench.live(&mut larder, 60), "another daemon, the same generation");
    bench.replace(daemon(2, 3));
    assert!(bench.live(&mut larder, 60));
    assert_eq!(well::draw(&mut [0; 8]), Ok(()), "fed apart by now");
}

#[test]
fn version_1_is_asked_where_nobody_answers_on_version_2_and_not_sooner() {
    let mut bench = Bench::with(daemon(1, 1));
    (bench.name, bench.mute) = (CHANNEL_1, Some(CHANNEL_2));
    let mut larder = Larder::open(&mut bench, || None);
    bench.live(&mut larder, 9);
    assert_eq!((well::provenance().host, well::seeded().is_ok()), (None, false), "version 2 has ten seconds");
    bench.live(&mut larder, 9);
    assert_eq!((well::provenance().host, well::seeded().is_ok()), (Some(Version::One), true));
    bench.live(&mut larder, 10);
    assert_eq!(bench.count("nobody answers on"), 1, "{:?}", bench.said);
}

#[test]
fn a_sleep_ends_when_version_1_is_to_be_asked() {
    let mut bench = Bench::with(Other::Nobody);
    (bench.name, bench.mute) = (CHANNEL_1, Some(CHANNEL_2));
    let mut larder = Larder::open(&mut bench, || None);
    for _ in 0..5 {
        let deadline = larder.turn(&mut bench).deadline;
        if bench.count("nobody answers on") == 1 {
            return assert!(bench.now < Duration::from_secs(12), "at {:?}", bench.now);
        }
        bench.wait(deadline);
    }
    panic!("it never asked: {:?}", bench.said);
}

#[test]
fn a_host_that_answers_on_version_2_is_never_asked_on_version_1() {
    let mut bench = Bench::with(daemon(1, 1));
    bench.mute = Some(CHANNEL_1);
    let mut larder = fed(&mut bench);
    bench.replace(Other::Nobody);
    bench.live(&mut larder, 3600);
    assert_eq!(well::provenance().host, Some(Version::Two));
    assert_eq!(bench.count("nobody answers on"), 0, "{:?}", bench.said);
}

#[test]
fn a_peer_that_comes_and_goes_is_complained_of_once_a_minute() {
    let mut bench = Bench::with(Other::Nobody);
    let mut larder = Larder::open(&mut bench, || None);
    for _ in 0..300 {
        bench.replace(Other::SaysForEver(b"", 7));
        for _ in 0..16 {
            larder.turn(&mut bench);
            bench.wait(None);
        }
        bench.now += Duration::from_secs(1);
    }
    let (lines, minutes) = (bench.count("none of them was the answer"), bench.now.as_secs() / 60);
    assert!((minutes - 2..=minutes + 1).contains(&(lines as u64)), "{lines} lines in {minutes} minutes");
}

#[test]
fn what_is_made_while_the_machine_is_copied_is_made_again_and_what_is_wrong_is_not() {
    let mut bench = Bench::with(daemon(1, 1));
    let mut larder = Larder::open(&mut bench, || None);
    let mut tries = 0;
    let made = larder.once_fed(&mut bench, |bench| {
        tries += 1;
        if tries == 1 {
            bench.generation.set(8);
        }
        well::draw(&mut [0; 8]).map(|()| tries)
    });
    assert_eq!(made, Ok(Some(2)), "{:?}", bench.said);
    let wrong: Result<Option<()>, _> = larder.once_fed(&mut bench, |_| Err("a typo in the bundle"));
    assert_eq!(wrong, Err("a typo in the bundle"));
    assert_eq!((well::provenance().forks, well::provenance().refused), (1, 1));
}
