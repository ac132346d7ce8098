//! The program's one heap: talc over pages of the ground, wiped whenever something is freed.
//!
//! talc and not dlmalloc, because talc says whether a block grew in its place: dlmalloc's `realloc` frees the old
//! block by itself, before anybody could wipe it. Pages come in big steps and are never given back; a block that is
//! freed is zeroed at once, so a secret lives no longer than its owner. Zeroed blocks cut from pages that nobody ever
//! had are not zeroed again.
//!
//! There is one thread of control and no lock. A call inside a call would be two mutable borrows of one heap; it is
//! a fault.

mod rack;

use crate::{fault, ground};
use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use rack::Rack;
use talc::base::{CHUNK_UNIT, Talc};
use talc::source::Manual;
use talc::{DefaultBinning, min_first_heap_size};

/// The smallest step by which the heap grows.
const STEP: usize = 1 << 20;
/// Behind the last block and before the end of the pages lie talc's own words, no more than this.
const MARGIN: usize = 2 * CHUNK_UNIT;

static HEAP: Heap = Heap::new();
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);
static NEAR: AtomicUsize = AtomicUsize::new(0);

/// Bytes that the program holds now.
#[must_use]
pub fn in_use() -> usize {
    HEAP.held.load(Relaxed)
}

/// The most bytes that the program ever held at once.
#[must_use]
pub fn peak() -> usize {
    HEAP.peak.load(Relaxed)
}

/// Bytes of the pages that the heap took from the ground.
#[must_use]
pub fn from_the_ground() -> usize {
    HEAP.taken.load(Relaxed)
}

/// From now on the heap takes no more than `bytes` from the ground; what it has, it keeps.
pub fn limit(bytes: usize) {
    LIMIT.store(bytes, Relaxed);
}

/// On Linux the heap begins near a random place: 16 TiB to 80 TiB up, far from the image, the stack and the vdso.
pub(crate) fn lie_near(random: usize) {
    let page = random % (1 << 34);
    NEAR.store((1 << 44) + (page << 12), Relaxed);
}

/// A program's promise that it has one thread of control, and with it the heap as its global allocator.
pub struct OneThread(());

impl OneThread {
    /// Makes the promise.
    ///
    /// # Safety
    /// Whatever allocates must run on one thread of control, and no signal or interrupt handler may allocate.
    #[must_use]
    pub const unsafe fn promise() -> Self {
        Self(())
    }
}

