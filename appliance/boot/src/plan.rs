//! The plan: where everything will lie, made while memory still is where it says it is.
//!
//! It runs at the loader's address, on the door's own stack, with 4 GiB mapped as they are and nothing protected. It
//! makes the last page tables and crosses over to the image's random address. It leaves only numbers behind: an
//! address taken here means nothing on the other side.

use crate::cargo::Parts;
use crate::dice::Dice;
use crate::image::Image;
use crate::info::{HIGHEST, Info, Memory};
use crate::lone::Lone;
use crate::spans::{Span, Spans};
use crate::stacks::{self, Stacks};
use crate::tables::{Full, LARGE, PAGE, Rights, Tables};
use crate::{cpu, serial};
use core::cell::{Cell, OnceCell};
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

/// How much one entry of the top table covers: each part of the layout has one to itself.
const SLOT: u64 = 1 << 39;
/// Addresses for devices and firmware tables. Its page tables are made at boot; see [`crate::device`].
pub(crate) const DEVICES: u64 = 32 << 20;
/// Pages for the segment table and the task state (one), and for the interrupt table (one).
const DESCRIPTORS: u64 = 2 * PAGE;
/// What the door mapped.
const REACH: u64 = 1 << 32;

/// Where everything lies. Made once, before the crossing, and never changed.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) info: Info,
    /// The image: its addresses, and where it lies in memory.
    pub(crate) image: Span,
    pub(crate) image_at: u64,
    /// Added to the address of RAM, this gives the address where RAM is seen.
    pub(crate) window: u64,
    /// RAM that is mapped for writing, and what of it nobody has asked for yet.
    pub(crate) writable: Spans,
    pub(crate) free: Spans,
    pub(crate) stacks: Stacks,
    pub(crate) descriptors: u64,
    pub(crate) devices: u64,
    pub(crate) device_tables: u64,
    pub(crate) parts: Option<Parts>,
    pub(crate) origin: Origin,
}

/// Where the layout's randomness came from: the best of what was mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Launcher,
    Rdrand,
    Tsc,
}

/// The plan, once the door has been passed. Empty in every other world.
pub(crate) static PLAN: Sealed = Sealed(Lone::new(OnceCell::new()));

/// Whole pages, which the plan itself makes read-only: nobody bends it afterwards.
#[repr(align(4096))]
pub(crate) struct Sealed(Lone<OnceCell<Plan>>);

impl Sealed {
    pub(crate) fn get(&self) -> Option<&Plan> {
        self.0.get()
    }

    fn place(&self) -> Span {
        Span::of((&raw const *self).expose_provenance() as u64, size_of::<Self>() as u64)
    }
}

/// Bytes for the first stack: the canary and the heap's place. Taken once.
pub(crate) static RANDOM: Lone<Cell<[u64; 2]>> = Lone::new(Cell::new([0; 2]));

/// Memory as the door mapped it.
struct AsItIs;

impl Memory for AsItIs {
    fn read(&self, at: u64, len: usize) -> Option<&[u8]> {
        let end = at.checked_add(len as u64)?;
        if at == 0 || end > REACH {
            return None;
        }
        // SAFETY: the door mapped the first 4 GiB; any bytes make a slice of bytes, and nobody writes while it lives.
        Some(unsafe { core::slice::from_raw_parts(with_exposed_provenance(at as usize), len) })
    }
}

unsafe extern "C" {
    fn gatehouse_cross(top: u64, stack: u64, moved: u64) -> !;
}

/// The door calls it, once.
pub(crate) extern "C" fn plan(start_info: u64) -> ! {
    match draft(start_info) {
        // SAFETY: the draft mapped the image, in both worlds, and the stack.
        Ok((top, stack, moved)) => unsafe { gatehouse_cross(top, stack, moved) },
        Err(why) => serial::refuse(why),
    }
}

type Crossing = (u64, u64, u64);

