//! What systemd wants to hear (`sd_notify`): one datagram for one state. Without systemd nothing is said.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The way to systemd, if it started us.
pub(crate) struct Notify {
    socket: Option<UnixDatagram>,
    /// How often systemd wants to hear that we live.
    pub(crate) watchdog: Option<Duration>,
    /// Our clock and systemd's, read together once: the vDSO cannot be set up any more inside the sandbox.
    began: (Instant, Duration),
}

impl Notify {
    /// Connects now, because the sandbox will not let us later.
    pub(crate) fn from_environment() -> Self {
        let socket = std::env::var("NOTIFY_SOCKET").ok().and_then(|address| connect(&address));
        let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|micros| micros.parse().ok());
        let watchdog = micros.map(|micros: u64| Duration::from_micros(micros / 2));
        let stamp = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Self { socket, watchdog, began: (Instant::now(), stamp.try_into().unwrap_or_default()) }
    }

    /// The settings are being read again; `READY=1` follows.
    pub(crate) fn reloading(&self) {
        let (instant, stamp) = self.began;
        let micros = (stamp + instant.elapsed()).as_micros();
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
    }

    /// Says it; systemd that does not listen is no reason to stop.
    pub(crate) fn say(&self, state: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(state.as_bytes());
        }
    }
}

fn connect(address: &str) -> Option<UnixDatagram> {
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).ok()?,
        None => SocketAddr::from_pathname(address).ok()?,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect_addr(&address).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}