// SAFETY: `Heap` hands out what talc hands out: blocks that are disjoint, large enough and aligned; it never unwinds.
unsafe impl GlobalAlloc for OneThread {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: `OneThread` promises one thread, and the caller a layout that is not empty.
        unsafe { HEAP.alloc(layout, false) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the same.
        unsafe { HEAP.alloc(layout, true) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `OneThread` promises one thread, and the caller a block of this heap with its layout.
        unsafe { HEAP.free(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the same, and a new size that is not zero and makes a layout.
        unsafe { HEAP.resize(block, layout, size) }
    }
}

/// The heap and what it counts.
struct Heap {
    busy: AtomicBool,
    pile: UnsafeCell<Pile>,
    held: AtomicUsize,
    peak: AtomicUsize,
    taken: AtomicUsize,
}

// SAFETY: `pile` is reached by unsafe functions only, whose callers promise one thread; the rest is atomic.
unsafe impl Sync for Heap {}

impl Heap {
    const fn new() -> Self {
        Self {
            busy: AtomicBool::new(false),
            pile: UnsafeCell::new(Pile::new(ground::pages, &LIMIT)),
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
        }
    }

    /// # Safety
    /// One thread, and a layout that is not empty.
    unsafe fn alloc(&self, layout: Layout, zeroed: bool) -> *mut u8 {
        // SAFETY: the caller promises one thread.
        let Some(block) = (unsafe { self.with(|pile| pile.alloc(layout, zeroed)) }) else {
            return ptr::null_mut();
        };
        self.count(0, layout.size());
        block.as_ptr()
    }

    /// # Safety
    /// One thread, and a block of this heap with its layout.
    unsafe fn free(&self, block: *mut u8, layout: Layout) {
        self.count(layout.size(), 0);
        // SAFETY: the caller's promise is the one that `Pile::free` asks for.
        let work = |pile: &mut Pile| unsafe { pile.free(block, layout) };
        // SAFETY: the caller promises one thread.
        unsafe { self.with(work) }
    }

    /// # Safety
    /// One thread, a block of this heap with its layout, and a new size that is not zero and makes a layout.
    unsafe fn resize(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is the one that `Pile::resize` asks for.
        let work = |pile: &mut Pile| unsafe { pile.resize(block, layout, size) };
        // SAFETY: the caller promises one thread.
        let Some(moved) = (unsafe { self.with(work) }) else {
            return ptr::null_mut();
        };
        self.count(layout.size(), size);
        moved.as_ptr()
    }

    fn count(&self, less: usize, more: usize) {
        let held = self.held.load(Relaxed).wrapping_sub(less).wrapping_add(more);
        self.held.store(held, Relaxed);
        self.peak.store(self.peak.load(Relaxed).max(held), Relaxed);
    }

    /// # Safety
    /// One thread.
    unsafe fn with<T>(&self, work: impl FnOnce(&mut Pile) -> T) -> T {
        if self.busy.load(Relaxed) {
            fault("the heap was called while it was at work");
        }
        self.busy.store(true, Relaxed);
        // SAFETY: one thread, and `busy` says that it is not in here already.
        let pile = unsafe { &mut *self.pile.get() };
        let result = work(pile);
        self.taken.store(pile.taken, Relaxed);
        self.busy.store(false, Relaxed);
        result
    }
}

/// Where pages come from: at least so many bytes, near an address if that can be had.
type Pages = fn(usize, usize) -> Option<NonNull<[u8]>>;

/// Blocks and the gaps between them.
struct Pile {
    talc: Talc<Manual, DefaultBinning>,
    rack: Rack,
    pages: Pages,
    limit: &'static AtomicUsize,
    taken: usize,
    /// The end of the newest pages, as talc told it.
    end: Option<NonNull<u8>>,
    /// From here to `end` no block ever lay: all zero, but for talc's own words at both ends.
    fresh: usize,
}

impl Pile {
    const fn new(pages: Pages, limit: &'static AtomicUsize) -> Self {
        Self { talc: Talc::new(Manual), rack: Rack::new(), pages, limit, taken: 0, end: None, fresh: 0 }
    }

    fn alloc(&mut self, layout: Layout, zeroed: bool) -> Option<NonNull<u8>> {
        if let Some(block) = self.rack.take(layout) {
            if zeroed {
                // It was wiped; but not what of talc's own lay behind what its last owner had asked for.
                // SAFETY: the block has that layout.
                unsafe { block.write_bytes(0, layout.size()) };
            }
            return Some(block);
        }
        let block = self.find(layout)?;
        let used = self.uncover(block, layout.size());
        if zeroed {
            for (start, len) in used {
                // SAFETY: `uncover` answers with parts of this block.
                unsafe { block.as_ptr().wrapping_add(start).write_bytes(0, len) };
            }
        }
        Some(block)
    }

    /// A block, from the gaps or from new pages.
    fn find(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        loop {
            // SAFETY: the layout is not empty: `GlobalAlloc`'s callers promise it.
            let block = unsafe { self.talc.try_allocate(layout) };
            if block.is_some() {
                return block;
            }
            if self.grow(layout).is_none() && !self.clear_rack() {
                return None;
            }
        }
    }

    /// Gives all that lies on the rack back to talc; false if nothing did.
    fn clear_rack(&mut self) -> bool {
        let mut any = false;
        while let Some((block, layout)) = self.rack.clear_one() {
            // SAFETY: nobody has the block, and to talc it has that size.
            unsafe { self.talc.deallocate(block.as_ptr(), layout) };
            any = true;
        }
        any
    }

    /// Notes that a block lies where none lay before, and says which parts of it may not be zero.
    fn uncover(&mut self, block: NonNull<u8>, size: usize) -> [(usize, usize); 2] {
        let start = block.addr().get();
        let end = self.end.map_or(0, |end| end.addr().get());
        let (stop, tag) = (start + size, size_of::<usize>());
        let behind = (stop + tag).next_multiple_of(CHUNK_UNIT);
        if start >= end || behind <= self.fresh {
            return [(0, size), (0, 0)];
        }
        let first = (self.fresh + MARGIN).clamp(start, stop);
        let last = (end - MARGIN).clamp(first, stop);
        self.fresh = behind;
        [(0, first - start), (last - start, stop - last)]
    }

    /// # Safety
    /// A block of this pile with its layout.
    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's, whole.
        unsafe { wipe(block, layout.size()) };
        if !self.rack.keep(block, layout) {
            // SAFETY: the caller's promise.
            unsafe { self.talc.deallocate(block, layout) }
        }
    }

    /// # Safety
    /// A block of this pile with its layout, and a new size that is not zero and makes a layout.
    unsafe fn resize(&mut self, block: *mut u8, layout: Layout, size: usize) -> Option<NonNull<u8>> {
        if size < layout.size() {
            // SAFETY: the tail is the caller's until `shrink`.
            unsafe { wipe(block.wrapping_add(size), layout.size() - size) };
        }
        // SAFETY: the caller's promise.
        if unsafe { self.talc.try_realloc_in_place(block, layout, size) } {
            let block = NonNull::new(block)?;
            self.uncover(block, size);
            return Some(block);
        }
        // SAFETY: the caller's promise; only a larger size can need another place.
        unsafe { self.relocate(block, layout, size) }
    }

    /// # Safety
    /// A block of this pile with its layout, and a larger size that makes a layout.
    unsafe fn relocate(&mut self, block: *mut u8, layout: Layout, size: usize) -> Option<NonNull<u8>> {
        // SAFETY: the caller promises that the size makes a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let moved = self.alloc(wanted, false)?;
        // SAFETY: two blocks, the new one larger.
        unsafe { ptr::copy_nonoverlapping(block, moved.as_ptr(), layout.size()) };
        // SAFETY: the caller's promise.
        unsafe { self.free(block, layout) };
        Some(moved)
    }

    /// Takes pages for a block of that layout: a big step, or just enough when the limit is near.
    fn grow(&mut self, layout: Layout) -> Option<()> {
        let first = if self.end.is_none() { min_first_heap_size::<DefaultBinning>() } else { 0 };
        let needed = layout.size().checked_add(layout.align())?.checked_add(first + 4 * CHUNK_UNIT)?;
        let needed = needed.checked_next_multiple_of(4096)?;
        let step = needed.max(STEP).max(self.taken / 8).checked_next_multiple_of(4096)?;
        let left = self.limit.load(Relaxed).saturating_sub(self.taken);
        let hint = self.end.map_or_else(|| NEAR.load(Relaxed), |end| end.addr().get());
        let wanted = [step, needed].into_iter().filter(|size| *size <= left);
        let pages = wanted.filter_map(|size| (self.pages)(size, hint)).next()?;
        self.adopt(pages)
    }

    /// Gives fresh pages to talc: as more of the last ones if they are adjacent.
    fn adopt(&mut self, pages: NonNull<[u8]>) -> Option<()> {
        let start = pages.cast::<u8>();
        self.taken += pages.len();
        // The first pages begin with talc's own table.
        let table = if self.end.is_none() { min_first_heap_size::<DefaultBinning>() } else { 0 };
        self.fresh = start.addr().get() + table;
        self.end = match self.end {
            Some(end) if end == start => {
                // SAFETY: the pages follow the old end, are fresh, and nobody else has them.
                Some(unsafe { self.talc.extend(end, start.as_ptr().wrapping_add(pages.len())) })
            }
            // SAFETY: the pages are fresh, and nobody else has them.
            _ => Some(unsafe { self.talc.claim(start.as_ptr(), pages.len()) }?),
        };
        Some(())
    }
}

/// Zeroes bytes so that the compiler cannot think it needless.
///
/// # Safety
/// They must be the caller's.
unsafe fn wipe(start: *mut u8, len: usize) {
    // SAFETY: the caller's bytes.
    unsafe { start.write_bytes(0, len) };
    // SAFETY: an empty instruction; that it might read through `start` is what keeps the zeroes.
    unsafe { asm!("/* {} */", in(reg) start, options(nostack, preserves_flags, readonly)) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    static NO_LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// Fresh pages that stay for ever, wherever the system puts them.
    fn pages(size: usize, _hint: usize) -> Option<NonNull<[u8]>> {
        let layout = Layout::from_size_align(size, 4096).ok()?;
        // SAFETY: the layout is not empty.
        let start = unsafe { System.alloc_zeroed(layout) };
        Some(NonNull::slice_from_raw_parts(NonNull::new(start)?, size))
    }

    /// Pages one after the other, from one large block.
    fn adjacent_pages(size: usize, hint: usize) -> Option<NonNull<[u8]>> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        const ALL: usize = 256 << 20;
        if NEXT.load(Relaxed) == 0 {
            let whole = pages(ALL, hint)?.cast::<u8>().as_ptr();
            NEXT.store(whole.expose_provenance(), Relaxed);
        }
        let start = NEXT.fetch_add(size, Relaxed);
        let start = NonNull::new(ptr::with_exposed_provenance_mut(start))?;
        Some(NonNull::slice_from_raw_parts(start, size))
    }

    /// Small, large and huge, aligned and not, in an order that only `seed` knows.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % sides
        }

        fn layout(&mut self) -> Layout {
            let size = [40, 300, 5000, 70_000, 3_000_000][self.roll(5)];
            let align = [1, 8, 16, 32, 64, 256, 4096][self.roll(7)];
            Layout::from_size_align(1 + self.roll(size), align).unwrap()
        }
    }

