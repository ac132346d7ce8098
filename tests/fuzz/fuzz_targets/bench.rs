//! A stack on a wire that the input holds: frames, segments in place, time, and what is done with streams.
//!
//! The input is a row of pieces: what, the length in two bytes, and so many bytes.

use futures_io::{AsyncRead, AsyncWrite};
use net::{Cidr, Config, Keys, Listener, Net, Stream};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use world::{Checksum, Full, Help, Instant, Nic, NicFacts, Offload, Received};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];
const BUDGET: usize = 1 << 20;
const MTU: usize = 1500;

/// The far end: it answers questions about neighbours and remembers what numbers the stack is at.
#[derive(Default)]
struct Wire {
    arriving: VecDeque<(Vec<u8>, Checksum)>,
    /// For each of four ports of ours: what the stack expects, and what it has sent.
    at: [(u32, u32); 4],
    /// The number of its last question to a DHCP server.
    xid: [u8; 4],
}

pub struct Bench {
    net: Net,
    wire: Wire,
    listener: Listener,
    streams: Vec<Stream>,
    now: Instant,
}

impl Nic for Wire {
    fn facts(&self) -> NicFacts {
        NicFacts { mac: OURS, mtu: MTU, offload: Offload::default() }
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        let (arrived, checksum) = self.arriving.pop_front()?;
        frame[..arrived.len()].copy_from_slice(&arrived);
        Some(Received { len: arrived.len(), checksum })
    }

    fn send(&mut self, frame: &[u8], _: Help) -> Result<(), Full> {
        assert!(frame.len() <= MTU + 14, "a frame of {} bytes", frame.len());
        match ([frame[12], frame[13]], frame[23]) {
            // Who asks from nowhere wants to hear that nobody has the address.
            ([8, 6], _) if frame[28..32] == [0; 4] => {}
            ([8, 6], _) if frame[21] == 1 && frame[28..32] != frame[38..42] => self.answer(frame),
            ([8, 0], 17) if frame[36..38] == [0, 67] => self.xid.copy_from_slice(&frame[46..50]),
            ([8, 0], 6) => self.note(&frame[34..]),
            _ => {}
        }
        Ok(())
    }

    fn flush(&mut self) {}
}

impl Wire {
    fn answer(&mut self, asked: &[u8]) {
        let mut reply = [&OURS[..], &THEIRS, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &THEIRS].concat();
        reply.extend([&asked[38..42], &OURS, &asked[28..32]].concat());
        self.arriving.push_back((reply, Checksum::Unknown));
    }

    fn note(&mut self, tcp: &[u8]) {
        let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
        let header = usize::from(tcp[12] >> 4) * 4;
        let (syn_or_fin, said) =
            (u32::from(tcp[13] & 2 != 0 || tcp[13] & 1 != 0), (tcp.len() - header) as u32);
        self.at[usize::from(tcp[3] & 3)] = (word(8), word(4).wrapping_add(said + syn_or_fin));
    }
}

impl Bench {
    pub fn new() -> Self {
        let wire = Wire::default();
        let cidr = |address: &str, prefix| Cidr { address: address.parse().unwrap(), prefix };
        let addresses = vec![cidr("10.0.0.1", 24), cidr("fd00::1", 64)];
        let config = Config { addresses, dhcp: true, slaac: true, budget: BUDGET, ..Config::default() };
        let net = Net::new(config, wire.facts(), Keys::new([7; 64]), Instant::START).unwrap();
        let listener = net.handle().listen(80).unwrap();
        let now = Instant::START + Duration::from_secs(1000);
        let mut bench = Self { net, wire, listener, streams: Vec::new(), now };
        bench.turn();
        bench
    }

    pub fn frame(&mut self, bytes: &[u8], checksum: Checksum) {
        let len = bytes.len().min(9000);
        self.wire.arriving.push_back((bytes[..len].to_vec(), checksum));
        self.turn();
    }

