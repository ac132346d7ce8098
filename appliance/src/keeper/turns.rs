//! The loop: frames in, tasks, frames out, sleep.

use super::desk::{Desk, GRACE, Wish};
use super::doors::Rooms;
use super::figures::Tally;
use super::house::{self, BadHouse};
use super::larder::Larder;
use super::means::Means;
use super::party::Party;
use super::report::{Mood, Report};
use super::settings::{BadWords, Settings};
use super::well::{self, Cpu};
use bundle::Bundle;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use net::{BadConfig, Cidr, Config, Keys, Net, PortTaken, Postbox};
use std::rc::Rc;
use tasks::Tasks;
use tls::Calendar;
use world::{Full, Help, Instant, Nic, NicFacts, Received, World};
use zeroize::Zeroizing;

/// What a connection costs in TLS, HTTP and its task while nothing happens on it: what each is charged at the least.
const ABOVE: usize = 12 * 1024;
/// How long before the end connections that were taken over are ended, so that both sides hear of it.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Steps of tasks between two looks at the frames.
const STEPS: usize = 256;

/// Why the appliance ends.
#[derive(Debug)]
pub enum Ended {
    /// The host asked it to.
    Asked,
    /// The command line cannot be followed.
    Words(BadWords),
    /// The addresses cannot be ours.
    Net(BadConfig),
    /// A port is listed twice.
    Port(PortTaken),
    /// The house cannot be opened.
    House(BadHouse),
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => out.write_str("the host asked for it"),
            Self::Words(bad) => bad.fmt(out),
            Self::Net(bad) => bad.fmt(out),
            Self::Port(taken) => taken.fmt(out),
            Self::House(bad) => bad.fmt(out),
        }
    }
}

/// Lives in `world` until it has to end. `cpu` gives numbers that are mixed into every draw and count for nothing.
pub fn live<W: World>(world: &mut W, cpu: Cpu) -> Ended {
    match try_live(world, cpu) {
        Ok(never) => never,
        Err(ended) => ended,
    }
}

fn try_live<W: World>(world: &mut W, cpu: Cpu) -> Result<Ended, Ended> {
    let settings = Settings::read(&world.boot().words).map_err(Ended::Words)?;
    if let Some(limit) = settings.limit {
        runtime::heap::limit(limit);
    }
    let mut larder = Larder::open(world, cpu);
    let calendar = Calendar::at(world.wall_clock());
    let secrets = world.take_secrets().map(Zeroizing::new);
    let mut copies = 0;
    let prepare = |world: &mut W| {
        copies = well::provenance().forks;
        let secrets = secrets.as_ref().map(|secrets| secrets.as_slice());
        let party = Party::prepare(world, &settings, &calendar, secrets)?;
        let page = party.as_ref().map(Party::page);
        Ok((house::furnish(world, &settings, &calendar, secrets, page)?, party))
    };
    let Some((furnished, party)) = larder.once_fed(world, prepare).map_err(Ended::House)? else {
        return Ok(Ended::Asked);
    };
    let wanted = secrets.as_ref().filter(|_| settings.slaac);
    let stable = wanted.and_then(|secrets| house::address_secret(world, Some(secrets.as_slice())));
    drop(secrets);
    runtime::stack::wipe_below();
    let tally = Tally::beginning(world.now());
    let means = Means::of(world.memory(settings.limit));
    world.say(&means.to_string());
    let rooms = Rooms::of(furnished, tally.clone(), means, settings.share.connections);
    let mut staff = Staff { larder, desk: Desk::new(), rooms, tally, party, means, settings, stable };
    loop {
        let Some(_seeded) = staff.larder.fill(world) else { return Ok(Ended::Asked) };
        // A copy may have been seen at any time since the keys were made, also before the first life.
        let now = well::provenance().forks;
        if let Some(party) = staff.party.as_ref().filter(|_| copies != now)
            && !party.was_copied(world, &staff.settings).map_err(Ended::House)?
        {
            continue;
        }
        if copies != now {
            runtime::stack::wipe_below();
        }
        copies = now;
        // Without keys the machine was copied just now: once more from the beginning.
        let Some(keys) = fresh_keys().filter(|_| staff.rooms.forget_sessions()) else { continue };
        let mut life = Life::begin(world, &staff, &calendar, &keys).map_err(Ended::Net)?;
        staff.tally.watch(life.net.handle());
        match life.turn_until_it_ends(world, &mut staff).map_err(Ended::Port)? {
            End::Asked => return Ok(Ended::Asked),
            // Our twin holds every key that we hold: nothing of this life may be used again.
            End::Forked => {
                world.say("this machine was copied or put back in time: every connection is closed");
            }
        }
    }
}