fn draft(start_info: u64) -> Result<Crossing, &'static str> {
    let info = Info::read(start_info, &AsItIs)?;
    let image = Image::here()?;
    let parts = info.module.map(parts_of).transpose()?;
    let (mut dice, origin) = dice(parts.and_then(|parts| parts.seed));
    let room = Room::find(&info, &image)?;
    let [image_at, window, stacks_at, devices] = places(&mut dice, image.len(), room.highest);
    let plan = Plan {
        info,
        image: Span::of(image_at, image.len()),
        image_at: image.at,
        window,
        writable: room.writable,
        free: room.free(&info),
        stacks: Stacks { at: stacks_at, memory: room.stacks },
        descriptors: room.descriptors,
        devices,
        device_tables: 0,
        parts: parts.map(|parts| Parts { seed: None, ..parts }),
        origin,
    };
    RANDOM.set([dice.number(), dice.number()]);
    let tables = draw(plan, &room, &image).map_err(|Full| "the page tables do not fit their room")?;
    show_the_way(&tables, image_at);
    Ok((tables.top, plan.stacks.main() - stacks::FIRST, image_at.wrapping_sub(image.at)))
}

/// The module's parts. The seed is wiped where it lies: it serves once.
fn parts_of(module: Span) -> Result<Parts, &'static str> {
    let len = usize::try_from(module.len()).map_err(|_| "the module is too long")?;
    let bytes = AsItIs.read(module.start, len).ok_or("the module lies above 4 GiB")?;
    let parts = Parts::of(bytes);
    if parts.seed.is_some() {
        wipe(module.end - 64, 64);
    }
    Ok(parts)
}

fn wipe(at: u64, len: u64) {
    for at in at..at + len {
        // SAFETY: the caller's bytes lie in the module, which is RAM that only this function writes to.
        unsafe { with_exposed_provenance_mut::<u8>(at as usize).write_volatile(0) };
    }
}

/// Mixes what there is: the launcher's seed, the CPU's generator, and the time.
fn dice(launcher: Option<[u8; 32]>) -> (Dice, Origin) {
    let mut seed = launcher.unwrap_or_default();
    let mut drawn = true;
    for word in seed.as_chunks_mut::<8>().0 {
        let luck = cpu::rdrand();
        drawn &= luck.is_some();
        let mixed = u64::from_le_bytes(*word) ^ luck.unwrap_or(0) ^ cpu::tsc().rotate_left(32);
        *word = mixed.to_le_bytes();
    }
    let origin = match (launcher, drawn) {
        (Some(_), _) => Origin::Launcher,
        (None, true) => Origin::Rdrand,
        (None, false) => Origin::Tsc,
    };
    (Dice::new(seed), origin)
}

/// Four addresses, each in a slot of its own, none of them in the first: image, window, stacks, devices.
fn places(dice: &mut Dice, image: u64, highest: u64) -> [u64; 4] {
    let wanted = [(image, PAGE), (highest, LARGE), (stacks::SPACE, PAGE), (DEVICES, DEVICES)];
    let mut slots = [0; 4];
    wanted.map(|(len, align)| {
        let slot = another(dice, &mut slots);
        slot * SLOT + dice.below((SLOT - len) / align) * align
    })
}

fn another(dice: &mut Dice, taken: &mut [u64; 4]) -> u64 {
    loop {
        let slot = 1 + dice.below(254);
        if !taken.contains(&slot) {
            taken.rotate_right(1);
            if let Some(first) = taken.first_mut() {
                *first = slot;
            }
            return slot;
        }
    }
}

/// Memory for the tables, the descriptors and the stacks, in one run, and what remains of RAM.
struct Room {
    tables: Span,
    descriptors: u64,
    stacks: u64,
    writable: Spans,
    highest: u64,
}

