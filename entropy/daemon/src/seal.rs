//! The daemon locks itself in once everything is open: another user, no privileges, a list of system calls.
//!
//! What is on the list is what a running daemon does: it moves bytes between sockets it has, connects to unix
//! sockets and opens files for reading. It can start no program, make no memory executable, open nothing for
//! writing, and speak no network. Anything else kills the process, and the log of the kernel's auditor says
//! which call it was.

use crate::users::User;
use rustix::process::{Resource, Rlimit, getegid, geteuid, getgid, getgroups, getrlimit, getuid, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompFilter, SeccompRule as Rule, TargetArch,
};
use std::collections::BTreeMap;

/// System calls that are allowed whatever their arguments are.
const ALLOWED: [i64; 53] = [
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_wait,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getdents64,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_inotify_add_watch,
    libc::SYS_listen,
    libc::SYS_lseek,
    libc::SYS_lstat,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_poll,
    libc::SYS_read,
    libc::SYS_readlink,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_stat,
    libc::SYS_statx,
    libc::SYS_umask,
    libc::SYS_unlink,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The lock could not be closed: nothing may be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot lock itself in ({what}): {why}")]
pub(crate) struct Unlocked {
    what: &'static str,
    why: String,
}

fn unlocked<E: ToString>(what: &'static str) -> impl FnOnce(E) -> Unlocked {
    move |why| Unlocked { what, why: why.to_string() }
}

/// Room for the files that so many guests need, and a bound on memory that no leak can pass.
pub(crate) fn bound(files: usize, memory: usize) -> Result<(), Unlocked> {
    let files = files as u64;
    let most = getrlimit(Resource::Nofile).maximum;
    if most.is_some_and(|most| most < files) {
        let why =
            format!("{files} files are needed for so many guests; raise LimitNOFILE or lower max-guests");
        return Err(Unlocked { what: "open files", why });
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: most }).map_err(unlocked("files"))?;
    let memory = Some(memory as u64);
    setrlimit(Resource::Data, Rlimit { current: memory, maximum: memory }).map_err(unlocked("memory"))
}

/// Becomes a user for good, without capabilities, even if that user is root. There is one thread, so the thread's
/// identity is the process'. What is so already is not asked for: systemd may have taken away the right to ask.
pub(crate) fn become_user(user: &User) -> Result<(), Unlocked> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if !is_already(uid, gid)? {
        rustix::thread::set_thread_groups(&[]).map_err(unlocked("groups"))?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(unlocked("group"))?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(unlocked("user"))?;
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    if rustix::thread::capabilities(None).map_err(unlocked("capabilities"))? != sets {
        rustix::thread::set_capabilities(None, sets).map_err(unlocked("capabilities"))?;
    }
    if !uid.is_root() && rustix::thread::set_thread_uid(Uid::ROOT).is_ok() {
        return Err(Unlocked { what: "user", why: "root can be had back".into() });
    }
    Ok(())
}

/// We are that user, and in no group but its own.
fn is_already(uid: Uid, gid: Gid) -> Result<bool, Unlocked> {
    let groups = getgroups().map_err(unlocked("groups"))?;
    let is_alone = groups.iter().all(|group| *group == gid);
    Ok(is_alone && [getuid(), geteuid()] == [uid; 2] && [getgid(), getegid()] == [gid; 2])
}