    struct Block {
        start: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Block {
        fn bytes(&mut self) -> &mut [u8] {
            // SAFETY: the tests hold a block of that size.
            unsafe { core::slice::from_raw_parts_mut(self.start, self.layout.size()) }
        }
    }

    fn take(pile: &mut Pile, dice: &mut Dice) -> Block {
        let (layout, zeroed) = (dice.layout(), dice.roll(2) == 0);
        let start = pile.alloc(layout, zeroed).unwrap().as_ptr();
        let mut block = Block { start, layout, mark: 1 + dice.roll(255) as u8 };
        assert_eq!(start.align_offset(layout.align()), 0);
        assert!(!zeroed || block.bytes().iter().all(|byte| *byte == 0), "a zeroed block is not zero");
        let mark = block.mark;
        block.bytes().fill(mark);
        block
    }

    fn resize(pile: &mut Pile, block: &mut Block, size: usize) {
        let kept = size.min(block.layout.size());
        // SAFETY: the block is whole, and the size is not zero.
        block.start = unsafe { pile.resize(block.start, block.layout, size) }.unwrap().as_ptr();
        block.layout = Layout::from_size_align(size, block.layout.align()).unwrap();
        let mark = block.mark;
        assert!(block.bytes()[..kept].iter().all(|byte| *byte == mark), "resizing lost bytes");
        assert_eq!(block.start.align_offset(block.layout.align()), 0);
        block.bytes().fill(mark);
    }

