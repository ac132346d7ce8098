//! The doors: every port that listens, and what happens behind it.

use super::figures::Tally;
use super::house::Furnished;
use super::lines::{Exchange, Plain, Secure};
use super::means::Means;
use bundle::Bundle;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;
use http::{Client, Crowd, House, Notice, Visit};
use net::{Handle, Listener, PortTaken, Stream};
use std::rc::Rc;
use tasks::{Bell, Tasks, Timers};
use tls::{Front, Identity, TicketSecret};

/// How long a peer may take for its handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long those who have been answered may ask once more when the doors are shut.
const LAST_ROUND: Duration = Duration::from_secs(2);

/// How often we look whether somebody still reads in a bundle that was replaced, how many of its pieces are let go at
/// once, and how long others have their turn in between.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
const FEW: usize = 4;
const BREATH: Duration = Duration::from_millis(1);

/// What is behind a port.
#[derive(Clone, Copy)]
enum Door {
    /// TLS, then HTTP.
    Https,
    /// HTTP as it is.
    Http,
}

/// Every port that listens; there is no other but the piñata's ([`pinata::DOORS`]), where one hangs.
const DOORS: [(u16, Door); 2] = [(443, Door::Https), (80, Door::Http)];

/// What every door leads to.
pub(super) struct Rooms {
    front: RefCell<Rc<Front>>,
    tickets_are_shared: Cell<bool>,
    house: RefCell<Rc<House>>,
    exchange: RefCell<Exchange>,
    bundle: RefCell<Option<Rc<Bundle>>>,
    tally: Rc<Tally>,
    means: Means,
    /// Rung when the doors are to be shut.
    shutting: RefCell<Bell>,
}

impl Rooms {
    /// The rooms of a house; `tally` counts who comes.
    /// Once memory is short, a source has no more than `share` requests under way.
    pub(super) fn of(furnished: Furnished, tally: Rc<Tally>, means: Means, share: usize) -> Rc<Self> {
        let Furnished { front, tickets_are_shared, mut house, exchange, bundle } = furnished;
        let asked = tally.clone();
        house.crowd = Some(Crowd::new(share, move || asked.is_crowded()));
        let house = finished(house, &tally, &means);
        let (front, exchange) = (RefCell::new(Rc::new(front)), RefCell::new(exchange));
        let (house, bundle) = (RefCell::new(house), RefCell::new(bundle));
        let (tickets_are_shared, shutting) = (Cell::new(tickets_are_shared), RefCell::default());
        Rc::new(Self { front, tickets_are_shared, house, exchange, bundle, tally, means, shutting })
    }

    /// What is served now, if it came out of a bundle.
    pub(super) fn bundle(&self) -> Option<Rc<Bundle>> {
        self.bundle.borrow().clone()
    }

    /// The first name of the site at that place.
    pub(super) fn site_name(&self, place: usize) -> Option<String> {
        self.house.borrow().sites.get(place)?.words.names.first().cloned()
    }

    /// The house that is lived in now.
    pub(super) fn house(&self) -> Rc<House> {
        self.house.borrow().clone()
    }

    /// Bytes that are left before nobody is let in any more.
    pub(super) fn room(&self) -> usize {
        self.means.brim.saturating_sub(runtime::heap::in_use())
    }

    /// Whoever comes from now on finds another house. Those who are inside get one more answer in the old one; sessions
    /// of TLS are taken up in the new one, where its sites are the same.
    pub(super) fn move_into(&self, furnished: Furnished, handle: &Handle, tasks: &Tasks) {
        let Furnished { front, tickets_are_shared, mut house, exchange, bundle } = furnished;
        house.notice = self.house.borrow().notice.of_the_next();
        house.crowd = self.house.borrow().crowd.clone();
        let house = finished(house, &self.tally, &self.means);
        if !tickets_are_shared && !self.tickets_are_shared.get() {
            front.make_tickets_from(self.front.borrow().ticket_secret());
        }
        exchange.begin(handle.clone(), tasks);
        house.begin(tasks);
        self.tickets_are_shared.set(tickets_are_shared);
        self.front.replace(Rc::new(front));
        self.exchange.replace(exchange);
        if let Some(old) = self.bundle.replace(bundle) {
            tasks.spawn(let_go(old, tasks.timers().clone()));
        }
        self.house.replace(house).notice.moving.ring();
    }

    /// Takes up no TLS session that was begun before; false when there are no random bytes for new ones. A secret that
    /// several appliances share is known to others by intent, a twin among them: it stays.
    pub(super) fn forget_sessions(&self) -> bool {
        let renew = || TicketSecret::fresh().map(|secret| self.front.borrow().make_tickets_from(secret));
        self.tickets_are_shared.get() || renew().is_ok()
    }

    /// Rung when the doors are shut that are open now.
    pub(super) fn shutting(&self) -> Bell {
        self.shutting.borrow().clone()
    }

    /// Whether nobody is let in.
    pub(super) fn are_shut(&self) -> bool {
        self.shutting.borrow().is_rung()
    }

    /// Shuts every door. Those who are inside finish: each is told with its next answer that it was the last.
    pub(super) fn shut(&self, tasks: &Tasks) {
        self.shutting.borrow().ring();
        let (notice, last_round) = (self.house.borrow().notice.clone(), tasks.timers().after(LAST_ROUND));
        notice.moving.ring();
        tasks.spawn(async move {
            last_round.await;
            notice.close();
        });
    }

    /// Ends connections that were taken over: it is not for us to see when they are done.
    pub(super) fn part(&self) {
        self.house.borrow().notice.parting.ring();
    }