/// Closes the lock. There is no way back.
pub(crate) fn close() -> Result<(), Unlocked> {
    rustix::thread::set_no_new_privs(true).map_err(unlocked("no new privileges"))?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(unlocked("no core dumps"))?;
    let filter = filter().map_err(unlocked("seccomp"))?;
    seccompiler::apply_filter(&filter).map_err(unlocked("seccomp"))
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<Rule>> = ALLOWED.into_iter().map(|call| (call, vec![])).collect();
    let executable = libc::PROT_EXEC as u64;
    rules.insert(libc::SYS_mmap, vec![without(2, executable)?]);
    rules.insert(libc::SYS_mprotect, vec![without(2, executable)?]);
    let writes = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
    rules.insert(libc::SYS_openat, vec![without(2, writes)?]);
    rules.insert(libc::SYS_open, vec![without(1, writes)?]);
    let unix = Condition::new(0, Len::Dword, Op::Eq, libc::AF_UNIX as u64)?;
    rules.insert(libc::SYS_socket, vec![Rule::new(vec![unix])?]);
    let nonblocking = Condition::new(1, Len::Dword, Op::Eq, libc::FIONBIO)?;
    rules.insert(libc::SYS_ioctl, vec![Rule::new(vec![nonblocking])?]);
    let (kill, allow) = (SeccompAction::KillProcess, SeccompAction::Allow);
    SeccompFilter::new(rules, kill, allow, TargetArch::x86_64)?.try_into()
}

/// Allowed if none of these bits is set in that argument.
fn without(argument: u8, bits: u64) -> Result<Rule, seccompiler::BackendError> {
    Rule::new(vec![Condition::new(argument, Len::Dword, Op::MaskedEq(bits), 0)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// What a sealed process tries, and whether it lives. Each forbidden thing has a twin that is allowed.
    const TRIALS: [(&str, bool); 8] = [
        ("start a program", false),
        ("open for writing", false),
        ("open for reading", true),
        ("a network socket", false),
        ("a unix socket", true),
        ("a thread", false),
        ("memory", true),
        ("become somebody", false),
    ];

    #[test]
    fn a_sealed_process_dies_of_what_is_not_on_the_list_and_of_nothing_else() {
        for (trial, lives) in TRIALS {
            let myself = std::env::current_exe().unwrap();
            let arguments = ["--exact", "seal::tests::the_trial_of_a_sealed_process", "--test-threads=1"];
            let status = Command::new(myself).args(arguments).env("TRIAL", trial).output().unwrap().status;
            assert_eq!(status.signal(), (!lives).then_some(libc::SIGSYS), "{trial}: {status:?}");
            assert_eq!(status.success(), lives, "{trial}: {status:?}");
        }
    }

    /// Capabilities and groups are a thread's own: the others keep theirs.
    #[test]
    fn who_has_given_everything_up_can_still_say_who_it_is() {
        let me = User { name: "me".into(), uid: geteuid().as_raw(), gid: getegid().as_raw() };
        let became = std::thread::spawn(move || {
            let _ = rustix::thread::set_thread_groups(&[]);
            let none = CapabilitySet::empty();
            let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
            rustix::thread::set_capabilities(None, sets).unwrap();
            let others = getgroups().unwrap().iter().any(|group| *group != getegid());
            let stranger = User { name: "a stranger".into(), uid: me.uid + 1, gid: me.gid };
            (become_user(&me).is_ok() != others, become_user(&stranger).is_err())
        });
        assert_eq!(became.join().unwrap(), (true, true));
    }

    /// Does nothing unless the test above asks for it, in a process of its own.
    #[test]
    fn the_trial_of_a_sealed_process() {
        let Ok(trial) = std::env::var("TRIAL") else { return };
        close().unwrap();
        match trial.as_str() {
            "start a program" => drop(Command::new("/bin/true").status()),
            "open for writing" => drop(std::fs::File::create("/dev/null")),
            "open for reading" => drop(std::fs::File::open("/dev/null").unwrap()),
            "a network socket" => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
            "a unix socket" => drop(std::os::unix::net::UnixDatagram::unbound().unwrap()),
            "a thread" => drop(std::thread::Builder::new().spawn(|| ())),
            "memory" => drop(vec![1_u8; 1 << 22]),
            "become somebody" => drop(rustix::thread::set_thread_groups(&[]).is_ok()),
            other => panic!("no such trial: {other}"),
        }
    }
}
