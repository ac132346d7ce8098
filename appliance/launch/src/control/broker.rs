//! The broker: in the launcher, between those who dial its socket and the appliance's one channel.
//!
//! Every client is answered by a steward of its own; the appliance is asked by one operator. A question is carried
//! over under another line number and its answer back. Who may ask is decided when a client comes: the user of the
//! launcher, or root. A client that does not read loses lines of the log and holds up nobody.

mod lines;

use super::offer::Offer;
use super::packing::{Packing, What};
use crate::load::Load;
use crate::watch::{Watch, Watched};
use control::{Asked, Operator, Steward, Told, Verb, Who};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use futures_io::{AsyncRead, AsyncWrite};
use lines::{Appliance, Asker};
use rustix::net::sockopt::socket_peercred;
use rustix::process::getuid;
use rustix::rand::{GetRandomFlags, getrandom};
use std::cell::RefCell;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;

/// Clients at once; others wait to be accepted.
const CLIENTS: usize = 32;
const PIECE: usize = 4096;

const NOT_THERE: &str = "the appliance is not there: it is starting, or starting again";
const GONE: &str = "the appliance has ended";

/// A channel for an appliance: our end, and the one that it inherits.
pub(crate) fn channel() -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}

/// A number that no greeting before had.
pub(super) fn nonce() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

/// The broker, as the launcher holds it.
#[derive(Clone)]
pub(crate) struct Broker(Rc<RefCell<Exchange>>);

struct Exchange {
    watch: Watch,
    listener: Option<Watched<UnixListener>>,
    clients: Vec<Client>,
    appliance: Option<Appliance>,
    waker: Option<Waker>,
    last: u64,
    /// What the launcher adds to each report, in words and in numbers.
    about: (String, String),
    /// What is served: what the launcher started with, or what was reloaded since.
    present: Load,
    /// A bundle that is on its way, and who asked for it.
    reload: Option<(Asker, Stage)>,
}

/// How far a reload is.
enum Stage {
    Packing(Packing),
    /// On which line of the appliance's.
    Offered(u16, Box<Offer>),
}

/// Somebody who dialled our socket.
struct Client {
    number: u64,
    socket: Watched<UnixStream>,
    steward: Steward,
    gone: bool,
}

impl Broker {
    /// A broker for those who dial `listener`.
    pub(crate) fn new(watch: &Watch, listener: Option<UnixListener>, present: Load) -> io::Result<Self> {
        let listener = listener.map(|listener| watch.socket(listener)).transpose()?;
        let (clients, appliance, waker, about) = (Vec::new(), None, None, Default::default());
        let (watch, reload) = (watch.clone(), None);
        let exchange =
            Exchange { watch, listener, clients, appliance, waker, last: 0, about, present, reload };
        Ok(Self(Rc::new(RefCell::new(exchange))))
    }

    /// Serves for as long as the launcher lives.
    pub(crate) async fn serve(self) {
        poll_fn(|context| {
            let mut exchange = self.0.borrow_mut();
            exchange.waker = Some(context.waker().clone());
            while exchange.turn(context) {}
            Poll::Pending
        })
        .await
    }

    /// An appliance was started, and this is our end of its channel.
    pub(crate) fn attach(&self, socket: UnixStream) -> io::Result<()> {
        let mut exchange = self.0.borrow_mut();
        let socket = exchange.watch.socket(socket)?;
        let operator = Operator::new(nonce()?);
        exchange.appliance = Some(Appliance::new(socket, operator));
        exchange.wake();
        Ok(())
    }

    /// The appliance has ended: carries what it still said, and tells those who wait for more.
    pub(crate) fn detach(&self) {
        let mut exchange = self.0.borrow_mut();
        let mut context = Context::from_waker(Waker::noop());
        while exchange.turn(&mut context) {}
        exchange.lose();
        while exchange.turn(&mut context) {}
        exchange.wake();
    }

    /// Asks the appliance to finish; false if it cannot hear.
    pub(crate) fn ask_to_finish(&self) -> bool {
        let mut exchange = self.0.borrow_mut();
        let asked = exchange
            .appliance
            .as_mut()
            .is_some_and(|appliance| appliance.answers && appliance.ask(None, Verb::Stop, "").is_some());
        exchange.wake();
        asked
    }

    /// What the launcher adds to each report from now on.
    pub(crate) fn tell_about(&self, words: String, numbers: String) {
        self.0.borrow_mut().about = (words, numbers);
    }
}

