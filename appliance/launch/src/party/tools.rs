//! What whoever hits a piñata has at hand: connections, its page, and certificates good and bad.

use crate::life::Bench;
use futures_io::{AsyncRead, AsyncWrite};
use std::cell::RefCell;
use std::error::Error;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tls::mint::{Authority, Minted, Validity};
use tls::{Key, papers};

/// How long one answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// The most that is read of anything.
const MOST: usize = 1 << 20;

/// Runs one thing to its end.
pub(crate) fn wait<T: 'static>(bench: &Bench, work: impl Future<Output = T> + 'static) -> T {
    let done = Rc::new(RefCell::new(None));
    let told = done.clone();
    bench.tasks.spawn(async move {
        let result = work.await;
        told.replace(Some(result));
    });
    loop {
        let steps = bench.tasks.turn(bench.now(), 256);
        if let Some(result) = done.take() {
            return result;
        }
        if steps == 0 {
            bench.watch.sleep(bench.tasks.timers().deadline().map(|end| end - bench.now()));
        }
    }
}

/// Reads to the end; what came before an error is lost with it.
pub(crate) async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let (mut all, mut some) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut some)).await?;
        all.extend(some.iter().take(count));
        if count == 0 || all.len() > MOST {
            return Ok(all);
        }
    }
}

/// Writes all.
pub(crate) async fn write_all(stream: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    poll_fn(|context| Pin::new(&mut *stream).poll_flush(context)).await
}

/// What lies at `path` of the page, over plain HTTP.
pub(crate) fn fetch(host: IpAddr, port: u16, path: &str) -> Result<String, Box<dyn Error>> {
    let at = SocketAddr::new(host, port);
    let trouble = |error: io::Error| format!("http://{at}{path}: {error}; --page names the port of its page");
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).map_err(trouble)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(trouble)?;
    let ask = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).map_err(trouble)?;
    let mut answer = Vec::new();
    stream.take(MOST as u64).read_to_end(&mut answer).map_err(trouble)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => {
            let first = answer.lines().next().unwrap_or("nothing").to_owned();
            Err(format!("http://{at}{path}: {first}; is a piñata hanging there?").into())
        }
    }
}

/// A certificate and its key, out of one file.
pub(crate) fn shown(path: &Path) -> Result<Minted, Box<dyn Error>> {
    let trouble = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let text = zeroize::Zeroizing::new(std::fs::read(path).map_err(|error| trouble(&error))?);
    let chain = papers::certificates(&text).map_err(|flaw| trouble(&flaw))?;
    let key = papers::key(&text).map_err(|flaw| trouble(&flaw))?;
    papers::look(&chain, &key).map_err(|flaw| trouble(&flaw))?;
    Ok(Minted { chain, key })
}

/// A second copy, for a second attempt.
pub(crate) fn again(minted: &Minted) -> Minted {
    Minted { chain: minted.chain.clone(), key: Key::new(minted.key.der().to_vec()) }
}

/// A certificate that no piñata should believe.
pub(crate) struct Bad {
    /// What is wrong with it.
    pub(crate) name: &'static str,
    /// As a client shows it, and as a server does.
    pub(crate) client: Minted,
    pub(crate) server: Minted,
}

/// Days that begin at some distance from now.
pub(crate) fn later(now: Duration) -> Validity {
    let day = Duration::from_secs(86_400);
    Validity { from: now + day, until: now + 9 * day }
}

/// Days that are over.
pub(crate) fn past(now: Duration) -> Validity {
    let day = Duration::from_secs(86_400);
    Validity { from: now.saturating_sub(9 * day), until: now.saturating_sub(day) }
}

/// The same kind of certificate for both sides.
pub(crate) fn both(name: &'static str, by: &Authority, days: Validity) -> Result<Bad, Box<dyn Error>> {
    let server = by.server(&["localhost"], days)?;
    Ok(Bad { name, client: by.client("A friend", days)?, server })
}

/// Each side has what is the other's.
pub(crate) fn swapped(bad: Bad) -> Bad {
    Bad { client: bad.server, server: bad.client, ..bad }
}

/// All that can be made without the CA's key.
pub(crate) fn bad(ca: &[u8], name: &str, now: Duration) -> Result<Vec<Bad>, Box<dyn Error>> {
    let today = Validity::days(now, 30);
    let (twin, stranger) = (Authority::new(name, today)?, Authority::new("A stranger", today)?);
    let with_ca = |mut minted: Minted| {
        minted.chain.push(ca.to_vec());
        minted
    };
    let of_a_twin = both("of a CA of the same name", &twin, today)?;
    let Bad { client, server, .. } = both("", &twin, today)?;
    let alone = |authority: &Authority| Minted {
        chain: vec![authority.certificate().to_vec()],
        key: authority.key(),
    };
    Ok(vec![
        both("of another CA", &stranger, today)?,
        of_a_twin,
        Bad { name: "with the true CA behind it", client: with_ca(client), server: with_ca(server) },
        both("expired", &twin, past(now))?,
        both("not valid yet", &twin, later(now))?,
        swapped(both("for the other side", &twin, today)?),
        Bad { name: "signed by itself", client: alone(&twin), server: alone(&twin) },
    ])
}
