//! The driver against a device that behaves and one that does not.

use super::*;
use crate::device::MODERN;
use dma::pretend::{Offer, Pretend, WayTo};
use proptest::prelude::*;
use std::rc::Rc;
use world::{Checksum, LARGEST_FRAME, Segment, Segments};

const ALL: u64 = MODERN
    | EVENTS
    | CHECKSUM
    | GUEST_CHECKSUM
    | MTU
    | MAC
    | GUEST_TCP4
    | GUEST_TCP6
    | HOST_TCP4
    | HOST_TCP6
    | MERGED;
const OURS: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

fn config(mac: [u8; 6], mtu: u16) -> Vec<u8> {
    [&mac[..], &[0; 4], &mtu.to_le_bytes()].concat()
}

fn try_net(features: u64, lengths: &[u16], config: &[u8]) -> (Result<Net<WayTo>, Refused>, Pretend) {
    let (way, device) = Pretend::new(features, lengths, config);
    let giver = device.clone();
    let memory: Memory = Rc::new(move |bytes| giver.pages(bytes));
    (Net::new(way, &memory), device)
}

fn net(features: u64) -> (Net<WayTo>, Pretend) {
    let (net, device) = try_net(features, &[256, 256], &config(OURS, 1500));
    (net.unwrap(), device)
}

fn header(flags: u8, buffers: u16) -> Vec<u8> {
    let [low, high] = buffers.to_le_bytes();
    vec![flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, low, high]
}

/// Spreads a frame over as many buffers as it takes, and says that it took `said`.
fn deliver(device: &Pretend, flags: u8, frame: &[u8], said: Option<u16>) {
    let bytes = [&header(flags, 0)[..], frame].concat();
    let count = bytes.chunks(4096).len() as u16;
    let bytes = [&header(flags, said.unwrap_or(count))[..], frame].concat();
    let offers: Vec<Offer> = (0..count).map(|_| device.next(INWARD).unwrap()).collect();
    for (offer, piece) in offers.iter().zip(bytes.chunks(4096)) {
        assert!(device.fill(offer, piece));
        device.give_back(INWARD, u32::from(offer.id), piece.len() as u32);
    }
}

fn received(net: &mut Net<WayTo>) -> Option<(Vec<u8>, Checksum)> {
    let mut frame = vec![0xee; LARGEST_FRAME];
    let received = net.receive(&mut frame)?;
    frame.truncate(received.len);
    Some((frame, received.checksum))
}

/// Bytes that differ from place to place and from `seed` to `seed`.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ at >> 8 ^ seed) as u8).collect()
}

#[test]
fn a_frame_comes_in_with_what_is_known_of_its_checksum() {
    let (mut net, device) = net(ALL);
    assert_eq!(received(&mut net), None);
    for (flags, checksum) in [(0, Checksum::Unknown), (1, Checksum::Partial), (2, Checksum::Verified)] {
        deliver(&device, flags, &pattern(7, 60), None);
        assert!(net.listen());
        assert_eq!(received(&mut net), Some((pattern(7, 60), checksum)));
        assert_eq!(received(&mut net), None);
        assert!(!net.listen());
    }
}

#[test]
fn a_checksum_is_not_believed_unless_that_was_agreed() {
    let (mut net, device) = net(ALL & !GUEST_CHECKSUM);
    deliver(&device, 1, &[1; 60], None);
    assert_eq!(received(&mut net), Some((vec![1; 60], Checksum::Unknown)));
}

#[test]
fn the_largest_frame_arrives_whole_out_of_many_buffers() {
    let (mut net, device) = net(ALL);
    for seed in 0..50 {
        deliver(&device, 2, &pattern(seed, LARGEST_FRAME), None);
        assert_eq!(received(&mut net), Some((pattern(seed, LARGEST_FRAME), Checksum::Verified)));
    }
    assert!(net.lie().is_none());
}

#[test]
fn a_frame_that_does_not_fit_is_dropped_and_the_next_one_is_not() {
    let (mut net, device) = net(ALL);
    deliver(&device, 0, &[1; LARGEST_FRAME + 1], None);
    deliver(&device, 0, &[2; 60], None);
    assert_eq!(received(&mut net), Some((vec![2; 60], Checksum::Unknown)));
    assert_eq!(net.lost(), Lost { too_long: 1, not_sendable: 0 });
}