/// Those who stay when the machine was copied.
struct Staff {
    larder: Larder,
    desk: Desk,
    rooms: Rc<Rooms>,
    tally: Rc<Tally>,
    party: Option<Party>,
    means: Means,
    settings: Settings,
    /// What addresses of our own making follow from.
    stable: Option<[u8; 16]>,
}

/// Says on the console and in the log what has happened.
fn tell<W: World>(world: &mut W, staff: &Staff, text: &str) {
    world.say(text);
    staff.tally.journal.event(text);
}

fn fresh_keys() -> Option<Zeroizing<[u8; 64]>> {
    let mut keys = Zeroizing::new([0; 64]);
    well::draw(keys.as_mut_slice()).ok().map(|()| keys)
}

/// Everything that dies when the machine was copied.
struct Life {
    net: Net,
    tasks: Tasks,
    calendar: Calendar,
    /// The doors were open once, and it was said.
    opened: bool,
    greeted: bool,
    /// When it ends at the latest, once it was asked to.
    leaving: Option<Instant>,
    /// When connections that were taken over end, once the doors are shut.
    evening: Option<Instant>,
    /// Where the log is sent.
    syslog: Option<(Postbox, SocketAddr)>,
}

enum End {
    Asked,
    Forked,
}

impl Life {
    fn begin<W: World>(
        world: &mut W,
        Staff { settings, means, stable, .. }: &Staff,
        calendar: &Calendar,
        keys: &[u8; 64],
    ) -> Result<Self, BadConfig> {
        let cidr = |&(address, prefix): &_| Cidr { address, prefix };
        let addresses = settings.addresses.iter().map(cidr).collect();
        let config = Config {
            addresses,
            gateways: settings.gateways.clone(),
            dhcp: settings.dhcp,
            slaac: settings.slaac,
            stable: *stable,
            share: settings.share,
            budget: means.connections,
            above: ABOVE,
            meter: runtime::heap::in_use,
            ..Config::default()
        };
        let (facts, now) = (world.nic().facts(), world.now());
        let net = Net::new(config, facts, Keys::new(*keys), now)?;
        // A stack that has opened nothing yet has a port for it.
        let syslog = settings.syslog.and_then(|to| Some((net.handle().post(None).ok()?, to)));
        Ok(Self {
            net,
            tasks: Tasks::new(),
            calendar: calendar.clone(),
            opened: false,
            greeted: false,
            leaving: None,
            evening: None,
            syslog,
        })
    }

    /// Opens every door, once there is an address, and says so.
    fn greet<W: World>(&mut self, world: &mut W, staff: &Staff) -> Result<(), PortTaken> {
        let addresses = self.net.handle().whereabouts().addresses;
        if self.greeted || addresses.is_empty() {
            return Ok(());
        }
        if !self.opened && !staff.rooms.are_shut() {
            self.open(staff)?;
        }
        self.greeted = true;
        let addresses: Vec<String> = addresses.iter().map(|cidr| cidr.address.to_string()).collect();
        let pinata = if staff.party.is_some() { ", and a piñata" } else { "" };
        world.say(&format!("ready: HTTPS on 443 and HTTP on 80{pinata} at {}", addresses.join(" and ")));
        Ok(())
    }

    fn open(&mut self, staff: &Staff) -> Result<(), PortTaken> {
        self.opened = true;
        let handle = self.net.handle();
        staff.rooms.open(&handle, &self.tasks)?;
        let open = |party: &Party| party.open(staff.means, &handle, &self.tasks, &staff.rooms.shutting());
        staff.party.as_ref().map_or(Ok(()), open)
    }

