//! Addresses as they come, and paths as shelves know them.

/// Why an address is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoPath;

/// Decodes an address once. What could mean two things (a coded slash, a NUL, a step upward, a byte that is
/// not UTF-8, a percent sign without two digits) is no path.
pub(crate) fn decode(address: &str) -> Result<String, NoPath> {
    decoded(address, false)
}

/// The same for an address that is passed on as it came: a coded slash may stand in it, and counts as a slash here, so
/// that no way of reading it leads upward.
pub(crate) fn loosely(address: &str) -> Result<String, NoPath> {
    decoded(address, true)
}

fn decoded(address: &str, loose: bool) -> Result<String, NoPath> {
    let mut bytes = address.bytes();
    let mut path = Vec::with_capacity(address.len());
    while let Some(byte) = bytes.next() {
        let coded = byte == b'%';
        let byte = if coded { pair(bytes.next(), bytes.next())? } else { byte };
        if byte < 32 || byte == 127 || byte == b'\\' || (coded && byte == b'/' && !loose) {
            return Err(NoPath);
        }
        path.push(byte);
    }
    let path = String::from_utf8(path).map_err(|_| NoPath)?;
    // Some servers forget what stands behind a semicolon in a step before they take it.
    let steps = |step: &str| matches!(step.split(';').next(), Some("." | ".."));
    if path.starts_with('/') && !path.split('/').any(steps) { Ok(path) } else { Err(NoPath) }
}

/// A decoded rest of a path behind a stem, coded again so that it cannot be anything but a path.
pub(crate) fn joined(stem: &str, rest: &str) -> String {
    // A slash behind a slash would make a path into the name of a host.
    let rest = if stem.ends_with('/') { rest.trim_start_matches('/') } else { rest };
    rest.bytes().fold(stem.to_owned(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
        path
    })
}

fn pair(high: Option<u8>, low: Option<u8>) -> Result<u8, NoPath> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        _ => Err(NoPath),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_decoded_once() {
        assert_eq!(decode("/a%20b/%C3%A9").as_deref(), Ok("/a b/é"));
        assert_eq!(decode("/%2541").as_deref(), Ok("/%41"));
        assert_eq!(decode("/...").as_deref(), Ok("/..."));
    }

    #[test]
    fn what_is_passed_on_may_hold_coded_slashes_but_never_leads_upward() {
        assert_eq!(loosely("/a%2Fb/c").as_deref(), Ok("/a/b/c"));
        for address in ["/a%2f..%2fb", "/%2e%2e%2f", "/a/..", "/a/..;/b", "/a/..%3bx/b", "/a%5cb", "/a%00"] {
            assert_eq!(loosely(address), Err(NoPath), "{address:?}");
        }
    }

    #[test]
    fn a_rest_is_coded_again() {
        assert_eq!(joined("/new/", "a b/é?#%"), "/new/a%20b/%C3%A9%3F%23%25");
        assert_eq!(joined("/", "/evil.example/"), "/evil.example/");
        assert_eq!(joined("https://b.example/", "//x\r\n"), "https://b.example/x%0D%0A");
    }

    #[test]
    fn what_could_mean_two_things_is_no_path() {
        for address in [
            "",
            "a",
            "*",
            "/..",
            "/../a",
            "/a/../b",
            "/./a",
            "/%2e%2e/a",
            "/.%2E/a",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/%00",
            "/%0a",
            "/%7f",
            "/%ff",
            "/%c0%ae",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
        ] {
            assert_eq!(decode(address), Err(NoPath), "{address:?}");
        }
    }
}
