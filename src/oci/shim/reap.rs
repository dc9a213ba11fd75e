//! The end of processes, of containers and of the whole pod.

use std::{fs, thread, time::Duration};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{connection::Role, launch::now_ns, server::Server};
use crate::{
    base::log::chain,
    oci::{ContainerState, layout, protocol::Reply},
    sys::mount,
};

/// How often, and after which pause, is looked again whether killed processes have gone.
const END_TRIES: u32 = 1000;
const END_PAUSE: Duration = Duration::from_millis(5);

/// A child that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub pid: i32,
    /// Exit code; 128 plus the signal's number when it was killed.
    pub code: i32,
    pub signal: i32,
}

impl Server {
    /// Takes all children that have ended off the kernel's hands.
    pub fn reap(&mut self) {
        while let Some(ended) = next_ended() {
            // Helpers tell who they have started before they end and leave it to this process.
            self.hear_all();
            self.end(&ended);
        }
    }

    /// A child that had ended before it was known.
    pub fn claim(&mut self, pid: i32) -> Option<Ended> {
        let position = self.unclaimed.iter().position(|ended| ended.pid == pid)?;
        Some(self.unclaimed.remove(position))
    }

    /// Finds out what an ended child was and does what follows.
    pub fn end(&mut self, ended: &Ended) {
        let container = self.containers.values().find(|container| container.pid() == Some(ended.pid));
        if let Some(id) = container.map(|container| container.id().to_owned()) {
            return self.end_container(&id, ended);
        }
        let role = Role::Executing { pid: ended.pid };
        if let Some(connection) = self.connections.values_mut().find(|connection| connection.role == role) {
            connection.role = Role::Plain;
            connection.send(&Reply::Exited { code: ended.code });
        } else if !self.launches.is_empty() {
            self.unclaimed.push(*ended);
        }
    }

    /// Removes what a container that does not run leaves behind, the log excepted.
    pub fn clean_container(&mut self, id: &str) -> Result<(), String> {
        let cgroup = self.cgroup.child(id);
        cgroup.kill();
        let mut failures = Vec::new();
        let mut note = |result: Result<(), String>| failures.extend(result.err());
        note(cgroup.remove().map_err(|error| chain(&error)));
        for directory in [self.layout.runtime_root().join(id), self.layout.bundle(id)] {
            let removed = layout::ignore_missing(fs::remove_dir_all(&directory));
            note(removed.map_err(|error| format!("remove {}: {error}", directory.display())));
        }
        note(self.layout.remove_record(id).map_err(|error| format!("remove the record: {error}")));
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }

    /// Kills all containers, waits for them, and removes everything of the pod. Does all it can.
    pub fn end_everything(&mut self) -> Result<(), String> {
        self.cgroup.kill();
        if let Some(init) = self.init {
            let _ = kill(init, Signal::SIGKILL);
        }
        self.wait_for_children();
        let mut failures = Vec::new();
        for container in self.containers.keys().cloned().collect::<Vec<_>>() {
            failures.extend(self.clean_container(&container).err());
        }
        failures.extend(self.cgroup.remove().map_err(|error| chain(&error)).err());
        failures.extend(mount::unmount_tree(&mount::Kernel, &self.layout.run).iter().map(|error| chain(error)));
        failures.extend(self.layout.remove().map_err(|error| format!("remove the directories: {error}")).err());
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }

    fn end_container(&mut self, id: &str, ended: &Ended) {
        let cgroup = self.cgroup.child(id);
        if self.init.is_some() || self.config.sandbox.host_pid {
            // Without a PID namespace of its own, its other processes outlive the first one.
            cgroup.kill();
        }
        let Some(container) = self.containers.get_mut(id) else { return };
        let ContainerState::Running { started_at_ns, .. } = container.record.state else { return };
        container.close_streams();
        container.record.state = ContainerState::Exited {
            code: ended.code,
            signal: ended.signal,
            oom_killed: cgroup.oom_kills() > 0,
            started_at_ns,
            finished_at_ns: now_ns(),
        };
        self.changed(id);
        let role = Role::Attached { container: id.to_owned() };
        for connection in self.connections.values_mut().filter(|connection| connection.role == role) {
            connection.send(&Reply::Exited { code: ended.code });
        }
    }

    fn wait_for_children(&mut self) {
        for _ in 0..END_TRIES {
            self.reap();
            let alone = matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD));
            if alone && self.cgroup.processes().is_empty() {
                return;
            }
            self.cgroup.kill();
            thread::sleep(END_PAUSE);
        }
    }
}

fn next_ended() -> Option<Ended> {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Some(Ended { pid: pid.as_raw(), code, signal: 0 }),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                let signal = signal as i32;
                return Some(Ended { pid: pid.as_raw(), code: 128 + signal, signal });
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
