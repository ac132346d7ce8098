//! The doors: every port that listens, and what happens behind it.

use super::settings::Settings;
use core::fmt;
use core::time::Duration;
use http::{Found, House, Leaf, Limits, Shelf, Site, Visit};
use net::{Handle, Listener, PortTaken, Stream};
use std::rc::Rc;
use tasks::Tasks;
use tls::mint::{Authority, Unmintable, Validity};
use tls::{Calendar, Flaw, Front, TicketSecret};
use world::World;

/// How long a peer may take for its handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is behind a port.
#[derive(Clone, Copy)]
enum Door {
    /// TLS, then HTTP.
    Https,
    /// HTTP as it is.
    Http,
}

/// Every port that listens; there is no other.
const DOORS: [(u16, Door); 2] = [(443, Door::Https), (80, Door::Http)];

/// The house cannot be opened.
#[derive(Debug)]
pub enum BadHouse {
    /// The certificate could not be made.
    Mint(Unmintable),
    /// A site cannot be served as it is.
    Flaw(Flaw),
}

impl fmt::Display for BadHouse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mint(bad) => bad.fmt(out),
            Self::Flaw(bad) => bad.fmt(out),
        }
    }
}

/// What every door leads to.
pub(super) struct Rooms {
    front: Front,
    house: Rc<House>,
}

impl Rooms {
    /// Furnishes the house: one page, under a certificate that is made now.
    pub(super) fn furnish<W: World>(
        world: &W,
        settings: &Settings,
        calendar: &Calendar,
    ) -> Result<Rc<Self>, BadHouse> {
        let words = bundle::Site { names: names(settings), ..bundle::Site::default() };
        let sites = vec![Site { words, shelf: Rc::new(OnePage::new()) }];
        let https_port = settings.published;
        let house =
            House { sites, default_site: Some(0), limits: Limits::default(), https_port, figures: None };
        let front =
            Front::new(vec![minted(world, settings)?], Some(0), calendar.clone()).map_err(BadHouse::Flaw)?;
        Ok(Rc::new(Self { front, house: Rc::new(house) }))
    }

    /// Takes up no TLS session that was begun before; false when there are no random bytes for new ones.
    pub(super) fn forget_sessions(&self) -> bool {
        TicketSecret::fresh().map(|secret| self.front.make_tickets_from(secret)).is_ok()
    }

    /// Opens every door.
    pub(super) fn open(self: &Rc<Self>, handle: &Handle, tasks: &Tasks) -> Result<(), PortTaken> {
        for (port, door) in DOORS {
            let (rooms, listener) = (self.clone(), handle.listen(port)?);
            tasks.spawn(rooms.welcome(listener, port, door, tasks.clone()));
        }
        Ok(())
    }

    async fn welcome(self: Rc<Self>, listener: Listener, port: u16, door: Door, tasks: Tasks) {
        loop {
            let stream = listener.accept().await;
            let rooms = self.clone();
            let inside = tasks.clone();
            match door {
                Door::Https => tasks.spawn(async move { rooms.greet(stream, port, inside).await }),
                Door::Http => tasks.spawn(async move { rooms.talk(stream, port, inside).await }),
            }
        }
    }

    async fn greet(&self, stream: Stream, port: u16, tasks: Tasks) {
        let peer = stream.peer();
        let Ok((session, site)) = self.front.accept(stream, port, tasks.timers(), PATIENCE).await else {
            return;
        };
        let server_name = session.server_name().map(Box::from);
        let h2 = session.alpn() == Some(b"h2");
        let visit = Visit { peer, port, secure: true, server_name, site: Some(site.0), h2 };
        http::serve(session, visit, self.house.clone(), tasks).await;
    }

    async fn talk(&self, stream: Stream, port: u16, tasks: Tasks) {
        let peer = stream.peer();
        let visit = Visit { peer, port, secure: false, server_name: None, site: Some(0), h2: false };
        http::serve(stream, visit, self.house.clone(), tasks).await;
    }
}

fn names(settings: &Settings) -> Vec<String> {
    let addresses = settings.addresses.iter().map(|(address, _)| address.to_string());
    addresses.chain(["localhost".into(), "127.0.0.1".into()]).collect()
}

/// A site under a certificate that is made in memory and known to nobody.
fn minted<W: World>(world: &W, settings: &Settings) -> Result<tls::Site, BadHouse> {
    let validity = Validity::days(world.wall_clock(), 30);
    let authority = Authority::new("Gatehouse, made at boot", validity).map_err(BadHouse::Mint)?;
    let names = names(settings);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let minted = authority.server(&names, validity).map_err(BadHouse::Mint)?;
    let mut site = tls::Site::new(Vec::new(), minted.chain, minted.key);
    site.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(site)
}

/// A shelf with one page on it.
struct OnePage(Leaf);

impl OnePage {
    fn new() -> Self {
        Self(Leaf::fleeting("text/html; charset=utf-8", include_bytes!("welcome.html").as_slice()))
    }
}

impl Shelf for OnePage {
    fn find(&self, path: &str) -> Found {
        if path == "/index.html" { Found::Page(self.0.clone()) } else { Found::Nothing }
    }
}
