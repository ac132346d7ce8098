//! What all devices have in common: how they are met, how they get their rings, how they are shut.

use core::fmt;
use dma::{HostLied, Pages, Ring, Transport, status};
use std::rc::Rc;

/// Where memory for a device comes from: so many bytes, or none.
pub type Memory = Rc<dyn Fn(usize) -> Option<Pages>>;

/// Both sides say at which index they want to be told.
pub(crate) const EVENTS: u64 = 1 << 29;
/// The interface of virtio 1.0 and later.
pub(crate) const MODERN: u64 = 1 << 32;

/// The longest ring that there is.
const LONGEST: usize = 1 << 15;

/// Why a device is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It speaks only the interface from before virtio 1.0.
    Legacy,
    /// It does not agree to the features that we took out of those on offer.
    Features,
    /// It lacks what we cannot do without.
    Lacks(&'static str),
    /// There is no memory for it.
    Memory,
    /// It broke its own rules before it ran.
    Lied(HostLied),
}

impl From<HostLied> for Refused {
    fn from(lie: HostLied) -> Self {
        Self::Lied(lie)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Legacy => formatter.write_str(
                "it speaks only the old interface: give QEMU -global virtio-mmio.force-legacy=false",
            ),
            Self::Features => formatter.write_str("it takes back the features that it offered"),
            Self::Lacks(what) => write!(formatter, "it lacks {what}"),
            Self::Memory => formatter.write_str("there is no memory for it: give the machine more"),
            Self::Lied(lie) => lie.fmt(formatter),
        }
    }
}

impl core::error::Error for Refused {}

/// One device and the way to it.
pub(crate) struct Device<T> {
    way: T,
    agreed: u64,
    fate: Fate,
}

/// What became of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Runs,
    Lied(HostLied),
    Shut,
}

impl<T: Transport> Device<T> {
    /// Resets the device and agrees with it on the features that we `choose` out of those it offers.
    pub(crate) fn meet(mut way: T, choose: impl FnOnce(u64) -> u64) -> Result<Self, Refused> {
        let agreed = agree(&mut way, choose)?;
        Ok(Self { way, agreed, fate: Fate::Runs })
    }

    /// Resets the device and agrees with it on what was agreed before. It has no rings then.
    pub(crate) fn meet_again(&mut self) -> Result<(), Refused> {
        let before = self.agreed;
        let agreed = agree(&mut self.way, |_| before)?;
        if agreed == before { Ok(()) } else { Err(Refused::Features) }
    }

    /// Gives a queue its ring again, with nothing in it.
    pub(crate) fn give_again(&mut self, queue: u16, ring: &mut Ring) -> Result<(), Refused> {
        self.way.longest(queue).within(usize::from(ring.size()), LONGEST)?;
        ring.begin_again();
        self.way.install(queue, ring);
        Ok(())
    }

    /// Whether a feature was agreed on.
    pub(crate) fn has(&self, feature: u64) -> bool {
        self.agreed & feature != 0
    }

    /// Copies from the device's configuration.
    pub(crate) fn config<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.way.config(at, &mut bytes);
        bytes
    }

    /// Makes the ring of a queue, as long as the device takes and no longer than `most`.
    pub(crate) fn ring(&mut self, queue: u16, most: u16, memory: &Memory) -> Result<Ring, Refused> {
        let longest = self.way.longest(queue).at_most(LONGEST)?;
        let size = longest.min(usize::from(most));
        let size = size.checked_ilog2().map(|log| 1_u16 << log).ok_or(Refused::Lacks("a queue"))?;
        let pages = memory(Ring::bytes(size)).ok_or(Refused::Memory)?;
        let ring = Ring::new(pages, size, self.has(EVENTS)).ok_or(Refused::Memory)?;
        self.way.install(queue, &ring);
        Ok(ring)
    }

    /// Lets the device run.
    pub(crate) fn run(&mut self) {
        let agreed = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.way.set_status(agreed | status::DRIVER_OK);
    }

    /// Shows a queue's device what was lent, and kicks it if it wants that.
    pub(crate) fn publish(&mut self, queue: u16, ring: &mut Ring) {
        if self.fate == Fate::Runs && ring.publish() {
            self.way.kick(queue);
        }
    }

    /// False once the device has lied.
    pub(crate) fn runs(&self) -> bool {
        self.fate == Fate::Runs
    }

    /// Gives an answer of the device, unless it is a lie: then the device is shut and stays shut.
    pub(crate) fn judge<A>(&mut self, answer: Result<A, HostLied>) -> Option<A> {
        if let Err(lie) = answer {
            self.fate = Fate::Lied(lie);
            // Whether or not it obeys: its memory is never used for anything else.
            self.way.set_status(0);
        }
        answer.ok()
    }

    /// The lie that shut the device, told once.
    pub(crate) fn lie(&mut self) -> Option<HostLied> {
        let Fate::Lied(lie) = self.fate else { return None };
        self.fate = Fate::Shut;
        Some(lie)
    }

    /// Takes back its interrupt.
    pub(crate) fn acknowledge(&mut self) {
        self.way.acknowledge();
    }
}

