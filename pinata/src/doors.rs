//! The three doors, and what happens behind each.

use crate::attest::{self, Digits, Nonce};
use crate::callback::{Rules, Uncalled};
use crate::keys::{BadPinata, Keys};
use crate::ledger::{Ledger, Outcome};
use crate::secret::Secret;
use core::cell::{Cell, Ref, RefCell};
use core::future::poll_fn;
use core::net::SocketAddr;
use core::pin::Pin;
use core::time::Duration;
use futures_io::{AsyncRead, AsyncWrite};
use std::io;
use std::rc::Rc;
use tasks::{Timers, TooLate};
use tls::mint::Minted;
use tls::{
    Calendar, Caller, ClientPolicy, Expected, Fingerprint, Front, Kind, Profile, Session, Site, Trust,
};

/// A way to the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// We are the server, and the visitor shows a client's certificate.
    Server,
    /// We hang up and call the visitor back; we are the client, and it shows a server's certificate.
    CallBack,
    /// The visitor has called, and yet we are the client, over the same connection.
    Client,
}

/// Every door of the piñata; there is no other.
pub const DOORS: [Door; 3] = [Door::Server, Door::CallBack, Door::Client];

impl Door {
    /// The port of this door.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Server => 10000,
            Self::CallBack => 10001,
            Self::Client => 10002,
        }
    }

    /// Its place in [`DOORS`].
    pub(crate) const fn place(self) -> usize {
        self as usize
    }
}

/// How long a handshake may take, and how long the secret may take to leave.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long hanging up may take before we call back.
const HANGING_UP: Duration = Duration::from_secs(2);

/// So many may be at the doors at once: each has up to 72 KiB of a flight with it.
const MOST_VISITS: usize = 256;

/// A secret, three doors and a ledger.
pub struct Pinata {
    secret: Secret,
    bounty: String,
    hung: Rc<Hung>,
    kept: Rc<Kept>,
    code: Option<Digits>,
    calendar: Calendar,
}

/// What hangs on the keys.
struct Hung {
    trust: Trust,
    ca: Vec<u8>,
    ca_key_is_gone: bool,
    voices: Voices,
}

/// What stays, whatever is inside.
struct Kept {
    rules: Option<RefCell<Rules>>,
    ledger: RefCell<Ledger>,
    visits: Cell<usize>,
}

/// How the three doors speak TLS, and what they show.
struct Voices {
    front: Front,
    caller: Caller,
    client: Caller,
    ours: [Option<Fingerprint>; 3],
}

