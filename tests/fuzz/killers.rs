//! Writes into `corpus/` what has killed stacks of this class, as inputs of the fuzzers: begin where it hurt before.

use std::fs::{create_dir_all, write};
use std::path::Path;

/// A SYN from 10.0.0.2 to 10.0.0.1, with these TCP options.
fn syn(options: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let len = (40 + options.len()) as u8;
    frame.extend([0x45, 0, 0, len, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
    frame.extend([
        4,
        0,
        0,
        80,
        0,
        0,
        0,
        7,
        0,
        0,
        0,
        0,
        ((20 + options.len()) as u8) << 2,
        2,
        4,
        0,
        0,
        0,
        0,
        0,
    ]);
    frame.extend(options);
    frame
}

/// The frame with bytes of its own at some places, and the IP checksum that fits.
fn patched(mut frame: Vec<u8>, patches: &[(usize, &[u8])]) -> Vec<u8> {
    for (at, bytes) in patches {
        frame[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    frame[24..26].fill(0);
    let sum: u32 = frame[14..34].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn piece(what: u8, bytes: &[u8]) -> Vec<u8> {
    [&[what][..], &(bytes.len() as u16).to_le_bytes(), bytes].concat()
}

/// A segment in place: flags, how far from the right numbers, window, and what follows the header.
fn segment(flags: u8, seq: i16, ack: i16, words: u8, rest: &[u8]) -> Vec<u8> {
    let head = [&[0, flags][..], &seq.to_le_bytes(), &ack.to_le_bytes(), &[4, 0, words]].concat();
    piece(2, &[&head, rest].concat())
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let good = || syn(&[2, 4, 5, 0xb4]);
    vec![
        ("a-syn", patched(good(), &[])),
        ("from-nowhere", patched(good(), &[(26, &[0; 4])])),
        ("land", patched(good(), &[(26, &[10, 0, 0, 1]), (34, &[0, 80])])),
        ("header-too-short", patched(good(), &[(14, &[0x44])])),
        ("header-past-the-end", patched(good(), &[(14, &[0x4f])])),
        ("total-length-zero", patched(good(), &[(16, &[0, 0])])),
        ("total-length-past-the-end", patched(good(), &[(16, &[0xff, 0xff])])),
        ("fragment", patched(good(), &[(20, &[0x20, 0])])),
        ("tcp-header-too-short", patched(good(), &[(46, &[0x40])])),
        ("tcp-header-past-the-end", patched(good(), &[(46, &[0xf0])])),
        ("option-of-length-zero", patched(syn(&[8, 0, 1, 1]), &[])),
        ("option-past-the-end", patched(syn(&[5, 255, 1, 1]), &[])),
        ("sack-of-five", patched(syn(&[[5, 38, 0, 0].as_slice(), &[0xff; 36]].concat()), &[])),
        ("scale-of-255", patched(syn(&[3, 3, 255, 0]), &[])),
        ("mss-of-zero", patched(syn(&[2, 4, 0, 0]), &[])),
    ]
}

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const FIN: u8 = 1;

fn talks() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let shake = || vec![segment(SYN, 0, 0, 1, &[2, 4, 5, 0xb4]), segment(ACK, 0, 0, 0, &[])];
    let then = |more: Vec<Vec<u8>>| [shake(), vec![piece(6, &[])], more].concat();
    let burst = (0..80).map(|number| segment(ACK, number * 400, 0, 0, &[7; 400])).collect();
    let (read, say, wait) = (piece(6, &[]), piece(7, b"answer"), piece(4, &[0; 19]));
    vec![
        ("a-burst-past-the-buffer", then(burst)),
        ("an-inexact-reset", then(vec![segment(RST, 9, 0, 0, &[])])),
        ("a-syn-inside", then(vec![segment(SYN, 3, 0, 0, &[])])),
        (
            "data-with-an-older-acknowledgement",
            then(vec![say.clone(), segment(ACK, 0, -6, 0, b"data"), read]),
        ),
        (
            "sack-past-everything",
            then(vec![say, segment(ACK, 0, 0, 3, &[5, 10, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 1])]),
        ),
        (
            "a-fin-out-of-order",
            then(vec![segment(FIN | ACK, 5, 0, 0, b"x"), segment(ACK, 0, 0, 0, b"01234")]),
        ),
        ("nothing-after-the-syn", vec![segment(SYN, 0, 0, 0, &[]), wait.clone(), wait.clone(), wait]),
    ]
}

fn keep(target: &str, name: &str, input: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    create_dir_all(&folder).and_then(|()| write(folder.join(name), input)).expect("a place for the corpus");
}

fn main() {
    for (name, frame) in frames() {
        keep("net_parser", name, &[piece(0, &frame), piece(1, &frame)].concat());
        keep("net_ingress", name, &[piece(0, &frame), piece(1, &frame)].concat());
    }
    for (name, talk) in talks() {
        ["net_gate", "net_ingress"].into_iter().for_each(|target| keep(target, name, &talk.concat()));
    }
}
