//! The console device: named byte streams to the host.
//!
//! A device has many ports. The host tells over a control queue which there are, what they are called and whether
//! somebody sits at the other end; we tell it which ones we use. A port is found by its name and costs nothing until
//! it is asked for. See `peer` for what happens when a peer goes and another comes.

mod control;
mod peer;
mod port;

use crate::device::{Buffers, Device, EVENTS, Memory, Refused};
use control::{Event, Message, Told};
use dma::{Claim, HostLied, Ring, Transport, Way};
use port::Port;
use world::{ChannelId, Heard};

const MULTIPORT: u64 = 1 << 1;
const PORTS_AT: usize = 4;

const CONTROL_IN: u16 = 2;
const CONTROL_OUT: u16 = 3;
/// Ports that we use at most; the entropy channels and the control channel are three.
const PORTS: u16 = 8;
/// Control messages under way: a host tells at most three things about each port at once.
const CONTROLS: u16 = 64;
/// What the standard lets a port have, and what QEMU has at most.
const MOST_PORTS: usize = 511;

/// A driver for virtio-console with named ports.
pub struct Console<T> {
    device: Device<T>,
    memory: Memory,
    told: Ring,
    told_in: Buffers,
    tell: Ring,
    tell_from: Buffers,
    ports: Vec<Port>,
}

impl<T: Transport> Console<T> {
    /// Takes the device into use and asks the host for its ports.
    ///
    /// # Errors
    /// When it is not fit for use.
    pub fn new(way: T, memory: &Memory) -> Result<Self, Refused> {
        let mut device = Device::meet(way, |_| EVENTS | MULTIPORT)?;
        if !device.has(MULTIPORT) {
            return Err(Refused::Lacks("named ports"));
        }
        let said = Claim::new("number of ports", u32::from_le_bytes(device.config(PORTS_AT)));
        let count = said.within(1, MOST_PORTS)?.min(usize::from(PORTS)) as u16;
        let mut told = device.ring(CONTROL_IN, CONTROLS, memory)?;
        let tell = device.ring(CONTROL_OUT, CONTROLS, memory)?;
        let told_in = Buffers::new(told.size(), control::LONGEST, memory)?;
        let tell_from = Buffers::new(tell.size(), control::LONGEST, memory)?;
        let ports = (0..count).map(|number| port(&mut device, number, memory)).collect::<Result<_, _>>()?;
        told_in.lend_all(&mut told);
        let memory = memory.clone();
        let mut console = Self { device, memory, told, told_in, tell, tell_from, ports };
        console.run();
        Ok(console)
    }

    fn run(&mut self) {
        self.device.run();
        self.device.publish(CONTROL_IN, &mut self.told);
        self.say(Message { port: 0, event: Event::DeviceReady });
    }

    /// The port of that name, once the host has told of it. From now on it is in use.
    pub fn channel(&mut self, name: &str) -> Option<ChannelId> {
        self.look();
        let port = self.ports.iter_mut().find(|port| port.is_called(name))?;
        let number = port.number();
        if !port.is_in_use() {
            port.open(&self.memory)?;
            self.publish_port(number);
            self.say(Message { port: number, event: Event::Open });
        }
        self.device.runs().then_some(ChannelId(number))
    }

    /// Reads from a port.
    pub fn hear(&mut self, channel: ChannelId, into: &mut [u8]) -> Heard {
        self.look();
        let Some(port) = self.ports.get_mut(usize::from(channel.0)) else { return Heard::Nothing };
        let heard = if self.device.runs() { port.hear(into) } else { Ok(port.hear_the_end()) };
        let heard = self.device.judge(heard).unwrap_or(Heard::Nothing);
        self.publish_port(channel.0);
        heard
    }

    /// Writes to a port, and says how many bytes it took.
    pub fn tell(&mut self, channel: ChannelId, bytes: &[u8]) -> usize {
        self.look();
        let Some(port) = self.ports.get_mut(usize::from(channel.0)) else { return 0 };
        if !self.device.runs() {
            return 0;
        }
        let taken = port.tell(bytes);
        let taken = self.device.judge(taken).unwrap_or(0);
        self.publish_port(channel.0);
        taken
    }

    /// True once the host has told everything that it had to say about its ports so far.
    pub fn is_settled(&mut self) -> bool {
        self.look();
        !self.device.runs() || (self.tell.out() == 0 && self.ports.iter().all(Port::is_settled))
    }

    /// True when something has come for which there may be no interrupt. From now on there will be one.
    pub fn listen(&mut self) -> bool {
        self.look();
        self.mend();
        self.device.runs() && self.ports.iter().fold(self.told.listen(), |any, port| port.listen() | any)
    }

    /// Takes back the device's interrupt.
    pub fn acknowledge(&mut self) {
        self.device.acknowledge();
    }

    /// The lie that shut the device, told once.
    pub fn lie(&mut self) -> Option<HostLied> {
        self.device.lie()
    }

