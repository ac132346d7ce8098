//! Where the daemon's entropy comes from: the kernel's `getrandom(2)`, and the hardware's device when there
//! is one.
//!
//! Each spring has health tests of its own. Nothing is fed before every spring has passed its start-up test,
//! and once one of them fails nothing is fed any more: not because the other would not do, but because a host
//! whose source is broken should be looked at. Everything is mixed in one [`Pool`], so no spring alone
//! decides a byte.
//!
//! Over `getrandom(2)`, which is the output of a cipher, the tests catch a spring that is stuck, zero or
//! repeating, and nothing else. On the hardware's device they see what the driver lets through, which may be
//! conditioned already.

use entropy::Moment;
use entropy::health::{Health, Unhealthy};
use entropy::pool::Pool;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// How often more is read; while the start-up test runs, more often.
const PACE: Duration = Duration::from_secs(1);
const HASTE: Duration = Duration::from_millis(20);
/// How much is read at a time.
const GULP: usize = 256;
/// A spring that gives nothing for so long has failed.
const DRY: Duration = Duration::from_secs(30);

/// True when the kernel has just booted and cannot answer yet.
pub(crate) fn is_early() -> bool {
    getrandom(&mut [0; 1], GetRandomFlags::NONBLOCK) == Err(Errno::AGAIN)
}

/// Waits until it can. On a machine whose hardware gives nothing, the kernel gathers its first entropy only while somebody
/// waits for it: who asks again and again is told no again and again.
pub(crate) fn wait() {
    while getrandom(&mut [0; 1], GetRandomFlags::empty()) == Err(Errno::INTR) {}
}

/// The hardware's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hardware {
    /// [`Hardware::DEVICE`] if it is there and gives anything.
    IfPresent,
    /// Not used.
    None,
    /// This one, without which the daemon does not start.
    At(PathBuf),
}

impl Hardware {
    /// The kernel's name for it.
    pub(crate) const DEVICE: &'static str = "/dev/hwrng";
}

/// Why there is no entropy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{spring}: {why}")]
    Unhealthy { spring: String, why: Unhealthy },
    #[error("{spring}: {why}")]
    Unreadable { spring: String, why: Errno },
    #[error("{spring} gave nothing for {} s", DRY.as_secs())]
    Dry { spring: String },
}

type Read = Box<dyn FnMut(&mut [u8]) -> rustix::io::Result<usize>>;

/// One source of bytes, with the tests behind it.
pub(crate) struct Spring {
    pub(crate) name: String,
    pub(crate) health: Health,
    read: Read,
    flowed: Option<Moment>,
}

impl Spring {
    pub(crate) fn new(name: &str, read: Read) -> Self {
        Self { name: name.to_owned(), health: Health::new(), read, flowed: None }
    }

    fn kernel() -> Self {
        Self::new("getrandom", Box::new(|bytes| getrandom(bytes, GetRandomFlags::NONBLOCK)))
    }

    /// Opened without blocking: a slow device gives what it has.
    fn device(path: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let device = rustix::fs::open(path, flags, Mode::empty())?;
        let read = move |bytes: &mut [u8]| match rustix::io::read(&device, bytes) {
            Ok(0) => Err(Errno::NODATA),
            read => read,
        };
        Ok(Self::new(&path.to_string_lossy(), Box::new(read)))
    }

    /// Reads what there is. While the start-up test runs, a whole test's worth.
    fn flow(&mut self, pool: &mut Pool, now: Moment) -> Result<(), Failure> {
        let mut bytes = Zeroizing::new([0; GULP]);
        for _ in 0..if self.health.is_proven() { 1 } else { 8 } {
            match (self.read)(bytes.as_mut_slice()) {
                Ok(count) => self.judge(bytes.get(..count).unwrap_or_default(), pool)?,
                Err(Errno::AGAIN | Errno::INTR) => return self.check_dry(now),
                Err(why) => return Err(Failure::Unreadable { spring: self.name.clone(), why }),
            }
            self.flowed = Some(now);
        }
        Ok(())
    }

    fn judge(&mut self, bytes: &[u8], pool: &mut Pool) -> Result<(), Failure> {
        let tested = self.health.judge(bytes);
        pool.credit(&tested.map_err(|why| Failure::Unhealthy { spring: self.name.clone(), why })?);
        Ok(())
    }

    fn check_dry(&mut self, now: Moment) -> Result<(), Failure> {
        let since = *self.flowed.get_or_insert(now);
        if now.saturating_sub(since) < DRY {
            return Ok(());
        }
        Err(Failure::Dry { spring: self.name.clone() })
    }
}

/// All springs and what they fill.
pub(crate) struct Well {
    pub(crate) springs: Vec<Spring>,
    pub(crate) pool: Pool,
    pub(crate) failed: bool,
    due: Moment,
}

