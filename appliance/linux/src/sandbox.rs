//! Closing the sandbox: every right goes, in an order in which each step still may take the next.
//!
//! What must work on any kernel that we run on is an error when it does not; landlock, a second wall behind seccomp, is
//! used where it is there, and the console says so.

use crate::filter::{self, Needs};
use crate::raw;
use core::fmt;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Whether the process may draw from `getrandom(2)` once the sandbox is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draws {
    /// Its random bytes come from a channel: a draw is death.
    Never,
    /// It has no other source.
    FromTheKernel,
}

/// What the sandbox is made of, for the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked {
    calls: usize,
    landlock: Option<usize>,
}

/// The sandbox does not close: the appliance must not start.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox does not close: the kernel refuses {step}: {cause}")]
pub struct BadSandbox {
    step: &'static str,
    cause: std::io::Error,
}

const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// Descriptors that may still be opened: the peers of channels. Waiting on more than the limit would be an error.
const DESCRIPTORS: u64 = 64;

/// Gives up everything but `kept`, the console and the system calls of the filter.
pub(crate) fn close(kept: &[BorrowedFd<'_>], needs: Needs) -> Result<Locked, BadSandbox> {
    close_strangers(kept).map_err(at("closing inherited descriptors"))?;
    limit().map_err(at("resource limits"))?;
    drop_capabilities().map_err(at("dropping capabilities"))?;
    // After the capabilities: a change of those makes a process what the kernel thinks is dumpable.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at("being closed to debuggers"))?;
    set_no_new_privs(true).map_err(at("no_new_privs"))?;
    let landlock = raw::landlock_version();
    landlock.map(deny_files_and_network).transpose().map_err(at("landlock"))?;
    raw::seccomp(&filter::program(needs)).map_err(at("seccomp"))?;
    Ok(Locked { calls: filter::calls(needs), landlock })
}

fn at(step: &'static str) -> impl Fn(Errno) -> BadSandbox {
    move |cause| BadSandbox { step, cause: cause.into() }
}

/// Closes everything between the descriptors that we keep. Standard input goes too: nobody reads it.
fn close_strangers(kept: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut kept: Vec<u32> =
        kept.iter().filter_map(|file| u32::try_from(file.as_raw_fd()).ok()).chain([1, 2]).collect();
    kept.sort_unstable();
    let mut first = 0;
    for number in kept {
        if first < number {
            raw::close_unowned(first, number - 1)?;
        }
        first = number + 1;
    }
    raw::close_unowned(first, u32::MAX)
}

fn limit() -> Result<(), Errno> {
    for (what, most) in [(Resource::Nofile, DESCRIPTORS), (Resource::Core, 0), (Resource::Nproc, 0)] {
        setrlimit(what, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// All sets, and the bounding set where we may; then asks the kernel whether it is true.
fn drop_capabilities() -> Result<(), Errno> {
    for bit in (0..u64::BITS).map(|at| CapabilitySet::from_bits_retain(1 << at)) {
        match remove_capability_from_bounding_set(bit) {
            Ok(()) => {}
            // Beyond the last capability of this kernel, or no right to: then there is none that could come back.
            Err(Errno::INVAL | Errno::PERM) => break,
            Err(other) => return Err(other),
        }
    }
    clear_ambient_capability_set()?;
    set_capabilities(None, NO_CAPABILITIES)?;
    if capabilities(None)? == NO_CAPABILITIES { Ok(()) } else { Err(Errno::PERM) }
}

/// Handles every right that the kernel's version of landlock knows, and allows none.
fn deny_files_and_network(version: usize) -> Result<(), Errno> {
    let file_rights = match version {
        0 | 1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    let handled = [(1 << file_rights) - 1, 0b11, 0b11];
    let known = match version {
        0..=3 => 1,
        4 | 5 => 2,
        _ => 3,
    };
    raw::landlock_deny(handled.get(..known).unwrap_or(&handled))
}

impl fmt::Display for Locked {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "locked in: no capabilities, {} system calls left", self.calls)?;
        match self.landlock {
            Some(version) => write!(to, ", landlock v{version}"),
            None => to.write_str(", no landlock in this kernel"),
        }
    }
}