    /// Begins anew with the whole device when one of its ports is worn: there is no way to begin anew with one port.
    fn mend(&mut self) {
        let worn = self.ports.iter_mut().try_fold(false, |any, port| Ok(port.is_worn()? | any));
        if self.device.runs() && self.device.judge(worn) == Some(true) {
            let begun = self.begin_again().map_err(|refused| match refused {
                Refused::Lied(lie) => lie,
                _ => Claim::new("features after a reset", 0).lie(),
            });
            self.device.judge(begun);
        }
    }

    fn begin_again(&mut self) -> Result<(), Refused> {
        self.device.meet_again()?;
        self.device.give_again(CONTROL_IN, &mut self.told)?;
        self.device.give_again(CONTROL_OUT, &mut self.tell)?;
        self.told_in.lend_all(&mut self.told);
        for port in &mut self.ports {
            let (inward, outward) = queues(port.number());
            self.device.give_again(inward, &mut port.inward)?;
            self.device.give_again(outward, &mut port.outward)?;
            port.begin_again();
        }
        self.run();
        (0..self.ports.len() as u16).for_each(|number| self.publish_port(number));
        Ok(())
    }

    /// Reads what the host has told. Bytes that were there before we looked belong to whoever was there before.
    fn look(&mut self) {
        if !self.device.runs() {
            return;
        }
        let marked = self.ports.iter_mut().try_for_each(Port::mark);
        self.device.judge(marked);
        let all_read = (0..=self.told.size()).any(|_| !self.obey_next());
        if !all_read {
            self.ports.iter_mut().for_each(Port::unmark);
        }
        self.device.publish(CONTROL_IN, &mut self.told);
        let reclaimed = reclaim(&mut self.tell);
        self.device.judge(reclaimed);
    }

    /// Does what the next message of the host says; false when there is none.
    fn obey_next(&mut self) -> bool {
        let message = if self.device.runs() { self.next() } else { Ok(None) };
        let message = self.device.judge(message).flatten();
        message.iter().flatten().for_each(|told| self.obey(told));
        message.is_some()
    }

    /// The next message of the host: there is none, or it means nothing, or something.
    fn next(&mut self) -> Result<Option<Option<Told>>, HostLied> {
        let Some(used) = self.told.take()? else { return Ok(None) };
        let mut bytes = [0; control::LONGEST];
        let bytes = bytes.get_mut(..used.len).unwrap_or_default();
        if let Some(buffer) = self.told_in.at(used.id) {
            buffer.read(0, bytes);
        }
        self.told_in.lend(&mut self.told, used.id);
        Ok(Some(Told::read(bytes)))
    }

    fn obey(&mut self, told: &Told) {
        let Some(port) = self.ports.get_mut(told.port as usize) else { return };
        port.obey(told);
        if told.event == Event::Added {
            let (number, in_use) = (port.number(), port.is_in_use());
            // The room for the host's answers must be there before it is asked.
            self.device.publish(CONTROL_IN, &mut self.told);
            self.say(Message { port: number, event: Event::PortReady });
            // A port that was taken away and is back does not know that it is in use.
            if in_use {
                self.say(Message { port: number, event: Event::Open });
            }
        }
    }

    /// Tells the host something. It takes these at once; one that lets them pile up breaks its device.
    fn say(&mut self, message: Message) {
        let said = self.put(message);
        self.device.judge(said);
        self.device.publish(CONTROL_OUT, &mut self.tell);
    }

    fn put(&mut self, message: Message) -> Result<(), HostLied> {
        reclaim(&mut self.tell)?;
        let piled_up = Claim::new("control queue, which it does not read", u32::from(self.tell.out())).lie();
        for id in 0..self.tell.size() {
            let bytes = message.bytes();
            let Some(buffer) = self.tell_from.at(id).and_then(|all| all.cut(0, bytes.len())) else {
                continue;
            };
            if self.tell.is_out(id) {
                continue;
            }
            buffer.write(0, &bytes);
            return self.tell.lend(id, &buffer, Way::ToDevice).map_err(|_| piled_up);
        }
        Err(piled_up)
    }

    fn publish_port(&mut self, number: u16) {
        if let Some(port) = self.ports.get_mut(usize::from(number)) {
            let (inward, outward) = queues(number);
            self.device.publish(inward, &mut port.inward);
            self.device.publish(outward, &mut port.outward);
        }
    }
}

/// A port's queues: the first port came before the control queues were thought of.
fn queues(number: u16) -> (u16, u16) {
    let first = if number == 0 { 0 } else { 2 + 2 * number };
    (first, first + 1)
}

fn port<T: Transport>(device: &mut Device<T>, number: u16, memory: &Memory) -> Result<Port, Refused> {
    let (inward, outward) = queues(number);
    let inward = device.ring(inward, port::BUFFERS, memory)?;
    Ok(Port::new(number, inward, device.ring(outward, port::BUFFERS, memory)?))
}

fn reclaim(ring: &mut Ring) -> Result<(), HostLied> {
    while ring.take()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests;
