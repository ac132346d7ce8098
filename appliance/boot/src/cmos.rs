//! The date by the clock on the board, for machines whose hypervisor does not tell it.

use crate::cpu;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const NANOS: u64 = 1_000_000_000;
const UPDATING: u8 = 0x80;
/// Seconds, minutes, hours, day, month, year.
const REGISTERS: [u8; 6] = [0, 2, 4, 7, 8, 9];

/// Nanoseconds since 1970, if there is a clock and it makes sense.
pub(crate) fn date() -> Option<u64> {
    let stable = (0..100_000).find_map(|_| {
        let (first, second) = (read_all()?, read_all()?);
        (first == second).then_some(first)
    })?;
    seconds(stable, read(0xb)).map(|seconds| seconds * NANOS)
}

fn read_all() -> Option<[u8; 6]> {
    (read(0xa) & UPDATING == 0).then(|| REGISTERS.map(read))
}

fn read(register: u8) -> u8 {
    // SAFETY: selects a register of the clock, with the NMI line left closed.
    unsafe { cpu::out8(INDEX, register | 0x80) };
    // SAFETY: reads it.
    unsafe { cpu::in8(DATA) }
}

/// Seconds since 1970 of what the clock shows. `mode` says whether it counts in decimal and to twelve.
fn seconds(shown: [u8; 6], mode: u8) -> Option<u64> {
    let [second, minute, hour, day, month, year] = shown;
    let plain = |value: u8| match mode & 4 {
        0 => (value & 0xf < 10 && value >> 4 < 10)
            .then_some(u64::from(value >> 4) * 10 + u64::from(value & 0xf)),
        _ => Some(u64::from(value)),
    };
    let mut hours = plain(hour & 0x7f)?;
    if mode & 2 == 0 {
        hours = hours % 12 + if hour & 0x80 != 0 { 12 } else { 0 };
    }
    let days = days(2_000 + plain(year)?, plain(month)?, plain(day)?)?;
    let (minute, second) = (plain(minute)?, plain(second)?);
    (hours < 24 && minute < 60 && second < 61).then_some(((days * 24 + hours) * 60 + minute) * 60 + second)
}

/// Days from the first of January 1970, for years from 2000 to 2099.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap = u64::from(year.is_multiple_of(4) && month > 2);
    let before = BEFORE.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    let fits = (1..=31).contains(&day) && year < 2_100;
    fits.then(|| 10_957 + (year - 2_000) * 365 + (year - 2_000).div_ceil(4) + before + leap + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // By date(1): 2000-01-01, 2000-02-29, 2000-03-01, 2026-11-21 03:04:05, 2099-12-31 23:59:59, all UTC.
        assert_eq!(seconds([0, 0, 0, 1, 1, 0], 6), Some(946_684_800));
        assert_eq!(seconds([0, 0, 0, 29, 2, 0], 6), Some(951_782_400));
        assert_eq!(seconds([0, 0, 0, 1, 3, 0], 6), Some(951_868_800));
        assert_eq!(seconds([0x05, 0x04, 0x03, 0x21, 0x11, 0x26], 2), Some(1_795_230_245));
        assert_eq!(seconds([59, 59, 23, 31, 12, 99], 6), Some(4_102_444_799));
    }

    #[test]
    fn twelve_oclock_is_noon_or_midnight() {
        let at = |hour| seconds([0, 0, hour, 1, 1, 0], 4).map(|seconds| (seconds - 946_684_800) / 3_600);
        assert_eq!([at(12), at(1), at(12 | 0x80), at(11 | 0x80)], [Some(0), Some(1), Some(12), Some(23)]);
    }

    #[test]
    fn a_clock_that_is_not_there_has_no_date() {
        for mode in 0..=255 {
            assert_eq!(seconds([0xff; 6], mode), None);
        }
        assert_eq!(seconds([0, 0, 0, 0, 0, 0], 6), None);
    }
}
