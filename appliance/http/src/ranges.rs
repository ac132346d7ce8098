//! Which parts of a page were asked for (RFC 9110 §14).

use core::ops::Range;

/// More parts than this are nobody's honest wish.
const MOST: usize = 16;

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    /// The whole page: there is no such header, or it is not one that has to be followed.
    Whole,
    /// These parts, each within the page.
    Some(Vec<Range<u64>>),
    /// Parts that the page does not have.
    Beyond,
}

/// The parts of a page of `length` bytes that `value` asks for.
pub(crate) fn parts(value: Option<&str>, length: u64) -> Parts {
    let Some((unit, list)) = value.and_then(|value| value.split_once('=')) else { return Parts::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || list.split(',').count() > MOST {
        return Parts::Whole;
    }
    let mut within = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        match part(range, length) {
            Err(NoRange) => return Parts::Whole,
            Ok(range) => within.extend(range),
        }
    }
    let asked: u64 = within.iter().map(|range| range.end.saturating_sub(range.start)).sum();
    match within.len() {
        0 if list.trim().is_empty() => Parts::Whole,
        0 => Parts::Beyond,
        // Parts that overlap ask for more than there is: the page itself is the cheaper answer.
        2.. if asked > length => Parts::Whole,
        _ => Parts::Some(within),
    }
}

struct NoRange;

/// One part, if the page has any of it.
fn part(range: &str, length: u64) -> Result<Option<Range<u64>>, NoRange> {
    let (first, last) = range.split_once('-').ok_or(NoRange)?;
    let (first, last) = (number(first)?, number(last)?);
    let range = match (first, last) {
        (Some(first), Some(last)) if last < first => return Err(NoRange),
        (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
        (Some(first), None) => first..length,
        (None, Some(count)) => length.saturating_sub(count)..length,
        (None, None) => return Err(NoRange),
    };
    Ok(Some(range).filter(|range| range.start < range.end))
}

fn number(digits: &str) -> Result<Option<u64>, NoRange> {
    match digits.trim() {
        "" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        _ => Err(NoRange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Parts {
        parts(Some(value), 100)
    }

    #[test]
    fn a_part_is_cut_to_the_page() {
        for (value, range) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-99", 0..100),
            ("bytes=0-999", 0..100),
            ("bytes=50-", 50..100),
            ("bytes=-1", 99..100),
            ("bytes=-1000", 0..100),
            ("Bytes = 1-2 ", 1..3),
            ("bytes=5-99999999999999999999999", 5..100),
            ("bytes=200-300, 3-4", 3..5),
        ] {
            assert_eq!(of(value), Parts::Some(vec![range]), "{value}");
        }
        assert_eq!(of("bytes=0-1, 90-, -5"), Parts::Some(vec![0..2, 90..100, 95..100]));
    }

    #[test]
    fn what_is_no_range_is_not_followed() {
        let many = format!("bytes={}", vec!["0-0"; 17].join(","));
        for value in [
            "",
            "bytes",
            "lines=1-2",
            "bytes=",
            "bytes=2-1",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-2,x",
            "bytes=+1-2",
        ] {
            assert_eq!(of(value), Parts::Whole, "{value}");
        }
        assert_eq!(of(&many), Parts::Whole);
        assert_eq!(of("bytes=0-,0-"), Parts::Whole, "asks for the page twice");
        assert_eq!(parts(None, 100), Parts::Whole);
    }

    #[test]
    fn parts_beyond_the_page_are_told_apart() {
        assert_eq!(of("bytes=100-"), Parts::Beyond);
        assert_eq!(of("bytes=-0"), Parts::Beyond);
        assert_eq!(parts(Some("bytes=0-"), 0), Parts::Beyond);
    }
}
