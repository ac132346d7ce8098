//! The KVM world.

use crate::button::Button;
use crate::device::{Memory, Refused};
use crate::search::{Device, Search, search};
use crate::{Console, Net, Rng, acpi, words};
use boot::irq::Line;
use core::fmt;
use core::time::Duration;
use dma::{HostLied, Registers, Transport};
use std::rc::Rc;
use world::{Boot, ChannelId, Generation, Heard, Instant, World};

const NET: u32 = 1;
const CONSOLE: u32 = 3;
const RNG: u32 = 4;

/// How long the host may take to tell of its ports.
const PATIENCE: Duration = Duration::from_millis(200);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Bytes of a generation.
const GENERATION: usize = 16;

type Way = Box<dyn Transport>;

/// A guest of KVM, or of QEMU without it.
pub struct Guest {
    net: Wired<Net<Way>>,
    console: Option<Wired<Console<Way>>>,
    rng: Option<Wired<Rng<Way>>>,
    button: Option<Button>,
    pressed: bool,
    generation: Generation,
    boot: Boot,
}

/// Why there is no world to live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// This is a Linux process.
    NotAMachine,
    /// No network device can be used; the console says what was wrong with those that are there.
    NoNetwork,
}

/// A driver and its interrupt.
struct Wired<D> {
    driver: D,
    line: Line,
}

/// What the world does with every driver.
trait Driver: Sized {
    fn begin(way: Way, memory: &Memory) -> Result<Self, Refused>;
    fn listen(&mut self) -> bool;
    fn acknowledge(&mut self);
    fn lie(&mut self) -> Option<HostLied>;
}

macro_rules! driver {
    ($name:ident) => {
        impl Driver for $name<Way> {
            fn begin(way: Way, memory: &Memory) -> Result<Self, Refused> {
                Self::new(way, memory)
            }

            fn listen(&mut self) -> bool {
                $name::listen(self)
            }

            fn acknowledge(&mut self) {
                $name::acknowledge(self);
            }

            fn lie(&mut self) -> Option<HostLied> {
                $name::lie(self)
            }
        }
    };
}

driver!(Net);
driver!(Console);
driver!(Rng);

impl Guest {
    /// Finds the devices and takes them into use: the first of each kind that is fit.
    ///
    /// # Errors
    /// Without a network there is nothing to do here.
    pub fn open() -> Result<Self, Unfit> {
        if !boot::on_bare_metal() {
            return Err(Unfit::NotAMachine);
        }
        let words = words::read(std::env::args().skip(1));
        let mut found = search(&words.places);
        words.wrong.iter().for_each(|word| found.complain(format_args!("what is {word}?")));
        let memory: Memory = Rc::new(boot::pages);
        let net = found.first(NET, "network", &memory);
        let console = found.first(CONSOLE, "console", &memory);
        let rng = found.first(RNG, "random", &memory);
        found.complaints.iter().for_each(|complaint| say(complaint));
        let boot = Boot { words: words.rest, bundle: boot::module(), layout: boot::layout() };
        let (net, button, generation) = (net.ok_or(Unfit::NoNetwork)?, Button::find(), generation());
        let mut guest = Self { net, console, rng, button, pressed: false, generation, boot };
        guest.hear_of_ports();
        Ok(guest)
    }

    /// Waits a moment for the host to tell which ports there are: whoever asks for a channel gets an answer.
    fn hear_of_ports(&mut self) {
        let end = self.now() + PATIENCE;
        while self.now() < end && self.console.as_mut().is_some_and(|console| !console.driver.is_settled()) {
            boot::wait(Some((self.now() + LOOK_AGAIN).nanos()));
            self.serve();
        }
    }

    /// Whether anything has come for which there may be no interrupt. All are asked: each begins to listen.
    fn has_news(&mut self) -> bool {
        let console = self.console.as_mut().is_some_and(Wired::listen);
        let rng = self.rng.as_mut().is_some_and(Wired::listen);
        self.net.listen() | console | rng
    }

    /// Takes back the interrupts that came, and says what the devices that were shut had lied about.
    fn serve(&mut self) {
        self.net.serve("network");
        self.console.iter_mut().for_each(|console| console.serve("console"));
        self.rng.iter_mut().for_each(|rng| rng.serve("random"));
        self.pressed |= self.button.as_ref().is_some_and(Button::pressed);
    }
}

impl World for Guest {
    type Nic = Net<Way>;

    fn nic(&mut self) -> &mut Self::Nic {
        &mut self.net.driver
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(boot::monotonic())
    }

    fn wall_clock(&self) -> Duration {
        Duration::from_nanos(boot::since_1970())
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        if !self.has_news() {
            boot::wait(deadline.map(Instant::nanos));
        }
        self.serve();
    }

    fn channel(&mut self, name: &str) -> Option<ChannelId> {
        self.console.as_mut()?.driver.channel(name)
    }

    fn hear(&mut self, channel: ChannelId, into: &mut [u8]) -> Heard {
        self.console.as_mut().map_or(Heard::Nothing, |console| console.driver.hear(channel, into))
    }

    fn tell(&mut self, channel: ChannelId, bytes: &[u8]) -> usize {
        self.console.as_mut().map_or(0, |console| console.driver.tell(channel, bytes))
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

    fn host_random(&mut self, into: &mut [u8]) -> usize {
        self.rng.as_mut().map_or(0, |rng| rng.driver.draw(into))
    }

    fn generation(&self) -> Generation {
        self.generation.clone()
    }

    fn asked_to_stop(&mut self) -> bool {
        self.pressed
    }

    fn say(&mut self, line: &str) {
        say(line);
    }
}

impl<D: Driver> Wired<D> {
    fn listen(&mut self) -> bool {
        self.driver.listen()
    }

    fn serve(&mut self, name: &str) {
        if self.line.fired() {
            self.driver.acknowledge();
            self.line.done();
        }
        if let Some(lie) = self.driver.lie() {
            say(&format!("virtio: {name} device: {lie}: it is shut"));
        }
    }
}

impl Search {
    /// The first device of a kind that is fit for use.
    fn first<D: Driver>(&mut self, kind: u32, name: &str, memory: &Memory) -> Option<Wired<D>> {
        loop {
            let at = self.devices.iter().position(|device| device.kind == kind)?;
            let Device { way, line, .. } = self.devices.remove(at);
            match D::begin(way, memory) {
                Ok(driver) => return Some(Wired { driver, line }),
                Err(refused) => self.complain(format_args!("{name} device: {refused}")),
            }
        }
    }
}

/// A look at the generation where the host keeps it, if it keeps one.
fn generation() -> Generation {
    match boot::rsdp().and_then(|root| acpi::generation(root, &boot::firmware)) {
        Some(at) => reader(boot::registers(at, GENERATION)),
        None => reader(None),
    }
}

fn reader(place: Option<Registers>) -> Generation {
    Rc::new(move || {
        let mut bytes = [0; GENERATION];
        place.as_ref()?.look(&mut bytes);
        Some(u128::from_le_bytes(bytes))
    })
}

fn say(text: &str) {
    boot::say(&world::shown(text));
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotAMachine => "this is a process, not a machine",
            Self::NoNetwork => "no network device: give the machine a virtio-net (QEMU: -device virtio-net-pci, or -device virtio-net-device on a microvm)",
        })
    }
}

impl core::error::Error for Unfit {}
