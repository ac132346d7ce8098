//! Looks names up, and remembers what it was told for as long as that counts.

use super::names::{Reply, question, reply};
use super::well;
use core::cell::RefCell;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use net::Handle;
use std::collections::BTreeMap;
use std::io;
use tasks::Timers;
use world::Instant;

/// How long one server has for one answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many servers are asked, one after the other, twice.
const SERVERS: usize = 3;
/// What nobody could answer is not asked again for so long; until then what was known before will do.
const PAUSE: u32 = 5;
/// Answers that are no answer to our question are overheard so often.
const NOISE: usize = 16;

/// What is known of names. Only names of the configuration are ever asked for, so it does not grow.
pub(super) struct Resolver {
    servers: Vec<IpAddr>,
    known: RefCell<BTreeMap<Box<str>, Known>>,
}

#[derive(Clone, Default)]
struct Known {
    addresses: Vec<IpAddr>,
    until: Option<Instant>,
    turn: usize,
}

impl Resolver {
    /// Asks these servers; where there are none, those that the network names.
    pub(super) fn new(servers: Vec<IpAddr>) -> Self {
        Self { servers, known: RefCell::default() }
    }

    /// An address of a host: the next of those that it has. An address stands for itself.
    pub(super) async fn address(&self, host: &str, handle: &Handle, timers: &Timers) -> io::Result<IpAddr> {
        if let Ok(address) = host.parse() {
            return Ok(address);
        }
        let until = self.known.borrow().get(host).and_then(|known| known.until);
        if until.is_none_or(|until| until <= timers.now()) {
            let (found, seconds) = self.look_up(host, handle, timers).await;
            self.learn(host, found, timers.now() + Duration::from_secs(u64::from(seconds)));
        }
        self.next(host)
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"))
    }

    fn next(&self, host: &str) -> Option<IpAddr> {
        let mut all = self.known.borrow_mut();
        let known = all.get_mut(host)?;
        known.turn = known.turn.wrapping_add(1);
        known.addresses.get(known.turn.checked_rem(known.addresses.len())?).copied()
    }

    /// Nothing found means that nobody could say: what was known before stays.
    fn learn(&self, host: &str, found: Option<Vec<IpAddr>>, until: Instant) {
        let mut all = self.known.borrow_mut();
        let known = all.entry(host.into()).or_default();
        known.until = Some(until);
        known.addresses = found.unwrap_or_else(|| core::mem::take(&mut known.addresses));
    }

    async fn look_up(&self, host: &str, handle: &Handle, timers: &Timers) -> (Option<Vec<IpAddr>>, u32) {
        let here = handle.whereabouts();
        let servers = if self.servers.is_empty() { here.resolvers } else { self.servers.clone() };
        let (mut found, mut seconds) = (None, u32::MAX);
        for v6 in [false, true] {
            if !here.addresses.iter().any(|cidr| cidr.address.is_ipv6() == v6) {
                continue;
            }
            match ask(&servers, host, v6, handle, timers).await {
                Some(Reply::Addresses(addresses, count)) => {
                    found.get_or_insert_with(Vec::new).extend(addresses);
                    seconds = seconds.min(count);
                }
                Some(Reply::Nothing(count)) => {
                    found.get_or_insert_with(Vec::new);
                    seconds = seconds.min(count);
                }
                _ => seconds = seconds.min(PAUSE),
            }
        }
        (found, seconds.min(3600))
    }
}

async fn ask(servers: &[IpAddr], host: &str, v6: bool, handle: &Handle, timers: &Timers) -> Option<Reply> {
    for server in servers.iter().take(SERVERS).chain(servers.iter().take(SERVERS)) {
        let server = SocketAddr::new(*server, 53);
        let mut dice = [0; 34];
        well::draw(&mut dice).ok()?;
        let question = question(host, v6, &dice)?;
        let mut told = timers.within(PATIENCE, by_letter(server, &question, handle)).await.ok().flatten();
        if told == Some(Reply::Cut) {
            told = timers
                .within(PATIENCE, by_stream(server, &question, handle))
                .await
                .ok()
                .and_then(Result::ok)
                .flatten();
        }
        if let Some(told @ (Reply::Addresses(..) | Reply::Nothing(_))) = told {
            return Some(told);
        }
    }
    None
}

/// Over UDP, from a port of its own.
async fn by_letter(server: SocketAddr, question: &[u8], handle: &Handle) -> Option<Reply> {
    let post = handle.post(None).ok()?;
    post.send(server, question).ok()?;
    for _ in 0..NOISE {
        let letter = post.receive().await.ok()?;
        if let Some(told) = reply(&letter.bytes, question).filter(|_| letter.from == server) {
            return Some(told);
        }
    }
    None
}

/// Over TCP, where messages stand behind their length.
async fn by_stream(server: SocketAddr, question: &[u8], handle: &Handle) -> io::Result<Option<Reply>> {
    let mut stream = handle.connect(None, server).await.map_err(|_| io::ErrorKind::NotConnected)?;
    let length = u16::try_from(question.len()).unwrap_or(0).to_be_bytes();
    let asked = [&length[..], question].concat();
    let mut left = &asked[..];
    while !left.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut stream).poll_write(context, left)).await?;
        left = left.get(count..).unwrap_or_default();
    }
    let mut length = [0; 2];
    fill(&mut stream, &mut length).await?;
    let mut told = vec![0; usize::from(u16::from_be_bytes(length))];
    fill(&mut stream, &mut told).await?;
    Ok(reply(&told, question).filter(|told| *told != Reply::Cut))
}

async fn fill(stream: &mut net::Stream, mut room: &mut [u8]) -> io::Result<()> {
    while !room.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, room)).await?;
        room = room.get_mut(count..).filter(|_| count > 0).ok_or(io::ErrorKind::UnexpectedEof)?;
    }
    Ok(())
}
