//! Processes of others: recognised by their number and start time together, because the kernel
//! gives numbers out again; waited for and signalled through pidfds, which never change their meaning.
#![expect(unsafe_code, reason = "pidfd_open and pidfd_send_signal have no safe wrapper in nix")]

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::{errno::Errno, sys::signal::Signal};
use serde::{Deserialize, Serialize};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Position of the start time in /proc/PID/stat, counted from after the command's closing bracket.
const START_TIME_FIELD: usize = 19;

/// A process that cannot be taken for another one, not even after a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process ID in this process's PID namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// The boot it was started in.
    pub boot_id: String,
}

impl Identity {
    /// Looks the process up; `None` if there is none with that number.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        match start_ticks(pid)? {
            Some(start_ticks) => Ok(Some(Self { pid, start_ticks, boot_id: boot_id()? })),
            None => Ok(None),
        }
    }

    /// Whether this very process is still there and not a zombie.
    pub fn is_alive(&self) -> bool {
        let same_boot = boot_id().is_ok_and(|boot_id| boot_id == self.boot_id);
        same_boot && matches!(start_ticks(self.pid), Ok(Some(ticks)) if ticks == self.start_ticks)
    }

    /// A pidfd of this very process; `None` if it is gone.
    pub fn open(&self) -> io::Result<Option<PidFd>> {
        let pid_fd = match PidFd::open(self.pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            other => other?,
        };
        // Compared after opening: from here on the number cannot be given to another process.
        Ok(self.is_alive().then_some(pid_fd))
    }
}

/// A descriptor that stands for one process (pidfd_open(2)); readable once it has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens the process that has this number now. Fails with `ESRCH` if there is none.
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: plain integers.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        let fd = i32::try_from(fd).map_err(|_| io::Error::from(Errno::EBADF))?;
        // SAFETY: the kernel has just returned this descriptor, and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a signal. A process that has ended is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let information = std::ptr::null::<libc::siginfo_t>();
        let fd = self.0.as_raw_fd();
        // SAFETY: a null pointer asks the kernel to fill in the usual information.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as libc::c_int, information, 0) };
        match Errno::result(result) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the process has ended, at most `timeout_ms`; says whether it has.
    pub fn wait(&self, timeout_ms: u16) -> io::Result<bool> {
        let mut descriptors = [nix::poll::PollFd::new(self.0.as_fd(), nix::poll::PollFlags::POLLIN)];
        match nix::poll::poll(&mut descriptors, timeout_ms) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Names the current boot of this machine.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim_end().to_owned())
}

fn start_ticks(pid: i32) -> io::Result<Option<u64>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok(parse_start_ticks(&stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The command may hold spaces and brackets, so fields are counted from the last closing one.
/// Zombies count as gone.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ended = matches!(*fields.first()?, "Z" | "X");
    if ended { None } else { fields.get(START_TIME_FIELD)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_is_reaped_and_its_number_alone_does_not_count() {
        let mut child = std::process::Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let identity = Identity::of(pid).unwrap().unwrap();
        let other = Identity { start_ticks: identity.start_ticks + 1, ..identity.clone() };
        assert!(identity.is_alive() && !other.is_alive() && other.open().unwrap().is_none());
        let pid_fd = identity.open().unwrap().unwrap();
        assert!(!pid_fd.wait(0).unwrap());
        pid_fd.signal(Signal::SIGKILL).unwrap();
        assert!(pid_fd.wait(5000).unwrap());
        assert!(!identity.is_alive());
        child.wait().unwrap();
        assert!(identity.open().unwrap().is_none());
        pid_fd.signal(Signal::SIGKILL).unwrap();
    }

    #[test]
    fn the_command_may_hold_anything() {
        let rest = (0..30).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(parse_start_ticks(&format!("7 (a) b (c) S {rest}")), Some(18));
        assert_eq!(parse_start_ticks(&format!("7 (a) Z {rest}")), None);
        assert_eq!(parse_start_ticks("nonsense"), None);
    }
}
