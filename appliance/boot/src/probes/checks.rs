//! What a living image can say of itself: twins of probes that have no forbidden side.

use super::walk::{Page, walk};
use super::*;
use crate::image::Image;
use crate::irq::{Source, claim};
use crate::spans::{Span, Spans};
use crate::tables::PAGE;
use crate::{clock, cpu, lapic, pci, port, ram, sleep};

const NONE: fn(&Plan) = |_| fail("there is nothing forbidden in it");

pub(super) const CHECKS: [Probe; 10] = [
    ("where", NONE, places),
    ("tables", NONE, tables),
    ("memory", NONE, memory),
    ("module", NONE, parts),
    ("registers", NONE, registers),
    ("clock", NONE, time),
    ("sleep", NONE, |_| sleep::wait(Some(clock::monotonic() + 5_000_000_000))),
    ("chatter", NONE, |_| {
        (0..10_000).for_each(|_| say("a line that perhaps nobody reads, told again and again"))
    }),
    ("lines", NONE, lines),
    ("pci", NONE, host_bridge),
];

fn say(line: &str) {
    serial::say(line.as_bytes());
    serial::say(b"\n");
}

fn must(holds: bool, what: &str) {
    if !holds {
        fail(what);
    }
}

/// Says where everything lies: for the test that counts how often it lies elsewhere.
fn places(plan: &Plan) {
    let (image, heap, stack) = (image::base(), heap(), local());
    must(
        plan.image.start == image
            && ram::physical(with_exposed_provenance(image as usize)) == Some(plan.image_at),
        "image",
    );
    say(&format!("image {image:#x} heap {heap:#x} stack {stack:#x} devices {:#x}", plan.devices));
}

/// No page is both writable and executable, nothing lies at the start, and nothing that is read-only by one address
/// is writable by another.
fn tables(plan: &Plan) {
    let (mut closed, mut written, mut count) = (Spans::NONE, Vec::new(), [0_u64; 3]);
    let image = Image::here().unwrap_or_else(|why| fail(why));
    image.pages().filter(|(_, rights)| *rights != crate::tables::Rights::Write).for_each(|(span, _)| {
        closed.add(Span::of(span.start - image.at + plan.image_at, span.len()));
    });
    let mut tables = Vec::new();
    let look = |page: &Page| {
        must(!(page.write && page.execute), "a page is writable and executable");
        must(page.at >= 1 << 39, "a page lies at the start");
        must(!page.execute || plan.image.holds(page.at), "a page outside the image is executable");
        if page.write {
            written.push(page.memory);
        }
        let kind = if page.execute { 0 } else { 1 + usize::from(page.write) };
        count.iter_mut().skip(kind).take(1).for_each(|count| *count += page.memory.len() / PAGE);
    };
    walk(plan, look, |table| tables.push(table));
    tables
        .iter()
        .chain(&[plan.descriptors, plan.descriptors + PAGE])
        .for_each(|at| closed.add(Span::of(*at, PAGE)));
    must(!written.iter().any(|page| closed.touch(*page)), "a read-only page is writable by another address");
    say(&format!(
        "pages: {} execute, {} read, {} write; {} tables",
        count[0],
        count[1],
        count[2],
        tables.len()
    ));
}

/// Memory is what it is said to be, and devices never get RAM.
fn memory(plan: &Plan) {
    let (page, at) = ram::dma_pages(3).unwrap_or_else(|| fail("no pages for a device"));
    // SAFETY: three pages were given.
    let bytes = unsafe { core::slice::from_raw_parts(page.as_ptr(), 3 * 4096) };
    must(bytes.iter().all(|byte| *byte == 0), "pages for a device are not zero");
    must(ram::physical(page.as_ptr()) == Some(at), "a device sees another page");
    let of = |at: u64| ram::physical(with_exposed_provenance(at as usize));
    must(of(heap()).is_some() && of(local()).is_some() && of(data()).is_some(), "memory without an address");
    must(of(0).is_none() && of(plan.devices).is_none(), "an address without memory");
    must(device::map_device(at, 4096).is_none(), "a device got RAM");
    must(device::firmware(at, 1).is_none(), "firmware got RAM");
    must(device::map_device(0xfee0_0000, 4).is_none(), "a device got the interrupt controller");
    must(device::map_device(u64::MAX - 4095, 4096).is_none(), "a device got the end of the world");
    must(device::map_device(0xfeb0_0000, 33 << 20).is_none(), "a device got more than there is");
    must(ram::dma_pages(usize::MAX).is_none() && ram::more_heap(usize::MAX).is_none(), "endless memory");
    must(ram::dma_pages(0).is_none(), "a page for nothing");
    // Not all of it, or the host would have to find it too.
    let free: u64 = plan.free.iter().map(Span::len).sum();
    let given =
        core::iter::from_fn(|| ram::more_heap(1 << 20)).take(64).filter(|part| part.len() == 1 << 20).count();
    must(given as u64 >= (free >> 20).saturating_sub(4).min(64), "the heap is smaller than what is free");
    say(&format!("free: {} KiB", free / 1024));
}

/// What came in the module.
fn parts(plan: &Plan) {
    let public = crate::module().unwrap_or_else(|| fail("no module"));
    let secret = crate::take_secret();
    must(crate::take_secret().is_none(), "the secret came twice");
    if let (Some(module), Some(parts)) = (plan.info.module, plan.parts) {
        let rest = Span::new(module.start + parts.secret.0 as u64, module.end);
        let wiped = (rest.start..rest.start + parts.secret.1 as u64).all(|at| {
            // SAFETY: the module lies in the window.
            unsafe { with_exposed_provenance::<u8>((plan.window + at) as usize).read_volatile() == 0 }
        });
        must(wiped, "the secret is still there");
    }
    let secret = secret.unwrap_or_default();
    let sum = |bytes: &[u8]| {
        bytes.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
    };
    let (public, secret) = ((public.len(), sum(public)), (secret.len(), sum(&secret)));
    say(&format!("public {public:?} secret {secret:?} layout {}", crate::layout()));
}

