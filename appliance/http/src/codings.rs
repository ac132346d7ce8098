//! Which encoding of a page a client gets (RFC 9110 §12.5.3).

use crate::house::{Leaf, Variant};
use bundle::Coding;
use hyper::header::{ACCEPT_ENCODING, HeaderMap, RANGE};

/// The encoding that the client likes best and, among equals, the smallest; none when it will have none of
/// them.
///
/// Whoever asks for a range gets one of the page as it is, unless it refuses that.
pub(crate) fn choose<'a>(leaf: &'a Leaf, headers: &HeaderMap) -> Option<&'a Variant> {
    let wishes = Wishes::of(headers);
    if headers.contains_key(RANGE) && wishes.weight(Coding::Identity) > 0 {
        return Some(&leaf.identity);
    }
    let weighed = leaf.variants().map(|variant| (wishes.weight(variant.coding), variant));
    let likes = weighed.filter(|(weight, _)| *weight > 0);
    likes
        .max_by_key(|(weight, variant)| (*weight, core::cmp::Reverse(variant.source.length())))
        .map(|(_, variant)| variant)
}

/// What a client said it would take, in thousandths.
#[derive(Clone, Copy, Default)]
struct Wishes {
    named: [Option<u16>; Coding::ALL.len()],
    others: Option<u16>,
}

impl Wishes {
    fn of(headers: &HeaderMap) -> Self {
        let mut wishes = Self::default();
        for value in headers.get_all(ACCEPT_ENCODING) {
            value.to_str().unwrap_or_default().split(',').for_each(|wish| wishes.add(wish));
        }
        wishes
    }

    fn add(&mut self, wish: &str) {
        let (name, words) = wish.split_once(';').unwrap_or((wish, ""));
        let (name, weight) = (name.trim(), weight(words));
        if name == "*" {
            self.others = Some(weight);
        }
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        let known = Coding::ALL.iter().zip(&mut self.named);
        for (_, slot) in known.filter(|(coding, _)| coding.word().eq_ignore_ascii_case(name)) {
            *slot = Some(weight);
        }
    }

    fn weight(&self, coding: Coding) -> u16 {
        let named = Coding::ALL.iter().zip(self.named).find(|(known, _)| **known == coding);
        let said = named.and_then(|(_, weight)| weight).or(self.others);
        // The page as it is may always be sent, unless it is refused by name or by a star.
        said.unwrap_or(u16::from(coding == Coding::Identity))
    }
}

/// `q=0.5` as 500; 1000 if nothing is said, 0 if it cannot be read.
fn weight(words: &str) -> u16 {
    let quality = words.split(';').find_map(|word| {
        let (name, value) = word.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(quality) = quality else { return 1000 };
    let (whole, part) = quality.split_once('.').unwrap_or((quality, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    match whole {
        "0" => format!("{part:0<3}").parse().unwrap_or(0),
        "1" if part.bytes().all(|byte| byte == b'0') => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::Source;
    use bytes::Bytes;
    use hyper::header::HeaderValue;

    fn leaf() -> Leaf {
        let variant = |coding, length| Variant {
            coding,
            tag: None,
            source: Source::Held(Bytes::from(vec![0; length])),
        };
        let smaller = [(Coding::Gzip, 30), (Coding::Brotli, 20), (Coding::Zstd, 25)];
        let smaller = smaller.map(|(coding, length)| variant(coding, length)).into();
        Leaf { kind: "".into(), modified: None, identity: variant(Coding::Identity, 100), smaller }
    }

    fn chosen(wish: &str) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(wish).unwrap());
        choose(&leaf(), &headers).map(|variant| variant.coding)
    }

    #[test]
    fn the_best_liked_wins_and_then_the_smallest() {
        assert_eq!(choose(&leaf(), &HeaderMap::new()).map(|v| v.coding), Some(Coding::Identity));
        for (wish, coding) in [
            ("", Coding::Identity),
            ("gzip", Coding::Gzip),
            ("gzip, deflate, br, zstd", Coding::Brotli),
            ("gzip;q=1.0, br;q=0.9", Coding::Gzip),
            ("br;q=0.001", Coding::Brotli),
            ("br;q=0, gzip;q=0.5", Coding::Gzip),
            ("*", Coding::Brotli),
            ("br;q=0, *", Coding::Zstd),
            ("GZIP ; Q=0.5", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("identity, gzip;q=0.9", Coding::Identity),
            ("deflate, foo", Coding::Identity),
            ("gzip;q=2, br;q=abc, zstd;q=0.1234", Coding::Identity),
            ("identity;q=0, zstd", Coding::Zstd),
        ] {
            assert_eq!(chosen(wish), Some(coding), "{wish:?}");
        }
        assert_eq!(chosen("identity;q=0"), None);
        assert_eq!(chosen("*;q=0"), None);
    }

    #[test]
    fn a_range_is_one_of_the_page_as_it_is() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(choose(&leaf(), &headers).map(|variant| variant.coding), Some(Coding::Identity));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("br, identity;q=0"));
        assert_eq!(choose(&leaf(), &headers).map(|variant| variant.coding), Some(Coding::Brotli));
    }
}
