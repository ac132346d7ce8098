//! A capture as input: what somebody once sent is sent again, at the same moments, and must not hurt.
//!
//! `NET_REPLAY=capture.pcap cargo test -p net replay` does it with any capture of Ethernet frames. The stack takes the
//! addresses to which most of its frames go. `killers.pcap` holds what has killed stacks of this class.

use super::cable::{Dice, End, FAIR};
use super::raw::{MAC, ends};
use crate::wire::sum::Sum;
use crate::wire::{Ethernet, Ip, Kind, Options, SYN, Segment, Seq};
use crate::{Cidr, Config, Figures, Keys, Net};
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;
use world::Instant;

/// Frames and when they came, out of a capture; `None` if it is none.
fn read(file: &[u8]) -> Option<Vec<(Duration, Vec<u8>)>> {
    let (nano, big) = match file.get(..4)? {
        [0x4d, 0x3c, 0xb2, 0xa1] => (true, false),
        [0xd4, 0xc3, 0xb2, 0xa1] => (false, false),
        [0xa1, 0xb2, 0x3c, 0x4d] => (true, true),
        [0xa1, 0xb2, 0xc3, 0xd4] => (false, true),
        _ => return None,
    };
    let word = |at: usize| {
        let octets = <[u8; 4]>::try_from(file.get(at..at + 4)?).ok()?;
        Some(if big { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
    };
    assert_eq!(word(20)? & 0xffff, 1, "the capture holds no Ethernet frames");
    let (mut frames, mut at) = (Vec::new(), 24);
    while let (Some(seconds), Some(part), Some(len)) = (word(at), word(at + 4), word(at + 8)) {
        let part = Duration::from_nanos(u64::from(part) * if nano { 1 } else { 1000 });
        let Some(frame) = file.get(at + 16..at + 16 + len as usize) else { break };
        frames.push((Duration::from_secs(seconds.into()) + part, finished(frame.to_vec())));
        at += 16 + len as usize;
    }
    Some(frames)
}

/// A frame whose checksum was left to the device, as the host's kernel leaves it on a TAP device, with that checksum.
fn finished(mut frame: Vec<u8>) -> Vec<u8> {
    let place = |frame: &[u8]| {
        let ethernet = Ethernet::read(frame)?;
        let packet = Ip::read(ethernet.kind, ethernet.payload).ok()?;
        let field = *[(6, 16), (17, 6)]
            .iter()
            .find(|(protocol, _)| *protocol == packet.protocol)
            .map(|(_, at)| at)?;
        let start = packet.payload.as_ptr().addr() - frame.as_ptr().addr();
        let pseudo = Sum::pseudo(packet.from, packet.to, packet.protocol, packet.payload.len());
        let unfinished = packet.payload.get(field..field + 2)? == pseudo.folded().to_be_bytes();
        // The sum of the pseudo-header stands in its place already.
        unfinished.then(|| (start + field, Sum::default().add(packet.payload).checksum()))
    };
    if let Some((at, sum)) = place(&frame) {
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// The hardware address and the addresses to which most frames go.
fn most(frames: &[(Duration, Vec<u8>)]) -> ([u8; 6], Vec<Cidr>) {
    let mut seen = BTreeMap::<([u8; 6], IpAddr), usize>::new();
    for (_, frame) in frames {
        let Some(ethernet) = Ethernet::read(frame).filter(|frame| frame.to[0] & 1 == 0) else { continue };
        if let Ok(packet) = Ip::read(ethernet.kind, ethernet.payload) {
            *seen.entry((ethernet.to, packet.to)).or_default() += 1;
        }
    }
    let best = |v4: bool, mac: Option<[u8; 6]>| {
        let fits = |((of, to), _): &(&([u8; 6], IpAddr), &usize)| {
            to.is_ipv4() == v4 && !to.is_multicast() && mac.is_none_or(|mac| *of == mac)
        };
        seen.iter().filter(fits).max_by_key(|(_, count)| **count).map(|(key, _)| *key)
    };
    let first = best(true, None).or(best(false, None)).expect("somebody is spoken to");
    let both = [best(true, Some(first.0)), best(false, Some(first.0))];
    let cidr =
        |(_, address): ([u8; 6], IpAddr)| Cidr { address, prefix: if address.is_ipv4() { 24 } else { 64 } };
    (first.0, both.into_iter().flatten().map(cidr).collect())
}

/// Sends everything again to a stack that listens where captures go most; says what it counted when all had come.
fn replay(frames: &[(Duration, Vec<u8>)]) -> Figures {
    let (mac, addresses) = most(frames);
    let mut end = End::new(mac[5], &FAIR);
    end.facts.mac = mac;
    let config = Config { addresses, dhcp: true, slaac: true, budget: 4 << 20, ..Config::default() };
    let mut net = Net::new(config, end.facts, Keys::new([3; 64]), Instant::START).unwrap();
    let _listeners = [80, 443, 10_000].map(|port| net.handle().listen(port).unwrap());
    let begun = frames.first().map_or(Duration::ZERO, |(at, _)| *at);
    let mut now = Instant::START;
    for (at, frame) in frames {
        now = now.max(Instant::START + at.saturating_sub(begun));
        end.arriving.push_back(frame.clone());
        for _ in 0..4 {
            net.turn(now, &mut end);
        }
        end.leaving.clear();
        assert!(net.handle().figures().bytes <= 4 << 20);
    }
    let figures = net.handle().figures();
    for _ in 0..2000 {
        now = net.turn(now, &mut end).map_or(now, |at| at.max(now + Duration::from_millis(1)));
        end.leaving.clear();
    }
    assert_eq!(net.handle().figures().half_open, 0, "in the end all is forgotten");
    figures
}

#[test]
fn what_has_killed_others_is_replayed_and_a_good_syn_after_it_is_answered() {
    let frames = read(include_bytes!("killers.pcap")).expect("it is a capture");
    let figures = replay(&frames);
    assert_eq!(figures.frames_in, frames.len() as u64);
    assert!(figures.malformed > 30 && figures.open == 0 && figures.fragments > 1, "{figures:?}");
    assert_eq!(figures.half_open, 1, "the first and the last are the one good SYN");
}

#[test]
fn every_capture_that_the_environment_names_is_replayed() {
    let Some(file) = std::env::var_os("NET_REPLAY") else { return };
    let frames = read(&std::fs::read(file).unwrap()).expect("it is a capture");
    println!("{:?}", replay(&frames));
}

#[test]
fn a_capture_is_read_in_every_byte_order_and_never_past_its_end() {
    let file = include_bytes!("killers.pcap");
    let frames = read(file).unwrap();
    assert!(frames.len() > 50);
    for cut in 0..file.len() {
        assert!(read(&file[..cut]).is_none_or(|some| some.len() <= frames.len()));
    }
    let mut swapped = file.to_vec();
    let mut at = 24;
    for place in (0..24).step_by(4).filter(|place| *place != 4) {
        swapped[place..place + 4].reverse();
    }
    while at < swapped.len() {
        let len = u32::from_le_bytes(swapped[at + 8..at + 12].try_into().unwrap()) as usize;
        (0..16).step_by(4).for_each(|place| swapped[at + place..at + place + 4].reverse());
        at += 16 + len;
    }
    assert_eq!(read(&swapped).unwrap(), frames);
}

#[test]
fn a_checksum_that_was_left_to_a_device_is_finished_and_another_is_left_as_it_is() {
    let syn = Segment {
        flags: SYN,
        seq: Seq(1),
        ack: Seq(0),
        window: 9,
        options: Options::default(),
        payload: b"odd",
    };
    let good = super::raw::frame(&ends(7), &syn);
    let mut unfinished = good.clone();
    let packet = Ip::read(Kind::V4, &good[14..]).unwrap();
    let pseudo = Sum::pseudo(packet.from, packet.to, 6, packet.payload.len()).folded();
    unfinished[50..52].copy_from_slice(&pseudo.to_be_bytes());
    assert_eq!((finished(unfinished), finished(good.clone())), (good.clone(), good.clone()));
    let mut wrong = good;
    wrong[50] ^= 1;
    assert_eq!(finished(wrong.clone()), wrong);
}

/// Writes `killers.pcap` anew: `NET_KILLERS=file cargo test -p net killers_are_written`.
#[test]
fn killers_are_written() {
    let Some(file) = std::env::var_os("NET_KILLERS") else { return };
    let mut capture = super::pcap::Pcap::at(&file);
    for (number, frame) in killers().iter().enumerate() {
        capture.write(Instant::START + Duration::from_millis(number as u64 * 10), frame);
    }
}

const STAMPED: Options =
    Options { mss: Some(1460), scale: Some(7), sack_ok: true, stamps: None, sack: [None; 3] };

fn killers() -> Vec<Vec<u8>> {
    let syn = Segment { flags: SYN, seq: Seq(7), ack: Seq(0), window: 1000, options: STAMPED, payload: &[] };
    let good = super::raw::frame(&ends(1234), &syn);
    let mut all = vec![good.clone()];
    let mut patch = |patches: &[(usize, &[u8])]| {
        let mut frame = good.clone();
        for (at, bytes) in patches {
            frame[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        all.extend([frame.clone(), super::address::repaired(frame)]);
    };
    for patches in [
        &[(14, &[0x44][..])][..],
        &[(14, &[0x4f])],
        &[(14, &[0x65])],
        &[(16, &[0, 0])],
        &[(16, &[0xff, 0xff])],
        &[(20, &[0x20, 0])],
        &[(20, &[0, 1])],
        &[(26, &[0; 4])],
        &[(26, &[10, 0, 0, 1]), (34, &[0, 80])],
        &[(26, &[255; 4])],
        &[(26, &[127, 0, 0, 1])],
        &[(46, &[0x40])],
        &[(46, &[0xf0])],
        &[(47, &[0])],
        &[(47, &[0xff])],
        &[(47, &[3])],
        &[(54, &[5, 38])],
        &[(54, &[8, 0])],
        &[(54, &[3, 3, 255])],
        &[(54, &[2, 4, 0, 0])],
        &[(54, &[0xff, 0xff])],
    ] {
        patch(patches);
    }
    let mut dice = Dice(11);
    for len in [0, 1, 13, 14, 15, 20, 33, 34, 40, 53, 54, 60, 200, 1514] {
        for kind in [Kind::V4, Kind::V6, Kind::Arp] {
            let mut frame = kind.header([2, 0, 0, 0, 0, 1], MAC).to_vec();
            frame.resize_with(len, || dice.roll(256) as u8);
            all.push(frame);
        }
    }
    all.extend(super::address::lies());
    all.push(good);
    all
}