impl Pinata {
    /// A piñata with `words` in it; the vector becomes the only copy. `bounty` tells visitors what they are
    /// worth. Without `rules` nobody is called back, and door 10001 is closed.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn new(
        keys: Keys,
        words: Vec<u8>,
        bounty: String,
        rules: Option<Rules>,
        calendar: Calendar,
    ) -> Result<Self, BadPinata> {
        let hung = Rc::new(Hung::on(keys, &calendar)?);
        let secret = Secret::new(words, hung.trust.clone());
        let ledger = RefCell::new(Ledger::new(calendar.seconds().unwrap_or(0), &hung.ca));
        let kept = Kept { rules: rules.map(RefCell::new), ledger, visits: Cell::new(0) };
        Ok(Self { secret, bounty, hung, kept: Rc::new(kept), code: None, calendar })
    }

    /// The same piñata, which says that it runs this code.
    #[must_use]
    pub fn running(self, code: Digits) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same secret and the same ledger behind other keys; the ledger says so.
    ///
    /// # Errors
    /// When the certificates cannot be used: then the secret is wiped with the rest.
    pub fn rehung(self, keys: Keys) -> Result<Self, BadPinata> {
        let hung = Rc::new(Hung::on(keys, &self.calendar)?);
        let secret = self.secret.under(hung.trust.clone());
        self.kept.ledger.borrow_mut().rehung(Digits::of(&hung.ca));
        Ok(Self { secret, hung, ..self })
    }

    /// Another secret in this one's place, behind other keys or the same, with the same ledger, which says so. Whoever is
    /// at a door now still finds the old one, which is wiped when it is dropped.
    ///
    /// # Errors
    /// When the certificates cannot be used: then nothing is changed.
    pub fn refilled(&self, words: Vec<u8>, bounty: String, keys: Option<Keys>) -> Result<Self, BadPinata> {
        let other = keys.map(|keys| Hung::on(keys, &self.calendar).map(Rc::new)).transpose()?;
        let mut ledger = self.kept.ledger.borrow_mut();
        other.iter().for_each(|hung| ledger.rehung(Digits::of(&hung.ca)));
        ledger.refilled();
        let (hung, kept) = (other.unwrap_or_else(|| self.hung.clone()), self.kept.clone());
        let secret = Secret::new(words, hung.trust.clone());
        Ok(Self { secret, bounty, hung, kept, code: self.code, calendar: self.calendar.clone() })
    }

    /// Whether its keys were made in memory, and can be made anew.
    #[must_use]
    pub fn made_its_keys(&self) -> bool {
        self.hung.ca_key_is_gone
    }

    /// The answer to a visitor who wants to know whether the secret is here.
    #[must_use]
    pub fn attestation(&self, nonce: &Nonce) -> String {
        let statement =
            attest::statement(nonce, Digits::of(&self.hung.ca), self.code, self.secret.public_key());
        let signature = self.secret.sign(&statement);
        statement + &attest::last_line(signature.as_deref())
    }

    /// The doors that are open.
    pub fn doors(&self) -> impl Iterator<Item = Door> {
        DOORS.into_iter().filter(|door| *door != Door::CallBack || self.kept.rules.is_some())
    }

    /// Receives one visitor at one door, until both have hung up, and writes down what came of it. `dial`
    /// connects to the address it is given; only door 10001 uses it.
    pub async fn receive<S, T, D>(
        &self,
        door: Door,
        stream: S,
        peer: SocketAddr,
        timers: &Timers,
        dial: impl FnOnce(SocketAddr) -> D,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
        D: Future<Output = io::Result<T>>,
    {
        let outcome = match self.come_in() {
            None => Outcome::Crowded,
            Some(_visit) => match door {
                Door::Server => self.answer(stream, timers).await,
                Door::CallBack => self.call_back(stream, peer, timers, dial).await,
                Door::Client => self.call(&self.hung.voices.client, stream, timers).await,
            },
        };
        self.kept.ledger.borrow_mut().note(door, outcome, self.now());
    }

    /// The ledger as it is now.
    #[must_use]
    pub fn ledger(&self) -> Ref<'_, Ledger> {
        self.kept.ledger.borrow()
    }

    /// The next line for the console, if one is due. Ask until there is none, every few seconds.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        self.kept.ledger.borrow_mut().line(self.now())
    }

    /// How long until a line is due; none while there is nothing to tell.
    #[must_use]
    pub fn line_due_in(&self) -> Option<Duration> {
        self.kept.ledger.borrow().due_in(self.now()).map(Duration::from_secs)
    }

    /// The CA's certificate in DER.
    pub(crate) fn ca(&self) -> &[u8] {
        &self.hung.ca
    }

    pub(crate) fn code(&self) -> Option<Digits> {
        self.code
    }

    pub(crate) fn public_key(&self) -> Option<Digits> {
        self.secret.public_key()
    }

    pub(crate) fn bounty(&self) -> &str {
        &self.bounty
    }

    fn now(&self) -> u64 {
        self.calendar.seconds().unwrap_or(0)
    }

    fn come_in(&self) -> Option<Visit<'_>> {
        let more = self.kept.visits.get().checked_add(1).filter(|visits| *visits <= MOST_VISITS)?;
        self.kept.visits.set(more);
        Some(Visit(&self.kept.visits))
    }

    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, timers: &Timers) -> Outcome {
        match self.hung.voices.front.accept(stream, Door::Server.port(), timers, PATIENCE).await {
            Ok((session, _)) => self.tell(session, timers).await,
            Err(refused) => Outcome::Refused(refused.kind),
        }
    }

    async fn call<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        caller: &Caller,
        stream: S,
        timers: &Timers,
    ) -> Outcome {
        match caller.call(stream, timers, PATIENCE).await {
            Ok(session) => self.tell(session, timers).await,
            Err(refused) => Outcome::Refused(refused.kind),
        }
    }

    async fn call_back<S, T, D>(
        &self,
        mut stream: S,
        peer: SocketAddr,
        timers: &Timers,
        dial: impl FnOnce(SocketAddr) -> D,
    ) -> Outcome
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
        D: Future<Output = io::Result<T>>,
    {
        let permitted = match &self.kept.rules {
            Some(rules) => rules.borrow_mut().permit(peer.ip(), timers.now()),
            None => Err(Uncalled::Forbidden),
        };
        let _ = timers.within(HANGING_UP, close(&mut stream)).await;
        drop(stream);
        let back = match permitted {
            Ok(back) => back,
            Err(uncalled) => return uncalled.into(),
        };
        match timers.within(PATIENCE, dial(back)).await {
            Ok(Ok(stream)) => self.call(&self.hung.voices.caller, stream, timers).await,
            Ok(Err(_)) | Err(TooLate) => Outcome::Unanswered,
        }
    }

    /// Tells the secret to the peer of this session, if the session has proved who that is, and hangs up.
    async fn tell<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut session: Session<S>,
        timers: &Timers,
    ) -> Outcome {
        let Some(proof) = session.admitted(&self.hung.trust) else { return Outcome::Refused(Kind::Ours) };
        let Some(words) = self.secret.told_to(&proof) else { return Outcome::Refused(Kind::Ours) };
        let itself = self.hung.voices.ours.contains(&Some(proof.identity().fingerprint));
        let told = timers.within(PATIENCE, say(&mut session, words)).await;
        let _ = close(&mut session).await;
        match told {
            Ok(Ok(())) if itself => Outcome::Itself,
            Ok(Ok(())) => Outcome::Given,
            Ok(Err(_)) | Err(TooLate) => Outcome::Lost,
        }
    }
}

