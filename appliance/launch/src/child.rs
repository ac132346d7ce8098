//! A program that we started and that must not outlive us.
//!
//! It runs on a leash: a copy of this program asks the kernel for SIGKILL at our death and then becomes the program, so
//! that not even `kill -9` on the launcher leaves an orphan. It never shares our terminal's signals: it has a process
//! group of its own and ends when we say so.

use crate::Outcome;
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{io, thread};

/// What the hidden verb is told.
#[derive(clap::Args)]
pub(crate) struct Leashed {
    /// Whose death is ours too.
    owner: i32,
    /// The program and its words.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<OsString>,
}

/// Becomes the program named, which dies with its owner.
pub(crate) fn become_leashed(order: &Leashed) -> Outcome {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(Pid::as_raw_pid) != Some(order.owner) {
        return Err("the launcher ended before its child began".into());
    }
    let (program, words) = order.words.split_first().ok_or("no program was named")?;
    Err(Command::new(program).args(words).exec().into())
}

/// A command that runs `program` on the leash.
pub(crate) fn leashed(program: impl Into<OsString>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("leashed").arg(std::process::id().to_string()).arg("--").arg(program.into());
    command.process_group(0);
    Ok(command)
}

/// Lets the children that are started from now on inherit a descriptor, until it is closed here. Says its number.
pub(crate) fn inherited(file: &impl AsFd) -> io::Result<String> {
    fcntl_setfd(file, FdFlags::empty())?;
    Ok(file.as_fd().as_raw_fd().to_string())
}

/// A child that is ended when this value goes.
pub(crate) struct Ward(Child);

impl Ward {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// What it prints, if that was piped; once.
    pub(crate) fn console(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// Asks it to finish.
    pub(crate) fn ask_to_finish(&self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself; its number is not given to another before we have waited for it.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// How it ended; what does not end in a while is killed.
    pub(crate) fn end(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        let asked = Instant::now();
        while asked.elapsed() < patience {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.0.kill()?;
        self.0.wait()
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        // One that has ended and was waited for cannot be killed: that is no trouble.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a program ended, in words.
pub(crate) fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(31)) => "was killed for a forbidden system call (SIGSYS)".to_owned(),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
