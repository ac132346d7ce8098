//! The doors: every port that listens, and what happens behind it.

use super::figures::Tally;
use super::house::Furnished;
use core::time::Duration;
use http::{House, Visit};
use net::{Handle, Listener, PortTaken, Stream};
use std::rc::Rc;
use tasks::Tasks;
use tls::{Front, TicketSecret};

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

/// Every port that listens; there is no other but the piñata's ([`pinata::DOORS`]), where one hangs.
const DOORS: [(u16, Door); 2] = [(443, Door::Https), (80, Door::Http)];

/// What every door leads to.
pub(super) struct Rooms {
    front: Front,
    tickets_are_shared: bool,
    house: Rc<House>,
    tally: Rc<Tally>,
    brim: usize,
}

impl Rooms {
    /// The rooms of a house; `tally` counts who comes. Nobody is let in while more than `brim` bytes are in use: those
    /// who are inside need the rest.
    pub(super) fn of(furnished: Furnished, tally: Rc<Tally>, brim: usize) -> Rc<Self> {
        let Furnished { front, tickets_are_shared, mut house } = furnished;
        house.figures = Some(tally.clone());
        Rc::new(Self { front, tickets_are_shared, house: Rc::new(house), tally, brim })
    }

    /// Takes up no TLS session that was begun before; false when there are no random bytes for new ones. A secret that
    /// several appliances share is known to others by intent, a twin among them: it stays.
    pub(super) fn forget_sessions(&self) -> bool {
        let renew = || TicketSecret::fresh().map(|secret| self.front.make_tickets_from(secret));
        self.tickets_are_shared || renew().is_ok()
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
            if runtime::heap::in_use() > self.brim {
                self.tally.refused();
                stream.abort();
                continue;
            }
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
            return self.tally.refused();
        };
        self.tally.greeted();
        let server_name = session.server_name().map(Box::from);
        let h2 = session.alpn() == Some(b"h2");
        let visit = Visit { peer, port, secure: true, server_name, site: Some(site.0), h2 };
        http::serve(session, visit, self.house.clone(), tasks).await;
    }

    async fn talk(&self, stream: Stream, port: u16, tasks: Tasks) {
        let peer = stream.peer();
        let visit = Visit { peer, port, secure: false, server_name: None, site: None, h2: false };
        http::serve(stream, visit, self.house.clone(), tasks).await;
    }
}