    fn turn_until_it_ends<W: World>(&mut self, world: &mut W, staff: &mut Staff) -> Result<End, PortTaken> {
        self.greet(world, staff)?;
        if !self.greeted {
            world.say("address: waiting for a DHCP server or a router; no port is open before");
        }
        loop {
            let news = staff.larder.turn(world);
            if news.forked && self.leaving.is_some() {
                // It closes every connection, which was all that we waited for.
                staff.desk.part(world, "ended");
                return Ok(End::Asked);
            }
            if news.forked {
                return Ok(End::Forked);
            }
            let now = world.now();
            self.calendar.turn(world.wall_clock());
            staff.tally.turn(now);
            let wanted = staff.desk.is_followed() || staff.settings.log.is_some() || self.syslog.is_some();
            staff.tally.journal.turn(world.wall_clock(), wanted);
            let more = self.grant_wishes(world, staff, now);
            if self.evening.take_if(|evening| now >= *evening).is_some() {
                staff.rooms.part();
            }
            let frames = self.net.turn(now, &mut Watched(world.nic()));
            while let Some(news) = self.net.news() {
                world.say(&news.to_string());
            }
            self.greet(world, staff)?;
            if let Some(excess) = staff.means.excess(runtime::heap::in_use()) {
                self.net.relieve(excess);
            }
            let steps = self.tasks.turn(now, STEPS);
            let party = staff.party.as_ref();
            let line = party.and_then(|party| party.tell(now, |text| tell(world, staff, text)));
            let posted = self.tell_the_log(world, staff);
            if self.is_over(now) {
                // Or the last lines would never leave.
                self.net.turn(now, &mut Watched(world.nic()));
                staff.desk.part(world, "ended");
                return Ok(End::Asked);
            }
            if staff.party.is_some() && steps > 0 {
                // Of every handshake something is left that would help to compute the key.
                runtime::stack::wipe_below();
            }
            if steps == 0 && !more && !posted {
                let alarms = self.tasks.timers().deadline();
                let deadlines = [news.deadline, frames, alarms, line, self.leaving, self.evening];
                world.wait(earliest(deadlines));
            }
        }
    }

    /// Tells the lines of the log that wait, to all who want them. What somebody does not take now is lost and counted.
    /// True when letters wait for the next turn of the stack.
    fn tell_the_log<W: World>(&self, world: &mut W, staff: &mut Staff) -> bool {
        let journal = staff.tally.journal.clone();
        let lines = journal.take();
        for (at, line) in &lines {
            staff.desk.tell(*at, line, &journal);
            if let Some(style) = staff.settings.log.filter(|_| line.is_request()) {
                world.say(line.written(*at, style).trim_end());
            }
            if let Some((post, to)) = &self.syslog
                && post.send(*to, line.letter(*at).as_bytes()).is_err()
            {
                journal.lose();
            }
        }
        if !lines.is_empty() {
            staff.desk.flush(world);
        }
        !lines.is_empty() && self.syslog.is_some()
    }

    /// Whether it was asked to end and nobody is inside any more, or the time is up.
    fn is_over(&self, now: Instant) -> bool {
        self.leaving.is_some_and(|last| now >= last || self.net.handle().figures().open == 0)
    }

    /// Hears the operator and does what is asked. True when there may be more to hear.
    fn grant_wishes<W: World>(&mut self, world: &mut W, staff: &mut Staff, now: Instant) -> bool {
        if world.asked_to_stop() && self.leaving.is_none() {
            self.leave(world, staff, now, GRACE);
        }
        let mut wishes = Vec::new();
        let more = staff.desk.turn(world, &staff.rooms, &mut wishes);
        let any = !wishes.is_empty();
        for wish in wishes {
            self.grant(world, staff, now, wish);
        }
        if any {
            staff.desk.flush(world);
        }
        more
    }

