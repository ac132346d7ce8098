//! The party: the piñata, where the command line wants one, with its doors, its page and its lines for the
//! console.

use super::doors;
use super::house::BadHouse;
use super::means::Means;
use super::report;
use super::settings::{Settings, Visitors};
use bundle::{Bundle, Secrets};
use bytes::Bytes;
use http::{Found, Leaf, Shelf};
use net::{Account, Handle, Listener, PortTaken, Stream};
use pinata::attest::{Part, measure};
use pinata::{BadPinata, DOORS, Door, Keys, Pinata, Rules};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tasks::{Bell, Tasks, Timers};
use tls::mint::Minted;
use tls::{Calendar, Key};
use world::{Instant, World};

/// What is in a piñata that nobody has filled.
const DEMO: &[u8] = b"This is a demo: the pinata was hung up empty. You got in all the same. Well done.\n";

/// What visitors read of it.
const DEMO_BOUNTY: &str = "This is a demo: there is a line of text in it and nothing of value. Breaking it is worth \
                           as much as you like to tell.";

/// What visitors read of one that was filled.
const BOUNTY: &str = "The operator has put a secret in. What it is worth, only those know who have it.";

/// A piñata that hangs in this appliance. Its keys may change, so everybody asks here for the one that hangs now.
#[derive(Clone)]
pub(super) struct Party(Rc<RefCell<Option<Rc<Pinata>>>>);

/// What is put into a piñata.
struct Filling {
    words: Vec<u8>,
    bounty: String,
    /// The operator's keys; without them, keys are made now.
    keys: Option<Keys>,
}

impl Party {
    /// Hangs a piñata up, if the command line wants one: with what the bundle's secret part holds for it. Without a
    /// bundle it is a demo.
    pub(super) fn prepare<W: World>(
        world: &W,
        settings: &Settings,
        calendar: &Calendar,
        secrets: Option<&[u8]>,
    ) -> Result<Option<Self>, BadHouse> {
        let Some(visitors) = settings.pinata else { return Ok(None) };
        let Filling { words, bounty, keys } = match world.boot().bundle {
            Some(public) => {
                let bundle = Bundle::open(Bytes::from_static(public)).map_err(BadHouse::Broken)?;
                filling(secrets.ok_or(BadHouse::NoSecrets)?, &bundle)?
            }
            None => Filling { words: DEMO.to_vec(), bounty: DEMO_BOUNTY.to_owned(), keys: None },
        };
        #[cfg(feature = "probes")]
        plant(&words, &bounty);
        let keys = keys.map_or_else(|| made(world, settings), Ok)?;
        let rules = || Rules::new(settings.addresses.clone(), settings.gateways.clone());
        let rules = (visitors == Visitors::Direct).then(rules);
        let pinata = Pinata::new(keys, words, bounty, rules, calendar.clone()).map_err(BadHouse::Pinata)?;
        let part = |(address, flags, bytes)| Part { address, flags, bytes };
        let pinata = pinata.running(measure(runtime::image::constant_parts().map(part)));
        Ok(Some(Self(Rc::new(RefCell::new(Some(Rc::new(pinata)))))))
    }

    /// This machine was copied: its twin has every key that was made at boot, so others are made. Keys that the
    /// operator gave stay, as a site's do. Nobody may stand at a door. False when there is no entropy for it now.
    pub(super) fn was_copied<W: World>(&self, world: &W, settings: &Settings) -> Result<bool, BadHouse> {
        if !self.pinata().is_some_and(|pinata| pinata.made_its_keys()) {
            return Ok(true);
        }
        let Ok(keys) = made(world, settings) else { return Ok(false) };
        let Some(pinata) = self.0.take() else { return Ok(true) };
        let pinata = match Rc::try_unwrap(pinata) {
            Ok(pinata) => Rc::new(pinata.rehung(keys).map_err(BadHouse::Pinata)?),
            Err(busy) => busy,
        };
        self.0.replace(Some(pinata));
        Ok(true)
    }

    /// The operator has sent another bundle: what it holds for the piñata takes the place of what is inside, and nobody
    /// who is at a door is cut off. Keys that were made here stay where it has none.
    pub(super) fn refill<W: World>(
        &self,
        world: &W,
        settings: &Settings,
        bundle: &Bundle,
        secrets: &[u8],
    ) -> Result<(), BadHouse> {
        let Some(present) = self.pinata() else { return Ok(()) };
        let Filling { words, bounty, keys } = filling(secrets, bundle)?;
        let keys = match keys {
            None if !present.made_its_keys() => Some(made(world, settings)?),
            keys => keys,
        };
        let refilled = present.refilled(words, bounty, keys).map_err(BadHouse::Pinata)?;
        self.0.replace(Some(Rc::new(refilled)));
        Ok(())
    }

    /// What its ledger counts, for Prometheus.
    pub(super) fn numbers(&self, page: &mut report::Page) {
        if let Some(pinata) = self.pinata() {
            report::ledger(&pinata.ledger(), page);
        }
    }

    /// The piñata that hangs now.
    fn pinata(&self) -> Option<Rc<Pinata>> {
        self.0.borrow().clone()
    }