impl Well {
    /// Opens the springs. A device that is only used if present may be absent; the second value says why.
    pub(crate) fn open(hardware: &Hardware) -> Result<(Self, Option<Errno>), Failure> {
        let mut springs = vec![Spring::kernel()];
        let mut absent = None;
        match hardware {
            Hardware::None => {}
            Hardware::At(path) => springs.push(Spring::device(path).map_err(|why| unreadable(path, why))?),
            Hardware::IfPresent => match Self::probe(Path::new(Hardware::DEVICE)) {
                Ok(spring) => springs.push(spring),
                Err(why) => absent = Some(why),
            },
        }
        Ok((Self::of(springs), absent))
    }

    pub(crate) fn of(springs: Vec<Spring>) -> Self {
        Self { springs, pool: Pool::new(), failed: false, due: Moment::ZERO }
    }

    /// True while bytes may be fed.
    pub(crate) fn is_good(&self) -> bool {
        !self.failed
            && self.springs.iter().all(|spring| spring.health.is_proven())
            && self.pool.seeded().is_ok()
    }

    pub(crate) fn deadline(&self) -> Option<Moment> {
        (!self.failed).then_some(self.due)
    }

    /// Lets the springs flow, if it is time.
    pub(crate) fn turn(&mut self, now: Moment) -> Result<(), Failure> {
        if self.failed || now < self.due {
            return Ok(());
        }
        self.pool.turn(now);
        for spring in &mut self.springs {
            if let Err(failure) = spring.flow(&mut self.pool, now) {
                self.failed = true;
                return Err(failure);
            }
        }
        self.due = now + if self.is_good() { PACE } else { HASTE };
        Ok(())
    }

    /// A key for one guest, which nobody else gets.
    pub(crate) fn key(&mut self) -> Option<Zeroizing<[u8; 32]>> {
        let mut key = Zeroizing::new([0; 32]);
        (self.is_good() && self.pool.draw(key.as_mut_slice()).is_ok()).then_some(key)
    }

    /// The device exists on many machines that have nothing behind it.
    fn probe(path: &Path) -> rustix::io::Result<Spring> {
        let mut spring = Spring::device(path)?;
        match (spring.read)(&mut [0; 1]) {
            Ok(_) | Err(Errno::AGAIN) => Ok(spring),
            Err(why) => Err(why),
        }
    }
}

fn unreadable(path: &Path, why: Errno) -> Failure {
    Failure::Unreadable { spring: path.display().to_string(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use entropy::stream::Stream;

    fn good() -> Spring {
        let mut stream = Stream::new(&[4; 32]);
        Spring::new("good", Box::new(move |bytes| Ok(drawn(&mut stream, bytes))))
    }

    fn drawn(stream: &mut Stream, bytes: &mut [u8]) -> usize {
        stream.draw(bytes);
        bytes.len()
    }

    fn run(well: &mut Well, seconds: u64) -> Option<Failure> {
        (0..seconds).find_map(|second| well.turn(Duration::from_secs(second)).err())
    }

    #[test]
    fn a_well_is_good_once_every_spring_is_proven() {
        let mut well = Well::of(vec![good(), Spring::new("slow", Box::new(|_| Err(Errno::AGAIN)))]);
        assert!(run(&mut well, 20).is_none());
        assert!(!well.is_good() && well.key().is_none());
        let mut well = Well::of(vec![good(), good()]);
        assert!(run(&mut well, 1).is_none());
        let (first, second) = (well.key().unwrap(), well.key().unwrap());
        assert!(well.is_good() && *first != *second, "no two guests have the same key");
    }

    #[test]
    fn one_bad_spring_closes_the_well_for_good() {
        let bad: [(&str, Read); 4] = [
            ("zero", Box::new(|bytes| Ok(bytes.len()))),
            ("gone", Box::new(|_| Err(Errno::NODEV))),
            ("dry", Box::new(|_| Err(Errno::AGAIN))),
            ("repeats", Box::new(|bytes| Ok(drawn(&mut Stream::new(&[1; 32]), bytes)))),
        ];
        for (name, read) in bad {
            let mut well = Well::of(vec![good(), Spring::new(name, read)]);
            assert!(run(&mut well, 60).unwrap().to_string().starts_with(name));
            assert!(!well.is_good() && well.key().is_none() && well.deadline().is_none());
        }
    }

    #[test]
    fn a_spring_that_breaks_late_closes_the_well_too() {
        let (mut stream, mut left) = (Stream::new(&[4; 32]), 50);
        let read = move |bytes: &mut [u8]| {
            left -= 1;
            bytes.fill(0);
            if left > 0 {
                stream.draw(bytes);
            }
            Ok(bytes.len())
        };
        let mut well = Well::of(vec![good(), Spring::new("tired", Box::new(read))]);
        assert!(run(&mut well, 5).is_none() && well.is_good());
        assert!(run(&mut well, 100).is_some() && !well.is_good());
    }

    #[test]
    fn the_kernels_own_source_is_healthy() {
        let (mut well, absent) = Well::open(&Hardware::None).unwrap();
        assert!(run(&mut well, 1).is_none() && well.is_good() && absent.is_none());
    }
}
