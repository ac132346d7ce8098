//! The interval timer of old PCs: only for measuring, where nobody says how fast the time stamp counter runs.

use crate::cpu;

/// How fast it counts.
pub(crate) const HZ: u64 = 1_193_182;
const GATE: u16 = 0x61;
const CHANNEL: u16 = 0x42;
const COMMAND: u16 = 0x43;

/// Lets the third channel, the loudspeaker's, count down from the top; the loudspeaker stays silent.
pub(crate) fn count_down() {
    // SAFETY: reads the gate of the third channel.
    let gate = unsafe { cpu::in8(GATE) };
    for (port, value) in [(GATE, gate & !3 | 1), (COMMAND, 0xb0), (CHANNEL, 0xff), (CHANNEL, 0xff)] {
        // SAFETY: the third channel interrupts nobody and touches no memory.
        unsafe { cpu::out8(port, value) };
    }
}

/// The count now; it stands still where there is no such timer.
pub(crate) fn count() -> u32 {
    // SAFETY: latches the count of the third channel.
    unsafe { cpu::out8(COMMAND, 0x80) };
    // SAFETY: reads the low half of the latch.
    let low = unsafe { cpu::in8(CHANNEL) };
    // SAFETY: reads the high half of the latch.
    let high = unsafe { cpu::in8(CHANNEL) };
    u32::from(high) << 8 | u32::from(low)
}
