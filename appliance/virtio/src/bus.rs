//! Devices on PCI: the capabilities say where the register windows are, and everything they say is checked.

use crate::Refused;
use crate::search::{Device, Search};
use boot::irq::{self, Source};
use boot::pci::{Function, read32, write32};
use dma::{Messages, Pci, Registers};

const COMMAND: u16 = 0x04;
const KIND: u16 = 0x0c;
const SUBSYSTEM: u16 = 0x2c;
const FIRST_BAR: u16 = 0x10;
const FIRST_CAPABILITY: u16 = 0x34;
const BUSES: u16 = 0x18;

/// Answer memory accesses, be a bus master, and no pin interrupts.
const USE: u32 = 1 << 1 | 1 << 2 | 1 << 10;
/// "There is a list of capabilities", in the status beside the command.
const LISTED: u32 = 1 << 20;
const NOBODY: u32 = u32::MAX;
const VIRTIO: u32 = 0x1af4;
const VENDOR_SPECIFIC: u8 = 0x09;
const MSI_X: u8 = 0x11;
/// What fits between the header and the end of a function's configuration.
const MOST_CAPABILITIES: usize = 48;

/// Whether there is a PCI bus at all.
pub(crate) fn is_there() -> bool {
    read32(Function { bus: 0, device: 0, function: 0 }, 0) != NOBODY
}

/// Looks at every function of every bus that can be reached.
pub(crate) fn search(search: &mut Search) {
    let mut seen = [false; 256];
    let mut buses = vec![0_u8];
    while let Some(bus) = buses.pop() {
        let Some(new) = seen.get_mut(usize::from(bus)).filter(|seen| !**seen) else { continue };
        *new = true;
        for function in functions(bus) {
            buses.extend(behind(function));
            look(search, function);
        }
    }
}

fn functions(bus: u8) -> impl Iterator<Item = Function> {
    (0..32).flat_map(move |device| {
        let first = Function { bus, device, function: 0 };
        let many = read32(first, KIND) >> 23 & 1 == 1;
        let count = if read32(first, 0) == NOBODY { 0 } else { 1 + 7 * u8::from(many) };
        (0..count).map(move |function| Function { function, ..first })
    })
}

/// The bus behind a bridge.
fn behind(function: Function) -> Option<u8> {
    let is_bridge = read32(function, 0) != NOBODY && read32(function, KIND) >> 16 & 0x7f == 1;
    is_bridge.then(|| (read32(function, BUSES) >> 8) as u8)
}

fn look(search: &mut Search, function: Function) {
    let Some(kind) = kind(function) else { return };
    match device(function, kind) {
        Ok(device) => search.devices.push(device),
        Err(refused) => {
            let Function { bus, device, function } = function;
            search.complain(format_args!("PCI {bus:02x}:{device:02x}.{function}: {refused}"));
        }
    }
}

/// What a virtio device is: since 1.0 its own number says so, before it was the number of the subsystem.
fn kind(function: Function) -> Option<u32> {
    let name = read32(function, 0);
    match (name & 0xffff, name >> 16) {
        (VIRTIO, number @ 0x1040..=0x107f) => Some(number - 0x1040),
        (VIRTIO, 0x1000..=0x103f) => Some(read32(function, SUBSYSTEM) >> 16),
        _ => None,
    }
}

fn device(function: Function, kind: u32) -> Result<Device, Refused> {
    write32(function, COMMAND, read32(function, COMMAND) & 0xffff | USE);
    let [common, bells, config] = [1, 2, 4].map(|part| window(function, part));
    let (common, _) = common.ok_or(Refused::Legacy)?;
    let (bells, stride) = bells.ok_or(Refused::Lacks("a way to be kicked"))?;
    let line = irq::claim(Source::Message).ok_or(Refused::Lacks("a free interrupt"))?;
    let (address, data) = line.message().ok_or(Refused::Lacks("a free interrupt"))?;
    messages(function, address, data).ok_or(Refused::Lacks("interrupts by message (MSI-X)"))?;
    let way = Box::new(Pci::new(common, bells, stride, config.map(|(config, _)| config)));
    Ok(Device { kind, way, line })
}

/// A window on one part of the device, and the distance between bells where it is the one with the bells.
fn window(function: Function, part: u8) -> Option<(Registers, u32)> {
    capabilities(function)
        .filter(|(id, at)| *id == VENDOR_SPECIFIC && (read32(function, *at) >> 24) as u8 == part)
        .find_map(|(_, at)| {
            let bar = read32(function, at + 4) as u8;
            let [offset, len, stride] = [8, 12, 16].map(|more| read32(function, at + more));
            Some((registers(function, bar, offset, len)?, stride))
        })
}

/// Aims the device's messages, and lets it send them.
fn messages(function: Function, address: u64, data: u32) -> Option<()> {
    let (_, at) = capabilities(function).find(|(id, _)| *id == MSI_X)?;
    let (control, table) = (read32(function, at), read32(function, at + 4));
    let len = ((control >> 16 & 0x7ff) + 1) * 16;
    let table = registers(function, (table & 7) as u8, table & !7, len)?;
    Messages::new(table).aim(address, data).then_some(())?;
    write32(function, at, control & !(1 << 30) | 1 << 31);
    Some(())
}

/// The capabilities of a function: what each is, and where.
fn capabilities(function: Function) -> impl Iterator<Item = (u8, u16)> {
    let listed = read32(function, COMMAND) & LISTED != 0;
    let first = if listed { read32(function, FIRST_CAPABILITY) as u8 } else { 0 };
    let mut next = u16::from(first & !3);
    let walk = core::iter::from_fn(move || {
        let at = next;
        let head = read32(function, at);
        next = (head >> 8 & 0xfc) as u16;
        // The longest capability that is read here has twenty bytes.
        (0x40..=0x100 - 20).contains(&at).then_some((head as u8, at))
    });
    walk.take(MOST_CAPABILITIES)
}

/// Part of the memory that one of the function's base addresses names.
fn registers(function: Function, bar: u8, offset: u32, len: u32) -> Option<Registers> {
    let at = base(function, bar)?.checked_add(u64::from(offset))?;
    // The standard puts no limit on a window; what we read of one, and its bells, fit in this much.
    boot::registers(at, len.min(1 << 18) as usize)
}

fn base(function: Function, bar: u8) -> Option<u64> {
    let register = FIRST_BAR + 4 * u16::from(bar);
    let low = (bar < 6).then(|| read32(function, register))?;
    let high = match low & 0b111 {
        0b000 => 0,
        0b100 if bar < 5 => read32(function, register + 4),
        _ => return None,
    };
    let base = u64::from(high) << 32 | u64::from(low & !0xf);
    (base != 0).then_some(base)
}
