//! The Xen world.

use crate::beneath::{Beneath, Memory, Port, Xen};
use crate::call::{self, Parameter, Special};
use crate::channels::Channels;
use crate::console::{self, Console};
use crate::control::{self, Wish};
use crate::net::Net;
use crate::plug::{First, Plug};
use crate::shared::Shared;
use crate::store::{Store, Subject};
use boot::Hypervisor;
use boot::irq::{self, Source};
use core::fmt;
use core::time::Duration;
use dma::Grants;
use std::rc::Rc;
use world::{Boot, ChannelId, Generation, Heard, Instant, World};

const PAGE: usize = 4096;
/// Pages of the grant table: 512 grants each.
const GRANT_PAGES: usize = 2;
/// How long the host may take to set up our network.
const PATIENCE: u64 = 20_000_000_000;
/// How long until memory that a back end held is looked at again.
const AGAIN: Duration = Duration::from_secs(1);

/// A domU of Xen's.
pub struct Guest {
    beneath: Rc<dyn Beneath>,
    shared: Rc<Shared>,
    store: Store,
    console: Option<Port>,
    net: Net,
    plug: Plug,
    channels: Channels,
    /// When Xen's clock began, as boot was told last.
    began: Option<u64>,
    asked_to_stop: bool,
    boot: Boot,
}

/// Why there is no world to live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// This is no guest of Xen's.
    NotXen,
    /// Xen does not give what every guest of its kind has.
    Lacks(&'static str),
    /// There is no network device that can be used.
    NoNetwork,
    /// There is no memory for the devices.
    Memory,
}

/// True when this machine is a guest of Xen's.
#[must_use]
pub fn is_beneath() -> bool {
    boot::on_bare_metal() && boot::hypervisor() == Hypervisor::Xen
}

impl Guest {
    /// Meets the hypervisor, the console and xenstore, and takes the devices into use.
    ///
    /// # Errors
    /// Without a network there is nothing to do here.
    pub fn open() -> Result<Self, Unfit> {
        is_beneath().then_some(()).ok_or(Unfit::NotXen)?;
        let memory: Memory = Rc::new(boot::pages);
        let shared = Rc::new(shared(&memory)?);
        let grants = Rc::new(grants(&memory)?);
        let beneath: Rc<dyn Beneath> = Rc::new(Xen(shared.clone()));
        let console = open_console(&beneath);
        let mut store = open_store(&beneath)?;
        introduce(&mut store);
        let first = wait_for_network(&mut store, &beneath).ok_or(Unfit::NoNetwork)?;
        let First { plug, mac, mtu, offer, address } = first;
        let net = Net::new(beneath.clone(), &grants, &memory, mac, mtu, offer).ok_or(Unfit::Memory)?;
        let channels = Channels::new(beneath.clone(), grants, memory);
        let boot = Boot { words: words(address), bundle: boot::module(), layout: boot::layout() };
        let (began, asked_to_stop) = (None, false);
        let mut guest =
            Self { beneath, shared, store, console, net, plug, channels, began, asked_to_stop, boot };
        guest.look_at(Subject::Network);
        guest.look_at(Subject::Consoles);
        guest.serve();
        Ok(guest)
    }

    /// Whether anything has come that no mark tells of any more. All are asked: each begins to listen.
    fn has_news(&mut self) -> bool {
        let (store, channels) = (self.store.has_news(), self.channels.listen());
        self.net.listen() | store | channels
    }

    /// Does what the host asked for, and says what those that were shut had lied about.
    fn serve(&mut self) {
        let news = self.store.news();
        for subject in Subject::ALL {
            if news.of(subject) {
                self.look_at(subject);
            }
        }
        if let Some(lie) = self.net.lie() {
            say(&format!("xen: the network's back end: {lie}: it is shut"));
            self.plug.shut(&mut self.store);
        }
        if let Some(lie) = self.store.lie() {
            say(&format!("xen: xenstore: {lie}: it is not listened to any more"));
        }
        if self.plug.is_held() {
            self.look_at(Subject::Network);
        }
        self.look_at_the_date();
    }

    fn look_at(&mut self, subject: Subject) {
        match subject {
            Subject::Control => self.obey(),
            Subject::Network => {
                let line = self.plug.turn(&mut self.store, &mut self.net);
                line.iter().for_each(|line| say(&format!("xen: {line}")));
            }
            Subject::Consoles => self.channels.look(&mut self.store),
        }
    }

    fn obey(&mut self) {
        match control::wish(&mut self.store) {
            Some(Wish::PowerOff) => self.asked_to_stop = true,
            Some(Wish::Reboot) => {
                boot::reboot_at_the_end();
                self.asked_to_stop = true;
            }
            Some(Wish::Impossible(wish)) => say(&format!(
                "xen: the host asked to {wish}, which cannot be done: shut the domain down and create it again, here or elsewhere"
            )),
            None => {}
        }
    }

    /// The host may change the date at any time.
    fn look_at_the_date(&mut self) {
        let began = self.shared.began();
        if began != self.began && began.is_some() {
            self.began = began;
            boot::correct_date(began.unwrap_or(0).saturating_add(self.beneath.now()));
        }
    }

    fn ports(&self) -> Vec<Port> {
        let fixed = [Some(self.store.port()), self.console, self.net.port()];
        fixed.into_iter().flatten().chain(self.channels.ports()).collect()
    }
}

impl World for Guest {
    type Nic = Net;

