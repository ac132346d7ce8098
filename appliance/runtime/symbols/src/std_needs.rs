//! What std asks of a C library: the real ones, then the ones whose answer is always no.

use core::ffi::{c_char, c_int, c_long, c_void};
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

const EBADF: c_int = 9;
const EAGAIN: c_int = 11;
const EINVAL: c_int = 22;
const ENOSYS: c_int = 38;

/// One program, one thread, one errno.
static ERRNO: AtomicI32 = AtomicI32::new(0);

/// `-1`, and why.
fn refuse(errno: c_int) -> c_int {
    ERRNO.store(errno, Relaxed);
    -1
}

#[unsafe(no_mangle)]
extern "C" fn __errno_location() -> *mut c_int {
    ERRNO.as_ptr()
}

// ---- The end.

#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    runtime::leave(runtime::ABORT)
}

#[unsafe(no_mangle)]
extern "C" fn exit(code: c_int) -> ! {
    runtime::leave(code)
}

/// What C code calls that finds the canary of its frame changed.
#[unsafe(no_mangle)]
extern "C" fn __stack_chk_fail() -> ! {
    runtime::fault("a stack frame was overwritten")
}

// ---- The console.

/// # Safety
/// `bytes` must point to `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const u8, len: usize) -> isize {
    if !matches!(fd, 1 | 2) {
        return refuse(EBADF) as isize;
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, len) };
    runtime::write(fd, bytes).map_or_else(|errno| refuse(errno) as isize, |taken| taken as isize)
}

/// A `struct iovec`.
#[repr(C)]
struct Piece {
    start: *const u8,
    len: usize,
}

/// Writes the first piece that is not empty: a caller of `writev` must be ready to offer the rest again.
///
/// # Safety
/// `pieces` must point to `count` of them.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, pieces: *const Piece, count: c_int) -> isize {
    // SAFETY: the caller's promise.
    let pieces = unsafe { core::slice::from_raw_parts(pieces, usize::try_from(count).unwrap_or(0)) };
    match pieces.iter().find(|piece| piece.len > 0) {
        // SAFETY: the caller's promise.
        Some(piece) => unsafe { write(fd, piece.start, piece.len) },
        None => 0,
    }
}

/// std opens nothing here, but the Linux world's descriptors are `OwnedFd`s, and those must go back to the kernel.
#[unsafe(no_mangle)]
extern "C" fn close(fd: c_int) -> c_int {
    runtime::close(fd).map_or_else(refuse, |()| 0)
}

// ---- Time.

/// A `struct timespec`.
#[repr(C)]
struct Time {
    seconds: i64,
    nanoseconds: i64,
}

/// # Safety
/// `time` must point to a timespec.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Time) -> c_int {
    const CLOCK_REALTIME: c_int = 0;
    const CLOCK_MONOTONIC: c_int = 1;
    let nanos = match clock {
        CLOCK_REALTIME => runtime::since_1970(),
        CLOCK_MONOTONIC => runtime::monotonic(),
        _ => return refuse(EINVAL),
    };
    let split = Time { seconds: (nanos / 1_000_000_000) as i64, nanoseconds: (nanos % 1_000_000_000) as i64 };
    // SAFETY: the caller's promise.
    unsafe { time.write(split) };
    0
}

// ---- Randomness, and the other call that std makes by number.

/// # Safety
/// `into` must point to `len` writable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(into: *mut u8, len: usize, _flags: u32) -> isize {
    // SAFETY: the source only writes to it; u8 has no wrong values.
    let drawn = runtime::draw(unsafe { core::slice::from_raw_parts_mut(into, len) });
    drawn.map_or_else(|_refused| refuse(EAGAIN) as isize, |()| len as isize)
}

/// `SYS_getrandom` and `SYS_futex`; a third is a bug that must not pass for an error of the host.
///
/// # Safety
/// As the call of that number asks.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(number: c_long, a: usize, b: usize, c: usize) -> c_long {
    const FUTEX: c_long = 202;
    const GETRANDOM: c_long = 318;
    match number {
        // SAFETY: the caller's promise: a buffer and its length.
        GETRANDOM => unsafe { getrandom(ptr::with_exposed_provenance_mut(a), b, c as u32) as c_long },
        // SAFETY: the caller's promise: the address of a futex.
        FUTEX => unsafe { futex(ptr::with_exposed_provenance(a), b, c as u32) },
        _ => runtime::fault("a raw system call that is neither getrandom nor futex"),
    }
}

/// There is nobody to wake, and to wait is to wait for ever: a lock taken twice.
///
/// # Safety
/// `word` must point to a futex.
unsafe fn futex(word: *const AtomicU32, operation: usize, expected: u32) -> c_long {
    const COMMAND: usize = 0x7f;
    const WAIT: usize = 0;
    const WAIT_BITSET: usize = 9;
    if !matches!(operation & COMMAND, WAIT | WAIT_BITSET) {
        return 0;
    }
    // SAFETY: the caller's promise.
    let found = unsafe { word.read() };
    if found.load(Relaxed) != expected {
        return c_long::from(refuse(EAGAIN));
    }
    runtime::fault("dead lock: the only thread waits for itself")
}