    /// Lets people in again, or for the first time: opens every door.
    pub(super) fn open(self: &Rc<Self>, handle: &Handle, tasks: &Tasks) -> Result<(), PortTaken> {
        if self.are_shut() {
            self.shutting.replace(Bell::default());
            let mut house = House::clone(&self.house.borrow());
            let parting = Some(house.notice.parting).filter(|parting| !parting.is_rung());
            house.notice = Notice { parting: parting.unwrap_or_default(), ..Notice::default() };
            self.house.replace(Rc::new(house));
        }
        self.exchange.borrow().begin(handle.clone(), tasks);
        self.house.borrow().begin(tasks);
        for (port, door) in DOORS {
            let (rooms, listener) = (self.clone(), handle.listen(port)?);
            tasks.spawn(rooms.welcome(listener, door, handle.clone(), tasks.clone()));
        }
        Ok(())
    }

    async fn welcome(self: Rc<Self>, listener: Listener, door: Door, handle: Handle, tasks: Tasks) {
        let (port, shutting) = (listener.port(), self.shutting());
        while let Some(stream) = next(&listener, &shutting).await {
            let Some((purse, stream)) = self.means.admit(&handle, stream) else {
                self.tally.refused();
                continue;
            };
            let (rooms, inside) = (self.clone(), tasks.under(purse.clone()));
            match door {
                Door::Https => {
                    purse.spend_on(&tasks, async move { rooms.greet(stream, port, inside).await });
                }
                Door::Http => purse.spend_on(&tasks, async move { rooms.talk(stream, port, inside).await }),
            }
        }
    }

    /// Both ends of a connection: as a balancer in front of us tells them, where one is listed.
    async fn ends(&self, stream: &mut Stream, tasks: &Tasks) -> Option<(SocketAddr, SocketAddr)> {
        let ends = (stream.peer(), stream.local());
        let announces =
            |bundle: &Rc<Bundle>| bundle.estate().announcers.iter().any(|one| one.has(ends.0.ip()));
        if !self.bundle.borrow().as_ref().is_some_and(announces) {
            return Some(ends);
        }
        match tasks.timers().within(PATIENCE, http::announced(stream)).await {
            Ok(Ok(told)) => Some(told.unwrap_or(ends)),
            _ => None,
        }
    }

    async fn greet(&self, mut stream: Stream, port: u16, tasks: Tasks) {
        let Some((peer, local)) = self.ends(&mut stream, &tasks).await else { return self.tally.refused() };
        // The site that the handshake chooses is one of this house.
        let (front, house) = (self.front.borrow().clone(), self.house.borrow().clone());
        let greeted = front.accept(stream, port, tasks.timers(), PATIENCE).await;
        drop(front);
        let (session, site) = match greeted {
            Ok(greeted) => greeted,
            Err(refused) => {
                self.tally.journal.stumbled(refused.kind);
                return self.tally.stumbled();
            }
        };
        self.tally.greeted();
        let facts = session.facts();
        self.tally.journal.greeted(facts);
        let visit = Visit {
            peer,
            local,
            port,
            secure: true,
            server_name: facts.server_name.clone(),
            site: Some(site.0),
            h2: facts.alpn.as_deref() == Some(b"h2"),
            tls: Some((facts.version, facts.suite)),
            client: session.peer().map(|identity| Box::new(client(identity))),
        };
        http::serve(Secure(session), visit, house, tasks).await;
    }

    async fn talk(&self, mut stream: Stream, port: u16, tasks: Tasks) {
        let Some((peer, local)) = self.ends(&mut stream, &tasks).await else { return self.tally.refused() };
        let (server_name, tls, client) = (None, None, None);
        let visit =
            Visit { peer, local, port, secure: false, server_name, site: None, h2: false, tls, client };
        let house = self.house.borrow().clone();
        http::serve(Plain(stream), visit, house, tasks).await;
    }
}

/// The house as it is lived in.
fn finished(mut house: House, tally: &Rc<Tally>, means: &Means) -> Rc<House> {
    house.figures = Some(tally.clone());
    house.books = Some(tally.journal.clone());
    house.limits.streams = house.limits.streams.min(means.streams);
    Rc::new(house)
}

/// Lets a bundle go once nobody reads in it any more, a few pieces at a time: what is freed is wiped, and to wipe some
/// hundred megabytes at once would hold up everybody.
async fn let_go(mut bundle: Rc<Bundle>, timers: Timers) {
    let alone = loop {
        match Rc::try_unwrap(bundle) {
            Ok(alone) => break alone,
            Err(shared) => bundle = shared,
        }
        timers.after(LOOK_AGAIN).await;
    };
    let mut pieces = alone.into_pieces();
    while !pieces.is_empty() {
        pieces.truncate(pieces.len().saturating_sub(FEW));
        timers.after(BREATH).await;
    }
}

/// What a certificate says, for those who read it in a header.
fn client(identity: &Identity) -> Client {
    Client {
        subject: identity.subject.clone(),
        issuer: identity.issuer.clone(),
        serial: identity.serial.clone(),
        fingerprint: identity.fingerprint.to_string().into(),
        names: identity.names.clone(),
    }
}

/// The next who comes; nobody once the doors are to be shut and whoever stood before them is in.
pub(super) async fn next(listener: &Listener, shutting: &Bell) -> Option<Stream> {
    let (mut accept, mut shut) = (pin!(listener.accept()), shutting.heard());
    poll_fn(|context| match accept.as_mut().poll(context) {
        Poll::Ready(stream) => Poll::Ready(Some(stream)),
        Poll::Pending => Pin::new(&mut shut).poll(context).map(|()| None),
    })
    .await
}
