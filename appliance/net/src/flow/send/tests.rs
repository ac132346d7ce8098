//! What the sender says to losses, silence and lies, with segments of a thousand bytes.

use super::*;

const MSS: u32 = 1000;
const FAR: Seq = Seq(10_000_000);

fn at(millis: u64) -> Instant {
    Instant::START + Duration::from_millis(millis)
}

/// A sender that has said so many segments, and has as many more to say, to one who names ranges.
fn talking(segments: u32) -> Sender {
    talking_to(segments, true)
}

fn talking_to(segments: u32, names_ranges: bool) -> Sender {
    let mut sender = Sender::new(Seq(0), 1000, 1 << 20, names_ranges);
    sender.write(&vec![7; 1 << 20]);
    (0..20).for_each(|_| sender.pace.taken(at(0), 1 << 16));
    say(&mut sender, segments);
    sender
}

/// Says new segments one by one.
fn say(sender: &mut Sender, segments: u32) {
    for _ in 0..segments {
        let piece = Piece { from: sender.next, until: sender.next + MSS, fin: false };
        sender.said(at(0), &piece);
    }
}

fn hear(sender: &mut Sender, now: u64, ack: u32, ranges: &[(u32, u32)]) {
    let ranges = ranges.iter().map(|(from, until)| (Seq(from * MSS), Seq(until * MSS)));
    sender.hear(at(now), Seq(ack * MSS), ranges, true, None);
}

/// What it says again, as numbers of segments.
fn repeats(sender: &mut Sender) -> Vec<u32> {
    let mut said = Vec::new();
    while let Some(piece) = sender.piece(FAR)
        && piece.from.is_before(sender.next)
    {
        sender.said(at(0), &piece);
        said.push(piece.from.0 / MSS);
        assert!(said.len() < 1000, "it never ends");
    }
    said
}

#[test]
fn several_losses_are_mended_in_one_round_trip_and_cost_one_cut() {
    let mut sender = talking(40);
    hear(&mut sender, 0, 3, &[(4, 10)]);
    assert_eq!(repeats(&mut sender), [3]);
    let window = sender.pace.window();
    hear(&mut sender, 1, 3, &[(11, 20), (4, 10)]);
    hear(&mut sender, 2, 3, &[(21, 38), (11, 20), (4, 10)]);
    assert_eq!(repeats(&mut sender), [10, 20]);
    assert_eq!(sender.pace.window(), window);
}

#[test]
fn what_was_said_again_and_lost_again_is_said_a_third_time() {
    let mut sender = talking(20);
    hear(&mut sender, 0, 3, &[(4, 20)]);
    assert_eq!(repeats(&mut sender), [3]);
    say(&mut sender, 10);
    hear(&mut sender, 1, 3, &[(4, 22)]);
    assert!(repeats(&mut sender).is_empty());
    hear(&mut sender, 2, 3, &[(4, 28)]);
    assert_eq!(repeats(&mut sender), [3]);
}

#[test]
fn without_selective_acknowledgements_each_tells_one_loss() {
    let mut sender = talking_to(20, false);
    (0..3).for_each(|_| hear(&mut sender, 0, 3, &[]));
    assert_eq!(repeats(&mut sender), [], "the first was news");
    hear(&mut sender, 0, 3, &[]);
    assert_eq!(repeats(&mut sender), [3]);
    hear(&mut sender, 1, 9, &[]);
    assert_eq!(repeats(&mut sender), [9]);
    hear(&mut sender, 2, 20, &[]);
    assert_eq!((repeats(&mut sender), sender.mending), (vec![], None));
}

/// What somebody can say who sees the connection a moment later, or guesses, and does not know what the peer misses.
#[test]
fn whoever_repeats_acknowledgements_in_the_peers_name_slows_nothing_down() {
    for names_ranges in [true, false] {
        let mut sender = talking_to(40, names_ranges);
        hear(&mut sender, 0, 10, &[]);
        let window = sender.pace.window();
        for old in [9, 3, 0].into_iter().cycle().take(1000) {
            hear(&mut sender, 0, old, &[]);
        }
        (0..1000).filter(|_| names_ranges).for_each(|_| hear(&mut sender, 0, 10, &[]));
        // Ranges of what was not said, of what was acknowledged, and that are none.
        let lies = &[(50, 60), (2, 8), (30, 20), (8, 12)];
        (0..1000).filter(|_| names_ranges).for_each(|_| hear(&mut sender, 0, 10, lies));
        assert_eq!((repeats(&mut sender), sender.pace.window()), (vec![], window), "{names_ranges}");
    }
}

#[test]
fn silence_is_nudged_once_and_then_everything_is_lost() {
    let mut sender = talking(20);
    sender.trip.sample(Duration::from_millis(20));
    hear(&mut sender, 20, 2, &[]);
    let nudge = sender.deadline(at(20)).unwrap();
    assert!(nudge <= at(80), "{nudge:?}");
    assert_eq!(sender.ring(nudge), Some(Due::Speech));
    assert_eq!(repeats(&mut sender), [2]);
    let patience = sender.deadline(nudge).unwrap();
    assert!(patience >= nudge + Duration::from_millis(200));
    assert_eq!(sender.ring(patience), Some(Due::Speech));
    assert_eq!((sender.pace.window(), repeats(&mut sender)), (MSS, vec![2]));
    hear(&mut sender, 500, 3, &[]);
    assert_eq!(repeats(&mut sender), [3, 4]);
}

#[test]
fn a_peer_that_has_every_second_byte_makes_it_say_no_more_than_there_is() {
    let mut sender = talking(1000);
    for number in 0..450 {
        hear(&mut sender, number, 0, &[(999 - 2 * number as u32, 1000 - 2 * number as u32)]);
    }
    let said = repeats(&mut sender);
    assert!(said.len() <= 1000, "{}", said.len());
}

#[test]
fn pieces_end_where_the_ring_does_and_carry_what_was_written() {
    let mut sender = Sender::new(Seq(u32::MAX - 50), 1000, 4096, true);
    let (mut written, mut heard): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for round in 0..200_u8 {
        let more = vec![round; 700];
        let took = sender.write(&more);
        written.extend_from_slice(&more[..took]);
        while let Some(piece) = sender.piece(sender.una + 3000) {
            heard.extend_from_slice(sender.part(&piece));
            sender.said(at(0), &piece);
        }
        let half = sender.una + sender.flight() / 2;
        sender.hear(at(0), half, core::iter::empty(), false, None);
    }
    assert!(heard.len() > 50_000 && written.starts_with(&heard));
}

#[test]
fn a_fin_goes_with_the_last_byte_and_is_a_number_of_its_own() {
    let mut sender = Sender::new(Seq(0), 1000, 4096, true);
    sender.write(b"last");
    sender.close();
    let piece = sender.piece(FAR).unwrap();
    assert_eq!((piece.until, piece.fin, sender.part(&piece)), (Seq(5), true, &b"last"[..]));
    sender.said(at(0), &piece);
    assert!(sender.piece(FAR).is_none() && sender.is_owed());
    sender.hear(at(0), Seq(4), core::iter::empty(), false, None);
    assert!(!sender.is_finished());
    let patience = sender.deadline(at(0)).unwrap();
    assert_eq!(sender.ring(patience), Some(Due::Speech));
    assert_eq!(sender.piece(FAR), Some(Piece { from: Seq(4), until: Seq(5), fin: true }));
    sender.hear(at(0), Seq(5), core::iter::empty(), false, None);
    assert!(sender.is_finished() && !sender.is_owed());
}
