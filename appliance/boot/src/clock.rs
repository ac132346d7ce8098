//! Time: how fast the time stamp counter runs, and which day it is.
//!
//! Monotonic time is the time stamp counter and nothing else. Its speed is what the hypervisor says, where it says it
//! (CPUID, kvmclock, Xen's leaf), else what the CPU says, else a measurement between two tight brackets,
//! because one sample is wrong whenever the host takes the CPU away in the middle.

use crate::cpu::{self, bit, cpuid};
use crate::lone::Lone;
use crate::{Hypervisor, cmos, lapic, pit, serial};
use core::cell::Cell;
use core::ptr::with_exposed_provenance;
use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

const NANOS: u64 = 1_000_000_000;
const SYSTEM_TIME: u32 = 0x4b56_4d01;
const WALL_CLOCK: u32 = 0x4b56_4d00;
const SANE: core::ops::Range<u64> = 100_000_000..20_000_000_000;

/// What the clocks know.
#[derive(Clone, Copy)]
struct Clock {
    /// The counter when the clock was started.
    start: u64,
    /// Nanoseconds for each tick of the counter, times 2^32.
    nanos_per_tick: u64,
    hz: u64,
    timer_hz: u64,
    /// Nanoseconds from 1970 to the start.
    epoch: u64,
}

static CLOCK: Lone<Cell<Clock>> =
    Lone::new(Cell::new(Clock { start: 0, nanos_per_tick: 0, hz: 0, timer_hz: 0, epoch: 0 }));

/// Learns the counter's speed and the date.
pub(crate) fn start() {
    let Some(hz) = told_speed().or_else(measured_speed).filter(|hz| SANE.contains(hz)) else {
        serial::refuse(
            "nobody says how fast the time stamp counter runs, and no other clock is there to ask",
        );
    };
    let timer_hz = match () {
        () if lapic::has_deadline() => 0,
        () if timer_counts_nanos() => NANOS,
        () => measure(&TIMER).map_or(NANOS, |(ticks, counted)| scale(hz, counted, ticks)),
    };
    let nanos_per_tick = scale(NANOS, 1 << 32, hz);
    CLOCK.set(Clock { start: cpu::tsc(), nanos_per_tick, hz, timer_hz, epoch: 0 });
    correct(kvm_date().or_else(cmos::date).unwrap_or(0));
}

/// Nanoseconds since the start; 0 where there is no machine of ours beneath.
pub fn monotonic() -> u64 {
    let clock = CLOCK.get();
    if clock.hz == 0 {
        return 0;
    }
    let ticks = u128::from(cpu::tsc().saturating_sub(clock.start));
    ((ticks * u128::from(clock.nanos_per_tick)) >> 32) as u64
}

/// Nanoseconds since 1970, as far as anybody has said; else since the start.
pub fn since_1970() -> u64 {
    CLOCK.get().epoch.saturating_add(monotonic())
}

/// Sets the date, for a world whose host tells it another way.
pub fn correct(since_1970: u64) {
    let clock = CLOCK.get();
    CLOCK.set(Clock { epoch: since_1970.saturating_sub(monotonic()), ..clock });
}

/// Arms the timer for a moment on the monotonic clock, or for as much of the way as it can count.
pub(crate) fn ring_at(moment: u64) {
    let clock = CLOCK.get();
    if lapic::has_deadline() {
        lapic::ring_at(clock.start.saturating_add(scale(moment, clock.hz, NANOS)).max(1));
    } else {
        let ticks = scale(moment.saturating_sub(monotonic()), clock.timer_hz, NANOS);
        lapic::ring_after(u32::try_from(ticks).unwrap_or(u32::MAX).max(1));
    }
}

/// Disarms it.
pub(crate) fn ring_no_more() {
    if lapic::has_deadline() { lapic::ring_at(0) } else { lapic::ring_after(0) }
}

/// `value * by / of`, cut at the end of what a number can be.
fn scale(value: u64, by: u64, of: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(by) / u128::from(of.max(1))).unwrap_or(u64::MAX)
}

/// The counter's speed from those who know it, the best first.
fn told_speed() -> Option<u64> {
    [by_leaf, by_kvmclock, by_xen, by_crystal, by_base]
        .into_iter()
        .find_map(|ask| ask().filter(|hz| SANE.contains(hz)))
}

/// The leaf that VMware defined and KVM offers.
fn by_leaf() -> Option<u64> {
    let most = cpuid(0x4000_0000, 0).eax;
    let offered = crate::hypervisor() != Hypervisor::None && (0x4000_0010..0x4001_0000).contains(&most);
    offered.then(|| u64::from(cpuid(0x4000_0010, 0).eax) * 1_000)
}

fn by_xen() -> Option<u64> {
    let base = crate::hypervisor::xen_leaf()?;
    Some(u64::from(cpuid(base + 3, 0).ecx) * 1_000)
}

fn by_crystal() -> Option<u64> {
    let leaf = cpuid(0x15, 0);
    (leaf.eax != 0).then(|| scale(u64::from(leaf.ecx), u64::from(leaf.ebx), u64::from(leaf.eax)))
}

fn by_base() -> Option<u64> {
    Some(u64::from(cpuid(0x16, 0).eax & 0xffff) * 1_000_000)
}

/// Where KVM writes the time, when it is asked to. Aligned so that it lies in one page.
#[repr(C, align(64))]
struct KvmTime {
    version: u32,
    padding: u32,
    tsc: u64,
    system: u64,
    multiplier: u32,
    shift: i8,
    flags: [u8; 3],
}

