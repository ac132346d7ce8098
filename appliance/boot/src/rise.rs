//! The far side of the crossing: protections on, controllers and clocks started, and on to `_start`.

use crate::plan::{PLAN, Plan, RANDOM};
use crate::{clock, cpu, first, gates, image, lapic, port, ram, serial, stacks};
use core::ptr::with_exposed_provenance_mut;

/// What the runtime stands on here.
static GROUND: runtime::Bare = runtime::Bare {
    say: serial::say,
    leave: serial::leave,
    monotonic: clock::monotonic,
    since_1970: clock::since_1970,
    more_heap: ram::more_heap,
    set_thread_pointer,
};

const FS_BASE: u32 = 0xc000_0100;
/// Bytes of the door's own tables and stack.
const DOOR_ROOM: usize = 22 * 4096;

unsafe extern "C" {
    static mut gatehouse_door_room: [u8; DOOR_ROOM];
    fn gatehouse_enter(stack: *const u8) -> !;
}

/// The door calls it once, right after the crossing, on the main stack with write protection off.
pub(crate) extern "C" fn risen() -> ! {
    let Some(plan) = PLAN.get() else { serial::refuse("the plan was lost on the way") };
    // SAFETY: this is the moment that `stand` wants.
    unsafe { gates::stand(plan) };
    forget_the_door();
    // SAFETY: ring 0, once, and the gates stand.
    unsafe { cpu::harden() };
    port::silence_old_controllers();
    ram::open(plan);
    lapic::start();
    clock::start();
    let stack = first_stack(plan);
    // SAFETY: `more_heap` gives pages of the free list, and this is ring 0 with nothing beneath.
    unsafe { runtime::stand_on(&GROUND) };
    // SAFETY: the first stack is as Linux makes it, and nothing on this one is needed any more.
    unsafe { gatehouse_enter(stack) }
}

/// The door's stack still holds what the layout was drawn from.
fn forget_the_door() {
    let room = &raw mut gatehouse_door_room;
    // SAFETY: the crossing left the door's tables and stack for ever; this is their size in `door.s`.
    unsafe { room.write_bytes(0, 1) };
}

/// Makes the first stack in the top of the main one, above everything that runs now.
fn first_stack(plan: &Plan) -> *const u8 {
    let top = plan.stacks.main() - stacks::FIRST;
    let start = with_exposed_provenance_mut::<u8>(top as usize);
    // SAFETY: the crossing left these bytes above the stack pointer, so nobody uses them.
    let block = unsafe { core::slice::from_raw_parts_mut(start, stacks::FIRST as usize) };
    let line = plan.info.line.get(..plan.info.line_len).unwrap_or_default();
    let (count, offset) = image::headers();
    let facts = first::Facts { headers: image::base() + offset, count, random: RANDOM.take() };
    if first::lay(block, top, line, &facts).is_none() {
        serial::refuse("the command line has too many words");
    }
    start
}

/// # Safety
/// As [`runtime::Bare`] asks: the address of a thread block that stays for ever.
unsafe fn set_thread_pointer(block: usize) {
    // SAFETY: the base of FS, for a thread block that stays.
    unsafe { cpu::set_msr(FS_BASE, block as u64) };
}