/// One who is at a door.
struct Visit<'a>(&'a Cell<usize>);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl From<Uncalled> for Outcome {
    fn from(uncalled: Uncalled) -> Self {
        match uncalled {
            Uncalled::Forbidden => Self::Forbidden,
            Uncalled::TooSoon => Self::TooSoon,
            Uncalled::TooMany => Self::TooMany,
        }
    }
}

impl Hung {
    /// What becomes of keys.
    fn on(keys: Keys, calendar: &Calendar) -> Result<Self, BadPinata> {
        let Keys { trust, ca, server, caller, client, ca_key_is_gone } = keys;
        let ours = [&server, &caller, &client].map(|own| own.chain.first().map(|leaf| Fingerprint::of(leaf)));
        let front = front(server, &trust, calendar)?;
        let (caller, client) =
            (towards_anyone(caller, &trust, calendar)?, towards_anyone(client, &trust, calendar)?);
        Ok(Self { trust, ca, ca_key_is_gone, voices: Voices { front, caller, client, ours } })
    }
}

/// The server's door: whatever it is called, it wants a certificate and takes no session up again.
fn front(own: Minted, trust: &Trust, calendar: &Calendar) -> Result<Front, BadPinata> {
    let mut site = Site::new(Vec::new(), own.chain, own.key);
    site.clients = ClientPolicy::Required(trust.clone());
    site.tickets = false;
    Ok(Front::of_any_name(site, calendar.clone())?)
}

/// A client's door: whoever has a server's certificate of our CA will do.
fn towards_anyone(own: Minted, trust: &Trust, calendar: &Calendar) -> Result<Caller, BadPinata> {
    let own = Some((own.chain, own.key));
    let (profile, protocols) = (Profile::default(), Vec::new());
    Ok(Caller::new(trust.clone(), &Expected::Anyone, own, profile, protocols, calendar.clone())?)
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), mut words: &[u8]) -> io::Result<()> {
    while !words.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, words)).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        words = words.get(count..).unwrap_or_default();
    }
    poll_fn(|context| Pin::new(&mut *stream).poll_flush(context)).await
}

async fn close(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream).poll_close(context)).await
}
