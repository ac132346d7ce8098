//! A moment, as logs write it: by the calendar of Gregory, and always in UTC.

use core::fmt;
use core::time::Duration;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time since 1970. It shows itself as RFC 3339 has it.
#[derive(Clone, Copy)]
pub(super) struct Moment(pub(super) Duration);

impl Moment {
    /// As web servers' common log format has it.
    pub(super) fn common(self) -> String {
        let ([year, month, day], [hour, minute, second]) = (self.date(), self.time());
        let month = usize::try_from(month).ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
        let month = month.copied().unwrap_or_default();
        format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
    }

    fn time(self) -> [u64; 3] {
        let seconds = self.0.as_secs();
        [seconds / 3600 % 24, seconds / 60 % 60, seconds % 60]
    }

    /// The year, the month and the day.
    fn date(self) -> [u64; 3] {
        // Years that begin in March end with the day that is not always there.
        let day = self.0.as_secs() / 86_400 + 719_468;
        let (era, of_era) = (day / 146_097, day % 146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let year = era * 400 + year + u64::from(month >= 10);
        [year, if month < 10 { month + 3 } else { month - 9 }, day]
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([year, month, day], [hour, minute, second]) = (self.date(), self.time());
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, wanted, common) in [
            (0, "1970-01-01T00:00:00Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_399, "2000-02-28T23:59:59Z", "28/Feb/2000:23:59:59 +0000"),
            (951_782_400, "2000-02-29T00:00:00Z", "29/Feb/2000:00:00:00 +0000"),
            (1_230_768_000, "2009-01-01T00:00:00Z", "01/Jan/2009:00:00:00 +0000"),
            (4_107_542_400, "2100-03-01T00:00:00Z", "01/Mar/2100:00:00:00 +0000"),
        ] {
            let moment = Moment(Duration::from_secs(seconds));
            assert_eq!((&*moment.to_string(), &*moment.common()), (wanted, common));
        }
    }
}
