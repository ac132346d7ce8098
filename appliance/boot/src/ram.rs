//! Memory to give away: pages for the heap from below, pages for devices from above.
//!
//! All RAM is seen through one window at a random address, never executable, and only where nothing else lives: not
//! the image, not the page tables, not the stacks. What is given is never taken back.

use crate::image;
use crate::lone::Lone;
use crate::plan::{PLAN, Plan};
use crate::spans::{Span, Spans};
use crate::tables::PAGE;
use core::cell::{Cell, RefCell};
use core::ptr::{NonNull, with_exposed_provenance_mut};

/// Devices that can only count pages in 32 bits, or addresses in 32 bits, find theirs below this.
const DEVICE_LIMIT: u64 = 1 << 32;
/// The least that the heap is given at once: it asks seldom, and its pages lie together.
const LEAST: u64 = 1 << 20;

static FREE: Lone<RefCell<Spans>> = Lone::new(RefCell::new(Spans::NONE));
static SECRET_TAKEN: Lone<Cell<bool>> = Lone::new(Cell::new(false));

/// Takes over what the plan left free.
pub(crate) fn open(plan: &Plan) {
    if let Ok(mut free) = FREE.try_borrow_mut() {
        *free = plan.free;
    }
}

/// At least so many zeroed bytes.
pub(crate) fn more_heap(len: usize) -> Option<NonNull<[u8]>> {
    let exact = (len as u64).max(1).checked_next_multiple_of(PAGE)?;
    let mut free = FREE.try_borrow_mut().ok()?;
    let len = if free.iter().any(|span| span.len() >= exact.max(LEAST)) { exact.max(LEAST) } else { exact };
    let at = free.take_low(len, u64::MAX)?;
    zeroed(at, len)
}

/// Bytes of RAM that the heap has or can still get.
#[must_use]
pub fn memory() -> usize {
    let free: u64 = FREE.try_borrow().map_or(0, |free| free.iter().map(|span| span.len()).sum());
    usize::try_from(free).unwrap_or(0) + runtime::heap::from_the_ground()
}

/// So many zeroed pages in a row that a device may read and write, and their address as the device sees it.
/// They are never given back.
#[must_use]
pub fn dma_pages(pages: usize) -> Option<(NonNull<u8>, u64)> {
    let len = (pages as u64).checked_mul(PAGE).filter(|len| *len != 0)?;
    let at = FREE.try_borrow_mut().ok()?.take_high(len, DEVICE_LIMIT)?;
    Some((zeroed(at, len)?.cast(), at))
}

fn zeroed(at: u64, len: u64) -> Option<NonNull<[u8]>> {
    let start = NonNull::new(with_exposed_provenance_mut::<u8>((PLAN.get()?.window + at) as usize))?;
    let len = usize::try_from(len).ok()?;
    // SAFETY: the span was free, lies in the window, and has just been taken off the list: nobody else has it.
    unsafe { start.write_bytes(0, len) };
    Some(NonNull::slice_from_raw_parts(start, len))
}

/// Where a byte of the heap, a stack or the image lies in memory; `None` for anything else.
#[must_use]
pub fn physical(at: *const u8) -> Option<u64> {
    let (plan, at) = (PLAN.get()?, at.addr() as u64);
    let in_window = at.checked_sub(plan.window).filter(|at| plan.writable.iter().any(|span| span.holds(*at)));
    let in_image = || plan.image.holds(at).then(|| at - image::base() + plan.image_at);
    in_window.or_else(in_image).or_else(|| plan.stacks.memory_at(at))
}

/// The public part of the module, read-only.
#[must_use]
pub fn module() -> Option<&'static [u8]> {
    let plan = PLAN.get()?;
    Some(seen(plan.info.module?.start, plan.parts?.public))
}

/// The secret part of the module, once: copied out, and wiped where it lay.
#[must_use]
pub fn take_secret() -> Option<Vec<u8>> {
    let plan = PLAN.get()?;
    let (offset, len) = plan.parts?.secret;
    if len == 0 || SECRET_TAKEN.replace(true) {
        return None;
    }
    let at = plan.info.module?.start + offset as u64;
    let copy = seen(at, len).to_vec();
    wipe(Span::of(plan.window + at, len as u64));
    Some(copy)
}

fn seen(at: u64, len: usize) -> &'static [u8] {
    let start = core::ptr::with_exposed_provenance((PLAN.get().map_or(0, |plan| plan.window) + at) as usize);
    // SAFETY: the module lies in the window for ever; nobody writes to its public part, and the secret part is written
    // to only after the one slice of it is gone.
    unsafe { core::slice::from_raw_parts(start, len) }
}

fn wipe(span: Span) {
    for at in span.start..span.end {
        // SAFETY: the secret's own bytes, mapped for writing, which nobody sees any more.
        unsafe { with_exposed_provenance_mut::<u8>(at as usize).write_volatile(0) };
    }
}
