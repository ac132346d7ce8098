//! `malloc` and its family, for the few things that std itself keeps outside of Rust's allocator (a thread's name, the
//! list of thread-local destructors). The same heap; what `free` must know lies in front of the block.

use crate::start::HEAP;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_int;
use core::ptr;

/// What lies in front of a block: malloc's alignment, or more where more was asked for.
#[derive(Clone, Copy)]
#[repr(C)]
struct Front {
    /// What the caller may use.
    size: usize,
    /// How far behind the true start that is; the alignment too.
    behind: usize,
}

const LEAST: usize = size_of::<Front>();

impl Front {
    fn new(size: usize, align: usize) -> Self {
        Self { size, behind: align.max(LEAST) }
    }

    /// The layout of the block with its front.
    fn layout(self) -> Option<Layout> {
        Layout::from_size_align(self.size.checked_add(self.behind)?, self.behind).ok()
    }

    /// A new block of the heap, or null.
    fn alloc(self) -> *mut u8 {
        let Some(layout) = self.layout() else { return ptr::null_mut() };
        // SAFETY: the layout is not empty.
        let block = unsafe { HEAP.alloc(layout) };
        // SAFETY: it has that layout.
        unsafe { self.mark(block) }
    }

    /// Writes itself in front and answers with what the caller may use.
    ///
    /// # Safety
    /// `block` must be null or have this front's layout.
    unsafe fn mark(self, block: *mut u8) -> *mut u8 {
        if block.is_null() {
            return block;
        }
        let used = block.wrapping_add(self.behind);
        // SAFETY: at least LEAST bytes of the block lie before `used`, which is aligned to LEAST.
        unsafe { used.wrapping_sub(LEAST).cast::<Self>().write(self) };
        used
    }

    /// # Safety
    /// `used` must come from `mark`.
    unsafe fn of(used: *mut u8) -> Self {
        // SAFETY: `mark` wrote it there.
        unsafe { used.wrapping_sub(LEAST).cast::<Self>().read() }
    }
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    Front::new(size, LEAST).alloc()
}

/// # Safety
/// `align` must be a power of two, and `to` must point to a pointer.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(to: *mut *mut u8, align: usize, size: usize) -> c_int {
    const ENOMEM: c_int = 12;
    let used = Front::new(size, align).alloc();
    // SAFETY: the caller's promise.
    unsafe { to.write(used) };
    if used.is_null() { ENOMEM } else { 0 }
}

/// # Safety
/// `used` must be null or come from this family.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(used: *mut u8, size: usize) -> *mut u8 {
    let moved = malloc(size);
    if used.is_null() || moved.is_null() {
        return moved;
    }
    // SAFETY: the caller's promise.
    let kept = unsafe { Front::of(used) }.size.min(size);
    // SAFETY: two blocks that both hold as much.
    unsafe { ptr::copy_nonoverlapping(used, moved, kept) };
    // SAFETY: the caller's promise.
    unsafe { free(used) };
    moved
}

/// # Safety
/// `used` must be null or come from this family.
#[unsafe(no_mangle)]
unsafe extern "C" fn free(used: *mut u8) {
    if used.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    let front = unsafe { Front::of(used) };
    let Some(layout) = front.layout() else {
        runtime::fault("the heap is damaged: a block without its size")
    };
    // SAFETY: the block begins so far before, and has that layout.
    unsafe { HEAP.dealloc(used.wrapping_sub(front.behind), layout) }
}
