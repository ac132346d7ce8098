//! What the operator wrote: flags and a file, read once, at the edge.
//!
//! The flags and the file have the same words. A flag wins over the file. A word that does not exist, or a
//! value that makes no sense, is an error that names the place and, where there is one, the word that was
//! meant.

use crate::bucket::Limit;
use crate::doors::{Door, Kind};
use crate::log::{Level, Shape};
use crate::spring::Hardware;
use crate::users::{self, User};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEFAULT_BYTES: u32 = 1024;
const DEFAULT_BURST: u32 = 4096;
const DEFAULT_GUESTS: u32 = 1024;

/// The words of the configuration.
#[derive(Clone, Debug, Default, clap::Args, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Serve on sockets in DIR: `DIR/entropy.sock` for any guest, and `DIR/NAME.sock` for each --guest.
    #[arg(long, value_name = "DIR", help_heading = "Doors")]
    listen: Option<PathBuf>,
    /// A guest with a socket of its own, on which only one connection lives at a time (repeatable).
    #[arg(long, value_name = "NAME", help_heading = "Doors")]
    guest: Vec<String>,
    /// Connect to the sockets that appear in DIR, as QEMU and libxl make them (repeatable). Names must end in
    /// `.entropy`, `.entropy.sock`, `.org.openmirage.entropy.1` or `.2` for the entropy protocol, `.egd` or
    /// `.egd.sock` for EGD; others are left alone. DIR must not be writable by everybody.
    #[arg(long, value_name = "DIR", help_heading = "Doors")]
    watch: Vec<PathBuf>,
    /// Serve EGD on a socket at PATH: for QEMU's rng-egd.
    #[arg(long, value_name = "PATH", help_heading = "Doors")]
    egd: Option<PathBuf>,
    /// Serve the entropy protocol on this vsock port.
    #[arg(long, value_name = "PORT", help_heading = "Doors")]
    vsock: Option<u32>,
    /// Users besides root and the daemon's own whose processes are served: names or numbers (repeatable).
    #[arg(long, value_name = "USER", help_heading = "Doors")]
    allow: Vec<String>,
    /// Give the sockets to this user, and allow it: QEMU's, if it does not run as root.
    #[arg(long, value_name = "USER", help_heading = "Doors")]
    socket_user: Option<String>,

    /// Bytes that each guest may have in a period [default: 1024].
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    rate: Option<u32>,
    /// The period, in seconds [default: 1].
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    period: Option<u32>,
    /// Bytes that a guest that has waited may have at once [default: 4096].
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    burst: Option<u32>,
    /// Guests that are served at the same time [default: 1024].
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_guests: Option<u32>,

    /// The hardware's random device: `auto` (/dev/hwrng if it is there), `none`, or a path that must be there
    /// [default: auto]. It is mixed with getrandom(2), which is always used.
    #[arg(long, value_name = "DEVICE", help_heading = "Source")]
    hardware: Option<String>,
    /// When a source fails: `exit` with status 3, or `stay`, feed nobody and serve the metrics [default:
    /// exit].
    #[arg(long, value_name = "WHAT", help_heading = "Source")]
    on_failure: Option<OnFailure>,

    /// Serve metrics over HTTP: the path of a socket, or a loopback address and port.
    #[arg(long, value_name = "WHERE", help_heading = "Operation")]
    metrics: Option<String>,
    /// Become this user once everything is open; without it, and started by root, `nobody`.
    #[arg(long, value_name = "USER", help_heading = "Operation")]
    user: Option<String>,
    /// How much to say [default: info].
    #[arg(long, value_name = "LEVEL", help_heading = "Operation")]
    log: Option<Level>,
    /// `text` or `json` [default: text].
    #[arg(long, value_name = "SHAPE", help_heading = "Operation")]
    log_format: Option<Shape>,
}

/// What to do when a source fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnFailure {
    /// Say it, and exit with status 3.
    Exit,
    /// Say it, feed nobody and stay.
    Stay,
}

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    Socket(PathBuf),
    Loopback(SocketAddr),
}

/// What the daemon is to do: checked, and nothing left open.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listen: Option<PathBuf>,
    pub(crate) guests: Vec<String>,
    pub(crate) watch: Vec<PathBuf>,
    pub(crate) egd: Option<PathBuf>,
    pub(crate) vsock: Option<u32>,
    pub(crate) allow: Vec<u32>,
    pub(crate) socket_user: Option<User>,
    pub(crate) limit: Limit,
    pub(crate) most_guests: usize,
    pub(crate) hardware: Hardware,
    pub(crate) on_failure: OnFailure,
    pub(crate) metrics: Option<Where>,
    pub(crate) user: Option<User>,
    pub(crate) level: Level,
    pub(crate) shape: Shape,
}

/// A configuration that cannot be meant.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct BadConfig(pub(crate) String);