/// A register that no CPU has is an answer, not a fault; and what protects us is on where the CPU has it.
fn registers(_: &Plan) {
    let missing = cpu::msr(0x4000_1234);
    must(missing.is_none() || hypervisor() == Hypervisor::Tcg, "a register that does not exist");
    let (seven, cr4, cr0) = (cpu::cpuid(7, 0), cpu::cr4(), cpu::cr0());
    must(cr0 & (1 << 16) != 0, "write protection is off");
    for (has, bit) in
        [(cpu::bit(seven.ebx, 7), 20), (cpu::bit(seven.ebx, 20), 21), (cpu::bit(seven.ecx, 2), 11)]
    {
        must(!has || cr4 & (1 << bit) != 0, "a protection that the CPU has is off");
    }
    let efer = cpu::msr(0xc000_0080).unwrap_or(0);
    must(efer & 1 == 0 && efer & (1 << 11) != 0, "SYSCALL is on, or NX is off");
    must(!cpu::bit(cpu::cpuid(1, 0).ecx, 30) || crate::rdrand() != crate::rdrand(), "rdrand repeats itself");
    let wide = std::is_x86_feature_detected!("avx2");
    say(&format!("hypervisor {:?} cr4 {cr4:#x} avx2 {wide} rsdp {:x?}", hypervisor(), crate::rsdp()));
    port::out8(0x64, 0xfe);
    if let Some(at) = crate::rsdp() {
        must(
            device::firmware(at, 36).is_some_and(|table| table.starts_with(b"RSD PTR ")),
            "no tables at the RSDP",
        );
    }
}

/// A sleep ends no earlier than it should, and the date is one.
fn time(_: &Plan) {
    let start = clock::monotonic();
    for _ in 0..20 {
        let until = clock::monotonic() + 10_000_000;
        sleep::wait(Some(until));
        must(clock::monotonic() >= until, "a sleep was too short");
    }
    let slept = clock::monotonic() - start;
    say(&format!("slept {} ms; {} s since 1970", slept / 1_000_000, clock::since_1970() / 1_000_000_000));
}

fn soon() -> Option<u64> {
    Some(clock::monotonic() + 20_000_000)
}

fn lines(_: &Plan) {
    level();
    edge();
    message();
}

/// The clock on the board ticks 1024 times a second, and holds its line until it is read.
fn edge() {
    let line =
        claim(Source::Ioapic { gsi: 8, level: false, active_low: false }).unwrap_or_else(|| fail("no line"));
    let register = |number, value| {
        // SAFETY: the clock's own registers.
        unsafe { cpu::out8(0x70, number) };
        // SAFETY: as above.
        unsafe { cpu::out8(0x71, value) };
    };
    let served = || {
        // SAFETY: as above; reading register 12 lets the line go.
        unsafe { cpu::out8(0x70, 12) };
        // SAFETY: as above.
        unsafe { cpu::in8(0x71) };
    };
    register(10, 0x26);
    register(11, 0x42);
    for _ in 0..10 {
        served();
        sleep::wait(None);
        must(line.fired(), "the edge did not fire");
    }
    register(11, 2);
}

/// The serial line pulls IRQ 4 while its transmitter is empty.
fn level() {
    let pin = Source::Ioapic { gsi: 4, level: true, active_low: false };
    let line = claim(pin).unwrap_or_else(|| fail("no line"));
    must(claim(pin).is_none(), "a pin was given twice");
    must(
        claim(Source::Ioapic { gsi: 1_000, level: false, active_low: false }).is_none(),
        "a pin that is not there",
    );
    must(line.message().is_none(), "a pin has a message");
    port::out8(0x3fc, 0x0b);
    port::out8(0x3f9, 2);
    sleep::wait(None);
    must(line.fired() && !line.fired(), "the level did not fire once");
    sleep::wait(soon());
    must(!line.fired(), "a level fired before its device was served");
    line.done();
    sleep::wait(None);
    must(line.fired(), "a level that is still pulled did not fire again");
    port::out8(0x3f9, 0);
    line.done();
    sleep::wait(soon());
    must(!line.fired(), "a level fired that nobody pulls");
}

fn message() {
    let message = claim(Source::Message).unwrap_or_else(|| fail("no message"));
    let (address, vector) = message.message().unwrap_or_else(|| fail("a message without an address"));
    must(address == 0xfee0_0000 | u64::from(lapic::id()) << 12, "a message to somebody else");
    lapic::send_to_self(vector);
    sleep::wait(None);
    must(message.fired(), "the message did not fire");
    lapic::send_to_self(vector);
    sleep::wait(Some(0));
    must(message.fired(), "a wait that is over lets nothing in");
}

/// The host bridge answers, and what is not there does not.
fn host_bridge(_: &Plan) {
    let at = |device, function| pci::Function { bus: 0, device, function };
    say(&format!("host bridge {:x}", pci::read32(at(0, 0), 0)));
    must(
        pci::read32(at(32, 0), 0) == u32::MAX && pci::read32(at(0, 8), 0) == u32::MAX,
        "a device out of nothing",
    );
    must(
        pci::read32(at(0, 0), 2) == u32::MAX && pci::read32(at(0, 0), 256) == u32::MAX,
        "a register out of nothing",
    );
}
