//! `malloc` and its family, for the few things that std itself keeps outside of Rust's allocator (a thread's name, the
//! list of thread-local destructors). The same heap, with the size in front of the block, where `free` finds it.

use crate::start::HEAP;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

/// Room for the size, and malloc's alignment.
const FRONT: usize = 16;

/// The layout of a block that holds `size` bytes and its size.
fn with_front(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(FRONT)?, FRONT).ok()
}

/// Writes the size in front and answers with what the caller may use.
///
/// # Safety
/// `block` must be null or have the layout `with_front(size)`.
unsafe fn sized(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() {
        return block;
    }
    // SAFETY: the block begins with FRONT bytes for it and is aligned to FRONT.
    unsafe { block.cast::<usize>().write(size) };
    block.wrapping_add(FRONT)
}

/// The block behind what a caller uses, and its layout.
///
/// # Safety
/// `used` must come from `sized`.
unsafe fn whole(used: *mut u8) -> (*mut u8, Layout) {
    let block = used.wrapping_sub(FRONT);
    // SAFETY: `sized` wrote it.
    let size = unsafe { block.cast::<usize>().read() };
    // SAFETY: this layout was made before, by `with_front`.
    (block, unsafe { Layout::from_size_align_unchecked(size + FRONT, FRONT) })
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    let Some(layout) = with_front(size) else { return ptr::null_mut() };
    // SAFETY: the layout is not empty.
    let block = unsafe { HEAP.alloc(layout) };
    // SAFETY: it has that layout.
    unsafe { sized(block, size) }
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, each: usize) -> *mut u8 {
    let Some(size) = count.checked_mul(each) else { return ptr::null_mut() };
    let Some(layout) = with_front(size) else { return ptr::null_mut() };
    // SAFETY: the layout is not empty.
    let block = unsafe { HEAP.alloc_zeroed(layout) };
    // SAFETY: it has that layout.
    unsafe { sized(block, size) }
}

/// # Safety
/// `used` must be null or come from this family.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(used: *mut u8, size: usize) -> *mut u8 {
    if used.is_null() {
        return malloc(size);
    }
    let Some(wanted) = with_front(size) else { return ptr::null_mut() };
    // SAFETY: the caller's promise.
    let (block, layout) = unsafe { whole(used) };
    // SAFETY: the block has that layout, and the wanted one is not empty.
    let moved = unsafe { HEAP.realloc(block, layout, wanted.size()) };
    // SAFETY: it is null or has the wanted layout.
    unsafe { sized(moved, size) }
}

/// # Safety
/// `used` must be null or come from this family.
#[unsafe(no_mangle)]
unsafe extern "C" fn free(used: *mut u8) {
    if used.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    let (block, layout) = unsafe { whole(used) };
    // SAFETY: the block has that layout.
    unsafe { HEAP.dealloc(block, layout) }
}