impl Exchange {
    fn wake(&mut self) {
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Carries what there is to carry. True when something moved.
    fn turn(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = self.accept(context);
        moved |= self.hear_the_appliance(context);
        for at in 0..self.clients.len() {
            moved |= self.hear_a_client(at, context);
        }
        moved |= self.carry(context);
        moved |= self.send(context);
        let before = self.clients.len();
        let left: Vec<u64> = self.clients.iter().filter(|c| c.gone).map(|client| client.number).collect();
        self.clients.retain(|client| !client.gone);
        left.into_iter().for_each(|number| self.leave_all(number));
        if self.appliance.as_ref().is_some_and(|appliance| appliance.gone) {
            self.lose();
            moved = true;
        }
        moved | (self.clients.len() < before)
    }

    fn accept(&mut self, context: &mut Context<'_>) -> bool {
        if self.clients.len() >= CLIENTS {
            return false;
        }
        let Some(listener) = &self.listener else { return false };
        let Poll::Ready(Ok(socket)) = listener.poll_accept(context) else { return false };
        let ours = socket_peercred(&socket).is_ok_and(|peer| peer.uid == getuid() || peer.uid.is_root());
        let watched = ours.then(|| socket.set_nonblocking(true).and_then(|()| self.watch.socket(socket)));
        if let Some(Ok(socket)) = watched {
            self.last += 1;
            let steward = Steward::new(Who::Launcher);
            self.clients.push(Client { number: self.last, socket, steward, gone: false });
        }
        true
    }

    fn hear_the_appliance(&mut self, context: &mut Context<'_>) -> bool {
        let Self { appliance: Some(appliance), clients, about, reload, present, .. } = self else {
            return false;
        };
        let mut piece = [0; PIECE];
        let mut bytes: &[u8] = match Pin::new(&mut appliance.socket).poll_read(context, &mut piece) {
            Poll::Pending => return false,
            Poll::Ready(Ok(count)) if count > 0 => piece.get(..count).unwrap_or_default(),
            Poll::Ready(_) => {
                appliance.gone = true;
                return true;
            }
        };
        loop {
            match appliance.operator.receive(&mut bytes) {
                Ok(None) if bytes.is_empty() => return true,
                Ok(None) => {}
                Ok(Some(Told::Wants { line, spans })) => {
                    if let Some((_, Stage::Offered(_, offer))) = reload.as_mut().filter(|r| r.is_on(line)) {
                        offer.wanted(spans);
                    }
                }
                Ok(Some(Told::Welcome(_))) => {
                    appliance.answers = true;
                    for (asker, verb, words) in core::mem::take(&mut appliance.early) {
                        appliance.ask(Some(asker), verb, &words);
                    }
                }
                Ok(Some(Told::Text { line, bytes })) => {
                    if let Some(route) = appliance.routes.get_mut(&line) {
                        route.hear(bytes, clients);
                    }
                }
                Ok(Some(Told::Done { line })) => {
                    if let Some((_, Stage::Offered(_, offer))) = reload.take_if(|reload| reload.is_on(line)) {
                        *present = offer.load;
                    }
                    let route = appliance.routes.remove(&line);
                    route.into_iter().for_each(|route| route.done(clients, about));
                }
                Ok(Some(Told::Refused { line, why })) => {
                    reload.take_if(|reload| reload.is_on(line));
                    let route = appliance.routes.remove(&line);
                    route.into_iter().for_each(|route| route.refuse(clients, why));
                }
                Err(malformed) => {
                    eprintln!("gatehouse: the appliance's control channel: {malformed}");
                    appliance.gone = true;
                    return true;
                }
            }
        }
    }

    fn hear_a_client(&mut self, at: usize, context: &mut Context<'_>) -> bool {
        let Self { appliance, clients, reload, present, watch, .. } = self;
        let Some(client) = clients.get_mut(at) else { return false };
        let mut piece = [0; PIECE];
        let mut bytes: &[u8] = match Pin::new(&mut client.socket).poll_read(context, &mut piece) {
            Poll::Pending => return false,
            Poll::Ready(Ok(count)) if count > 0 => piece.get(..count).unwrap_or_default(),
            Poll::Ready(_) => {
                client.gone = true;
                return true;
            }
        };
        loop {
            match client.steward.receive(&mut bytes) {
                Ok(None) if bytes.is_empty() => return true,
                Ok(None | Some(Asked::Data { .. })) => {}
                Ok(Some(Asked::Greeted)) => {
                    appliance.iter_mut().for_each(|appliance| appliance.leave_all(client.number));
                }
                Ok(Some(Asked::Left { line })) => {
                    appliance.iter_mut().for_each(|appliance| appliance.leave((client.number, line)));
                }
                Ok(Some(Asked::For { line, verb, words })) => {
                    let asker = (client.number, line);
                    let taken = match appliance {
                        None => Err(NOT_THERE),
                        Some(_) if verb == Verb::Reload => {
                            packing(watch, words, present, reload).map(|packing| {
                                *reload = Some((asker, Stage::Packing(packing)));
                            })
                        }
                        Some(appliance) => appliance.carry(asker, verb, words),
                    };
                    taken.unwrap_or_else(|why| client.steward.refuse(line, why));
                }
                Ok(Some(Asked::Offered { line, .. })) => {
                    client.steward.refuse(line, "a launcher packs by itself: ask it to reload");
                }
                Err(_) => {
                    client.gone = true;
                    return true;
                }
            }
        }
    }

    /// Goes on with a reload: what was packed is offered, and what is wanted is sent.
    fn carry(&mut self, context: &mut Context<'_>) -> bool {
        let Self { appliance, reload, clients, .. } = self;
        let Some((asker, stage)) = reload else { return false };
        let trouble = match (stage, appliance) {
            (Stage::Offered(line, offer), Some(appliance)) => {
                match offer.go_on(&mut appliance.operator, *line) {
                    Ok(()) => return false,
                    Err(error) => error.to_string(),
                }
            }
            (Stage::Packing(_), Some(appliance)) if !appliance.answers => return false,
            (Stage::Packing(packing), Some(appliance)) => match packing.poll(context) {
                Poll::Pending => return false,
                Poll::Ready(packed) => {
                    match packed.and_then(|load| Offer::of(load).map_err(|error| error.to_string())) {
                        Ok(offer) => match appliance.line(Some(*asker), Verb::Reload) {
                            Some(line) => {
                                offer.begin(&mut appliance.operator, line);
                                *reload = Some((*asker, Stage::Offered(line, Box::new(offer))));
                                return true;
                            }
                            None => "too many questions at once: try again".to_owned(),
                        },
                        Err(why) => why,
                    }
                }
            },
            (_, None) => GONE.to_owned(),
        };
        if let Some(client) = clients.iter_mut().find(|client| client.number == asker.0) {
            client.steward.refuse(asker.1, &trouble);
        }
        *reload = None;
        true
    }

    /// Gives each socket what it takes.
    fn send(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        if let Some(appliance) = &mut self.appliance {
            while let Some(count) = put(&mut appliance.socket, appliance.operator.outbox(), context) {
                appliance.operator.sent(count);
                moved = true;
            }
        }
        for client in &mut self.clients {
            while let Some(count) = put(&mut client.socket, client.steward.outbox(), context) {
                client.steward.sent(count);
                moved = true;
            }
        }
        moved
    }

    fn leave_all(&mut self, client: u64) {
        self.appliance.iter_mut().for_each(|appliance| appliance.leave_all(client));
    }

    /// There is no appliance any more. Who asked for its end has what was asked for.
    fn lose(&mut self) {
        let Some(appliance) = self.appliance.take() else { return };
        for ((number, line), ..) in appliance.early {
            if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
                client.steward.refuse(line, GONE);
            }
        }
        for route in appliance.routes.into_values() {
            match route.verb {
                Verb::Stop | Verb::Log => route.done(&mut self.clients, &Default::default()),
                _ => route.refuse(&mut self.clients, GONE),
            }
        }
    }
}

trait OnLine {
    /// Whether it is offered on that line.
    fn is_on(&self, line: u16) -> bool;
}

impl OnLine for (Asker, Stage) {
    fn is_on(&self, line: u16) -> bool {
        matches!(self.1, Stage::Offered(on, _) if on == line)
    }
}

/// Begins to pack for a reload, if none is under way.
fn packing(
    watch: &Watch,
    words: &str,
    present: &Load,
    other: &Option<(Asker, Stage)>,
) -> Result<Packing, &'static str> {
    if other.is_some() {
        return Err("another reload is under way: wait for its end");
    }
    let begun = What::read(words).and_then(|(what, path)| {
        let present = present.again().ok()?;
        Packing::begin(watch, what, path, Some(present)).ok()
    });
    begun.ok_or("the launcher's host refuses to pack it")
}

/// How many bytes the socket took, if any. What cannot be written is noticed when it is read.
fn put(socket: &mut Watched<UnixStream>, bytes: &[u8], context: &mut Context<'_>) -> Option<usize> {
    if bytes.is_empty() {
        return None;
    }
    match Pin::new(socket).poll_write(context, bytes) {
        Poll::Ready(Ok(count)) if count > 0 => Some(count),
        _ => None,
    }
}
