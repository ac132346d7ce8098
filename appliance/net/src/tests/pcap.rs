//! A run as a file that every analyser of packets can read: `NET_PCAP=run.pcap cargo test -p net one_test`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use world::Instant;

/// The file of one run.
pub(super) struct Pcap(File);

impl Pcap {
    /// A file, if the environment asks for one.
    pub(super) fn wanted() -> Option<Self> {
        std::env::var_os("NET_PCAP").map(|path| Self::at(&path))
    }

    pub(super) fn at(path: &OsStr) -> Self {
        let mut file = File::create(path).unwrap();
        file.write_all(&header()).unwrap();
        Self(file)
    }

    pub(super) fn write(&mut self, at: Instant, frame: &[u8]) {
        self.0.write_all(&record(at, frame.len())).unwrap();
        self.0.write_all(frame).unwrap();
    }
}

/// Little-endian, nanoseconds, Ethernet.
fn header() -> [u8; 24] {
    let mut header = [0; 24];
    header[..4].copy_from_slice(&0xa1b2_3c4d_u32.to_le_bytes());
    header[4..8].copy_from_slice(&[2, 0, 4, 0]);
    header[16..20].copy_from_slice(&0x4_0000_u32.to_le_bytes());
    header[20] = 1;
    header
}

fn record(at: Instant, len: usize) -> [u8; 16] {
    let (seconds, nanos) = (at.nanos() / 1_000_000_000, at.nanos() % 1_000_000_000);
    let mut record = [0; 16];
    for (place, value) in [seconds, nanos, len as u64, len as u64].into_iter().enumerate() {
        record[place * 4..][..4].copy_from_slice(&(value as u32).to_le_bytes());
    }
    record
}