    fn grant<W: World>(&mut self, world: &mut W, staff: &mut Staff, now: Instant, wish: Wish) {
        match wish {
            Wish::Status(line) => staff.desk.answer(line, &self.report(staff).words()),
            Wish::Metrics(line) => staff.desk.answer(line, &self.report(staff).numbers()),
            Wish::Drain(line, within) => {
                tell(world, staff, "draining: the operator asked for it; nobody is let in");
                staff.rooms.shut(&self.tasks);
                self.evening = Some(now + within);
                staff.desk.answer(line, &self.report(staff).words());
            }
            Wish::Resume(line) if self.leaving.is_some() => {
                staff.desk.refuse(line, "this appliance is about to end: start it anew");
            }
            Wish::Resume(line) if staff.rooms.are_shut() => match self.open(staff) {
                Ok(()) => {
                    self.evening = None;
                    tell(world, staff, "ready: the operator has opened the doors again");
                    staff.desk.answer(line, &self.report(staff).words());
                }
                Err(taken) => staff.desk.refuse(line, &taken.to_string()),
            },
            Wish::Resume(line) => staff.desk.answer(line, &self.report(staff).words()),
            Wish::Stop(within) => self.leave(world, staff, now, within),
            Wish::Serve(line, bundle, secrets) => self.serve(world, staff, line, bundle, &secrets),
        }
    }

    /// Puts another bundle in the present one's place, or says why not.
    fn serve<W: World>(
        &mut self,
        world: &mut W,
        staff: &mut Staff,
        line: u16,
        bundle: Rc<Bundle>,
        secrets: &[u8],
    ) {
        match self.put_in_place(world, staff, bundle, secrets) {
            Ok(said) => {
                staff.tally.reloaded(true);
                tell(world, staff, &said);
                staff.desk.answer(line, &format!("{said}\n"));
            }
            Err(bad) => {
                staff.tally.reloaded(false);
                tell(world, staff, &format!("not reloaded: {bad}"));
                staff.desk.refuse(line, &bad.to_string());
            }
        }
    }

    /// Whatever hangs or is served here: the bundle's takes its place.
    fn put_in_place<W: World>(
        &self,
        world: &W,
        staff: &Staff,
        bundle: Rc<Bundle>,
        secrets: &[u8],
    ) -> Result<String, BadHouse> {
        if let Some(party) = &staff.party {
            party.refill(world, &staff.settings, &bundle, secrets)?;
            runtime::stack::wipe_below();
            return Ok("reloaded: the piñata".to_owned());
        }
        let furnished = house::refurnish(&staff.settings, &self.calendar, bundle, secrets)?;
        let said = format!("reloaded: {} sites", furnished.house.sites.len());
        staff.rooms.move_into(furnished, &self.net.handle(), &self.tasks);
        Ok(said)
    }

    /// Shuts the doors and ends when those who are inside have finished, or after `within`.
    fn leave<W: World>(&mut self, world: &mut W, staff: &Staff, now: Instant, within: Duration) {
        tell(world, staff, "stopping: nobody is let in, and those who are inside finish");
        staff.rooms.shut(&self.tasks);
        self.leaving = Some(now + within);
        let evening = now + within.saturating_sub(LAST_WORDS).max(within / 2);
        self.evening = Some(self.evening.map_or(evening, |sooner| sooner.min(evening)));
    }

    fn report<'a>(&self, staff: &'a Staff) -> Report<'a> {
        let mood = match self.leaving {
            Some(_) => Mood::Stopping,
            None if staff.rooms.are_shut() => Mood::Draining,
            None => Mood::Serving,
        };
        let (net, party) = (self.net.handle().figures(), staff.party.as_ref());
        Report { mood, tally: &staff.tally, net, rooms: &staff.rooms, party, memory: staff.means.memory }
    }
}

/// The interface as the stack has it, of whichever world: so the stack is compiled once. From the moment that the
/// machine is seen to be copied nothing goes out.
struct Watched<'w>(&'w mut dyn Nic);

impl Nic for Watched<'_> {
    fn facts(&self) -> NicFacts {
        self.0.facts()
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        self.0.receive(frame)
    }

    fn send(&mut self, frame: &[u8], help: Help) -> Result<(), Full> {
        if well::is_forked() { Err(Full) } else { self.0.send(frame, help) }
    }

    fn flush(&mut self) {
        self.0.flush();
    }
}

fn earliest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}