    /// Its page, for the house.
    pub(super) fn page(&self) -> Rc<dyn Shelf> {
        Rc::new(Page(self.clone()))
    }

    /// Opens its doors, until they are shut with all others.
    pub(super) fn open(
        &self,
        means: Means,
        handle: &Handle,
        tasks: &Tasks,
        shutting: &Bell,
    ) -> Result<(), PortTaken> {
        let Some(pinata) = self.pinata() else { return Ok(()) };
        for door in pinata.doors() {
            let listener = handle.listen(door.port())?;
            let shutting = shutting.clone();
            let post = Post { door, means, handle: handle.clone(), tasks: tasks.clone() };
            tasks.spawn(post.welcome(self.clone(), listener, shutting));
        }
        Ok(())
    }

    /// Says the lines of the ledger that are due, and when the next one will be.
    pub(super) fn tell(&self, now: Instant, mut say: impl FnMut(&str)) -> Option<Instant> {
        let pinata = self.pinata()?;
        while let Some(line) = pinata.line() {
            say(&line);
        }
        pinata.line_due_in().map(|wait| now + wait)
    }
}

/// A copy of the secret that nobody wipes, for the test that must find it.
#[cfg(feature = "probes")]
fn plant(words: &[u8], bounty: &str) {
    if bounty == "planted" {
        Box::leak(words.to_vec().into_boxed_slice());
    }
}

/// Keys that nobody has, for our addresses.
fn made<W: World>(world: &W, settings: &Settings) -> Result<Keys, BadHouse> {
    let names: Vec<String> = settings.addresses.iter().map(|(address, _)| address.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Keys::mint(&names, world.wall_clock()).map_err(BadHouse::Pinata)
}

/// What the operator has put into the bundle for the piñata.
fn filling(secrets: &[u8], bundle: &Bundle) -> Result<Filling, BadHouse> {
    let secrets = Secrets::open(secrets, &bundle.fingerprint()).map_err(BadHouse::Broken)?;
    let words = secrets.named("pinata").map(<[u8]>::to_vec).ok_or(BadHouse::EmptyPinata)?;
    let bounty = secrets.named("pinata/bounty").and_then(|text| core::str::from_utf8(text).ok());
    let keys = given(&secrets).map_err(BadHouse::Pinata)?;
    Ok(Filling { words, bounty: bounty.unwrap_or(BOUNTY).to_owned(), keys })
}

/// The operator's own CA and its three certificates, if they were packed.
fn given(secrets: &Secrets<'_>) -> Result<Option<Keys>, BadPinata> {
    let Some(ca) = secrets.named("pinata/ca") else { return Ok(None) };
    let several = |name: &str| {
        let one = |number| secrets.named(&format!("pinata/{name}/{number}")).map(<[u8]>::to_vec);
        (0_u32..).map_while(one).collect::<Vec<_>>()
    };
    let shown = DOORS.map(|door| {
        let key = secrets.named(&format!("pinata/{}/key", door.port())).unwrap_or_default();
        Minted { chain: several(&door.port().to_string()), key: Key::new(key.to_vec()) }
    });
    Keys::given(ca.to_vec(), several("crl"), shown).map(Some)
}

/// Who stands at one door, and what is needed there.
struct Post {
    door: Door,
    means: Means,
    handle: Handle,
    tasks: Tasks,
}

impl Post {
    async fn welcome(self, party: Party, listener: Listener, shutting: Bell) {
        while let Some(stream) = doors::next(&listener, &shutting).await {
            let Some((purse, stream)) = self.means.admit(&self.handle, stream) else { continue };
            let Some(pinata) = party.pinata() else { continue };
            let (account, timers) = (purse.account().clone(), self.tasks.timers().clone());
            let visit = Visit { handle: self.handle.clone(), account, timers };
            purse.spend_on(&self.tasks, visit.receive(pinata, stream, self.door));
        }
    }
}

/// What one visitor's task works with.
struct Visit {
    handle: Handle,
    account: Rc<Account>,
    timers: Timers,
}

impl Visit {
    async fn receive(self, pinata: Rc<Pinata>, stream: Stream, door: Door) {
        let (peer, local) = (stream.peer(), stream.local().ip());
        let Self { handle, account, timers } = self;
        let dial = |address: SocketAddr| async move {
            // Addresses may have come since the rules were made.
            if handle.whereabouts().is_ours(address.ip()) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            let called = handle.connect(Some(local), address).await;
            let stream = called.map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?;
            stream.book(&account);
            Ok(stream)
        };
        pinata.receive(door, stream, peer, &timers, dial).await;
    }
}

/// The page, made anew for each who asks.
struct Page(Party);

impl Shelf for Page {
    fn find(&self, path: &str) -> Found {
        self.asked(path, "")
    }

    fn asked(&self, path: &str, query: &str) -> Found {
        match self.0.pinata().and_then(|pinata| pinata.sheet(path, query)) {
            Some(sheet) => Found::Page(Leaf::fleeting(sheet.kind, sheet.text)),
            None => Found::Nothing,
        }
    }
}
