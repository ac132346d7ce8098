//! Interrupt lines: who claimed which, which have fired, and the two controllers that bring them.
//!
//! Interrupts are open only while [`crate::wait`] sleeps. The stubs write down what came; everything else happens here,
//! awake: a level line is masked before it is acknowledged, and stays so until its device has been served.

use crate::lapic;
use crate::lone::Lone;
use crate::{device, plan};
use core::cell::{Cell, RefCell};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

/// What each vector's stub writes: 1 when it has fired.
pub(crate) static FIRED: [AtomicU8; 256] = [const { AtomicU8::new(0) }; 256];
/// How many interrupts have come and are not acknowledged yet.
pub(crate) static HEARD: AtomicU32 = AtomicU32::new(0);

/// The timer's vector: above all lines, so that a busy device cannot hide it.
pub(crate) const TIMER: u8 = 0xe0;
const FIRST: u8 = 0x30;
const LINES: u8 = 64;
const IOAPIC: u64 = 0xfec0_0000;
const MASKED: u32 = 1 << 16;

/// Where interrupts of a line come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A pin of the I/O APIC.
    Ioapic {
        /// The global number of the interrupt, which is the pin.
        gsi: u32,
        /// True for a level-triggered line, false for an edge.
        level: bool,
        /// True when the line is active low.
        active_low: bool,
    },
    /// A message that the device writes (MSI-X), or whatever else can raise a vector of the CPU.
    Message,
}

/// One interrupt line, claimed by one device for ever.
#[derive(Debug)]
pub struct Line {
    vector: u8,
}

static CLAIMED: Lone<RefCell<[Option<Source>; LINES as usize]>> =
    Lone::new(RefCell::new([None; LINES as usize]));
static CONTROLLER: Lone<Cell<Option<NonNull<u32>>>> = Lone::new(Cell::new(None));

/// Claims a line. `None` when there is no such pin, when someone else has it, or when all lines are taken.
pub fn claim(source: Source) -> Option<Line> {
    plan::PLAN.get()?;
    let mut claimed = CLAIMED.try_borrow_mut().ok()?;
    let pin = |source: &Source| if let Source::Ioapic { gsi, .. } = source { Some(*gsi) } else { None };
    if claimed.iter().flatten().any(|other| pin(other).is_some() && pin(other) == pin(&source)) {
        return None;
    }
    let (vector, free) = (FIRST..).zip(claimed.iter_mut()).find(|(_, line)| line.is_none())?;
    if let Source::Ioapic { gsi, level, active_low } = source {
        route(gsi, vector, level, active_low)?;
    }
    *free = Some(source);
    Some(Line { vector })
}

impl Line {
    /// The address and the data that raise this line when a device writes them; `None` for a pin.
    #[must_use]
    pub fn message(&self) -> Option<(u64, u32)> {
        (source(self.vector) == Some(Source::Message))
            .then(|| (0xfee0_0000 | u64::from(lapic::id()) << 12, u32::from(self.vector)))
    }

    /// True once for each time that the line has fired; many firings before the question count as one.
    #[must_use]
    pub fn fired(&self) -> bool {
        FIRED.get(usize::from(self.vector)).is_some_and(|fired| fired.swap(0, Relaxed) != 0)
    }

    /// Says that the device has been served: a level line may fire again. Edges and messages need it not.
    pub fn done(&self) {
        if let Some(Source::Ioapic { gsi, level: true, .. }) = source(self.vector) {
            mask(gsi, false);
        }
    }
}

/// True when some claimed line has fired and nobody has asked yet.
pub(crate) fn any_fired() -> bool {
    lines().any(fired)
}

/// Acknowledges what came while the gates were open. Level lines are masked first, or they would come again at once.
pub(crate) fn settle() {
    let heard = HEARD.swap(0, Relaxed);
    if heard == 0 {
        return;
    }
    for vector in lines().filter(|vector| fired(*vector)) {
        if let Some(Source::Ioapic { gsi, level: true, .. }) = source(vector) {
            mask(gsi, true);
        }
    }
    (0..heard).for_each(|_| lapic::acknowledge());
}

fn lines() -> core::ops::Range<u8> {
    FIRST..FIRST + LINES
}

fn fired(vector: u8) -> bool {
    FIRED.get(usize::from(vector)).is_some_and(|fired| fired.load(Relaxed) != 0)
}

fn source(vector: u8) -> Option<Source> {
    let at = usize::from(vector.checked_sub(FIRST)?);
    *CLAIMED.try_borrow().ok()?.get(at)?
}

/// Leads a pin to a vector of this CPU.
fn route(pin: u32, vector: u8, level: bool, active_low: bool) -> Option<()> {
    let base = controller()?;
    let pins = (read(base, 1) >> 16 & 0xff) + 1;
    if pin >= pins {
        return None;
    }
    let low = u32::from(vector) | u32::from(active_low) << 13 | u32::from(level) << 15;
    write(base, 0x11 + 2 * pin, lapic::id() << 24);
    write(base, 0x10 + 2 * pin, low);
    Some(())
}

fn mask(pin: u32, closed: bool) {
    if let Some(base) = CONTROLLER.get() {
        let low = read(base, 0x10 + 2 * pin) & !MASKED;
        write(base, 0x10 + 2 * pin, if closed { low | MASKED } else { low });
    }
}

/// The I/O APIC, where there is one. Every pin is masked when it is met for the first time.
fn controller() -> Option<NonNull<u32>> {
    if let Some(known) = CONTROLLER.get() {
        return Some(known);
    }
    let base = device::map(IOAPIC, 4096)?.cast::<u32>();
    let version = read(base, 1);
    if version == u32::MAX || version & 0xff < 0x10 {
        return None;
    }
    (0..=version >> 16 & 0xff).for_each(|pin| write(base, 0x10 + 2 * pin, MASKED));
    CONTROLLER.set(Some(base));
    Some(base)
}

fn read(base: NonNull<u32>, register: u32) -> u32 {
    // SAFETY: `base` is the controller's page, mapped for ever; offset 0 selects a register.
    unsafe { base.write_volatile(register) };
    // SAFETY: offset 16 of the same page shows the selected register.
    let shown = unsafe { base.add(4) };
    // SAFETY: as above.
    unsafe { shown.read_volatile() }
}

fn write(base: NonNull<u32>, register: u32, value: u32) {
    // SAFETY: as in `read`.
    unsafe { base.write_volatile(register) };
    // SAFETY: as in `read`.
    let shown = unsafe { base.add(4) };
    // SAFETY: as in `read`. Vectors lead to our own stubs only, and destinations to our own CPU.
    unsafe { shown.write_volatile(value) };
}
