//! The front end: HTTP/1.1 and HTTP/2 by hyper, static sites out of the bundle, and other servers behind them.
//!
//! It stands above the TLS shell and below nothing: [`serve`] takes a byte stream, whoever made it, and a
//! [`Visit`] that says what is known of its other end, and answers until the stream is done. The only crate
//! that names hyper.
//!
//! The map: `porter` looks at each HTTP/1 head before hyper sees it and refuses what two parsers could read
//! in two ways; `one` and `two` drive hyper for HTTP/1 and HTTP/2 and keep every deadline, and `one/brief` answers what is
//! only a head without it; `line` is the
//! stream as hyper likes it and the measure of its pace, `presence` whether somebody still waits at its end; `house` has the sites; `answer` decides what to say,
//! with `codings`, `conditions` and `ranges` for the three decisions that RFC 9110 makes hard; `dress` adds
//! the headers; `page` is what is said, `question` what is asked, to its end; `crowd` knows who has enough under way. Where another server answers in our place, `relay` carries the request to it
//! and the answer back; `wire` is what it asks of those who open connections.
//!
//! It never reads a file or a socket, and a clock for the date of an answer only: time comes from the [`tasks::Timers`],
//! bytes from the stream, pages from memory that was there before. Nothing it keeps for a connection grows with what the peer sends.
#![forbid(unsafe_code)]

mod answer;
mod books;
mod codings;
mod conditions;
mod crowd;
mod date;
mod dress;
mod exchange;
mod figures;
mod house;
mod limits;
mod line;
mod one;
mod page;
mod path;
mod porter;
mod presence;
mod proxied;
mod question;
mod ranges;
mod relay;
mod reply;
mod represent;
mod two;
mod wire;

#[cfg(test)]
mod bench;

pub use books::{Asked, Books, Entry};
pub use bundle::Coding;
pub use crowd::Crowd;
pub use figures::Figures;
pub use house::{Found, House, Leaf, Notice, Shelf, Site, Source, Variant};
pub use limits::Limits;
pub use proxied::announced;
pub use relay::{Relay, Standing};
pub use wire::{Dial, Dialed, Presence, Trunk, Wire};

pub use hyper::{Method, Version};

use core::future::Future;
use core::pin::Pin;
use std::net::SocketAddr;
use std::rc::Rc;
use tasks::Tasks;

/// What is known of a connection before its first request.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// Our end, as the one at the other knows it.
    pub local: SocketAddr,
    /// The port of ours that was called.
    pub port: u16,
    /// The stream came through TLS.
    pub secure: bool,
    /// The name that the client asked for in its ClientHello.
    pub server_name: Option<Box<str>>,
    /// The site whose TLS policy was used, by its place in [`House::sites`].
    pub site: Option<usize>,
    /// ALPN chose HTTP/2.
    pub h2: bool,
    /// The version of TLS and its cipher suite, in words.
    pub tls: Option<(&'static str, &'static str)>,
    /// Who the client is, if it has shown a certificate and that was verified.
    pub client: Option<Box<Client>>,
}

/// What a verified client's certificate says, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The subject, as RFC 4514 writes it.
    pub subject: Box<str>,
    /// The issuer, likewise.
    pub issuer: Box<str>,
    /// The serial number in hexadecimal digits.
    pub serial: Box<str>,
    /// SHA-256 of the certificate in hexadecimal digits.
    pub fingerprint: Box<str>,
    /// The other names of the subject, each with its kind.
    pub names: Box<[Box<str>]>,
}

impl Client {
    /// The common name among the parts of the subject.
    fn common_name(&self) -> Option<String> {
        let (mut parts, mut letters) = (vec![String::new()], self.subject.chars());
        while let Some(letter) = letters.next() {
            match (letter, parts.last_mut()) {
                (',' | '+', _) => parts.push(String::new()),
                // What stands behind a backslash tells no parts apart.
                ('\\', Some(part)) => part.extend(letters.next()),
                (letter, Some(part)) => part.push(letter),
                _ => {}
            }
        }
        parts.iter().find_map(|part| part.trim_start().strip_prefix("CN=")).map(str::to_owned)
    }
}

/// Answers every request of one connection and closes it. Ends at the latest when one of the house's
/// deadlines passes.
///
/// What it works with is boxed at once: a future holds what it was called with beside what it does with it,
/// and there are ten thousand of them.
pub fn serve<S>(stream: S, visit: Visit, house: Rc<House>, tasks: Tasks) -> impl Future<Output = ()> + 'static
where
    S: Wire + 'static,
{
    driven(Box::new(stream), visit, house, tasks)
}

/// The same for a stream of any kind, so that what drives hyper is made once, here, and for speed.
fn driven(stream: Trunk, visit: Visit, house: Rc<House>, tasks: Tasks) -> Pin<Box<dyn Future<Output = ()>>> {
    if visit.h2 {
        Box::pin(two::drive(stream, visit, house, tasks))
    } else {
        Box::pin(one::drive(stream, one::Desk::new(visit, house, tasks)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_is_no_other_part_that_looks_like_one() {
        let name = |subject: &str| Client { subject: subject.into(), ..Client::default() }.common_name();
        assert_eq!(name(r"O=x\, CN\=admin, CN=anna").as_deref(), Some("anna"));
        assert_eq!(name(r"C=XY, CN=Li\, Bo\\+OU=c").as_deref(), Some(r"Li, Bo\"));
        assert_eq!(name(r"O=x\,CN\=admin\").as_deref(), None);
    }
}
