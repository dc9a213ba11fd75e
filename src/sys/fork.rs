//! Forking, for single-threaded processes only: helpers that do their work in a copy of this
//! process and end, and what a process must undo before it becomes another program.
#![expect(unsafe_code, reason = "fork(2) and signal(2) are only sound under conditions stated here")]

use std::{fs, io, panic::AssertUnwindSafe};

use nix::{
    sched::CloneFlags,
    sys::signal::{SigHandler, SigSet, Signal},
    unistd::{ForkResult, Pid},
};

/// Exit status of a helper that panicked.
const PANICKED: i32 = 101;

/// Which process one is after [`in_two`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that was there before.
    Parent,
    /// The new one.
    Child,
}

/// Runs `work` in a child process, which ends with the status that it returns. The child never
/// comes back from here, not even by a panic.
///
/// Fails in a process with several threads: a lock that another thread holds would never be
/// released in the child.
pub fn helper(work: impl FnOnce() -> i32) -> io::Result<Pid> {
    match fork()? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let status = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED);
            // SAFETY: ends the process at once, without the parent's exit handlers.
            unsafe { libc::_exit(status) }
        }
    }
}

/// Splits this process into two that both go on; same condition as [`helper`].
pub fn in_two() -> io::Result<Side> {
    Ok(if fork()?.is_parent() { Side::Parent } else { Side::Child })
}

/// A process that is the first of a new PID namespace and reaps whatever is orphaned in it, until
/// it is killed. It becomes a child of the nearest subreaper. Returns its PID; same condition as [`helper`].
pub fn namespace_init(name: &str) -> io::Result<Pid> {
    let (read_end, write_end) = crate::sys::fd::pipe()?;
    let middle = helper(|| match start_namespace_init(name) {
        Ok(pid) => i32::from(nix::unistd::write(&write_end, &pid.as_raw().to_ne_bytes()).is_err()),
        Err(error) => error.raw_os_error().unwrap_or(PANICKED),
    })?;
    drop(write_end);
    let mut bytes = [0; 4];
    let received = nix::unistd::read(&read_end, &mut bytes)?;
    nix::sys::wait::waitpid(middle, None)?;
    if received != bytes.len() {
        return Err(io::Error::other("the new PID namespace has no first process"));
    }
    Ok(Pid::from_raw(i32::from_ne_bytes(bytes)))
}

/// Gives signals their default meaning and lets them through again: a program must not inherit
/// what its runtime had arranged for itself.
pub fn reset_signals() -> io::Result<()> {
    for signal in [Signal::SIGPIPE, Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        // SAFETY: the default action runs no code of this process.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl)? };
    }
    SigSet::empty().thread_set_mask()?;
    Ok(())
}

fn start_namespace_init(name: &str) -> io::Result<Pid> {
    nix::sched::unshare(CloneFlags::CLONE_NEWPID)?;
    let name = name.to_owned();
    helper(move || {
        // What this process has open must end with this process, not with the namespace.
        // SAFETY: closes descriptors whose owners never run in this child again.
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
        // Only the name in process lists: not having it changes nothing.
        let _ = fs::write("/proc/self/comm", &name);
        // SAFETY: no code of this process runs for an ignored signal; ignoring it makes the kernel reap.
        let ignored = unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) };
        let _ = nix::unistd::setsid();
        loop {
            if ignored.is_err() {
                let _ = nix::sys::wait::wait();
            }
            nix::unistd::pause();
        }
    })
}

fn fork() -> io::Result<ForkResult> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("a process with {threads} threads cannot fork")));
    }
    // SAFETY: there is no other thread, so the child has everything in a consistent state.
    Ok(unsafe { nix::unistd::fork()? })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_with_threads_does_not_fork() {
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || receiver.recv());
            assert!(super::helper(|| 0).is_err());
            drop(sender);
        });
    }
}