impl Settings {
    /// Reads a file of settings.
    pub(crate) fn read(path: &Path) -> Result<Self, BadConfig> {
        let text = std::fs::read_to_string(path)
            .map_err(|why| BadConfig(format!("config {}: {why}", path.display())))?;
        Self::parse(&path.display().to_string(), &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self, BadConfig> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
            let hint =
                meant(error.message()).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
            BadConfig(format!("{name}:{line}: {}{hint}", first_line(error.message())))
        })
    }

    /// These settings, and where they are silent the others.
    pub(crate) fn over(self, file: Self) -> Self {
        let list = |mine: Vec<String>, other| if mine.is_empty() { other } else { mine };
        Self {
            listen: self.listen.or(file.listen),
            guest: list(self.guest, file.guest),
            watch: if self.watch.is_empty() { file.watch } else { self.watch },
            egd: self.egd.or(file.egd),
            vsock: self.vsock.or(file.vsock),
            allow: list(self.allow, file.allow),
            socket_user: self.socket_user.or(file.socket_user),
            rate: self.rate.or(file.rate),
            period: self.period.or(file.period),
            burst: self.burst.or(file.burst),
            max_guests: self.max_guests.or(file.max_guests),
            hardware: self.hardware.or(file.hardware),
            on_failure: self.on_failure.or(file.on_failure),
            metrics: self.metrics.or(file.metrics),
            user: self.user.or(file.user),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
        }
    }

    /// Checks every value.
    pub(crate) fn check(self) -> Result<Config, BadConfig> {
        let limit = self.limit()?;
        let socket_user = self.socket_user.as_deref().map(|name| user("socket-user", name)).transpose()?;
        let allow = self.allow.iter().map(|name| Ok(user("allow", name)?.uid));
        let mut allow = allow.collect::<Result<Vec<_>, _>>()?;
        allow.extend(socket_user.iter().map(|user| user.uid));
        self.guest.iter().try_for_each(|name| check_name(name))?;
        if self.listen.is_none() && !self.guest.is_empty() {
            return Err(BadConfig("guest names a socket in the folder of `listen`, which is not set".into()));
        }
        Ok(Config {
            listen: self.listen,
            guests: self.guest,
            watch: self.watch,
            egd: self.egd,
            vsock: self.vsock,
            allow,
            socket_user,
            limit,
            most_guests: between("max-guests", self.max_guests.unwrap_or(DEFAULT_GUESTS), 1, 100_000)?
                as usize,
            hardware: hardware(self.hardware.as_deref().unwrap_or("auto")),
            on_failure: self.on_failure.unwrap_or(OnFailure::Exit),
            metrics: self.metrics.as_deref().map(place).transpose()?,
            user: self.user.as_deref().map(|name| user("user", name)).transpose()?,
            level: self.log.unwrap_or(Level::Info),
            shape: self.log_format.unwrap_or(Shape::Text),
        })
    }

    fn limit(&self) -> Result<Limit, BadConfig> {
        let bytes = between("rate", self.rate.unwrap_or(DEFAULT_BYTES), 1, 1 << 20)?;
        let period = between("period", self.period.unwrap_or(1), 1, 3600)?;
        let burst = between("burst", self.burst.unwrap_or(DEFAULT_BURST), 64, 1 << 20)?;
        Ok(Limit { bytes, period: Duration::from_secs(period.into()), burst })
    }
}

impl BadConfig {
    /// The same, with the file and the line of the word that it begins with.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let word = self.0.split([' ', ':']).next();
        let line = text.lines().position(|line| line.split('=').next().map(str::trim) == word);
        let line = line.map_or_else(String::new, |line| format!(":{}", line + 1));
        Self(format!("{}{line}: {}", path.display(), self.0))
    }
}

impl Config {
    /// Do the settings name anybody to serve? What systemd hands over is not among them.
    pub(crate) fn check_named(&self) -> Result<(), BadConfig> {
        if self.watch.is_empty() && self.listen.is_none() && self.egd.is_none() && self.vsock.is_none() {
            return Err(nobody());
        }
        Ok(())
    }

    /// Is there anybody to serve, and can they be?
    pub(crate) fn check_served(&self, doors: &[Door], is_root: bool) -> Result<(), BadConfig> {
        if self.watch.is_empty() && doors.iter().all(|door| door.kind == Kind::Metrics) {
            return Err(nobody());
        }
        if is_root && self.user.is_none() && !self.watch.is_empty() {
            let why =
                "watch needs `user`: the one that QEMU runs as, for only it may connect to QEMU's sockets";
            return Err(BadConfig(why.into()));
        }
        Ok(())
    }
}

fn nobody() -> BadConfig {
    BadConfig("nobody to serve: give at least one of listen, watch, egd and vsock".into())
}

fn user(word: &str, name: &str) -> Result<User, BadConfig> {
    users::find(name).map_err(|why| BadConfig(format!("{word}: {why}")))
}

