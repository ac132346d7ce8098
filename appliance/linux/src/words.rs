//! The words of the command line that belong to this world. All others are left for the appliance.

use core::fmt;
use rustix::io::Errno;

/// One word of the command line, for the page that `--help` prints and for guessing what a slip of the pen meant.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The word itself.
    pub name: &'static str,
    /// What follows it.
    pub value: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// Every word of the Linux world; there is no other, and none that opens the sandbox.
pub const WORDS: [Word; 9] = [
    word("--tap", "NAME", "use this TAP device; it must exist, and belong to you unless you are root"),
    word("--nic", "FD", "use this open TAP descriptor (IFF_TAP, IFF_NO_PI, IFF_VNET_HDR)"),
    word(
        "--cable",
        "FD",
        "use this SOCK_SEQPACKET socket, each frame preceded by its 12-byte virtio_net_hdr",
    ),
    word("--mac", "MAC", "our hardware address (default: derived from the TAP device's)"),
    word("--mtu", "BYTES", "the largest IP packet (default: the TAP device's, 1500 on a cable)"),
    word(
        "--bundle",
        "FILE",
        "what `gatehouse pack` made, or its public part; it is mapped, so replace it by renaming, never in place",
    ),
    word(
        "--secrets",
        "FD|FILE",
        "the bundle's secret part, if it lies by itself; it is read once into memory that is wiped",
    ),
    word(
        "--channel",
        "NAME=FD|PATH|listen:PATH",
        "a channel: an open unix stream socket (connected or listening), one to dial, or one to listen on",
    ),
    word("--entropy", "FD|PATH|listen:PATH", "short for --channel org.openmirage.entropy.2=..."),
];

const ENTROPY: &str = "org.openmirage.entropy.2";

const fn word(name: &'static str, value: &'static str, about: &'static str) -> Word {
    Word { name, value, about }
}

/// Why the process cannot start, whose fault it is, and what would help.
#[derive(Debug, thiserror::Error)]
pub enum BadStart {
    /// `--help` was among the words: print [`WORDS`] and the appliance's own.
    #[error("help was asked for")]
    HelpAsked,
    /// A word came without what must follow it.
    #[error("{0} wants {1} after it")]
    NoValue(&'static str, &'static str),
    /// A word that may come once came twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// A value that does not mean anything.
    #[error("{word} {value}: not {wanted}")]
    BadValue {
        /// The word it followed.
        word: &'static str,
        /// What was written.
        value: String,
        /// What could have been meant.
        wanted: &'static str,
    },
    /// A word that nobody knows.
    #[error("there is no word {0}: did you mean {1}?")]
    Unknown(String, &'static str),
    /// No network interface was named.
    #[error(
        "no network interface: give --tap NAME, --nic FD or --cable FD (`gatehouse run` does it for you)"
    )]
    NoLink,
    /// `/dev/net/tun` does not open.
    #[error("/dev/net/tun does not open: load the kernel's tun module, or run `gatehouse run` without --tap")]
    NoTun,
    /// The TAP device is not there, not ours, or in use.
    #[error("TAP device {0}: {1}")]
    Tap(String, TapTrouble),
    /// A descriptor that is not open.
    #[error("descriptor {0} is not open: whoever starts the appliance must hand it down")]
    NotOpen(i32),
    /// A descriptor that is no TAP device in the right mode.
    #[error("descriptor {0} is not a TAP device attached with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR")]
    NotATap(i32),
    /// A descriptor that does not keep frames apart.
    #[error("descriptor {0} is not a SOCK_SEQPACKET or SOCK_DGRAM socket")]
    NotACable(i32),
    /// A channel that does not open.
    #[error("channel {0} at {1}: {2}")]
    Channel(String, String, std::io::Error),
    /// A file that cannot be read.
    #[error("{0} {1}: {2}")]
    File(&'static str, String, std::io::Error),
    /// Something that no bundle can be.
    #[error("--bundle {0}: not a regular file with something in it")]
    NotABundle(String),
    /// A cargo that contradicts itself.
    #[error("--bundle {0}: {1}")]
    Broken(String, bundle::Broken),
    /// Secrets twice: in the bundle's file, and by themselves.
    #[error("--secrets: {0} has a secret part of its own; leave --secrets out")]
    SecretsTwice(String),
    /// Something that no secrets can be.
    #[error("--secrets {0}: not a file or memfd of 1 byte to 16 MiB")]
    NoSecrets(String),
    /// The kernel lacks something that nothing works without.
    #[error("the kernel refuses {0}: {1}")]
    Kernel(&'static str, std::io::Error),
}

/// What is wrong with a TAP device.
#[derive(Debug, thiserror::Error)]
pub enum TapTrouble {
    /// There is none of that name.
    #[error("there is none; `ip tuntap add dev NAME mode tap vnet_hdr user YOU` as root makes one")]
    Missing,
    /// It belongs to somebody else.
    #[error(
        "no right to open it; `ip tuntap add dev NAME mode tap vnet_hdr user YOU` as root gives it to you"
    )]
    NotYours,
    /// Another program holds it.
    #[error("another program is using it")]
    Busy,
    /// Anything else, in the kernel's words.
    #[error("{0}")]
    Other(#[from] std::io::Error),
}