    fn give_back(pile: &mut Pile, mut block: Block) {
        let mark = block.mark;
        assert!(block.bytes().iter().all(|byte| *byte == mark), "two blocks overlap");
        // SAFETY: the block is whole.
        unsafe { pile.free(block.start, block.layout) };
    }

    fn a_busy_day(pages: Pages, seed: u64) {
        let (mut pile, mut dice) = (Pile::new(pages, &NO_LIMIT), Dice(seed));
        let mut blocks = Vec::new();
        for _ in 0..2000 {
            match dice.roll(4) {
                0 | 1 => blocks.push(take(&mut pile, &mut dice)),
                2 if !blocks.is_empty() => {
                    let (which, size) = (dice.roll(blocks.len()), dice.layout().size());
                    resize(&mut pile, &mut blocks[which], size);
                }
                _ if !blocks.is_empty() => {
                    let which = dice.roll(blocks.len());
                    give_back(&mut pile, blocks.swap_remove(which));
                }
                _ => {}
            }
            if blocks.len() > 60 {
                blocks.drain(..40).for_each(|block| give_back(&mut pile, block));
            }
        }
    }

    #[test]
    fn blocks_are_disjoint_and_zeroed_ones_are_zero_on_scattered_pages() {
        (1..6).for_each(|seed| a_busy_day(pages, seed));
    }

