//! The system calls that rustix lacks, by the `syscall` instruction, and the few that it calls unsafe.
//!
//! The only unsafe code of this world. Every function is safe to call: pointers never come in from outside, and what the
//! kernel writes has room.

use crate::filter::Instruction;
use core::arch::asm;
use core::ptr;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

type Result<T> = core::result::Result<T, Errno>;

/// `struct ifreq`: a name, then a union.
type Request = [u8; 40];

const IOCTL: usize = 16;
const SIGACTION: usize = 13;
const SIGPROCMASK: usize = 14;
const FCNTL: usize = 72;
const SIGNALFD: usize = 289;
const SECCOMP: usize = 317;
const CLOSE_RANGE: usize = 436;
const LANDLOCK_CREATE_RULESET: usize = 444;
const LANDLOCK_RESTRICT_SELF: usize = 446;

/// One system call.
///
/// # Safety
/// As the call itself: every pointer among the arguments must be good for what the kernel does with it.
pub(crate) unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the instruction clobbers rax, rcx and r11 and nothing else; the caller answers for the arguments.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

fn checked(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| {
        let number = i32::try_from(-result).unwrap_or(i32::MAX);
        Errno::from_raw_os_error(number)
    })
}

/// Takes a descriptor that whoever started us has left open; the words of the command line name each one once.
pub(crate) fn adopt(number: RawFd) -> Result<OwnedFd> {
    const F_GETFD: usize = 1;
    let raw = usize::try_from(number).map_err(|_| Errno::BADF)?;
    // SAFETY: F_GETFD takes no pointer.
    checked(unsafe { syscall(FCNTL, [raw, F_GETFD, 0, 0, 0, 0]) })?;
    // SAFETY: it is open, and nobody else in this process owns it: we have opened nothing under that number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A socket that is never connected: what device ioctls are asked on.
pub(crate) fn any_socket() -> Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

fn request(name: &str) -> Request {
    let mut request = [0; 40];
    // One byte less than the field: the name ends in a zero.
    request.iter_mut().take(15).zip(name.bytes()).for_each(|(to, from)| *to = from);
    request
}

fn ask(file: BorrowedFd<'_>, operation: usize, request: &mut Request) -> Result<()> {
    let raw = usize::try_from(file.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let place = request.as_mut_ptr() as usize;
    // SAFETY: every operation passed here reads and writes one ifreq or less, and `request` has room for it.
    checked(unsafe { syscall(IOCTL, [raw, operation, place, 0, 0, 0]) }).map(drop)
}

/// The largest IP packet of a network device.
pub(crate) fn device_mtu(socket: BorrowedFd<'_>, name: &str) -> Result<usize> {
    const SIOCGIFMTU: usize = 0x8921;
    let mut request = request(name);
    ask(socket, SIOCGIFMTU, &mut request)?;
    let [.., a, b, c, d] = *request.first_chunk::<20>().ok_or(Errno::INVAL)?;
    usize::try_from(i32::from_ne_bytes([a, b, c, d])).map_err(|_| Errno::INVAL)
}

const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

/// Attaches `/dev/net/tun` to the device of that name: whole frames, each with a virtio header.
pub(crate) fn attach_tap(tun: BorrowedFd<'_>, name: &str) -> Result<()> {
    const TUNSETIFF: usize = 0x4004_54ca;
    let mut request = request(name);
    let [low, high] = (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR).to_ne_bytes();
    request.iter_mut().skip(16).zip([low, high]).for_each(|(to, from)| *to = from);
    ask(tun, TUNSETIFF, &mut request)
}

/// The device's name, if `tun` is one that gives whole frames with a virtio header.
pub(crate) fn tap_name(tun: BorrowedFd<'_>) -> Option<String> {
    const TUNGETIFF: usize = 0x8004_54d2;
    let mut request = request("");
    ask(tun, TUNGETIFF, &mut request).ok()?;
    let (name, rest) = request.split_first_chunk::<16>()?;
    let flags = u16::from_ne_bytes(*rest.first_chunk()?);
    let wanted = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    let name: Vec<u8> = name.iter().copied().take_while(|letter| *letter != 0).collect();
    (flags & wanted == wanted).then(|| String::from_utf8(name).ok()).flatten()
}

/// The hardware address of the host's end of the device.
pub(crate) fn tap_mac(tun: BorrowedFd<'_>) -> Result<[u8; 6]> {
    const SIOCGIFHWADDR: usize = 0x8927;
    let mut request = request("");
    ask(tun, SIOCGIFHWADDR, &mut request)?;
    let (_, address) = request.split_first_chunk::<18>().ok_or(Errno::INVAL)?;
    address.first_chunk().copied().ok_or(Errno::INVAL)
}

/// Twelve bytes of header, and large TCP segments over IPv4 with unfinished checksums.
pub(crate) fn agree_on_offloads(tun: BorrowedFd<'_>) -> Result<()> {
    const TUNSETVNETHDRSZ: usize = 0x4004_54d8;
    const TUNSETOFFLOAD: usize = 0x4004_54d0;
    const CHECKSUM_AND_TCP4: usize = 1 | 2;
    let raw = usize::try_from(tun.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let size = 12_i32;
    // SAFETY: the call reads one int, and `size` outlives it.
    checked(unsafe { syscall(IOCTL, [raw, TUNSETVNETHDRSZ, ptr::from_ref(&size) as usize, 0, 0, 0]) })?;
    // SAFETY: this one takes its argument by value.
    checked(unsafe { syscall(IOCTL, [raw, TUNSETOFFLOAD, CHECKSUM_AND_TCP4, 0, 0, 0]) }).map(drop)
}

/// Maps a whole file, read-only, for as long as the process lives.
pub(crate) fn map_for_ever(file: BorrowedFd<'_>, len: usize) -> Result<&'static [u8]> {
    // SAFETY: a new mapping at a place that the kernel chooses overlaps nothing of ours.
    let place = unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::PRIVATE, file, 0) }?;
    // SAFETY: `len` readable bytes, never unmapped, never writable by us. That nobody rewrites the file in place is asked
    // of the operator (see --bundle); a file that is cut short ends the process, it does not corrupt it.
    Ok(unsafe { core::slice::from_raw_parts(place.cast::<u8>(), len) })
}

/// A write to a peer that is gone shall be an error, not a death.
pub(crate) fn ignore_broken_pipes() -> Result<()> {
    const SIGPIPE: usize = 13;
    const SIG_IGN: usize = 1;
    let action = [SIG_IGN, 0, 0, 0];
    // SAFETY: `action` is a kernel sigaction (handler, flags, restorer, mask) that runs no code of ours.
    checked(unsafe { syscall(SIGACTION, [SIGPIPE, action.as_ptr() as usize, 0, 8, 0, 0]) }).map(drop)
}

/// Signals 1, 2 and 15 no longer interrupt us: they are read from the descriptor.
pub(crate) fn signals_to_stop() -> Result<OwnedFd> {
    const SIG_BLOCK: usize = 0;
    const QUIET: usize = 0o2_004_000;
    let mask: u64 = (1 << 0) | (1 << 1) | (1 << 14);
    let place = ptr::from_ref(&mask) as usize;
    // SAFETY: the call reads the eight bytes of `mask`.
    checked(unsafe { syscall(SIGPROCMASK, [SIG_BLOCK, place, 0, 8, 0, 0]) })?;
    // SAFETY: the same eight bytes, read once more.
    let file = checked(unsafe { syscall(SIGNALFD, [usize::MAX, place, 8, QUIET, 0, 0]) })?;
    owned(file)
}

fn owned(number: usize) -> Result<OwnedFd> {
    let number = RawFd::try_from(number).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just given us this descriptor and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes every descriptor from `first` to `last`. Only for numbers that no value of this process owns.
pub(crate) fn close_unowned(first: u32, last: u32) -> Result<()> {
    // SAFETY: takes no pointer. What is closed here was inherited and nobody in this process has adopted it.
    checked(unsafe { syscall(CLOSE_RANGE, [first as usize, last as usize, 0, 0, 0, 0]) }).map(drop)
}

/// The version of landlock that this kernel speaks, if it does.
pub(crate) fn landlock_version() -> Option<usize> {
    const VERSION: usize = 1;
    // SAFETY: asking for the version takes no pointer.
    checked(unsafe { syscall(LANDLOCK_CREATE_RULESET, [0, 0, VERSION, 0, 0, 0]) }).ok()
}

/// Denies everything that is handled: a ruleset without a rule, and we under it. `handled` is as long as the kernel's
/// version knows: files, network, scopes.
pub(crate) fn landlock_deny(handled: &[u64]) -> Result<()> {
    let size = size_of_val(handled);
    // SAFETY: the call reads `size` bytes of `handled`.
    let rules =
        checked(unsafe { syscall(LANDLOCK_CREATE_RULESET, [handled.as_ptr() as usize, size, 0, 0, 0, 0]) })?;
    let rules = owned(rules)?;
    let raw = usize::try_from(rules.as_raw_fd()).map_err(|_| Errno::BADF)?;
    // SAFETY: takes no pointer.
    checked(unsafe { syscall(LANDLOCK_RESTRICT_SELF, [raw, 0, 0, 0, 0, 0]) }).map(drop)
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    instructions: *const Instruction,
}

/// From here on every system call of every thread is judged by `program`.
pub(crate) fn seccomp(program: &[Instruction]) -> Result<()> {
    const SET_MODE_FILTER: usize = 1;
    const ALL_THREADS: usize = 1;
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = Program { len, instructions: program.as_ptr() };
    // SAFETY: the kernel copies `len` instructions from a slice that has them.
    let odd = checked(unsafe {
        syscall(SECCOMP, [SET_MODE_FILTER, ALL_THREADS, ptr::from_ref(&program) as usize, 0, 0, 0])
    })?;
    // A positive answer names a thread that could not be bound.
    if odd == 0 { Ok(()) } else { Err(Errno::BUSY) }
}

/// The two ways into the kernel.
#[cfg(feature = "probes")]
#[derive(Clone, Copy)]
pub(crate) enum Gate {
    Syscall,
    Int80,
}

/// Makes a call that must not be possible, or its harmless neighbour. Only for arguments without pointers.
#[cfg(feature = "probes")]
pub(crate) fn pointerless(gate: Gate, number: usize, arguments: [usize; 6]) -> isize {
    match gate {
        // SAFETY: no pointer but null among the arguments; memory that is mapped is never used.
        Gate::Syscall => unsafe { syscall(number, arguments) },
        Gate::Int80 => {
            let result;
            // SAFETY: asks for nothing but a number, whatever the kernel thinks of the gate.
            unsafe { asm!("int 0x80", inlateout("rax") number => result, options(nostack)) };
            result
        }
    }
}
