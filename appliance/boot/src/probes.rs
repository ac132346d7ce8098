//! Images that must die, each with a twin that does the allowed thing and lives.
//!
//! Built only with the feature `probes`, never into what ships. `probe=write-text` on the command line tries what is
//! forbidden, `twin=write-text` what is allowed. They run among the constructors: everything stands, `main` has not
//! begun.

mod checks;
mod walk;

use crate::plan::{PLAN, Plan};
use crate::{Hypervisor, device, hypervisor, image, serial};
use core::arch::asm;
use core::hint::black_box;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

/// A name, what is forbidden, and what is allowed.
type Probe = (&'static str, fn(&Plan), fn(&Plan));

const PROBES: [Probe; 20] = [
    ("read-null", |_| peek(0), |_| peek(local())),
    ("write-text", |_| poke(text()), |_| poke(data())),
    ("write-text-by-window", |plan| poke(plan.window + memory_of(plan, text())), |_| poke(heap())),
    ("write-text-where-it-was-loaded", |plan| poke(memory_of(plan, text())), |_| peek(text())),
    ("write-rodata", |_| poke(constant()), |_| peek(constant())),
    ("write-relro", |_| poke(sealed()), |_| peek(sealed())),
    ("write-table", |plan| poke(table(plan)), |plan| peek(table(plan))),
    ("write-gate", |plan| poke(gate(plan)), |plan| peek(gate(plan))),
    (
        "write-plan",
        |plan| poke((&raw const *plan).addr() as u64),
        |plan| peek((&raw const *plan).addr() as u64),
    ),
    ("write-module", |plan| poke(module(plan)), |plan| peek(module(plan))),
    ("execute-heap", |_| run(filled(heap())), |_| run(text())),
    ("execute-data", |_| run(filled(data())), |_| run(text())),
    ("execute-stack", |_| run(filled(local())), |_| run(text())),
    ("execute-rodata", |_| run(constant()), |_| run(text())),
    ("execute-device", |_| run(registers()), |_| peek(registers())),
    ("execute-null", |_| run(0), |_| run(text())),
    ("overflow-stack", |_| deeper(u64::MAX), |_| deeper(20)),
    ("syscall", |_| syscall(), |_| run(text())),
    ("fault-twice", |_| crate::fault::tell_nothing_more(), |_| peek(local())),
    ("divide-by-zero", |_| divide(0), |_| divide(1)),
];

#[used]
// SAFETY: `_start` calls every function of this section once, with arguments that this one does not read.
#[unsafe(link_section = ".init_array")]
static FIRST: extern "C" fn() = begin;

extern "C" fn begin() {
    let Some(plan) = PLAN.get() else { return };
    for word in plan.info.line.get(..plan.info.line_len).unwrap_or_default().split(u8::is_ascii_whitespace) {
        if let Some(name) = word.strip_prefix(b"probe=") {
            find(name).1(plan);
            tell("survived", name, 3);
        } else if let Some(name) = word.strip_prefix(b"twin=") {
            find(name).2(plan);
            tell("lived", name, 0);
        }
    }
}

fn find(name: &[u8]) -> &'static Probe {
    let probe = PROBES.iter().chain(&checks::CHECKS).find(|(known, ..)| known.as_bytes() == name);
    probe.unwrap_or_else(|| fail("there is no such probe"))
}

fn tell(how: &str, name: &[u8], code: i32) -> ! {
    serial::say(how.as_bytes());
    serial::say(b": ");
    serial::say(name);
    serial::say(b"\n");
    serial::leave(code)
}

/// A check has found something wrong.
fn fail(why: &str) -> ! {
    tell("failed", why.as_bytes(), 4)
}

fn peek(at: u64) {
    // SAFETY: none: that is the point. A twin reads what it may.
    unsafe { asm!("mov {out}, byte ptr [{at}]", at = in(reg) at, out = out(reg_byte) _, options(nostack)) }
}

fn poke(at: u64) {
    // SAFETY: none: that is the point. A twin writes to what is its own.
    unsafe { asm!("mov byte ptr [{at}], 0x5a", at = in(reg) at, options(nostack)) }
}

fn run(at: u64) {
    // SAFETY: none: that is the point. A twin calls a function that only returns.
    unsafe { asm!("call {at}", at = in(reg) at, clobber_abi("C")) }
}

fn syscall() {
    // SAFETY: none: that is the point.
    unsafe { asm!("syscall", inout("rax") 39_u64 => _, out("rcx") _, out("r11") _) }
}

fn divide(by: u32) {
    // SAFETY: none, when `by` is 0: that is the point.
    unsafe { asm!("div {by:e}", by = in(reg) by, inout("eax") 7 => _, inout("edx") 0 => _) }
}

#[inline(never)]
fn deeper(left: u64) {
    let room = black_box([left; 64]);
    if left > 0 {
        deeper(left - 1);
    }
    black_box(room);
}

/// A `ret` where it may be written.
fn filled(at: u64) -> u64 {
    // SAFETY: every caller passes memory of its own.
    unsafe { with_exposed_provenance_mut::<u8>(at as usize).write_volatile(0xc3) };
    at
}

extern "C" fn nothing() {}

fn text() -> u64 {
    (nothing as extern "C" fn()) as usize as u64
}

fn constant() -> u64 {
    static CONSTANT: [u8; 64] = [0xc3; 64];
    CONSTANT.as_ptr().expose_provenance() as u64
}

fn sealed() -> u64 {
    static SEALED: [fn(&Plan); 1] = [|_| {}];
    SEALED.as_ptr().expose_provenance() as u64
}

fn data() -> u64 {
    static DATA: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(7);
    DATA.as_ptr().expose_provenance() as u64
}

fn heap() -> u64 {
    Box::leak(Box::new([0_u8; 64])).as_mut_ptr().expose_provenance() as u64
}

fn local() -> u64 {
    let place = black_box(0_u64);
    (&raw const place).expose_provenance() as u64
}

fn table(plan: &Plan) -> u64 {
    plan.window + plan.device_tables
}

fn gate(plan: &Plan) -> u64 {
    plan.window + plan.descriptors + 4096
}

fn module(plan: &Plan) -> u64 {
    plan.window + plan.info.module.unwrap_or_else(|| fail("no module")).start
}

fn registers() -> u64 {
    let page = device::map(0xfee0_0000, 4096).unwrap_or_else(|| fail("no room for a device"));
    page.as_ptr().expose_provenance() as u64
}

fn memory_of(plan: &Plan, at: u64) -> u64 {
    at - image::base() + plan.image_at
}
