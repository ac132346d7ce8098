//! Whether a request still wants an answer (RFC 9110 §13): the decision in the order of §13.2.2.

use core::time::Duration;
use hyper::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use std::time::UNIX_EPOCH;

/// What identifies a state of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State<'a> {
    /// Its strong validator, with its quotation marks.
    pub(crate) etag: Option<&'a str>,
    /// When it was last changed, in seconds since 1970.
    pub(crate) modified: Option<u64>,
}

/// What the conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The page, or the part that was asked for.
    Page,
    /// The whole page, whatever part was asked for: the part is of another state.
    Whole,
    /// Nothing: the client has it.
    Nothing,
    /// Nothing: the client thought of another state.
    Failed,
}

impl State<'_> {
    /// What a GET or HEAD with these headers wants.
    pub(crate) fn wanted(&self, headers: &HeaderMap) -> Wanted {
        let fails = if headers.contains_key(IF_MATCH) {
            !self.listed(headers, &IF_MATCH, false)
        } else {
            date(headers, &IF_UNMODIFIED_SINCE).is_some_and(|date| self.modified.is_some_and(|at| at > date))
        };
        if fails {
            return Wanted::Failed;
        }
        let known = if headers.contains_key(IF_NONE_MATCH) {
            self.listed(headers, &IF_NONE_MATCH, true)
        } else {
            date(headers, &IF_MODIFIED_SINCE).is_some_and(|date| self.modified.is_some_and(|at| at <= date))
        };
        match known {
            true => Wanted::Nothing,
            false if self.is_of_range(headers) => Wanted::Page,
            false => Wanted::Whole,
        }
    }

    /// If-Range: the part is wanted only of the very same state. A weak tag or another date is never the
    /// same.
    fn is_of_range(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(IF_RANGE) else { return true };
        let value = value.to_str().unwrap_or_default().trim();
        if value.starts_with('"') {
            return self.etag == Some(value);
        }
        date(headers, &IF_RANGE).is_some_and(|date| self.modified == Some(date))
    }

    fn listed(&self, headers: &HeaderMap, name: &HeaderName, weakly: bool) -> bool {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(tags).any(|tag| match tag.strip_prefix("W/") {
            _ if tag == "*" => true,
            Some(weak) => weakly && self.etag == Some(weak),
            None => self.etag == Some(tag),
        })
    }
}

/// The entity tags of a list; a comma may stand inside one.
fn tags(mut list: &str) -> impl Iterator<Item = &str> {
    core::iter::from_fn(move || {
        list = list.trim_start_matches([' ', '\t', ',']);
        let start = list.find('"').filter(|at| *at <= 2).map_or(0, |at| at.saturating_add(1));
        let end = match list.get(start..)?.find(if start > 0 { '"' } else { ',' }) {
            Some(at) => start.saturating_add(at).saturating_add(usize::from(start > 0)),
            None => list.len(),
        };
        let (tag, rest) = list.split_at_checked(end)?;
        list = rest;
        Some(tag.trim()).filter(|tag| !tag.is_empty())
    })
}

/// A date in seconds since 1970; what is no date is not there.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";
    const THEN: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const AFTER: &str = "Tue, 14 Nov 2023 22:13:21 GMT";
    const STATE: State<'_> = State { etag: Some("\"a\""), modified: Some(1_700_000_000) };

    fn wanted(list: &[(HeaderName, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        STATE.wanted(&headers)
    }

    #[test]
    fn every_condition_alone() {
        use Wanted::{Failed, Nothing, Page, Whole};
        for (name, value, outcome) in [
            (IF_NONE_MATCH, "\"a\"", Nothing),
            (IF_NONE_MATCH, "W/\"a\"", Nothing),
            (IF_NONE_MATCH, "\"b\", \"a\"", Nothing),
            (IF_NONE_MATCH, "\"b,\" , W/\"a\"", Nothing),
            (IF_NONE_MATCH, "*", Nothing),
            (IF_NONE_MATCH, "\"b\"", Page),
            (IF_NONE_MATCH, "\"b,a\"", Page),
            (IF_NONE_MATCH, "a", Page),
            (IF_NONE_MATCH, "", Page),
            (IF_MATCH, "\"a\"", Page),
            (IF_MATCH, "*", Page),
            (IF_MATCH, "W/\"a\"", Failed),
            (IF_MATCH, "\"b\"", Failed),
            (IF_MODIFIED_SINCE, BEFORE, Page),
            (IF_MODIFIED_SINCE, THEN, Nothing),
            (IF_MODIFIED_SINCE, AFTER, Nothing),
            (IF_MODIFIED_SINCE, "yesterday", Page),
            (IF_UNMODIFIED_SINCE, BEFORE, Failed),
            (IF_UNMODIFIED_SINCE, THEN, Page),
            (IF_UNMODIFIED_SINCE, "yesterday", Page),
            (IF_RANGE, "\"a\"", Page),
            (IF_RANGE, "W/\"a\"", Whole),
            (IF_RANGE, "\"b\"", Whole),
            (IF_RANGE, THEN, Page),
            (IF_RANGE, AFTER, Whole),
        ] {
            assert_eq!(wanted(&[(name.clone(), value)]), outcome, "{name}: {value}");
        }
    }

    #[test]
    fn tags_come_before_dates() {
        assert_eq!(wanted(&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, AFTER)]), Wanted::Page);
        assert_eq!(wanted(&[(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, BEFORE)]), Wanted::Page);
        assert_eq!(wanted(&[(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")]), Wanted::Failed);
        assert_eq!(wanted(&[(IF_RANGE, "\"b\""), (IF_NONE_MATCH, "\"a\"")]), Wanted::Nothing);
        assert_eq!(wanted(&[(IF_NONE_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")]), Wanted::Nothing);
    }
}
