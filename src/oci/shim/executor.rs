//! The last step of a container's process: from libcontainer's hands to the program. It runs in
//! the container already, without capabilities it shall not have, and says what goes wrong in the
//! words that people know from other runtimes.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::CString,
    fs,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::Path,
    rc::Rc,
};

use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::errno::Errno;
use oci_spec::runtime::Spec;

use super::helper::Message;
use crate::{oci::spec::DEFAULT_PATH, sys};

/// Starts the program, under its seccomp filters, with its environment as given.
#[derive(Clone)]
pub(super) struct Program {
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// Where failures are told; closes when the program starts.
    pub report: Rc<OwnedFd>,
    /// Home directory that libcontainer found in the container's /etc/passwd.
    pub home: Rc<RefCell<Option<String>>>,
    /// Compiled seccomp filters, all of which must allow a call.
    pub filters: Rc<Vec<sys::seccomp::Program>>,
    /// Numbers of capabilities that this process has for the filters' sake only.
    pub borrowed: Vec<u32>,
    /// Capabilities that the program shall have, as bits.
    pub capabilities: u64,
}

impl Executor for Program {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let message = self.start();
        // The other end may be gone; nobody is left to tell then.
        let _ = sys::fd::send(&*self.report, &Message::Failed(message.clone()).line(), &[]);
        Err(ExecutorError::Other(message))
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        *self.home.borrow_mut() = envs.get("HOME").cloned();
        Ok(())
    }
}

impl Program {
    /// Replaces this process by the program; returns only why that failed.
    fn start(&self) -> String {
        let Some(name) = self.args.first() else { return "no command".to_owned() };
        let path = match find(name, self.search_path()) {
            Ok(path) => path,
            Err(message) => return message,
        };
        let arguments: Result<Vec<CString>, _> = self.args.iter().map(|text| CString::new(text.as_str())).collect();
        let environment: Result<Vec<CString>, _> = self.environment().into_iter().map(CString::new).collect();
        let (Ok(path), Ok(arguments), Ok(environment)) = (CString::new(path), arguments, environment) else {
            return format!("exec: {name:?}: invalid argument");
        };
        if let Err(error) = sys::fork::reset_signals() {
            return format!("exec: {name:?}: reset signals: {error}");
        }
        if let Err(error) = self.confine() {
            return format!("exec: {name:?}: apply the seccomp profile: {error}");
        }
        let Err(error) = nix::unistd::execve(&path, &arguments, &environment);
        format!("exec {}: {}", path.to_string_lossy(), describe(error))
    }

    /// Installs the filters and gives back what that took. The bounding set goes first, since the
    /// filters may forbid prctl.
    fn confine(&self) -> std::io::Result<()> {
        if self.filters.is_empty() {
            return Ok(());
        }
        sys::capability::drop_bounding(&self.borrowed)?;
        self.filters.iter().try_for_each(sys::seccomp::apply)?;
        if self.borrowed.is_empty() { Ok(()) } else { sys::capability::keep(self.capabilities) }
    }

    fn search_path(&self) -> &str {
        self.env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH)
    }

    fn environment(&self) -> Vec<String> {
        let mut environment = self.env.clone();
        if !environment.iter().any(|entry| entry.starts_with("HOME=")) {
            environment.extend(self.home.borrow().iter().map(|home| format!("HOME={home}")));
        }
        environment
    }
}

/// Finds a program as a shell would.
fn find(name: &str, search_path: &str) -> Result<String, String> {
    if name.contains('/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(name.to_owned()),
            Err(Errno::ENOENT) => Err(format!("exec: {name:?}: stat {name}: no such file or directory")),
            Err(error) => Err(format!("exec: {name:?}: {}", describe(error))),
        };
    }
    let mut forbidden = false;
    for directory in search_path.split(':') {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        match check(&candidate) {
            Ok(()) => return Ok(candidate.to_string_lossy().into_owned()),
            Err(error) => forbidden |= error == Errno::EACCES,
        }
    }
    let reason = if forbidden { "permission denied" } else { "executable file not found in $PATH" };
    Err(format!("exec: {name:?}: {reason}"))
}

fn check(path: &Path) -> Result<(), Errno> {
    let metadata = fs::metadata(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::ENOENT)))?;
    if metadata.is_dir() {
        return Err(Errno::EISDIR);
    }
    if metadata.permissions().mode() & 0o111 == 0 { Err(Errno::EACCES) } else { Ok(()) }
}

/// The kernel's own wording, in lower case: "no such file or directory".
fn describe(error: Errno) -> String {
    error.desc().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing_as_other_runtimes_do() {
        assert_eq!(find("nope", "/bin").unwrap_err(), "exec: \"nope\": executable file not found in $PATH");
        assert_eq!(find("/nope", "").unwrap_err(), "exec: \"/nope\": stat /nope: no such file or directory");
        assert_eq!(find("/", "").unwrap_err(), "exec: \"/\": is a directory");
        assert_eq!(find("/etc/passwd", "").unwrap_err(), "exec: \"/etc/passwd\": permission denied");
        assert_eq!(find("passwd", "/nowhere:/etc").unwrap_err(), "exec: \"passwd\": permission denied");
        assert_eq!(find("sh", "/nowhere:/bin").unwrap(), "/bin/sh");
    }
}
