//! `xentropyd`: the daemon that feeds entropy to every guest of this host.
//!
//! One thread, one epoll loop. `main` is the table of contents: read the settings, open the doors, lock
//! ourselves in, serve until told to stop.
#![forbid(unsafe_code)]

mod bucket;
mod doors;
mod guest;
mod log;
mod metrics;
mod notify;
mod seal;
mod serve;
mod settings;
mod spring;
mod users;
mod watch;

use clap::Parser;
use log::{Level, Log};
use notify::Notify;
use rustix::process::geteuid;
use serve::Daemon;
use settings::{BadConfig, Config, Settings};
use spring::Well;
use std::path::PathBuf;
use std::process::ExitCode;

/// Feeds entropy to the guests of this host.
///
/// xentropyd reads the kernel's random numbers and, where there is one, the hardware's random device, tests
/// what it reads (NIST SP 800-90B), and gives every guest bytes of a stream of its own, at a limited rate:
/// over unix sockets that it makes (--listen) or that QEMU or libxl make (--watch), over vsock, and over EGD
/// for virtio-rng. When a source fails nobody is fed: weak bytes never leave it.
#[derive(Parser)]
#[command(name = "xentropyd", version, max_term_width = 100, after_long_help = MANUAL)]
struct Arguments {
    /// Read settings from this file (TOML): the same words as the flags; a flag wins.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the settings, say what is wrong, and exit.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: Settings,
}

const MANUAL: &str = "\
EXIT STATUS
    0  stopped by SIGTERM or SIGINT
    1  something failed that should not: a socket, the sandbox
    2  the settings are wrong; the message names the place
    3  a source of entropy failed, or failed its health tests

SIGNALS
    SIGHUP           read the file again: guest, allow, rate, period, burst, max-guests (downwards), on-failure
                     and log take effect at once, the others at the next start
    SIGUSR1          this host, or a guest within a running QEMU, was put back in time: tell every guest that it is
                     of a new generation, so that it draws nothing before it is fed anew
    SIGTERM, SIGINT  stop; sockets are removed

FILES
    DIR/entropy.sock  any guest may connect (--listen DIR)
    DIR/NAME.sock     the guest NAME (--guest NAME)
    DIR/NAME.entropy, DIR/NAME.org.openmirage.entropy.2, DIR/NAME.egd, ...
                      made by QEMU or libxl, and connected to (--watch DIR)

EXAMPLES
    Feed QEMU's own virtio-rng:
        xentropyd --egd /run/egd.sock
        qemu-system-x86_64 ... -chardev socket,path=/run/egd.sock,reconnect=1,id=e \\
            -object rng-egd,chardev=e,id=r -device virtio-rng-pci,rng=r
    Feed each guest that QEMU starts, as the user that QEMU runs as:
        xentropyd --watch /run/guests --user libvirt-qemu
        qemu-system-x86_64 ... -chardev socket,path=/run/guests/web.entropy,server=on,wait=off,id=e \\
            -device virtio-serial-pci -device virtserialport,chardev=e,name=org.openmirage.entropy.2";

/// What is said until there is anything to feed.
const EARLY: &str = "the kernel has gathered no entropy since it booted: waiting for it";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("xentropyd: {failure}");
            ExitCode::from(status(failure.as_ref()))
        }
    }
}

fn status(failure: &(dyn std::error::Error + 'static)) -> u8 {
    match failure {
        bad if bad.is::<BadConfig>() => 2,
        dry if dry.is::<spring::Failure>() => 3,
        _ => 1,
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let config = arguments.read()?;
    if arguments.check {
        config.check_named()?;
        println!("xentropyd: the settings are good");
        return Ok(ExitCode::SUCCESS);
    }
    let mut log = Log::new(config.level, config.shape);
    let notify = Notify::from_environment();
    if spring::is_early() {
        log.say(entropy::Moment::ZERO, Level::Warn, "early", &[("why", EARLY)]);
        notify.say(&format!("STATUS={EARLY}\n"));
        spring::wait();
    }
    let (well, absent) = Well::open(&config.hardware)?;
    if let Some(why) = absent {
        let words = [("device", spring::Hardware::DEVICE), ("why", &why.to_string())];
        let level = if why == rustix::io::Errno::ACCESS { Level::Warn } else { Level::Info };
        log.say(entropy::Moment::ZERO, level, "no-hardware-source", &words);
    }
    let doors = doors::open(&config, &mut log)?;
    config.check_served(&doors, geteuid().is_root())?;
    let mut daemon = Daemon::new(config.clone(), well, doors, log, notify)?;
    daemon.is_now(lock(&config)?);
    Ok(daemon.serve(&|| arguments.read()))
}

impl Arguments {
    /// The flags over the file.
    fn read(&self) -> Result<Config, BadConfig> {
        let file = self.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
        let fault = match self.settings.clone().over(file).check() {
            Ok(config) => return Ok(config),
            Err(fault) => fault,
        };
        // A flag that is wrong is wrong without the file too.
        let of_flags = self.settings.clone().check().err().as_ref() == Some(&fault);
        Err(self.config.iter().filter(|_| !of_flags).fold(fault, |fault, path| fault.in_file(path)))
    }
}

/// Bounds, another user, and the list of system calls. Says who we are then.
fn lock(config: &Config) -> Result<u32, Box<dyn std::error::Error>> {
    seal::bound(config.most_guests + config.guests.len() + 64, (48 << 20) + config.most_guests * 8192)?;
    if geteuid().is_root() {
        let nobody = || users::find("nobody");
        seal::become_user(&config.user.clone().map_or_else(nobody, Ok)?)?;
    }
    let uid = geteuid().as_raw();
    seal::close()?;
    Ok(uid)
}
