//! The stack below: what functions that have returned left lying there.

/// Deeper than anything that touches a key: the deepest, a handshake with ML-KEM, uses less than half of it.
const DEPTH: usize = 128 * 1024;

/// Wipes what functions that have returned left on the stack below its caller: ring and rustls clear nothing of what they
/// compute with keys, and a moved value stays where it was.
#[inline(never)]
pub fn wipe_below() {
    let mut room = [0_u8; DEPTH];
    // Somebody might read it: so it is written.
    core::hint::black_box(&mut room);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::arch::asm;

    /// Leaves a mark below its caller, and says where.
    #[inline(never)]
    fn leave(depth: usize) -> *const u64 {
        let mut room = [0x5a5a_a5a5_5a5a_a5a5_u64; 64];
        core::hint::black_box(&mut room);
        if depth > 0 { core::hint::black_box(leave(depth - 1)) } else { &raw const room[32] }
    }

    /// Reads what a returned function left: no slice, no reference, only a load.
    fn read(at: *const u64) -> u64 {
        let word: u64;
        // SAFETY: the stack is mapped there; only this load reads it.
        unsafe {
            asm!("mov {}, [{}]", out(reg) word, in(reg) at, options(nostack, readonly, preserves_flags))
        };
        word
    }

    #[test]
    fn what_was_left_below_is_gone() {
        for depth in [0, 10, 60] {
            let at = leave(depth);
            assert_eq!(read(at), 0x5a5a_a5a5_5a5a_a5a5, "otherwise this test sees nothing");
            wipe_below();
            assert_eq!(read(at), 0, "{depth}");
        }
    }
}
