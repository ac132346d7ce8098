//! From the first stack to `main`: the thread block, the sealed constants, the constructors.
//!
//! Both worlds come here with the stack that Linux makes: argc, argv, envp, auxv. The image is relocated already
//! (`relocate.s`); there is no thread block yet, so nothing here may touch a thread-local before [`begin`] set it.

use crate::{fault, ground, heap, linux};
use core::ptr::{self, with_exposed_provenance};
use core::slice;

const PT_LOAD: u32 = 1;
const PT_TLS: u32 = 7;
const PT_GNU_RELRO: u32 = 0x6474_e552;

const AT_NULL: usize = 0;
const AT_PHDR: usize = 3;
const AT_PHNUM: usize = 5;
const AT_RANDOM: usize = 25;
const AT_SYSINFO_EHDR: usize = 33;

const PAGE: usize = 4096;

/// What lies at the thread pointer, as the ABI says: itself first, the stack protector's canary at 0x28.
#[repr(C)]
struct ThreadBlock {
    itself: usize,
    unused: [usize; 4],
    canary: usize,
}

/// One program header of an ELF64 file.
#[repr(C)]
struct Header {
    kind: u32,
    flags: u32,
    offset: usize,
    address: usize,
    physical: usize,
    file_size: usize,
    memory_size: usize,
    align: usize,
}

/// The first stack, taken apart.
#[derive(Clone, Copy)]
struct Stack {
    argc: i32,
    argv: *const *const u8,
    envp: *const *const u8,
    auxv: *const [usize; 2],
}

impl Stack {
    /// # Safety
    /// `top` must point to argc on a stack as Linux makes it.
    unsafe fn take_apart(top: *const usize) -> Self {
        // SAFETY: argc lies at the top.
        let argc = unsafe { top.read() };
        let argv = top.wrapping_add(1);
        let envp = argv.wrapping_add(argc + 1);
        // SAFETY: envp ends with a null, and auxv follows it.
        let names = unsafe { words_before_zero(envp) };
        let auxv = envp.wrapping_add(names + 1).cast();
        Self { argc: argc as i32, argv: argv.cast(), envp: envp.cast(), auxv }
    }

    /// The value that goes with `key`.
    fn auxiliary(&self, key: usize) -> Option<usize> {
        let mut entry = self.auxv;
        loop {
            // SAFETY: auxv ends with AT_NULL, where this loop ends too.
            match unsafe { entry.read() } {
                [found, value] if found == key => return Some(value),
                [AT_NULL, _] => return None,
                _ => entry = entry.wrapping_add(1),
            }
        }
    }
}

/// # Safety
/// The words must end with a zero.
unsafe fn words_before_zero(words: *const usize) -> usize {
    let mut count = 0;
    // SAFETY: the caller promises a zero, where this loop ends.
    while unsafe { words.wrapping_add(count).read() } != 0 {
        count += 1;
    }
    count
}

/// Where this image lies and what it is made of.
struct Image {
    headers: &'static [Header],
    /// Where it lies, less where the linker thought it would.
    bias: usize,
}

impl Image {
    fn new(stack: &Stack) -> Self {
        let (Some(table), Some(count)) = (stack.auxiliary(AT_PHDR), stack.auxiliary(AT_PHNUM)) else {
            fault("no AT_PHDR and AT_PHNUM on the first stack");
        };
        // SAFETY: AT_PHDR and AT_PHNUM describe the program headers of this image, which stay mapped.
        let headers = unsafe { slice::from_raw_parts(with_exposed_provenance::<Header>(table), count) };
        let Some(first) = headers.iter().find(|header| header.kind == PT_LOAD) else {
            fault("the image has nothing to load");
        };
        // The table follows the 64 bytes of the ELF header, and the first segment starts with that.
        let linked = first.address.wrapping_sub(first.offset);
        Self { headers, bias: table.wrapping_sub(64).wrapping_sub(linked) }
    }

    fn header(&self, kind: u32) -> Option<&Header> {
        self.headers.iter().find(|header| header.kind == kind)
    }
}

/// What runs before `main`, with argc, argv and envp.
type Constructor = extern "C" fn(i32, *const *const u8, *const *const u8);

// The linker's bounds of the constructors.
unsafe extern "C" {
    static __init_array_start: [Constructor; 0];
    static __init_array_end: [Constructor; 0];
}