fn between(word: &str, value: u32, least: u32, most: u32) -> Result<u32, BadConfig> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(BadConfig(format!("{word} is {value}; it must be between {least} and {most}")))
}

/// A name becomes a file name and a label, so it may not be anything else.
fn check_name(name: &str) -> Result<(), BadConfig> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name == "entropy" {
        return Err(BadConfig("guest `entropy`: entropy.sock is the socket for any guest".into()));
    }
    if (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('.') {
        return Ok(());
    }
    Err(BadConfig(format!("guest {name:?}: a name has 1 to 64 letters, digits, `-`, `_` and `.`")))
}

fn hardware(word: &str) -> Hardware {
    match word {
        "auto" => Hardware::IfPresent,
        "none" => Hardware::None,
        path => Hardware::At(path.into()),
    }
}

/// Metrics tell who runs on this host: they never leave it.
fn place(word: &str) -> Result<Where, BadConfig> {
    if word.starts_with('/') {
        return Ok(Where::Socket(word.into()));
    }
    match word.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Where::Loopback(address)),
        Ok(address) => {
            Err(BadConfig(format!("metrics at {address}: only loopback addresses and sockets are served")))
        }
        Err(_) => {
            Err(BadConfig(format!("metrics {word:?} is neither an absolute path nor an address and port")))
        }
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// The word that an unknown one is closest to, if it is close: the message lists them in backquotes.
fn meant(message: &str) -> Option<&str> {
    let mut words = message.split('`').skip(1).step_by(2);
    let wrong = words.next().filter(|_| message.starts_with("unknown "))?;
    let best = words.map(|word| (distance(wrong, word), word)).min()?;
    (best.0 <= 1 + wrong.len() / 3).then_some(best.1)
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.bytes().zip(row.iter().skip(1)) {
            left = (corner + usize::from(x != y)).min(left + 1).min(above + 1);
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, BadConfig> {
        Settings::parse("x.toml", text)
    }

    fn fault(text: &str) -> String {
        parse(text).and_then(Settings::check).unwrap_err().0
    }

    #[test]
    fn a_typo_names_the_file_the_line_and_the_word_that_was_meant() {
        let said = fault("# limits\nburst = 100\nratee = 7\n");
        assert!(said.starts_with("x.toml:3: unknown field `ratee`"), "{said}");
        assert!(said.ends_with("did you mean `rate`?"), "{said}");
        let said = fault("on-failure = \"stey\"");
        assert!(said.starts_with("x.toml:1: unknown variant `stey`") && said.ends_with("`stay`?"), "{said}");
        assert!(!fault("xylophone = 1").contains("did you mean"));
        assert!(fault("rate = \"fast\"").starts_with("x.toml:1: invalid type"));
    }

    #[test]
    fn a_value_that_cannot_be_meant_is_refused() {
        for (text, said) in [
            ("rate = 0", "rate is 0"),
            ("burst = 63", "burst is 63"),
            ("metrics = \"0.0.0.0:9101\"", "only loopback"),
            ("metrics = \"metrics.sock\"", "neither an absolute path"),
            ("listen = \"/x\"\nguest = [\"../etc\"]", "guest \"../etc\""),
            ("listen = \"/x\"\nguest = [\"entropy\"]", "for any guest"),
            ("guest = [\"web\"]", "`listen`, which is not set"),
            ("allow = [\"no-such-user\"]", "no-such-user"),
        ] {
            assert!(fault(text).contains(said), "{text}: {}", fault(text));
        }
    }

    #[test]
    fn a_value_that_is_wrong_in_the_file_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        for (text, said) in [
            ("listen = \"/x\"\n\n  rate = 0\n", "x.toml:3: rate is 0; it must be between 1 and"),
            ("allow = [\"no-such-user\"]", "x.toml:1: allow: there is no user \"no-such-user\""),
            ("# user\nuser = \"nowhere\"", "x.toml:2: user: there is no user \"nowhere\""),
        ] {
            std::fs::write(&path, text).unwrap();
            let bad = Settings::read(&path).and_then(Settings::check).unwrap_err().in_file(&path);
            assert!(bad.0.contains(said), "{bad}");
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = parse("rate = 5\nburst = 100\nwatch = [\"/a\"]").unwrap();
        let config = Settings { rate: Some(6), ..Settings::default() }.over(file).check().unwrap();
        assert_eq!((config.limit.bytes, config.limit.burst), (6, 100));
        assert_eq!((config.watch, config.most_guests), (vec![PathBuf::from("/a")], 1024));
    }

    #[test]
    fn the_distance_between_words_is_levenshteins() {
        for (a, b, far) in
            [("rate", "rate", 0), ("ratee", "rate", 1), ("", "abc", 3), ("kitten", "sitting", 3)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (far, far));
        }
    }
}
