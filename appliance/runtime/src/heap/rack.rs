//! Blocks that were freed a moment ago, wiped, for whoever wants one of their kind next.
//!
//! A request takes and gives back the same few dozen blocks as the one before. To find each a gap, and to join it with its
//! neighbours afterwards, costs several times what it costs to take it from here. Only small ones are kept, and few of each
//! kind: 132 KiB at the most, and nothing once the heap is full.

use core::alloc::Layout;
use core::ptr::NonNull;
use talc::base::CHUNK_UNIT;

const KINDS: usize = 32;
const DEPTH: usize = 8;
/// What talc writes behind each block.
const TAG: usize = size_of::<usize>();

/// For each kind, the blocks that lie here.
pub(super) struct Rack([[Option<NonNull<u8>>; DEPTH]; KINDS], [usize; KINDS]);

impl Rack {
    pub(super) const fn new() -> Self {
        Self([[None; DEPTH]; KINDS], [0; KINDS])
    }

    /// A block for that layout.
    #[inline]
    pub(super) fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let kind = kind(layout)?;
        let count = self.1.get_mut(kind).filter(|count| **count > 0)?;
        *count -= 1;
        self.0.get_mut(kind)?.get_mut(*count)?.take()
    }

    /// Keeps a block that had that layout; false if there is no room for it.
    #[inline]
    pub(super) fn keep(&mut self, block: *mut u8, layout: Layout) -> bool {
        let Some(kind) = kind(layout) else { return false };
        let (Some(blocks), Some(count)) = (self.0.get_mut(kind), self.1.get_mut(kind)) else { return false };
        let Some(place) = blocks.get_mut(*count) else { return false };
        *place = NonNull::new(block);
        *count += 1;
        true
    }

    /// Any block that lies here, and a layout that talc takes for its own.
    pub(super) fn clear_one(&mut self) -> Option<(NonNull<u8>, Layout)> {
        let kind = self.1.iter().position(|count| *count > 0)?;
        let layout = Layout::from_size_align((kind + 1) * CHUNK_UNIT - TAG, CHUNK_UNIT).ok()?;
        Some((self.take(layout)?, layout))
    }
}

/// Blocks of one kind are of one size to talc, which rounds up so that its own tag fits; and all begin at multiples of its
/// unit.
#[inline]
fn kind(layout: Layout) -> Option<usize> {
    let kind = (layout.size() + TAG - 1) / CHUNK_UNIT;
    (kind < KINDS && layout.align() <= CHUNK_UNIT).then_some(kind)
}