// ---- What std does before `main`.

/// Says that all is well with descriptors 0, 1 and 2, which is the only thing that std asks.
#[unsafe(no_mangle)]
extern "C" fn poll(_descriptors: *mut c_void, _count: u64, _timeout: c_int) -> c_int {
    if runtime::is_linux() && !runtime::standard_descriptors_are_open() {
        runtime::fault("standard input, output or error is closed: start me with all three open");
    }
    0
}

/// Only SIG_IGN and SIG_DFL, and only where there are signals.
#[unsafe(no_mangle)]
extern "C" fn signal(number: c_int, handler: usize) -> usize {
    const SIG_ERR: usize = usize::MAX;
    let known = handler <= 1;
    let set = known && (!runtime::is_linux() || runtime::ignore_signal(number, handler == 1).is_ok());
    if set { 0 } else { SIG_ERR }
}

/// Installs nothing, and says that every signal is ignored already: std then leaves it alone.
///
/// # Safety
/// `old` must be null or point to a sigaction.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(_number: c_int, _new: *const c_void, old: *mut usize) -> c_int {
    const SIG_IGN: usize = 1;
    if !old.is_null() {
        // SAFETY: the handler is the first word of a sigaction.
        unsafe { old.write(SIG_IGN) };
    }
    0
}

/// A key that no other has, and never 0, which std takes for no key. What is kept under it is never looked up: it only
/// serves to run destructors at the end of a thread, and this one ends with the program.
///
/// # Safety
/// `key` must point to a key.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_key_create(key: *mut u32, _destructor: usize) -> c_int {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let next = LAST.load(Relaxed) + 1;
    LAST.store(next, Relaxed);
    // SAFETY: the caller's promise.
    unsafe { key.write(next) };
    0
}

#[unsafe(no_mangle)]
extern "C" fn sysconf(name: c_int) -> c_long {
    const PAGE_SIZE: c_int = 30;
    if name == PAGE_SIZE { 4096 } else { c_long::from(refuse(EINVAL)) }
}

/// # Safety
/// `into` must point to `len` writable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __xpg_strerror_r(_errno: c_int, into: *mut c_char, len: usize) -> c_int {
    for (place, byte) in c"refused".to_bytes_with_nul().iter().enumerate().take(len) {
        // SAFETY: `place` is below `len`.
        unsafe { into.wrapping_add(place).write(*byte as c_char) };
    }
    0
}

// ---- What is not there. The answer is always the same, so the parameters do not matter.

/// Defines functions with one answer.
macro_rules! always {
    ($($name:ident() -> $answer:ty = $value:expr;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> $answer {
            $value
        }
    )*};
}

always! {
    // One thread: its locks are free, its keys have no destructors, its stack is unknown.
    pthread_self() -> usize = 1;
    pthread_mutex_lock() -> c_int = 0;
    pthread_mutex_unlock() -> c_int = 0;
    pthread_key_delete() -> c_int = 0;
    pthread_setspecific() -> c_int = 0;
    pthread_getattr_np() -> c_int = ENOSYS;
    pthread_attr_getstack() -> c_int = ENOSYS;
    pthread_attr_getguardsize() -> c_int = ENOSYS;
    pthread_attr_destroy() -> c_int = 0;
    sched_yield() -> c_int = 0;
    sigaltstack() -> c_int = refuse(ENOSYS);
    // No environment: what the operator has to say stands on the command line.
    getenv() -> *const c_char = ptr::null();
    getauxval() -> usize = 0;
    // No files: std's panic path would like to read our own symbols.
    open() -> c_int = refuse(ENOSYS);
    open64() -> c_int = refuse(ENOSYS);
    read() -> isize = refuse(EBADF) as isize;
    readlink() -> isize = refuse(ENOSYS) as isize;
    stat64() -> c_int = refuse(ENOSYS);
    fstat64() -> c_int = refuse(EBADF);
    lseek64() -> i64 = i64::from(refuse(EBADF));
    // Not EBADF: std would take that for a descriptor that was closed behind its back.
    fcntl() -> c_int = refuse(ENOSYS);
    dup() -> c_int = refuse(EBADF);
    getcwd() -> *const c_char = { refuse(ENOSYS); ptr::null() };
    realpath() -> *const c_char = { refuse(ENOSYS); ptr::null() };
    mmap64() -> *mut c_void = ptr::without_provenance_mut(refuse(ENOSYS) as usize);
    munmap() -> c_int = refuse(EINVAL);
    mprotect() -> c_int = refuse(ENOSYS);
    dl_iterate_phdr() -> c_int = 0;
    pause() -> c_int = refuse(ENOSYS);
}