impl BadStart {
    pub(crate) fn tap(name: &str, errno: Errno) -> Self {
        let trouble = match errno {
            Errno::NODEV => TapTrouble::Missing,
            Errno::PERM | Errno::ACCESS => TapTrouble::NotYours,
            Errno::BUSY => TapTrouble::Busy,
            other => TapTrouble::Other(other.into()),
        };
        Self::Tap(name.to_owned(), trouble)
    }

    pub(crate) fn channel(name: &str, end: &End, errno: Errno) -> Self {
        Self::Channel(name.to_owned(), end.to_string(), errno.into())
    }

    pub(crate) fn file(word: &'static str, path: &str, errno: Errno) -> Self {
        Self::File(word, path.to_owned(), errno.into())
    }
}

/// Where frames come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Tap(String),
    Nic(i32),
    Cable(i32),
}

/// Where a channel's other end is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Open(i32),
    Dial(String),
    Listen(String),
}

/// Where secrets are read from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Open(i32),
    File(String),
}

impl fmt::Display for End {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(number) => write!(to, "descriptor {number}"),
            Self::Dial(path) | Self::Listen(path) => to.write_str(path),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(number) => write!(to, "descriptor {number}"),
            Self::File(path) => to.write_str(path),
        }
    }
}

/// What the words of this world say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) line: Option<Line>,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) mtu: Option<u16>,
    pub(crate) bundle: Option<String>,
    pub(crate) secrets: Option<Store>,
    pub(crate) channels: Vec<(String, End)>,
    /// The words of others, in their order.
    pub(crate) rest: Vec<String>,
}

impl Words {
    pub(crate) fn read(words: impl IntoIterator<Item = String>) -> Result<Self, BadStart> {
        let (mut read, mut words) = (Self::default(), words.into_iter());
        while let Some(next) = words.next() {
            if next == "--help" {
                return Err(BadStart::HelpAsked);
            }
            match WORDS.iter().find(|word| word.name == next) {
                Some(word) => {
                    let value = words.next().ok_or(BadStart::NoValue(word.name, word.value))?;
                    read.take(word.name, value)?;
                }
                None => read.rest.push(next),
            }
        }
        if read.line.is_none() { Err(read.without_a_line()) } else { read.each_descriptor_once() }
    }

    fn take(&mut self, word: &'static str, value: String) -> Result<(), BadStart> {
        match word {
            "--tap" => once(&mut self.line, word, Line::Tap(device(word, value)?)),
            "--nic" => once(&mut self.line, word, Line::Nic(descriptor(word, &value)?)),
            "--cable" => once(&mut self.line, word, Line::Cable(descriptor(word, &value)?)),
            "--mac" => once(&mut self.mac, word, mac(word, &value)?),
            "--mtu" => once(&mut self.mtu, word, mtu(word, &value)?),
            "--bundle" => once(&mut self.bundle, word, value),
            "--secrets" => once(&mut self.secrets, word, store(value)),
            "--entropy" => self.channel(word, ENTROPY, &value),
            _ => match value.split_once('=') {
                Some((name, end)) if !name.is_empty() => self.channel(word, name, end),
                _ => Err(bad(word, value, "NAME=FD, NAME=PATH or NAME=listen:PATH")),
            },
        }
    }

    fn channel(&mut self, word: &'static str, name: &str, value: &str) -> Result<(), BadStart> {
        if self.channels.iter().any(|(known, _)| known == name) {
            return Err(BadStart::Twice(word));
        }
        let end = match (value.parse(), value.strip_prefix("listen:")) {
            (Ok(number), _) => End::Open(number),
            (Err(_), Some("")) => return Err(bad(word, value.to_owned(), "a path after listen:")),
            (Err(_), Some(path)) => End::Listen(path.to_owned()),
            (Err(_), None) => End::Dial(value.to_owned()),
        };
        self.channels.push((name.to_owned(), end));
        Ok(())
    }

    /// A descriptor that two words share would be closed twice.
    fn each_descriptor_once(self) -> Result<Self, BadStart> {
        let line = match self.line {
            Some(Line::Nic(number)) => Some(("--nic", number)),
            Some(Line::Cable(number)) => Some(("--cable", number)),
            _ => None,
        };
        let secrets = match self.secrets {
            Some(Store::Open(number)) => Some(("--secrets", number)),
            _ => None,
        };
        let channels = self.channels.iter().filter_map(|(_, end)| match end {
            End::Open(number) => Some(("--channel", *number)),
            _ => None,
        });
        let mut seen = Vec::new();
        for (word, number) in line.into_iter().chain(secrets).chain(channels) {
            if number < 0 || [1, 2].contains(&number) || seen.contains(&number) {
                return Err(bad(
                    word,
                    number.to_string(),
                    "a descriptor of its own, and not the console (1 or 2)",
                ));
            }
            seen.push(number);
        }
        Ok(self)
    }