/// Makes a relocated image ready for `main`. `_start` calls it, once.
///
/// # Safety
/// `stack` must point to argc on a stack as Linux makes it, whose auxv describes the running image; and nothing else
/// may run in this program.
pub unsafe extern "C" fn begin(stack: *const usize) {
    // SAFETY: the caller's promise.
    let stack = unsafe { Stack::take_apart(stack) };
    let image = Image::new(&stack);
    let [canary, heap_base] = layout_bytes(&stack);
    heap::lie_near(heap_base);
    let block = thread_block(&image, canary);
    // SAFETY: `thread_block` made it, and nothing frees it.
    unsafe { ground::set_thread_pointer(block) };
    seal_constants(&image);
    if let Some(start) = stack.auxiliary(AT_SYSINFO_EHDR) {
        // SAFETY: only a kernel puts this on the stack, and says there where its object lies.
        unsafe { linux::find_clock(start) };
    }
    construct(&stack);
}

/// Sixteen bytes that only the layout depends on: taken from the stack, and wiped there.
fn layout_bytes(stack: &Stack) -> [usize; 2] {
    let Some(place) = stack.auxiliary(AT_RANDOM) else { fault("no AT_RANDOM on the first stack") };
    let place = ptr::with_exposed_provenance_mut::<[usize; 2]>(place);
    // SAFETY: AT_RANDOM points to sixteen bytes on the first stack.
    let bytes = unsafe { place.read_unaligned() };
    // SAFETY: the same sixteen bytes; nobody else reads them after us.
    unsafe { place.write_unaligned([0; 2]) };
    bytes
}

/// Makes the thread block (variant II: the thread-locals end where the block starts) and answers with its address.
fn thread_block(image: &Image, canary: usize) -> usize {
    let Some(tls) = image.header(PT_TLS) else { return bare_thread_block(0, 64, canary) };
    let align = tls.align.max(64);
    let size = tls.memory_size;
    // The distance that the linker assumed, so that each variable keeps its own alignment.
    let below = size + (tls.address.wrapping_add(size).wrapping_neg() & (tls.align.max(1) - 1));
    let block = bare_thread_block(below, align, canary);
    let start = ptr::with_exposed_provenance_mut::<u8>(block - below);
    let first = with_exposed_provenance::<u8>(tls.address.wrapping_add(image.bias));
    // SAFETY: PT_TLS says that its first values lie there; the fresh block has `below` bytes before it.
    unsafe { ptr::copy_nonoverlapping(first, start, tls.file_size) };
    block
}

/// A thread block with `below` zeroed bytes before it.
fn bare_thread_block(below: usize, align: usize, canary: usize) -> usize {
    let wanted = below + align + size_of::<ThreadBlock>();
    let Some(pages) = ground::pages(wanted.next_multiple_of(PAGE), 0) else {
        fault("no memory for the thread block");
    };
    let block = (pages.cast::<u8>().as_ptr().expose_provenance() + below).next_multiple_of(align);
    // A canary whose lowest byte is zero stops every overflow by a C string.
    let values = ThreadBlock { itself: block, unused: [0; 4], canary: canary & !0xff };
    // SAFETY: `wanted` leaves room for it after the alignment; the pages are fresh.
    unsafe { ptr::with_exposed_provenance_mut::<ThreadBlock>(block).write(values) };
    block
}

/// What only relocation writes becomes read-only.
fn seal_constants(image: &Image) {
    let Some(relro) = image.header(PT_GNU_RELRO) else { fault("the image has no PT_GNU_RELRO") };
    let start = relro.address.wrapping_add(image.bias);
    let end = (start + relro.memory_size) & !(PAGE - 1);
    let start = start & !(PAGE - 1);
    // SAFETY: relocation is done, and only it writes there.
    unsafe { ground::seal(start, end - start) };
}

/// Runs the constructors; one of them is how std learns its arguments.
fn construct(stack: &Stack) {
    let mut next = (&raw const __init_array_start).cast::<Constructor>();
    let end = (&raw const __init_array_end).cast::<Constructor>();
    while next < end {
        // SAFETY: the linker puts function pointers between these bounds, and they are relocated.
        let constructor = unsafe { next.read() };
        constructor(stack.argc, stack.argv, stack.envp);
        next = next.wrapping_add(1);
    }
}
