//! Whether KVM works here. That `/dev/kvm` opens proves nothing: there are hosts where the first guest instruction that
//! matters ends in an error. So a guest of forty bytes uses an SSE register and says so through QEMU's exit port.

use crate::child::{Ward, leashed};
use crate::memory::MemoryFile;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How long the guest may take; it needs a tenth of a second where KVM works.
const PATIENCE: Duration = Duration::from_secs(3);
/// What the guest says, and what QEMU makes of it.
const WORD: u8 = 21;
const SAID: i32 = (WORD as i32) << 1 | 1;

const BASE: u64 = 0x10_0000;
const HEADER: u16 = 64;
const SEGMENT: u16 = 56;
const NOTE: u64 = HEADER as u64 + 2 * SEGMENT as u64;
const NOTE_LEN: u64 = 24;

/// 32-bit code: SSE on, SSE used, the word said.
const CODE: [u8; 31] = [
    0x0f, 0x20, 0xe0, // mov eax, cr4
    0x0d, 0x00, 0x06, 0x00, 0x00, // or eax, OSFXSR | OSXMMEXCPT
    0x0f, 0x22, 0xe0, // mov cr4, eax
    0x0f, 0x20, 0xc0, // mov eax, cr0
    0x83, 0xe0, 0xf3, // and eax, not (EM | TS)
    0x0f, 0x22, 0xc0, // mov cr0, eax
    0x0f, 0x57, 0xc0, // xorps xmm0, xmm0
    0x0f, 0x28, 0xc8, // movaps xmm1, xmm0
    0xb0, WORD, // mov al, WORD
    0xe6, 0xf4, // out 0xf4, al
    0xf4, // hlt
];

/// Why KVM is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoKvm {
    #[error("/dev/kvm does not open ({0})")]
    Shut(io::Error),
    #[error("/dev/kvm is there, but a guest that uses an SSE register does not live")]
    Useless,
    #[error("QEMU could not be asked ({0})")]
    NoAnswer(io::Error),
}

/// Runs the guest.
pub(crate) fn works(qemu: &Path) -> Result<(), NoKvm> {
    OpenOptions::new().read(true).write(true).open("/dev/kvm").map_err(NoKvm::Shut)?;
    let said = ask(qemu).map_err(NoKvm::NoAnswer)?;
    if said { Ok(()) } else { Err(NoKvm::Useless) }
}

fn ask(qemu: &Path) -> io::Result<bool> {
    let image = MemoryFile::of("guest", &[&image()])?;
    let mut command = leashed(qemu)?;
    command.args(["-M", "microvm,isa-serial=off,pit=off,pic=off,rtc=off", "-accel", "kvm", "-cpu", "host"]);
    command.args(["-m", "16", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel"]).arg(image.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = Ward::start(&mut command)?.end(PATIENCE)?;
    Ok(status.code() == Some(SAID))
}

/// An ELF with one segment, one PVH note and the code.
fn image() -> Vec<u8> {
    let len = NOTE + NOTE_LEN + CODE.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |elf: &mut Vec<u8>, of: &[u16]| of.iter().for_each(|half| elf.extend(half.to_le_bytes()));
    let words = |elf: &mut Vec<u8>, of: &[u32]| of.iter().for_each(|word| elf.extend(word.to_le_bytes()));
    let longs = |elf: &mut Vec<u8>, of: &[u64]| of.iter().for_each(|long| elf.extend(long.to_le_bytes()));
    // An executable for x86-64, whose segments follow the header.
    halves(&mut elf, &[2, 62]);
    words(&mut elf, &[1]);
    longs(&mut elf, &[BASE, HEADER.into(), 0]);
    words(&mut elf, &[0]);
    halves(&mut elf, &[HEADER, SEGMENT, 2, 0, 0, 0]);
    // All of it, loaded; and the note.
    words(&mut elf, &[1, 7]);
    longs(&mut elf, &[0, BASE, BASE, len, len, 4096]);
    words(&mut elf, &[4, 4]);
    longs(&mut elf, &[NOTE, BASE + NOTE, BASE + NOTE, NOTE_LEN, NOTE_LEN, 4]);
    // XEN_ELFNOTE_PHYS32_ENTRY.
    words(&mut elf, &[4, 8, 18]);
    elf.extend(b"Xen\0");
    longs(&mut elf, &[BASE + NOTE + NOTE_LEN]);
    elf.extend(CODE);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_is_as_long_as_its_header_says_and_begins_at_its_code() {
        let image = image();
        assert_eq!(image.len() as u64, NOTE + NOTE_LEN + CODE.len() as u64);
        assert_eq!(&image[NOTE as usize + 12..][..4], b"Xen\0");
        assert_eq!(&image[(NOTE + NOTE_LEN) as usize..], CODE);
    }
}
