//! The messages of the control queues (virtio 1.2, section 5.3.6.2).

/// The longest message that we read: a name of 120 bytes.
pub(super) const LONGEST: usize = 128;
const HEAD: usize = 8;
/// The longest name that a port of ours can have.
const LONGEST_NAME: usize = 64;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// From us: the device may tell of its ports.
    DeviceReady,
    /// There is such a port.
    Added,
    /// There is no such port any more.
    Removed,
    /// From us: that port may be used.
    PortReady,
    /// From the host: somebody sits at the other end, or not. From us: likewise.
    Open,
    /// What the port is called.
    Name,
}

const EVENTS: [(u16, Event); 6] = [
    (0, Event::DeviceReady),
    (1, Event::Added),
    (2, Event::Removed),
    (3, Event::PortReady),
    (6, Event::Open),
    (7, Event::Name),
];

/// A message from us. We say of everything that it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The port that it is about.
    pub(super) port: u16,
    /// What it is about.
    pub(super) event: Event,
}

/// A message from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The port that it is about.
    pub(super) port: u32,
    /// What it is about.
    pub(super) event: Event,
    /// Whether it is so.
    pub(super) yes: bool,
    /// The port's name, in a message about that.
    pub(super) name: Option<String>,
}

impl Message {
    /// The message as it goes to the host.
    pub(super) fn bytes(self) -> [u8; HEAD] {
        let event = EVENTS.iter().find(|(_, event)| *event == self.event).map_or(0, |(number, _)| *number);
        let [p0, p1, p2, p3] = u32::from(self.port).to_le_bytes();
        let [e0, e1] = event.to_le_bytes();
        [p0, p1, p2, p3, e0, e1, 1, 0]
    }
}

impl Told {
    /// Reads a message; None when it is short or about something that does not concern us.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let ([p0, p1, p2, p3, e0, e1, v0, v1], name) = bytes.split_first_chunk::<HEAD>()?;
        let number = u16::from_le_bytes([*e0, *e1]);
        let (_, event) = EVENTS.iter().find(|(known, _)| *known == number)?;
        let name = (*event == Event::Name).then(|| read_name(name)).flatten();
        let port = u32::from_le_bytes([*p0, *p1, *p2, *p3]);
        Some(Self { port, event: *event, yes: [*v0, *v1] != [0, 0], name })
    }
}

/// A name ends at its first zero; one that nobody could have meant is none.
fn read_name(bytes: &[u8]) -> Option<String> {
    let name = bytes.split(|byte| *byte == 0).next()?;
    let sensible = !name.is_empty() && name.len() <= LONGEST_NAME && name.iter().all(u8::is_ascii_graphic);
    sensible.then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_look_as_the_standard_says() {
        assert_eq!(Message { port: 0x0102, event: Event::Open }.bytes(), [2, 1, 0, 0, 6, 0, 1, 0]);
        let told = Told::read(b"\x03\0\0\0\x07\0\x01\0gatehouse.control\0").unwrap();
        assert_eq!((told.port, told.event, told.yes), (3, Event::Name, true));
        assert_eq!(told.name.as_deref(), Some("gatehouse.control"));
    }

    #[test]
    fn what_makes_no_sense_means_nothing() {
        assert_eq!(Told::read(&[0; 7]), None, "short");
        assert_eq!(Told::read(&[0, 0, 0, 0, 9, 0, 0, 0]), None, "no such event");
        for name in [&b""[..], b"\0x", b"a b", b"\x1b[2J", &[b'a'; 65], "ü".as_bytes()] {
            let told = Told::read(&[&[0, 0, 0, 0, 7, 0, 1, 0], name].concat()).unwrap();
            assert_eq!(told.name, None, "{name:?}");
        }
    }
}
