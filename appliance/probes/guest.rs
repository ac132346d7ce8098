//! A machine's world by itself, beneath KVM or Xen: it sends every test frame back, says on each channel what it heard there, and shows random
//! bytes of the host. A test holds the other ends.
#![forbid(unsafe_code)]

use core::time::Duration;
use symbols as _;
use world::{Boot, ChannelId, Heard, Help, LARGEST_FRAME, Nic, Segment, Segments, World};

/// Ethernet's type for experiments: nothing else on a cable looks like it.
const OURS: [u8; 2] = [0x88, 0xb5];
/// Whoever does not read what was said is not heard when so much is unsaid.
const MOST_UNSAID: usize = 1_000_000;
const NAMES: [&str; 3] = ["org.openmirage.entropy.2", "org.openmirage.entropy.1", "gatehouse.control"];

fn main() {
    runtime::panic_in_one_line();
    if xen::is_beneath() {
        match xen::Guest::open() {
            Ok(world) => Probe::new(world).run(),
            Err(unfit) => runtime::fault(&unfit.to_string()),
        }
    }
    match virtio::Guest::open() {
        Ok(world) => Probe::new(world).run(),
        Err(unfit) => runtime::fault(&unfit.to_string()),
    }
}

struct Probe<W> {
    world: W,
    channels: Vec<Channel>,
    frame: Vec<u8>,
    echoed: u64,
    waits: u64,
}

struct Channel {
    name: &'static str,
    id: ChannelId,
    /// What is still to be said, unless the peer does not read.
    unsaid: Vec<u8>,
}

impl<W: World> Probe<W> {
    fn new(mut world: W) -> Self {
        let found = NAMES.iter().filter_map(|name| Some((*name, world.channel(name)?)));
        let channels = found.map(|(name, id)| Channel { name, id, unsaid: Vec::new() }).collect();
        Self { world, channels, frame: vec![0; LARGEST_FRAME], echoed: 0, waits: 0 }
    }

    fn run(&mut self) -> ! {
        let facts = self.world.nic().facts();
        self.world.say(&format!("nic {facts:?}"));
        let Boot { words, bundle, .. } = self.world.boot();
        let words = format!("words {words:?} bundle {}", bundle.is_some());
        self.world.say(&words);
        for channel in &self.channels {
            self.world.say(&format!("channel {}", channel.name));
        }
        self.draw();
        let generation = (self.world.generation())();
        self.world.say(&format!("generation {generation:x?}"));
        self.world.say("ready");
        loop {
            self.frames();
            (0..self.channels.len()).for_each(|number| self.channel(number));
            self.world.nic().flush();
            self.world.wait(None);
            self.waits += 1;
            if self.world.asked_to_stop() {
                self.world.say("asked to stop");
                boot::leave(0);
            }
        }
    }

    /// Shows random bytes of the host, if it gives any within a second.
    fn draw(&mut self) {
        let mut bytes = [0; 16];
        let end = self.world.now() + Duration::from_secs(1);
        while self.world.now() < end {
            let count = self.world.host_random(&mut bytes);
            if count > 0 {
                return self.world.say(&format!("random {count} {bytes:02x?}"));
            }
            self.world.wait(Some(end));
        }
        self.world.say("random none");
    }

    fn frames(&mut self) {
        while let Some(received) = self.world.nic().receive(&mut self.frame) {
            let Some(frame) = self.frame.get_mut(..received.len) else { continue };
            let help = help(frame);
            if !turn_round(frame) {
                continue;
            }
            self.echoed += 1;
            while self.world.nic().send(frame, help).is_err() {
                self.world.nic().flush();
                self.world.wait(None);
                self.waits += 1;
            }
        }
    }

    fn channel(&mut self, number: usize) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        let mut bytes = [0; 1000];
        while channel.unsaid.len() < MOST_UNSAID {
            match self.world.hear(channel.id, &mut bytes) {
                Heard::Bytes(count) => channel.unsaid.extend(bytes.iter().take(count)),
                Heard::Nothing => break,
                Heard::Opened => self.world.say(&format!("{} opened", channel.name)),
                Heard::Closed => {
                    channel.unsaid.clear();
                    self.world.say(&format!("{} closed", channel.name));
                }
            }
            if channel.unsaid.ends_with(b"sum\n") {
                channel.unsaid = format!("{} frames, {} waits\n", self.echoed, self.waits).into_bytes();
            }
            let said = self.world.tell(channel.id, &channel.unsaid);
            channel.unsaid.drain(..said);
        }
        let said = self.world.tell(channel.id, &channel.unsaid);
        channel.unsaid.drain(..said);
    }
}

/// Swaps the addresses of a test frame; false for any other.
fn turn_round(frame: &mut [u8]) -> bool {
    let ours = frame.get(12..14) == Some(&OURS) || is_tcp_to_us(frame);
    if let Some((addresses, _)) = frame.split_at_mut_checked(12) {
        let (to, from) = addresses.split_at_mut(6);
        to.swap_with_slice(from);
    }
    ours
}

/// TCP over IPv4 without options, to the port of our number.
fn is_tcp_to_us(frame: &[u8]) -> bool {
    let ip = frame.get(12..15) == Some(&[8, 0, 0x45]) && frame.get(23) == Some(&6);
    ip && frame.get(36..38) == Some(&OURS)
}

/// What is asked for an echo: TCP goes out as it came in, in one piece, and is cut by the host.
fn help(frame: &[u8]) -> Help {
    if !is_tcp_to_us(frame) {
        return Help::default();
    }
    let segments = Segments { kind: Segment::Tcp4, header: 54, size: 1448 };
    Help { checksum: Some((34, 16)), segment: (frame.len() > 1514).then_some(segments) }
}