impl Room {
    fn find(info: &Info, image: &Image) -> Result<Self, &'static str> {
        let highest = info.ram.iter().map(|span| span.end).max().unwrap_or(0).min(HIGHEST);
        let tables = (96 + highest / (1 << 30) + 4 * info.ram.iter().count() as u64) * PAGE;
        let mut writable = info.ram;
        writable.cut(Span::of(image.at, image.len()));
        let mut open = writable;
        if let Some(module) = info.module {
            open.cut(module.outward(PAGE));
        }
        let len = tables + DESCRIPTORS + stacks::MEMORY;
        let start = open.take_low(len, REACH).ok_or("there is not enough RAM for tables and stacks")?;
        writable.cut(Span::of(start, len));
        let descriptors = start + tables;
        Ok(Self {
            tables: Span::new(start, descriptors),
            descriptors,
            stacks: descriptors + DESCRIPTORS,
            writable,
            highest,
        })
    }

    /// What the heap and the devices may have: all that is writable, without the module.
    fn free(&self, info: &Info) -> Spans {
        let mut free = self.writable;
        if let Some(module) = info.module {
            free.cut(module.outward(PAGE));
        }
        free
    }
}

/// Draws the last page tables, and keeps the plan.
fn draw(mut plan: Plan, room: &Room, image: &Image) -> Result<Tables, Full> {
    // SAFETY: `Room::find` took these pages out of RAM below 4 GiB that nobody else uses.
    let mut tables = unsafe { Tables::within(room.tables.start, room.tables.end) }?;
    for (span, rights) in image.pages() {
        let at = plan.image.start + (span.start - image.at);
        tables.map_run(at, span.start, span.len(), rights)?;
    }
    let own = PLAN.place();
    tables.map_run(plan.image.start + (own.start - image.at), own.start, own.len(), Rights::Read)?;
    for (at, memory, len) in plan.stacks.runs() {
        tables.map_run(at, memory, len, Rights::Write)?;
    }
    let sealed = [public(&plan), Span::of(room.tables.start, room.tables.len() + DESCRIPTORS)];
    sealed.iter().for_each(|span| plan.writable.cut(*span));
    for (span, rights) in
        plan.writable.iter().map(|s| (s, Rights::Write)).chain(sealed.map(|s| (s, Rights::Read)))
    {
        tables.map_run(plan.window + span.start, span.start, span.len(), rights)?;
    }
    plan.device_tables = tables.prepare(plan.devices, DEVICES)?;
    let _ = PLAN.0.set(plan);
    Ok(tables)
}

/// The pages of the module's public part.
fn public(plan: &Plan) -> Span {
    let (Some(module), Some(parts)) = (plan.info.module, plan.parts) else { return Span::default() };
    Span::of(module.start, parts.public as u64).outward(PAGE)
}

/// Shows the image at its new address in the door's tables too, for the length of one jump.
fn show_the_way(tables: &Tables, image_at: u64) {
    let slot = cpu::cr3() + (image_at / SLOT) * 8;
    // SAFETY: CR3 holds the door's top table, which is mapped where it lies; only entry 0 of it was in use.
    unsafe { with_exposed_provenance_mut::<u64>(slot as usize).write(tables.top_entry(image_at)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_never_meet_and_never_lie_low() {
        let mut dice = Dice::new([3; 32]);
        let mut bases = std::collections::HashSet::new();
        for _ in 0..5_000 {
            let places = places(&mut dice, 5 << 20, HIGHEST);
            let lens = [5 << 20, HIGHEST, stacks::SPACE, DEVICES];
            let spans: Vec<Span> = places.into_iter().zip(lens).map(|(at, len)| Span::of(at, len)).collect();
            for (n, span) in spans.iter().enumerate() {
                assert!(span.start >= SLOT && span.end <= 255 * SLOT);
                assert_eq!(span.start / SLOT, (span.end - 1) / SLOT);
                assert!(spans.iter().skip(n + 1).all(|other| !other.touches(*span)));
            }
            bases.insert(places[0]);
        }
        assert_eq!(bases.len(), 5_000);
    }
}