#[test]
fn each_lie_about_a_frame_shuts_the_device_and_no_more() {
    type Lie = fn(&Pretend);
    let lies: [(&str, Lie); 8] = [
        ("frame length", |device| device.give_back(INWARD, 0, 11)),
        ("written length", |device| device.give_back(INWARD, 0, 4097)),
        ("buffer id", |device| device.give_back(INWARD, 256, 60)),
        ("used index", |device| device.say_used(INWARD, 300)),
        ("number of merged buffers", |device| deliver(device, 0, &[1; 60], Some(0))),
        ("number of merged buffers", |device| deliver(device, 0, &[1; 60], Some(2))),
        ("number of merged buffers", |device| deliver(device, 0, &[1; 60], Some(257))),
        ("number of merged buffers", |device| deliver(device, 0, &[1; 60], Some(u16::MAX))),
    ];
    for (what, lie) in lies {
        let (mut net, device) = net(ALL);
        lie(&device);
        assert_eq!(received(&mut net), None);
        assert_eq!(net.lie().map(|lie| lie.what), Some(what));
        assert_eq!((device.status(), net.lie()), (0, None));
        assert_eq!(net.send(&[0; 60], Help::default()), Ok(()), "an unplugged cable takes frames");
        net.flush();
        assert!(!net.listen(), "and nobody waits for it");
    }
}

#[test]
fn a_lie_about_a_sent_frame_shuts_the_device() {
    let (mut net, device) = net(ALL);
    device.say_used(OUTWARD, 9);
    assert_eq!(net.send(&[0; 60], Help::default()), Ok(()));
    assert_eq!(net.lie().map(|lie| lie.what), Some("used index"));
}

#[test]
fn a_device_that_lies_about_itself_is_refused() {
    for (mac, mtu, what) in [
        ([1, 0, 0, 0, 0, 9], 1500, "hardware address"),
        ([0; 6], 1500, "hardware address"),
        (OURS, 67, "MTU"),
        (OURS, 0, "MTU"),
    ] {
        let (net, _) = try_net(ALL, &[256, 256], &config(mac, mtu));
        assert!(matches!(net, Err(Refused::Lied(lie)) if lie.what == what));
    }
    let (net, _) = try_net(ALL & !MAC, &[256, 256], &config(OURS, 1500));
    assert!(matches!(net, Err(Refused::Lacks("a hardware address"))));
    let (net, _) = try_net(ALL, &[256], &config(OURS, 1500));
    assert!(matches!(net, Err(Refused::Lacks("a queue"))));
}

#[test]
fn large_frames_are_only_asked_for_where_they_can_be_spread() {
    let (plain, device) = net(ALL & !MERGED);
    assert_eq!(device.accepted() & (GUEST_TCP4 | GUEST_TCP6), 0);
    assert_eq!(plain.facts().offload, Offload { checksum: true, tcp4: true, tcp6: true });
    let (poor, device) = net(ALL & !CHECKSUM);
    assert_eq!(device.accepted() & (HOST_TCP4 | HOST_TCP6), 0, "pieces need checksums");
    assert_eq!(poor.facts().offload, Offload::default());
}

#[test]
fn a_buffer_holds_a_frame_of_the_mtu_where_nothing_is_spread() {
    let (net, device) = try_net(ALL & !MERGED, &[4, 4], &config(OURS, 9000));
    let mut net = net.unwrap();
    assert_eq!(net.facts().mtu, 9000);
    let frame = pattern(3, 9018);
    assert!(device.answer(INWARD, &[&header(0, 0)[..], &frame].concat()));
    assert_eq!(received(&mut net).map(|(frame, _)| frame), Some(frame));
}

#[test]
fn a_frame_goes_out_behind_its_header_and_many_with_one_kick() {
    let (mut net, device) = net(ALL);
    assert_eq!(device.kicks(), [INWARD], "buffers to fill");
    let segments = Segments { kind: Segment::Tcp4, header: 54, size: 1448 };
    let help = Help { checksum: Some((34, 16)), segment: Some(segments) };
    net.send(&pattern(1, 40_000), help).unwrap();
    (2..20).for_each(|seed| net.send(&pattern(seed, 60), Help::default()).unwrap());
    assert_eq!(device.kicks(), [0; 0], "nothing before the flush");
    net.flush();
    assert_eq!(device.kicks(), [OUTWARD]);
    let first = device.receive(OUTWARD).unwrap();
    assert_eq!(first[..12], [1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]);
    assert_eq!(first[12..], pattern(1, 40_000));
    for seed in 2..20 {
        assert_eq!(device.receive(OUTWARD), Some([vec![0; 12], pattern(seed, 60)].concat()));
    }
    assert_eq!(device.next(OUTWARD), None);
}