    fn nic(&mut self) -> &mut Net {
        &mut self.net
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.beneath.now())
    }

    fn wall_clock(&self) -> Duration {
        Duration::from_nanos(self.began.unwrap_or(0).saturating_add(self.beneath.now()))
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        let ports = self.ports();
        // First the marks, then the look: what comes in between marks again.
        ports.iter().for_each(|port| {
            let _ = self.beneath.fired(*port);
        });
        let again = self.plug.is_held().then(|| self.now() + AGAIN);
        let deadline = deadline.into_iter().chain(again).min();
        if !self.has_news() {
            self.beneath.sleep(&ports, deadline.map(Instant::nanos));
        }
        self.serve();
    }

    fn channel(&mut self, name: &str) -> Option<ChannelId> {
        self.channels.find(name)
    }

    fn hear(&mut self, channel: ChannelId, into: &mut [u8]) -> Heard {
        self.channels.hear(channel, into)
    }

    fn tell(&mut self, channel: ChannelId, bytes: &[u8]) -> usize {
        self.channels.tell(channel, bytes)
    }

    fn boot(&self) -> &Boot {
        &self.boot
    }

    fn memory(&self, limit: Option<usize>) -> usize {
        boot::memory().min(limit.unwrap_or(usize::MAX))
    }

    fn take_secrets(&mut self) -> Option<Vec<u8>> {
        boot::take_secret()
    }

    fn host_random(&mut self, _: &mut [u8]) -> usize {
        0
    }

    /// Xen can copy a machine only with its help, which ours does not give: a request to suspend is refused.
    fn generation(&self) -> Generation {
        Rc::new(|| None)
    }

    fn asked_to_stop(&mut self) -> bool {
        self.asked_to_stop
    }

    fn say(&mut self, line: &str) {
        say(line);
    }
}

fn shared(memory: &Memory) -> Result<Shared, Unfit> {
    let page = memory(PAGE).ok_or(Unfit::Memory)?;
    let placed = call::place(Special::SharedInfo, &page);
    placed.then(|| Shared::new(page)).ok_or(Unfit::Lacks("a page of events and clocks"))
}

fn grants(memory: &Memory) -> Result<Grants, Unfit> {
    let table = memory(GRANT_PAGES * PAGE).ok_or(Unfit::Memory)?;
    let placed = call::place(Special::Grants, &table);
    placed.then(|| Grants::new(table)).ok_or(Unfit::Lacks("a grant table"))
}

/// The machine's own console; without one everything is said as before.
fn open_console(beneath: &Rc<dyn Beneath>) -> Option<Port> {
    let (page, port) = ring(Parameter::ConsolePage, Parameter::ConsolePort)?;
    console::open(Console::new(beneath.clone(), page, port));
    Some(port)
}

fn open_store(beneath: &Rc<dyn Beneath>) -> Result<Store, Unfit> {
    let ring = ring(Parameter::StorePage, Parameter::StorePort);
    let (page, port) = ring.ok_or(Unfit::Lacks("a ring to xenstore"))?;
    Ok(Store::new(beneath.clone(), page, port))
}

fn ring(page: Parameter, port: Parameter) -> Option<(dma::Pages, Port)> {
    let page = call::parameter(page)?.checked_mul(PAGE as u64)?;
    let port = u32::try_from(call::parameter(port)?).ok()?;
    Some((boot::shared_page(page)?, Port(port)))
}

/// Tells the host what this guest can do, and what it wants to hear of.
fn introduce(store: &mut Store) {
    if let Some((_, vector)) = irq::claim(Source::Message).and_then(|line| line.message()) {
        call::show_drivers(vector);
    }
    control::introduce(store);
    let _ = store.watch("device/vif", Subject::Network);
    let _ = store.watch("device/console", Subject::Consoles);
}

/// News that come meanwhile are kept: the host may have asked for an end already.
fn wait_for_network(store: &mut Store, beneath: &Rc<dyn Beneath>) -> Option<First> {
    let until = beneath.now().saturating_add(PATIENCE);
    loop {
        let _ = beneath.fired(store.port());
        if let Some(first) = Plug::find(store) {
            return Some(first);
        }
        let now = beneath.now();
        if now >= until || store.list("device/vif").is_ok_and(|devices| devices.is_empty()) {
            return None;
        }
        beneath.sleep(&[store.port()], Some(until.min(now + PATIENCE / 100)));
    }
}

/// The command line. An address that the host wrote into xenstore is as good as one that was typed, and counts when
/// none was.
fn words(address: Option<String>) -> Vec<String> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let typed = words.iter().any(|word| word == "--address");
    for address in address.iter().flat_map(|all| all.split_whitespace()).filter(|_| !typed) {
        words.extend(["--address".to_owned(), address.to_owned()]);
    }
    words
}

fn say(text: &str) {
    boot::say(&world::shown(text));
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotXen => formatter.write_str("this is no guest of Xen's"),
            Self::Lacks(what) => write!(formatter, "Xen does not give this domain {what}: it must be of type \"pvh\""),
            Self::NoNetwork => formatter.write_str(
                "no network device is ready: give the domain one (xl: vif = [\"bridge=xenbr0\"]) and see that its back end runs",
            ),
            Self::Memory => formatter.write_str("there is no memory for the devices: give the domain more"),
        }
    }
}

impl core::error::Error for Unfit {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Pretend;

    #[test]
    fn a_wish_from_before_the_start_is_still_news_when_the_network_is_there() {
        let host = Pretend::new();
        host.set("control/shutdown", "poweroff");
        let mut store = host.store();
        control::introduce(&mut store);
        let beneath: Rc<dyn Beneath> = host;
        assert!(wait_for_network(&mut store, &beneath).is_none(), "there is no device");
        assert!(store.news().of(Subject::Control));
        assert_eq!(control::wish(&mut store), Some(Wish::PowerOff));
    }
}