#[repr(C, align(64))]
struct KvmDate {
    version: u32,
    seconds: u32,
    nanos: u32,
}

/// Room for the host to write to, in pages of ours: never those that firmware gave it.
#[repr(C, align(64))]
struct Slate(core::cell::UnsafeCell<[u64; 8]>);

static SLATE: Lone<Slate> = Lone::new(Slate(core::cell::UnsafeCell::new([0; 8])));

fn has_kvmclock() -> bool {
    crate::hypervisor() == Hypervisor::Kvm && bit(cpuid(0x4000_0001, 0).eax, 3)
}

/// Asks KVM once and stops it again, which also ends what firmware may have left running.
fn by_kvmclock() -> Option<u64> {
    let time = ask_kvm()?;
    let shifted = u128::from(NANOS) << 32;
    let hz = shifted / u128::from(time.multiplier.max(1));
    let hz = if time.shift < 0 { hz << -i32::from(time.shift).max(-31) } else { hz >> time.shift.min(31) };
    u64::try_from(hz).ok()
}

fn ask_kvm() -> Option<KvmTime> {
    let at = slate()?;
    // SAFETY: KVM writes 32 bytes to the slate, which nobody else uses.
    let asked = unsafe { cpu::set_msr(SYSTEM_TIME, at | 1) };
    let time = asked.then(|| settled::<KvmTime>(|time| time.version)).flatten();
    // SAFETY: takes the host's hand off our memory.
    unsafe { cpu::set_msr(SYSTEM_TIME, 0) };
    time
}

/// The date by KVM: when the machine was started, and how long it has been running.
fn kvm_date() -> Option<u64> {
    let running = ask_kvm()?;
    let since = cpu::tsc().saturating_sub(running.tsc);
    let at = slate()?;
    // SAFETY: KVM writes 12 bytes to the slate, once.
    unsafe { cpu::set_msr(WALL_CLOCK, at) }.then_some(())?;
    let date = settled::<KvmDate>(|date| date.version)?;
    let started = u64::from(date.seconds) * NANOS + u64::from(date.nanos);
    let ran = running.system.saturating_add(scale(since, NANOS, CLOCK.get().hz));
    Some(started.saturating_add(ran)).filter(|_| date.seconds != 0)
}

/// Where the slate lies in memory, where there is a KVM to write on it.
fn slate() -> Option<u64> {
    has_kvmclock().then(|| crate::ram::physical(SLATE.0.get().cast_const().cast())).flatten()
}

/// Reads what the host writes until it holds still: its version is even and the same before and after.
fn settled<T>(version: impl Fn(&T) -> u32) -> Option<T> {
    (0..1_000).find_map(|_| {
        let before = look::<T>();
        compiler_fence(SeqCst);
        let after = look::<T>();
        (version(&before).is_multiple_of(2) && version(&before) == version(&after)).then_some(before)
    })
}

fn look<T>() -> T {
    let at = with_exposed_provenance::<T>(SLATE.0.get().expose_provenance());
    const { assert!(size_of::<T>() <= 64 && align_of::<T>() <= 64) };
    // SAFETY: the slate is as large and as aligned as `T`, which is made of integers; the host may write meanwhile,
    // so the read is volatile and only believed when the version says so.
    unsafe { at.read_volatile() }
}

/// A clock that counts down at a steady rate, to measure by.
struct Steady {
    start: fn(),
    count: fn() -> u32,
    stop: fn(),
    /// Ticks in ten milliseconds, about.
    span: u32,
    /// The highest count.
    wrap: u32,
}

const TIMER: Steady = Steady {
    start: lapic::count_down,
    count: lapic::count,
    stop: lapic::count_no_more,
    span: 10_000_000,
    wrap: u32::MAX,
};
const PIT: Steady =
    Steady { start: pit::count_down, count: pit::count, stop: || {}, span: 12_000, wrap: 0xffff };

/// The local timer of KVM and of QEMU's emulation counts nanoseconds.
fn timer_counts_nanos() -> bool {
    matches!(crate::hypervisor(), Hypervisor::Kvm | Hypervisor::Tcg)
}

fn measured_speed() -> Option<u64> {
    let (by, hz) = if timer_counts_nanos() { (&TIMER, NANOS) } else { (&PIT, pit::HZ) };
    measure(by).map(|(ticks, counted)| scale(hz, ticks, counted))
}

/// Ticks of the counter, and of a steady clock, over the same time; `None` when the clock stands still.
fn measure(by: &Steady) -> Option<(u64, u64)> {
    (by.start)();
    let (first_tsc, first) = moment(by);
    let passed = |(tsc, count): (u64, u32)| {
        (tsc.saturating_sub(first_tsc), u64::from(first.wrapping_sub(count) & by.wrap))
    };
    let enough = |(ticks, counted): &(u64, u64)| *counted >= u64::from(by.span) || *ticks > SANE.end / 4;
    let measured = core::iter::repeat_with(|| passed(moment(by))).find(enough);
    (by.stop)();
    measured.filter(|(ticks, counted)| *ticks != 0 && *counted >= u64::from(by.span))
}

/// One moment on both clocks: the tightest bracket of many.
fn moment(by: &Steady) -> (u64, u32) {
    let bracket = |_| {
        let before = cpu::tsc();
        let count = (by.count)();
        let after = cpu::tsc();
        (after.saturating_sub(before), before / 2 + after / 2, count)
    };
    let tightest = (0..16).map(bracket).min_by_key(|(width, ..)| *width);
    tightest.map_or((0, 0), |(_, tsc, count)| (tsc, count))
}