    /// A segment whose numbers are near those that the stack is at: port, flags, two distances, a window, and the
    /// number of words of options before the payload.
    pub fn segment(&mut self, bytes: &[u8]) {
        let Some((head, rest)) = bytes.split_first_chunk::<9>() else { return };
        let near = |at: u32, by: [u8; 2]| at.wrapping_add_signed(i32::from(i16::from_le_bytes(by)));
        let (expected, sent) = self.wire.at[usize::from(head[0] & 3)];
        let (seq, ack) = (near(expected, [head[2], head[3]]), near(sent, [head[4], head[5]]));
        let words = usize::from(head[8] % 11).min(rest.len() / 4);
        let rest = &rest[..rest.len().min(1400)];
        let mut tcp = vec![4, head[0] & 3, 0, 80];
        tcp.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
        tcp.extend([((5 + words) << 4) as u8, head[1] & 0x3f, head[6], head[7], 0, 0, 0, 0]);
        tcp.extend(rest);
        let frame = [&OURS[..], &THEIRS, &[8, 0], &ip(&tcp)].concat();
        self.frame(&frame, Checksum::Verified);
    }

    /// What a DHCP server answers: the address that it gives, and options.
    pub fn server(&mut self, bytes: &[u8]) {
        let Some((yours, options)) = bytes.split_first_chunk::<4>() else { return };
        let mut said = vec![0; 236];
        said[..3].copy_from_slice(&[2, 1, 6]);
        said[4..8].copy_from_slice(&self.wire.xid);
        said[16..20].copy_from_slice(yours);
        said[28..34].copy_from_slice(&OURS);
        said.extend([99, 130, 83, 99]);
        said.extend(&options[..options.len().min(1000)]);
        let len = (said.len() as u16 + 8).to_be_bytes();
        let datagram = [&[0, 67, 0, 68, len[0], len[1], 0, 0], &said[..]].concat();
        let mut packet = ip(&datagram);
        packet[9] = 17;
        packet[10..12].fill(0);
        let sum: u32 =
            packet[..20].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        self.frame(&[&OURS[..], &THEIRS, &[8, 0], &packet].concat(), Checksum::Verified);
    }

    /// Lets time pass, or does to one stream or all what a layer above may do.
    pub fn live(&mut self, what: u8, bytes: &[u8]) {
        let context = &mut Context::from_waker(Waker::noop());
        if let Poll::Ready(stream) = pin!(self.listener.accept()).poll(context) {
            self.streams.push(stream);
        }
        match what & 3 {
            0 => self.now = self.now + Duration::from_millis(1 << (bytes.len() % 20)),
            1 => drop(self.streams.pop()),
            2 => self.streams.iter_mut().for_each(|stream| {
                let _ = Pin::new(stream).poll_read(context, &mut [0; 3000]);
            }),
            _ => self.streams.iter_mut().for_each(|stream| {
                let _ = match bytes.is_empty() {
                    true => Pin::new(stream).poll_close(context),
                    false => Pin::new(stream).poll_write(context, bytes).map_ok(drop),
                };
            }),
        }
        self.turn();
    }

    /// Turns until there is nothing more to do, and looks at what must always be true.
    fn turn(&mut self) {
        for _ in 0..1000 {
            self.net.turn(self.now, &mut self.wire);
            if self.wire.arriving.is_empty() && !self.net.is_busy() {
                break;
            }
        }
        assert!(self.wire.arriving.is_empty() && !self.net.is_busy(), "it never rests");
        let figures = self.net.handle().figures();
        assert!(figures.bytes <= BUDGET as u64 && figures.half_open <= 512, "{figures:?}");
    }
}

fn ip(tcp: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1];
    packet[2..4].copy_from_slice(&((20 + tcp.len()) as u16).to_be_bytes());
    let words = packet.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum = words.sum::<u32>();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    [&packet, tcp].concat()
}

/// The pieces of an input.
pub fn pieces(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let ([what, low, high], rest) = input.split_first_chunk::<3>()?;
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let piece;
        (piece, input) = rest.split_at(len);
        Some((*what, piece))
    })
}