#[test]
fn help_that_the_device_does_not_give_is_never_asked_of_it() {
    let (mut net, device) = net(ALL & !HOST_TCP6);
    let segments = Segments { kind: Segment::Tcp6, header: 74, size: 1428 };
    net.send(&[0; 9000], Help { checksum: Some((54, 16)), segment: Some(segments) }).unwrap();
    net.send(&[0; LARGEST_FRAME + 1], Help::default()).unwrap();
    net.flush();
    assert_eq!(device.next(OUTWARD), None);
    assert_eq!(net.lost().not_sendable, 2);
}

#[test]
fn a_storm_of_tiny_frames_never_stalls() {
    let (mut net, device) = net(ALL);
    let mut sent = 0_usize;
    let mut seen = 0_usize;
    while seen < 70_000 {
        while net.send(&pattern(sent, 60), Help::default()).is_ok() {
            sent += 1;
        }
        net.flush();
        assert!(!net.listen(), "full, and nothing has come back yet");
        for _ in 0..seen % 5 + 1 {
            assert_eq!(device.receive(OUTWARD), Some([vec![0; 12], pattern(seen, 60)].concat()));
            seen += 1;
        }
        assert!(net.listen(), "who was refused is woken by the first one that comes back");
    }
}

#[test]
fn who_was_not_refused_is_not_woken_by_sent_frames() {
    let (mut net, device) = net(ALL);
    net.send(&[0; 60], Help::default()).unwrap();
    net.flush();
    device.receive(OUTWARD).unwrap();
    assert!(!net.listen());
}

#[test]
fn frames_flow_past_every_wrap_of_the_indices() {
    let (mut net, device) = net(ALL);
    for seed in 0..140_000_usize {
        deliver(&device, 0, &pattern(seed, 14 + seed % 40), None);
        assert_eq!(received(&mut net), Some((pattern(seed, 14 + seed % 40), Checksum::Unknown)));
        assert_eq!(received(&mut net), None);
    }
    assert_eq!(net.lie(), None);
}

#[test]
fn without_memory_there_is_no_device() {
    for bytes in [0, 10_000, 600_000, 1_100_000] {
        let (way, device) = Pretend::new(ALL, &[256, 256], &config(OURS, 1500));
        device.have_only(bytes);
        let memory: Memory = Rc::new(move |bytes| device.pages(bytes));
        assert!(matches!(Net::new(way, &memory), Err(Refused::Memory)));
    }
}

proptest! {
    /// Whatever the order in which the device finishes, it is only ever shown bytes of the frame that it sends.
    #[test]
    fn no_frame_carries_bytes_of_another(
        steps in proptest::collection::vec((any::<bool>(), 1_usize..LARGEST_FRAME, any::<prop::sample::Index>()), 1..200),
    ) {
        let (mut net, device) = net(ALL);
        let mut under_way: Vec<(Offer, usize, usize)> = Vec::new();
        for (seed, (large, len, which)) in steps.into_iter().enumerate() {
            let len = if large { len } else { len % 1500 + 1 };
            if net.send(&pattern(seed, len), Help::default()).is_ok() {
                net.flush();
                under_way.push((device.next(OUTWARD).unwrap(), seed, len));
            } else {
                prop_assert!(!under_way.is_empty(), "full with nothing under way");
            }
            if seed % 3 == 0 || under_way.len() > 6 {
                let (offer, seed, len) = under_way.swap_remove(which.index(under_way.len()));
                let bytes = device.look(&offer).unwrap();
                prop_assert!(bytes == [vec![0; 12], pattern(seed, len)].concat(), "frame {} is not itself", seed);
                device.give_back(OUTWARD, u32::from(offer.id), 0);
            }
        }
        for (offer, seed, len) in under_way {
            prop_assert_eq!(device.look(&offer).unwrap(), [vec![0; 12], pattern(seed, len)].concat());
            device.give_back(OUTWARD, u32::from(offer.id), 0);
        }
        prop_assert!(net.send(&[0; LARGEST_FRAME], Help::default()).is_ok());
        prop_assert_eq!(net.lie(), None);
    }

    #[test]
    fn whatever_is_scribbled_over_the_memory_nothing_panics(
        scribbles in proptest::collection::vec((0_usize..4, 0_usize..9000, any::<u8>()), 0..400),
    ) {
        let (mut net, device) = net(ALL);
        for scribbles in scribbles.chunks(4) {
            for (region, at, byte) in scribbles {
                device.scribble(*region, *at, *byte);
            }
            for _ in 0..3 {
                if let Some((frame, _)) = received(&mut net) {
                    prop_assert!(frame.len() <= LARGEST_FRAME);
                }
            }
            let _ = net.send(&[7; 100], Help::default());
            net.flush();
            let _ = net.listen();
        }
    }
}
