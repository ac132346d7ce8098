//! The date of an answer: written once in a second, however many answers that second has.

use core::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// `Sun, 06 Nov 1994 08:49:37 GMT`
type Words = [u8; 29];

thread_local! {
    static TODAY: Cell<(u64, Words)> = const { Cell::new((0, [b' '; 29])) };
}

/// The date now, as HTTP writes it.
pub(crate) fn today() -> Words {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (written, words) = TODAY.get();
    if written == second {
        return words;
    }
    let words = httpdate::fmt_http_date(now).as_bytes().try_into().unwrap_or(words);
    TODAY.set((second, words));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn today_is_now_and_stays_for_a_second() {
        let words = || String::from_utf8(today().to_vec()).unwrap();
        let then = httpdate::parse_http_date(&words()).unwrap();
        assert!(then.elapsed().unwrap().as_secs() < 60);
        TODAY.set((TODAY.get().0 - 5, *b"Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_ne!(words(), "Sun, 06 Nov 1994 08:49:37 GMT", "another second has another date");
    }
}
