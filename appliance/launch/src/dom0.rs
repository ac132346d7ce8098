//! The appliance as a domU of Xen's, started from dom0 with xl.
//!
//! xl stays for as long as the domain lives and carries its console to us. A helper of ours stays too: it destroys the
//! domain when we are gone, however we went. Everything is found by a UUID that was drawn for this one domain, so that
//! another of the same name is never meant.

use crate::Outcome;
use crate::child::{Ward, leashed};
use crate::control::Broker;
use crate::domain::{Domain, ENTROPY, memory};
use crate::feeder::Feeder;
use crate::life::{Bench, Ear, Started};
use crate::load::Load;
use crate::memory::MemoryFile;
use crate::run::{Order, Trouble};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Output, Stdio};
use std::time::Duration;

/// How often the domain's control socket is looked for until it is there.
const SOON: Duration = Duration::from_millis(200);
/// What xl says of a domain that ended by itself, and not by a fault.
const WELL: &str = "has shut down, reason code 0 ";

/// A domain that is destroyed when this value goes, or when we do.
pub(crate) struct Guard {
    uuid: String,
    helper: Child,
    life: Option<ChildStdin>,
}

/// Starts it.
pub(crate) fn start(
    elf: &Path,
    order: &Order,
    load: &Load,
    name: &str,
    bench: &Bench,
    broker: &Broker,
) -> Result<Started, Trouble> {
    let uuid = drawn()?;
    domains().map_err(Trouble::NoXen)?;
    let feeder = Feeder::start(elf, order.entropy.as_deref())?;
    let folder = tempfile::Builder::new().prefix("gatehouse-").tempdir()?;
    let control = folder.path().join("control");
    load.reseed()?;
    let domain = Domain {
        name,
        uuid: Some(&uuid),
        kernel: &elf.canonicalize()?,
        cargo: &load.path()?,
        words: &[order.own_words(), order.pinata_words(), order.log_words()].concat(),
        megabytes: memory(order.mem, load),
        bridge: order.bridge.as_deref().unwrap_or("xenbr0"),
        entropy: feeder.channel(&format!("{name}.{ENTROPY}")),
        control: control.clone(),
        again: false,
    };
    let config = MemoryFile::of("domain", &[domain.config().map_err(Trouble::NoDomain)?.as_bytes()])?;
    let said = tempfile::tempfile()?;
    let mut command = leashed("xl")?;
    command.args(["create", "-F", "-c"]).arg(config.path());
    let guard = Guard::over(uuid)?;
    let ward = Ward::start(
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::from(said.try_clone()?)),
    )?;
    bench.tasks.spawn(answer(control, folder, broker.clone(), bench.clone()));
    Ok(Started {
        ward,
        feeder,
        gateway: None,
        addresses: order.addresses(),
        is_well: Box::new(move |_| ended_well(&said)),
        ear: Ear::Xen(guard),
        control: None,
    })
}

/// What the helper is told.
#[derive(clap::Args)]
pub(crate) struct Helper {
    uuid: String,
}

/// Waits until our launcher is gone, and destroys its domain if there is one.
pub(crate) fn outlive(order: &Helper) -> Outcome {
    io::copy(&mut io::stdin(), &mut io::sink())?;
    if let Some(domain) = find(&order.uuid)? {
        xl(&["destroy", &domain])?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Guard {
    /// Begins before the domain does.
    fn over(uuid: String) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["outlive", &uuid]).stdin(Stdio::piped()).process_group(0);
        let mut helper = command.spawn()?;
        let life = helper.stdin.take();
        Ok(Self { uuid, helper, life })
    }

    /// Asks the domain to finish, as any administrator would.
    pub(crate) fn ask_to_finish(&self) {
        let asked = find(&self.uuid).map(|domain| domain.map(|domain| xl(&["shutdown", &domain])));
        if let Err(error) = asked {
            eprintln!("gatehouse: the domain cannot be asked to end: {error}");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The helper reads until this end is closed.
        drop(self.life.take());
        let _ = self.helper.wait();
    }
}

/// Waits for the socket that dom0's QEMU makes, and lets the broker answer by it. The folder is there for as long as
/// the domain may make a socket in it.
async fn answer(path: PathBuf, _folder: tempfile::TempDir, broker: Broker, bench: Bench) {
    loop {
        if let Ok(socket) = UnixStream::connect(&path) {
            if let Err(error) = socket.set_nonblocking(true).and_then(|()| broker.attach(socket)) {
                eprintln!("gatehouse: the domain's control channel: {error}");
            }
            return;
        }
        bench.tasks.timers().after(SOON).await;
    }
}

/// Whether the domain ended by itself; if not, shows what xl has to say.
fn ended_well(said: &File) -> bool {
    let (mut words, mut said) = (String::new(), said);
    let _ = said.rewind().and_then(|()| said.read_to_string(&mut words));
    let well = words.contains(WELL);
    if !well {
        eprint!("{words}");
    }
    well
}

/// The number of the domain with this UUID, if it lives.
fn find(uuid: &str) -> io::Result<Option<String>> {
    Ok(number(&domains()?, uuid))
}

/// Every domain, as xl lists them: its UUID, its number and its name.
fn domains() -> io::Result<String> {
    let listed = xl(&["vm-list"])?;
    if !listed.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&listed.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}

fn number(list: &str, uuid: &str) -> Option<String> {
    let mut lines = list.lines().map(str::split_whitespace);
    lines
        .find_map(|mut words| words.next().filter(|word| *word == uuid).and_then(|_| words.next()))
        .map(str::to_owned)
}

fn xl(words: &[&str]) -> io::Result<Output> {
    Command::new("xl").args(words).stdin(Stdio::null()).output()
}

/// A UUID that nobody has.
fn drawn() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    let number = u128::from_ne_bytes(bytes) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{number:032x}");
    let cut = |from, to| digits.get(from..to).unwrap_or_default();
    Ok([cut(0, 8), cut(8, 12), cut(12, 16), cut(16, 20), cut(20, 32)].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_found_by_its_uuid_and_no_other() {
        let list = "UUID                                  ID    name\n\
                    00000000-0000-0000-0000-000000000000  0    Domain-0\n\
                    11111111-2222-3333-4444-555555555555  12   web\n\n";
        assert_eq!(number(list, "11111111-2222-3333-4444-555555555555").as_deref(), Some("12"));
        for other in ["11111111-2222-3333-4444-555555555556", "web", "", "12"] {
            assert_eq!(number(list, other), None, "{other}");
        }
    }

    #[test]
    fn uuids_are_random_ones_of_their_kind() {
        let uuids = [drawn().unwrap(), drawn().unwrap()];
        assert_ne!(uuids[0], uuids[1]);
        for uuid in uuids {
            let parts: Vec<&str> = uuid.split('-').collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{uuid}");
            assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{uuid}");
        }
    }
}
