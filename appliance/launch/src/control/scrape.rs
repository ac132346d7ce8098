//! `gatehouse metrics --listen`: a scraper's way to the metrics, on the host.
//!
//! One scraper at a time, a few seconds for each, and nothing but the metrics: whoever listens on more than loopback
//! shows them to whoever comes.

use super::caller::{Caller, NoAnswer, Whom};
use crate::Outcome;
use control::Verb;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a scraper may take to ask, and to read.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest question.
const LONGEST: usize = 8192;

/// Serves for ever.
pub(super) fn serve(at: SocketAddr, whom: &Whom) -> Outcome {
    let listener = TcpListener::bind(at).map_err(|cause| format!("{at}: {cause}"))?;
    println!("http://{}/metrics", listener.local_addr()?);
    for scraper in listener.incoming() {
        // One that went away is no trouble.
        let _ = scraper.and_then(|scraper| answer(scraper, || metrics(whom)));
    }
    Err("the listener ended".into())
}

fn metrics(whom: &Whom) -> Result<String, NoAnswer> {
    Caller::dial(whom)?.ask_whole(Verb::Metrics, "")
}

fn answer(mut scraper: TcpStream, metrics: impl FnOnce() -> Result<String, NoAnswer>) -> io::Result<()> {
    scraper.set_read_timeout(Some(PATIENCE))?;
    scraper.set_write_timeout(Some(PATIENCE))?;
    let head = head(&mut scraper)?;
    let (status, body) = match head.split(' ').take(2).collect::<Vec<_>>().as_slice() {
        ["GET", "/metrics" | "/"] => match metrics() {
            Ok(metrics) => ("200 OK", metrics),
            Err(trouble) => ("503 Service Unavailable", format!("{trouble}\n")),
        },
        ["GET", _] => ("404 Not Found", "The metrics are at /metrics.\n".to_owned()),
        _ => ("405 Method Not Allowed", "The metrics can be fetched, and nothing else.\n".to_owned()),
    };
    let kind = if status == "200 OK" { "text/plain; version=0.0.4; charset=utf-8" } else { "text/plain" };
    let length = body.len();
    write!(
        scraper,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// What stands before the first empty line.
fn head(scraper: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut piece = [0; 512];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = scraper.read(&mut piece)?;
        if count == 0 || head.len() + count > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