fn agree(way: &mut impl Transport, choose: impl FnOnce(u64) -> u64) -> Result<u64, Refused> {
    reset(way)?;
    way.set_status(status::ACKNOWLEDGE | status::DRIVER);
    let offered = way.offered();
    let agreed = offered & (choose(offered) | MODERN);
    if agreed & MODERN == 0 {
        return Err(Refused::Legacy);
    }
    way.accept(agreed);
    way.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
    if way.status() & status::FEATURES_OK == 0 {
        return Err(Refused::Features);
    }
    Ok(agreed)
}

/// Resets a device. It may take a moment over it, but not for ever.
fn reset(way: &mut impl Transport) -> Result<(), Refused> {
    way.set_status(0);
    let done = (0..10_000).any(|_| way.status() == 0);
    done.then_some(()).ok_or(Refused::Lacks("a reset that ends"))
}

/// So many buffers of the same length in one run of memory.
pub(crate) struct Buffers {
    all: Pages,
    each: usize,
}

impl Buffers {
    /// `count` buffers of `each` bytes.
    pub(crate) fn new(count: u16, each: usize, memory: &Memory) -> Result<Self, Refused> {
        let all = memory(usize::from(count) * each).ok_or(Refused::Memory)?;
        Ok(Self { all, each })
    }

    /// The buffer of that number.
    pub(crate) fn at(&self, number: u16) -> Option<Pages> {
        self.all.cut(usize::from(number) * self.each, self.each)
    }

    /// Lends one buffer under its own number; one that is out already stays out.
    pub(crate) fn lend(&self, ring: &mut Ring, number: u16) {
        if let Some(buffer) = self.at(number) {
            let _ = ring.lend(number, &buffer, dma::Way::FromDevice);
        }
    }

    /// Lends as many as the ring takes.
    pub(crate) fn lend_all(&self, ring: &mut Ring) {
        (0..ring.size()).for_each(|number| self.lend(ring, number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dma::pretend::Pretend;

    fn memory(device: &Pretend) -> Memory {
        let device = device.clone();
        Rc::new(move |bytes| device.pages(bytes))
    }

    #[test]
    fn a_device_of_the_old_kind_is_refused_with_the_remedy() {
        let (way, _device) = Pretend::new(EVENTS, &[8], &[]);
        let Err(refused) = Device::meet(way, |_| EVENTS) else { panic!("it was taken") };
        assert!(refused.to_string().contains("force-legacy=false"));
    }

    #[test]
    fn a_device_that_takes_its_offer_back_is_refused() {
        let (way, device) = Pretend::new(MODERN, &[8], &[]);
        device.refuse();
        assert_eq!(Device::meet(way, |_| 0).err(), Some(Refused::Features));
    }

    #[test]
    fn only_what_was_offered_and_wanted_is_agreed() {
        let (way, device) = Pretend::new(MODERN | EVENTS | 1 | 4, &[8], &[]);
        let met = Device::meet(way, |_| EVENTS | 1 | 2).unwrap();
        assert!(met.has(EVENTS) && met.has(1) && !met.has(2) && !met.has(4));
        assert_eq!(device.accepted(), MODERN | EVENTS | 1);
    }

    #[test]
    fn a_ring_is_a_power_of_two_that_the_device_takes() {
        let (way, device) = Pretend::new(MODERN, &[100, 0, 40_000], &[]);
        let mut met = Device::meet(way, |_| 0).unwrap();
        assert_eq!(met.ring(0, 256, &memory(&device)).unwrap().size(), 64);
        assert_eq!(met.ring(0, 8, &memory(&device)).unwrap().size(), 8);
        assert_eq!(met.ring(1, 8, &memory(&device)).err(), Some(Refused::Lacks("a queue")));
        assert!(matches!(met.ring(2, 8, &memory(&device)), Err(Refused::Lied(_))));
        device.have_only(100);
        assert_eq!(met.ring(0, 256, &memory(&device)).err(), Some(Refused::Memory));
    }

    #[test]
    fn one_lie_shuts_a_device_and_is_told_once() {
        let (way, device) = Pretend::new(MODERN, &[8], &[]);
        let mut met = Device::meet(way, |_| 0).unwrap();
        met.run();
        assert_eq!(met.judge(Ok::<_, HostLied>(3)), Some(3));
        let lie = HostLied { what: "age", said: 7 };
        assert_eq!(met.judge(Err::<u8, _>(lie)), None);
        assert_eq!(device.status(), 0, "it was reset");
        assert!(!met.runs());
        assert_eq!((met.lie(), met.lie()), (Some(lie), None));
        assert!(!met.runs());
    }
}