    /// Nobody named an interface: perhaps because of a slip of the pen.
    fn without_a_line(&self) -> BadStart {
        let slip = self.rest.iter().find_map(|written| {
            let meant = world::words::meant(written, WORDS.iter().map(|word| word.name))?;
            Some(BadStart::Unknown(written.clone(), meant))
        });
        slip.unwrap_or(BadStart::NoLink)
    }
}

fn once<T>(place: &mut Option<T>, word: &'static str, value: T) -> Result<(), BadStart> {
    if place.replace(value).is_some() { Err(BadStart::Twice(word)) } else { Ok(()) }
}

const fn bad(word: &'static str, value: String, wanted: &'static str) -> BadStart {
    BadStart::BadValue { word, value, wanted }
}

fn device(word: &'static str, value: String) -> Result<String, BadStart> {
    let fits = (1..16).contains(&value.len()) && !value.contains(['/', '\0']);
    if fits { Ok(value) } else { Err(bad(word, value, "a device name of 1 to 15 letters")) }
}

fn descriptor(word: &'static str, value: &str) -> Result<i32, BadStart> {
    value.parse().map_err(|_| bad(word, value.to_owned(), "the number of an open descriptor"))
}

fn store(value: String) -> Store {
    value.parse().map_or(Store::File(value), Store::Open)
}

fn mtu(word: &'static str, value: &str) -> Result<u16, BadStart> {
    let mtu = value.parse().ok().filter(|mtu| *mtu >= 1280);
    mtu.ok_or_else(|| bad(word, value.to_owned(), "a number from 1280 to 65535"))
}

fn mac(word: &'static str, value: &str) -> Result<[u8; 6], BadStart> {
    let bytes: Option<Vec<u8>> = value.split(':').map(octet).collect();
    let mac = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    let ours = mac.filter(|[first, ..]| first & 1 == 0);
    ours.ok_or_else(|| bad(word, value.to_owned(), "a unicast address like 02:00:00:00:00:02"))
}

fn octet(digits: &str) -> Option<u8> {
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Words, BadStart> {
        Words::read(line.split_whitespace().map(str::to_owned))
    }

    fn refusal(line: &str) -> String {
        read(line).unwrap_err().to_string()
    }

    #[test]
    fn own_words_are_taken_and_others_are_left_in_their_order() {
        let words = read(
            "--address 10.0.0.2/24 --tap gh0 --quiet --channel gatehouse.control=listen:/run/c --secrets 7 \
             --entropy /run/e --mac 02:00:00:00:00:09 --mtu 9000 --bundle /srv/b",
        )
        .unwrap();
        assert_eq!(words.rest, ["--address", "10.0.0.2/24", "--quiet"]);
        assert_eq!(words.line, Some(Line::Tap("gh0".into())));
        assert_eq!((words.mac, words.mtu), (Some([2, 0, 0, 0, 0, 9]), Some(9000)));
        assert_eq!((words.bundle.as_deref(), words.secrets), (Some("/srv/b"), Some(Store::Open(7))));
        let control = ("gatehouse.control".to_owned(), End::Listen("/run/c".into()));
        assert_eq!(words.channels, [control, (ENTROPY.to_owned(), End::Dial("/run/e".into()))]);
    }

    #[test]
    fn a_slip_of_the_pen_is_named_with_what_was_meant() {
        assert_eq!(refusal("--tpa gh0"), "there is no word --tpa: did you mean --tap?");
        assert_eq!(refusal("--cabel 5"), "there is no word --cabel: did you mean --cable?");
        assert_eq!(refusal("--ni 5"), "there is no word --ni: did you mean --nic?");
        assert!(refusal("--address 10.0.0.1/24").starts_with("no network interface"));
    }

    #[test]
    fn a_bad_value_is_named_with_what_was_wanted() {
        assert_eq!(refusal("--tap"), "--tap wants NAME after it");
        assert_eq!(refusal("--tap a --tap b"), "--tap is given twice");
        assert_eq!(refusal("--tap a --cable 5"), "--cable is given twice");
        assert_eq!(
            refusal("--tap seventeen-letters"),
            "--tap seventeen-letters: not a device name of 1 to 15 letters"
        );
        assert_eq!(refusal("--cable five"), "--cable five: not the number of an open descriptor");
        assert_eq!(refusal("--tap a --mtu 576"), "--mtu 576: not a number from 1280 to 65535");
        for mac in ["01:00:00:00:00:02", "02:00:00:00:02", "2:0:0:0:0:2", "02:00:00:00:00:02:03"] {
            assert!(refusal(&format!("--tap a --mac {mac}")).contains("not a unicast address"), "{mac}");
        }
    }

    #[test]
    fn a_descriptor_is_never_adopted_twice_and_the_console_never() {
        assert!(refusal("--cable 5 --secrets 5").contains("of its own"));
        assert!(refusal("--cable 5 --entropy 5").contains("of its own"));
        assert!(refusal("--cable 1").contains("not the console"));
        assert!(refusal("--cable -1").contains("of its own"));
    }

    #[test]
    fn no_word_opens_the_sandbox() {
        let words = read("--tap a --no-sandbox").unwrap();
        assert_eq!(words.rest, ["--no-sandbox"], "left for the appliance to refuse");
    }
}
