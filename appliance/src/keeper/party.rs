//! The party: the piñata, where the command line wants one, with its doors, its page and its lines for the
//! console.

use super::house::BadHouse;
use super::settings::{Settings, Visitors};
use bundle::{Bundle, Secrets};
use bytes::Bytes;
use http::{Found, Leaf, Shelf};
use net::{Handle, Listener, PortTaken, Stream};
use pinata::{Door, Keys, Pinata, Rules};
use std::io;
use std::rc::Rc;
use tasks::Tasks;
use tls::Calendar;
use world::{Instant, World};

/// What is in a piñata that nobody has filled.
const DEMO: &[u8] = b"This is a demo: the pinata was hung up empty. You got in all the same. Well done.\n";

/// What visitors read of it.
const DEMO_BOUNTY: &str = "This is a demo: there is a line of text in it and nothing of value. Breaking it is worth \
                           as much as you like to tell.";

/// What visitors read of one that was filled.
const BOUNTY: &str = "The operator has put a secret in. What it is worth, only those know who have it.";

/// A piñata that hangs in this appliance.
pub(super) struct Party(Rc<Pinata>);

impl Party {
    /// Hangs a piñata up, if the command line wants one: with keys that are made now, and with what the
    /// bundle's secret part holds for it. Without a bundle it is a demo.
    pub(super) fn prepare<W: World>(
        world: &W,
        settings: &Settings,
        calendar: &Calendar,
        secrets: Option<&[u8]>,
    ) -> Result<Option<Self>, BadHouse> {
        let Some(visitors) = settings.pinata else { return Ok(None) };
        let (words, bounty) = match world.boot().bundle {
            Some(public) => (filling(secrets, Bytes::from_static(public))?, BOUNTY),
            None => (DEMO.to_vec(), DEMO_BOUNTY),
        };
        let names: Vec<String> = settings.addresses.iter().map(|(address, _)| address.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let keys = Keys::mint(&names, world.wall_clock()).map_err(BadHouse::Pinata)?;
        let rules = || Rules::new(settings.addresses.clone(), settings.gateways.clone());
        let rules = (visitors == Visitors::Direct).then(rules);
        let pinata = Pinata::new(keys, words, bounty.to_owned(), rules, calendar.clone());
        Ok(Some(Self(Rc::new(pinata.map_err(BadHouse::Pinata)?))))
    }

    /// Its page, for the house.
    pub(super) fn page(&self) -> Rc<dyn Shelf> {
        Rc::new(Page(self.0.clone()))
    }

    /// Opens its doors.
    pub(super) fn open(&self, handle: &Handle, tasks: &Tasks) -> Result<(), PortTaken> {
        for door in self.0.doors() {
            let listener = handle.listen(door.port())?;
            tasks.spawn(welcome(self.0.clone(), listener, door, handle.clone(), tasks.clone()));
        }
        Ok(())
    }

    /// Says the lines of the ledger that are due, and when the next one will be.
    pub(super) fn tell<W: World>(&self, world: &mut W, now: Instant) -> Option<Instant> {
        while let Some(line) = self.0.line() {
            world.say(&line);
        }
        self.0.line_due_in().map(|wait| now + wait)
    }
}

/// What the operator has put into the bundle for the piñata.
fn filling(secrets: Option<&[u8]>, public: Bytes) -> Result<Vec<u8>, BadHouse> {
    let bundle = Bundle::open(public).map_err(BadHouse::Broken)?;
    let secrets = Secrets::open(secrets.ok_or(BadHouse::NoSecrets)?, &bundle.fingerprint())
        .map_err(BadHouse::Broken)?;
    secrets.named("pinata").map(<[u8]>::to_vec).ok_or(BadHouse::EmptyPinata)
}

async fn welcome(pinata: Rc<Pinata>, listener: Listener, door: Door, handle: Handle, tasks: Tasks) {
    loop {
        let stream = listener.accept().await;
        tasks.spawn(receive(pinata.clone(), stream, door, handle.clone(), tasks.clone()));
    }
}

async fn receive(pinata: Rc<Pinata>, stream: Stream, door: Door, handle: Handle, tasks: Tasks) {
    let (peer, local) = (stream.peer(), stream.local().ip());
    let dial = |address| async move {
        handle.connect(Some(local), address).await.map_err(|_| io::ErrorKind::NotConnected.into())
    };
    pinata.receive(door, stream, peer, tasks.timers(), dial).await;
}

/// The page, made anew for each who asks.
struct Page(Rc<Pinata>);

impl Shelf for Page {
    fn find(&self, path: &str) -> Found {
        match self.0.sheet(path) {
            Some(sheet) => Found::Page(Leaf::fleeting(sheet.kind, sheet.text)),
            None => Found::Nothing,
        }
    }
}
