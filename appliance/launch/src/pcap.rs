//! Every frame of the cable in a file, as tcpdump and wireshark read it.
//!
//! Between two stacks that trust each other's offloads a checksum may be unfinished and a segment larger than the MTU:
//! the file shows what crossed the cable.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use world::{Full, Help, LARGEST_FRAME, Nic, NicFacts, Received};

/// Times are in nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const ETHERNET: u32 = 1;

/// The longest recording: whoever wants more is better served by tcpdump and its rotations.
const LONGEST: u64 = 4 << 30;

/// A file that is being written. A disk that is full ends the recording, not the traffic.
pub(crate) struct Recorder {
    file: Option<BufWriter<File>>,
    left: u64,
}

impl Recorder {
    /// Records nothing if there is no path.
    pub(crate) fn into(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self { file: None, left: 0 }) };
        let mut file = BufWriter::new(File::create(path)?);
        let version = [2, 4_u16];
        file.write_all(&MAGIC.to_le_bytes())?;
        version.iter().try_for_each(|part| file.write_all(&part.to_le_bytes()))?;
        let largest = u32::try_from(LARGEST_FRAME).unwrap_or(u32::MAX);
        [0, 0, largest, ETHERNET].iter().try_for_each(|word: &u32| file.write_all(&word.to_le_bytes()))?;
        Ok(Self { file: Some(file), left: LONGEST })
    }

    pub(crate) fn frame(&mut self, frame: &[u8]) {
        let Some(file) = &mut self.file else { return };
        self.left = self.left.saturating_sub(frame.len() as u64);
        let written = if self.left == 0 { Err(ErrorKind::FileTooLarge.into()) } else { write(file, frame) };
        if let Err(error) = written {
            self.end(&error);
        }
    }

    /// What was recorded so far reaches the file.
    pub(crate) fn flush(&mut self) {
        if let Some(Err(error)) = self.file.as_mut().map(BufWriter::flush) {
            self.end(&error);
        }
    }

    fn end(&mut self, why: &io::Error) {
        eprintln!("gatehouse: the recording ends, the appliance goes on: {why}");
        self.file = None;
    }

    /// The frames of `nic`, each recorded as it passes.
    pub(crate) const fn over<'a, N>(&'a mut self, nic: &'a mut N) -> Recorded<'a, N> {
        Recorded { recorder: self, nic }
    }
}

fn write(file: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
    let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    [seconds, now.subsec_nanos(), len, len]
        .iter()
        .try_for_each(|word| file.write_all(&word.to_le_bytes()))?;
    file.write_all(frame)
}

/// A network interface under observation.
pub(crate) struct Recorded<'a, N> {
    recorder: &'a mut Recorder,
    nic: &'a mut N,
}

impl<N: Nic> Nic for Recorded<'_, N> {
    fn facts(&self) -> NicFacts {
        self.nic.facts()
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        let received = self.nic.receive(frame)?;
        self.recorder.frame(frame.get(..received.len).unwrap_or_default());
        Some(received)
    }

    fn send(&mut self, frame: &[u8], help: Help) -> Result<(), Full> {
        self.nic.send(frame, help)?;
        self.recorder.frame(frame);
        Ok(())
    }

    fn flush(&mut self) {
        self.nic.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_a_header_and_then_frames_with_their_lengths() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut recorder = Recorder::into(Some(file.path())).unwrap();
        recorder.frame(&[7; 60]);
        recorder.frame(&[8; 1514]);
        drop(recorder);
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(bytes.len(), 24 + 16 + 60 + 16 + 1514);
        assert_eq!(&bytes[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(&bytes[24 + 8..][..8], [60, 0, 0, 0, 60, 0, 0, 0]);
    }
}
