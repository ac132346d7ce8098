//! The functions on memory that the compiler itself calls: see `memory.s`.

use core::arch::global_asm;

#[cfg(test)]
global_asm!(include_str!("memory.s"));

#[cfg(not(test))]
global_asm!(
    include_str!("memory.s"),
    ".irp name, memcpy, memmove, memset, memcmp, bcmp, strlen",
    ".globl \\name",
    ".type \\name, @function",
    ".set \\name, gatehouse_\\name",
    ".endr",
);

#[cfg(test)]
mod tests {
    use core::ffi::c_int;

    unsafe extern "C" {
        fn gatehouse_memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
        fn gatehouse_memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
        fn gatehouse_memset(to: *mut u8, byte: c_int, len: usize) -> *mut u8;
        fn gatehouse_memcmp(one: *const u8, other: *const u8, len: usize) -> c_int;
        fn gatehouse_strlen(text: *const u8) -> usize;
    }

    /// Every size through all branches, and some with long loops.
    fn sizes() -> impl Iterator<Item = usize> {
        (0..300).chain([511, 512, 513, 1000, 1500, 4095, 4096, 4097])
    }

    /// Bytes that differ from their neighbours and from 0.
    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 251) as u8 + 1).collect()
    }

    #[test]
    fn memcpy_copies_all_and_touches_nothing_else() {
        for len in sizes() {
            for (from, to) in [(0, 0), (1, 0), (0, 1), (3, 5), (8, 16), (15, 31)] {
                let source = pattern(len + 64);
                let mut target = vec![0; len + 128];
                // SAFETY: both offsets leave `len` bytes in their vectors.
                let end =
                    unsafe { gatehouse_memcpy(target[32 + to..].as_mut_ptr(), source[from..].as_ptr(), len) };
                assert_eq!(end.cast_const(), target[32 + to..].as_ptr());
                assert_eq!(target[32 + to..][..len], source[from..][..len], "{len} {from} {to}");
                assert!(target[..32 + to].iter().chain(&target[32 + to + len..]).all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn memmove_is_right_at_every_overlap() {
        for len in sizes() {
            for shift in [1, 2, 7, 8, 15, 16, 17, 31, 32, 63, 64, 65, 100, 128, 200] {
                for (from, to) in [(0, shift), (shift, 0), (shift, shift)] {
                    let mut ours = pattern(len + shift + 16);
                    let mut right = ours.clone();
                    right.copy_within(from..from + len, to);
                    let start = ours.as_mut_ptr();
                    // SAFETY: both ranges lie in `ours`.
                    unsafe { gatehouse_memmove(start.wrapping_add(to), start.wrapping_add(from), len) };
                    assert_eq!(ours, right, "{len} bytes from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn memset_fills_all_and_touches_nothing_else() {
        for len in sizes() {
            for at in [0, 1, 5, 16, 31] {
                let mut ours = pattern(len + 64);
                let mut right = ours.clone();
                right[at..at + len].fill(0xa5);
                // SAFETY: the range lies in `ours`. Only the lowest byte counts.
                unsafe { gatehouse_memset(ours[at..].as_mut_ptr(), 0x3a5, len) };
                assert_eq!(ours, right, "{len} at {at}");
            }
        }
    }

    #[test]
    fn the_first_different_byte_decides_memcmp() {
        for len in sizes() {
            let one = pattern(len);
            for place in (0..len).rev().step_by(1 + len / 64) {
                let mut other = one.clone();
                other[place] = other[place].wrapping_add(1);
                // Later bytes say the opposite.
                other[place + 1..].fill(0);
                let right = one.cmp(&other) as c_int;
                // SAFETY: both have `len` bytes.
                let there = unsafe { gatehouse_memcmp(one.as_ptr(), other.as_ptr(), len) };
                // SAFETY: both have `len` bytes.
                let back = unsafe { gatehouse_memcmp(other.as_ptr(), one.as_ptr(), len) };
                assert_eq!((there.signum(), back.signum()), (right, -right), "{len} at {place}");
            }
            // SAFETY: `one` has `len` bytes.
            assert_eq!(unsafe { gatehouse_memcmp(one.as_ptr(), one.clone().as_ptr(), len) }, 0);
        }
    }

    #[test]
    fn strlen_finds_the_first_zero_from_every_place() {
        for len in sizes() {
            for at in 0..17 {
                let mut text = vec![0; at];
                text.extend(pattern(len));
                text.extend([0, b'x', 0]);
                // SAFETY: a zero follows.
                assert_eq!(unsafe { gatehouse_strlen(text[at..].as_ptr()) }, len, "at {at}");
            }
        }
    }
}