    #[test]
    fn blocks_are_disjoint_and_zeroed_ones_are_zero_on_adjacent_pages() {
        a_busy_day(adjacent_pages, 7);
    }

    #[test]
    fn nothing_of_a_freed_block_is_left() {
        let mut pile = Pile::new(pages, &NO_LIMIT);
        let mut secret = |size| {
            let layout = Layout::from_size_align(size, 16).unwrap();
            let start = pile.alloc(layout, false).unwrap().as_ptr();
            let mut block = Block { start, layout, mark: 0xa7 };
            block.bytes().fill(0xa7);
            block
        };
        let (mut grown, in_the_way, mut shrunk) = (secret(100), secret(100), secret(10_000));
        let first = grown.start;
        resize(&mut pile, &mut grown, 50_000);
        assert_ne!(grown.start, first, "it could grow in its place, so this test sees nothing");
        resize(&mut pile, &mut shrunk, 10);
        for block in [grown, in_the_way, shrunk] {
            give_back(&mut pile, block);
        }
        let end = pile.end.unwrap().as_ptr();
        // SAFETY: these are the pages that `pile` took; nobody else has them.
        let all = unsafe { core::slice::from_raw_parts(end.wrapping_sub(pile.taken), pile.taken) };
        assert_eq!(all.windows(8).filter(|bytes| *bytes == [0xa7; 8]).count(), 0);
    }

    #[test]
    fn what_lies_on_the_rack_is_there_for_whoever_needs_much() {
        static LIMIT: AtomicUsize = AtomicUsize::new(1 << 20);
        let mut pile = Pile::new(pages, &LIMIT);
        let small = Layout::from_size_align(1000, 8).unwrap();
        let mut blocks = Vec::new();
        while let Some(block) = pile.alloc(small, false) {
            blocks.push(block.as_ptr());
        }
        // Those that are freed first stay on the rack: far apart, so that nothing large fits between them.
        let (apart, rest): (Vec<_>, Vec<_>) = blocks.iter().enumerate().partition(|(at, _)| at % 150 == 75);
        for (_, block) in apart.into_iter().chain(rest) {
            // SAFETY: each is a block of that layout, and freed once.
            unsafe { pile.free(*block, small) };
        }
        assert!(pile.alloc(Layout::from_size_align(300_000, 8).unwrap(), false).is_some());
    }

    #[test]
    fn a_block_that_was_freed_is_the_next_of_its_kind() {
        let mut pile = Pile::new(pages, &NO_LIMIT);
        let layout = |size, align| Layout::from_size_align(size, align).unwrap();
        let mut alloc = |layout, zeroed| pile.alloc(layout, zeroed).unwrap().as_ptr();
        let (first, _wall) = (alloc(layout(24, 8), false), alloc(layout(24, 8), false));
        // SAFETY: a block of that layout.
        unsafe { pile.free(first, layout(24, 8)) };
        for (size, align) in [(25, 8), (500, 8), (24, 64)] {
            assert_ne!(pile.alloc(layout(size, align), false).unwrap().as_ptr(), first, "{size} {align}");
        }
        assert_eq!(pile.alloc(layout(1, 32), true).unwrap().as_ptr(), first);
    }

    #[test]
    fn at_its_limit_the_heap_says_no_and_lives() {
        static LIMIT: AtomicUsize = AtomicUsize::new(2 << 20);
        let mut pile = Pile::new(pages, &LIMIT);
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        assert!(pile.alloc(layout(3 << 20), false).is_none());
        assert!(pile.alloc(layout(1 << 20), false).is_some());
        assert!(pile.alloc(layout(1 << 20), false).is_none());
        assert!(pile.alloc(layout(4000), false).is_some());
        assert!(pile.taken <= 2 << 20);
    }
}
