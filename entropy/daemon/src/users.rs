//! Who is who on this host.
//!
//! Names are looked up in `/etc/passwd` only: the daemon is linked statically and asks no name service. A
//! number always works. Of a peer we know the process, its user and when it began: enough to tell one run of
//! a machine from the next.

use crate::settings::BadConfig;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use sha2::{Digest, Sha512};
use std::os::fd::AsFd;

/// A user of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Finds a user by name or number.
pub(crate) fn find(word: &str) -> Result<User, BadConfig> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = passwd.lines().filter_map(user);
    match word.parse::<u32>() {
        Ok(uid) => {
            Ok(lines.find(|user| user.uid == uid).unwrap_or(User { name: word.into(), uid, gid: uid }))
        }
        Err(_) => lines.find(|user| user.name == word).ok_or_else(|| {
            BadConfig(format!(
                "there is no user {word:?} in /etc/passwd; write the number if it is known elsewhere"
            ))
        }),
    }
}

fn user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let mut numbers = fields.skip(1).map(str::parse);
    Some(User { name, uid: numbers.next()?.ok()?, gid: numbers.next()?.ok()? })
}

/// The process at the other end of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer {
    /// 0 when it lives in a pid namespace that we cannot see into.
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    /// When it began, in ticks since the host booted, if that can be read.
    began: Option<u64>,
}

impl Peer {
    /// Asks the kernel, which has no answer for sockets of other kinds.
    pub(crate) fn of(socket: &impl AsFd) -> Option<Self> {
        let peer = getsockopt(socket, PeerCredentials).ok().filter(|peer| peer.uid() != u32::MAX)?;
        Some(Self { pid: peer.pid(), uid: peer.uid(), began: began(peer.pid()) })
    }

    /// True if it is QEMU, as far as its name tells.
    pub(crate) fn is_qemu(&self) -> bool {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid));
        name.is_ok_and(|name| name.starts_with("qemu"))
    }

    /// A number that is the same for as long as this process lives and for no other, on this boot or another.
    /// A machine that is copied or restored is a new process; a restart of ours is not. Nothing if the
    /// process cannot be told from others.
    pub(crate) fn generation(&self, boot: &str, epoch: u64) -> Option<u128> {
        let began = self.began?;
        let mut hash = Sha512::new_with_prefix(b"xentropyd generation 1");
        hash.update(boot.trim());
        hash.update(epoch.to_le_bytes());
        hash.update(self.pid.to_le_bytes());
        hash.update(began.to_le_bytes());
        let digest = hash.finalize();
        Some(digest.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }
}

/// Field 22 of `/proc/PID/stat`; the name in field 2 may hold blanks and brackets.
fn began(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(") ")?;
    after.split(' ').nth(19)?.parse().ok()
}

/// A random name of this boot of the host.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        assert_eq!(find("root").unwrap(), find("0").unwrap());
        assert_eq!(find("4000000000").unwrap().uid, 4_000_000_000);
        assert!(find("no such user").is_err());
    }

    #[test]
    fn a_process_keeps_its_generation_and_shares_it_with_no_other() {
        let (a, _b) = UnixStream::pair().unwrap();
        let peer = Peer::of(&a).unwrap();
        assert_eq!(peer.pid, std::process::id().cast_signed());
        let other = Peer { began: peer.began.map(|ticks| ticks + 1), ..peer };
        assert_eq!(peer.generation("b", 0), Peer::of(&a).unwrap().generation("b\n", 0));
        let all = [
            peer.generation("b", 0),
            other.generation("b", 0),
            peer.generation("c", 0),
            peer.generation("b", 1),
        ];
        assert!((1..4).all(|i| all[i].is_some() && !all[..i].contains(&all[i])), "{all:?}");
        assert_eq!(Peer { began: None, ..peer }.generation("b", 0), None);
    }
}
