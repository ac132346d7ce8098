//! `_start`, for both worlds, and the heap.

use core::arch::global_asm;
use runtime::heap::OneThread;

// SAFETY: nobody can start a thread (`pthread_create` is no symbol here), no signal handler can be installed
// (`sigaction` installs none), and the boot path's interrupt handlers never allocate.
#[global_allocator]
pub(crate) static HEAP: OneThread = unsafe { OneThread::promise() };

// The stack holds argc, argv, envp and auxv; rsp is aligned to 16 and rbp marks the outermost frame.
global_asm!(
    ".section .text._start, \"ax\", @progbits",
    ".globl _start",
    ".type _start, @function",
    "_start:",
    "xor ebp, ebp",
    "mov r12, rsp",
    "and rsp, -16",
    "call gatehouse_relocate",
    "mov rdi, r12",
    "call {begin}",
    "mov rdi, [r12]",
    "lea rsi, [r12 + 8]",
    "lea rdx, [rsi + rdi * 8 + 8]",
    "call main",
    "mov edi, eax",
    "call {leave}",
    "ud2",
    ".size _start, . - _start",
    ".text",
    begin = sym runtime::begin,
    leave = sym leave,
);

extern "C" fn leave(code: i32) -> ! {
    runtime::leave(code)
}
