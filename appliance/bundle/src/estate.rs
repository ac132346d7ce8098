//! The estate: what the operator wants, as plain words without any way to be misread.
//!
//! The launcher makes one of `gatehouse.toml`, after it has found every mistake; the appliance only reads it.

mod proxy;

use core::net::IpAddr;

pub use proxy::{Health, Network, Proxy, Target, Verified, Waits};

/// All that is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estate {
    /// Which TLS is spoken.
    pub profile: Profile,
    /// The site for clients that name none.
    pub default_site: Option<u32>,
    /// The port at which the world reaches HTTPS: where redirects lead.
    pub https_port: u16,
    /// What one connection may take.
    pub limits: Limits,
    /// Who may say on whose behalf it asks: their `X-Forwarded-*` is believed.
    pub trusted: Vec<Network>,
    /// Whose connections begin with a header of the PROXY protocol.
    pub announcers: Vec<Network>,
    /// Who is asked for the addresses of names; those that the network names, if there are none here.
    pub resolvers: Vec<IpAddr>,
    /// The sites.
    pub sites: Vec<Site>,
}

/// Mozilla's names for what TLS offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// TLS 1.3 and 1.2.
    #[default]
    Intermediate,
    /// TLS 1.3.
    Modern,
}

/// What one connection may take; spans are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a connection may rest between requests.
    pub idle: u32,
    /// How long the head of a request may take.
    pub head: u32,
    /// In each such span a peer takes [`Limits::floor`] bytes of what is meant for it.
    pub stall: u32,
    /// See [`Limits::stall`].
    pub floor: u32,
    /// The largest head in bytes.
    pub head_bytes: u32,
    /// The most header lines.
    pub head_lines: u32,
    /// The longest request target.
    pub target: u32,
    /// The most requests on one connection.
    pub requests: u32,
    /// The most requests at once on one connection.
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: 60,
            head: 10,
            stall: 30,
            floor: 16_384,
            head_bytes: 16_384,
            head_lines: 100,
            target: 4096,
            requests: 10_000,
            streams: 100,
        }
    }
}

/// One site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// `example.org`, or `*.example.org` for one label in front; in lower case, ASCII.
    pub names: Vec<String>,
    /// The certificate and its intermediates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// An OCSP response in DER.
    pub ocsp: Option<Vec<u8>>,
    /// Whether clients show certificates.
    pub clients: Clients,
    /// What browsers are told about HTTPS; none for a development certificate.
    pub hsts: Option<Hsts>,
    /// Pages for errors: status and path.
    pub errors: Vec<(u16, String)>,
    /// Addresses that lead elsewhere; the first that fits is taken.
    pub redirects: Vec<Redirect>,
    /// Live figures are shown below `/.well-known/gatehouse/`.
    pub figures: bool,
    /// Headers by pattern; a later rule overrides an earlier one, and an empty value takes the header away.
    pub headers: Vec<HeaderRule>,
    /// What is answered by other servers.
    pub proxies: Vec<Proxy>,
}

/// Whether clients show certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Clients {
    /// They are not asked.
    #[default]
    Unasked,
    /// They may.
    Optional(Authority),
    /// They must.
    Required(Authority),
}

/// Who signs the certificates of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// CA certificates in DER.
    pub certificates: Vec<Vec<u8>>,
    /// Revocation lists in DER.
    pub revoked: Vec<Vec<u8>>,
}

/// Strict transport security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// For how many seconds.
    pub seconds: u64,
    /// For all names below as well.
    pub subdomains: bool,
    /// Browsers may ship it.
    pub preload: bool,
}

/// An address that leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// A path, or one that ends with `*`, which stands for anything.
    pub from: String,
    /// A path or an address; a `*` at its end is what the other `*` stood for.
    pub to: String,
    /// 301, 302, 303, 307 or 308; or 410, for what is gone.
    pub status: u16,
}

/// A header for all pages that fit a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// See [`matches`].
    pub pattern: String,
    /// The header's name in lower case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coding {
    /// As it is.
    Identity,
    /// gzip.
    Gzip,
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
}

impl Coding {
    /// Every coding, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Identity, Self::Gzip, Self::Brotli, Self::Zstd];

    /// The name by which HTTP knows it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Whether `path` fits `pattern`: `*` stands for any letters but a slash, `**` for any letters.
///
/// It takes time in the product of both lengths at the worst, whatever the pattern.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    let (stem, stars) = pattern.find('*').map_or((pattern, ""), |at| pattern.split_at(at));
    match path.strip_prefix(stem) {
        None => return false,
        Some(rest) if stars.is_empty() => return rest.is_empty(),
        Some(_) if stars == "**" => return true,
        // What stands behind the last star stands at the end.
        Some(rest) if !rest.ends_with(stars.rsplit('*').next().unwrap_or_default()) => return false,
        Some(_) => {}
    }
    let path = path.as_bytes();
    // reached[i]: the pattern so far fits the first i bytes.
    let mut reached = vec![false; path.len().saturating_add(1)];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    let mut pattern = pattern.as_bytes();
    while let Some((letter, rest)) = pattern.split_first() {
        let wild = *letter == b'*';
        let any = wild && rest.first() == Some(&b'*');
        pattern = if any { rest.get(1..).unwrap_or_default() } else { rest };
        let mut before = false;
        for (at, here) in reached.iter_mut().enumerate() {
            let came = at.checked_sub(1).and_then(|last| path.get(last));
            let step = match (wild, came) {
                (true, Some(byte)) => *here || (before && (any || *byte != b'/')),
                (true, None) => *here,
                (false, Some(byte)) => before && byte == letter,
                (false, None) => false,
            };
            // A star leans on what it has itself reached; a letter on what was reached before it.
            before = if wild { step } else { *here };
            *here = step;
        }
    }
    reached.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stops_at_a_slash_and_two_do_not() {
        assert!(matches("/a/*.css", "/a/b.css"));
        assert!(!matches("/a/*.css", "/a/b/c.css"));
        assert!(matches("/a/**.css", "/a/b/c.css"));
        assert!(matches("/**", "/"));
        assert!(matches("**", ""));
        assert!(matches("/*/x", "//x"));
        assert!(!matches("/a", "/ab"));
        assert!(!matches("/ab", "/a"));
        assert!(!matches("", "a"));
        assert!(matches("/**/z", "/a/b/z") && !matches("/**/z", "/z"));
    }

    #[test]
    fn many_stars_cost_no_more_than_their_number() {
        assert!(!matches(&"**a".repeat(200), &"a".repeat(4000).replace('a', "ab")[..4000].replace('a', "b")));
    }
}
