//! Containers in shims. Each sandbox has one watch on its shim, whose news all waiters share.

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::OwnedFd,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use nix::sys::signal::Signal;
use parking_lot::RwLock;
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    sync::{oneshot, watch},
};

use crate::{
    base::{log, task::Supervisor},
    kubelet::host::{Containers, EXEC_OUTPUT_LIMIT_BYTES, Error, ExecResult, ExecSession, RecoveredSandbox, Result},
    oci::{self, ContainerConfig, ContainerState, ContainerStatus, ExecConfig, Runtime, Sandbox, SandboxConfig},
};

/// States by container; `None` once the shim is gone.
type States = Option<BTreeMap<String, ContainerStatus>>;

/// The shims of this node.
pub struct Shims {
    runtime: Runtime,
    supervisor: Supervisor,
    sandboxes: RwLock<HashMap<String, Handle>>,
}

#[derive(Clone)]
struct Handle {
    sandbox: Sandbox,
    states: watch::Receiver<States>,
}

impl Shims {
    /// Over a runtime.
    pub fn new(runtime: Runtime, supervisor: Supervisor) -> Self {
        Self { runtime, supervisor, sandboxes: RwLock::new(HashMap::new()) }
    }

    fn handle(&self, sandbox: &str) -> Result<Handle> {
        self.sandboxes.read().get(sandbox).cloned().ok_or_else(|| Error::NotFound { id: sandbox.to_owned() })
    }

    /// Keeps a sandbox and follows it.
    async fn adopt(&self, sandbox: Sandbox) -> Result<()> {
        let mut changes = sandbox.watch().await.map_err(failed)?;
        let (sender, states) = watch::channel(Some(BTreeMap::new()));
        self.supervisor.spawn("sandbox watch", async move {
            while let Some(status) = changes.next().await {
                sender.send_modify(|states| {
                    states.get_or_insert_default().insert(status.id.clone(), status);
                });
            }
            sender.send_replace(None);
            // Waiters read the last state as long as there is a sender.
            sender.closed().await;
        });
        self.sandboxes.write().insert(sandbox.config().id.clone(), Handle { sandbox, states });
        Ok(())
    }

    async fn recovered(&self, sandbox: Sandbox) -> RecoveredSandbox {
        let config = sandbox.config().clone();
        let containers = sandbox.statuses().await.unwrap_or_default();
        let alive = sandbox.is_alive().await && self.adopt(sandbox.clone()).await.is_ok();
        if !alive {
            let (_, states) = watch::channel(None);
            self.sandboxes.write().insert(config.id.clone(), Handle { sandbox, states });
        }
        RecoveredSandbox { id: config.id, annotations: config.annotations, alive, containers }
    }

    fn session(&self, mut exec: oci::Exec) -> Result<ExecSession> {
        let streams = exec.take_streams().ok_or_else(|| Error::Failed("the streams are taken".into()))?;
        let (sender, receiver) = oneshot::channel();
        // The command is held by a task of its own: its caller may go away without ending it.
        self.supervisor.spawn("exec", async move {
            let code = exec.wait().await;
            // Nobody may want to know any more.
            let _ = sender.send(code);
        });
        let exit = async move { receiver.await.map_err(|_| Error::Failed("the agent is shutting down".into())) };
        Ok(ExecSession { streams, exit: exit.boxed() })
    }
}

impl Containers for Shims {
    fn create_sandbox(&self, config: SandboxConfig) -> BoxFuture<'_, Result<()>> {
        async move {
            let stale = self.sandboxes.write().remove(&config.id);
            if let Some(stale) = stale {
                stale.sandbox.stop().await.map_err(failed)?;
            }
            let sandbox = self.runtime.create_sandbox(config).await.map_err(failed)?;
            self.adopt(sandbox).await
        }
        .boxed()
    }

    fn remove_sandbox<'a>(&'a self, sandbox: &'a str) -> BoxFuture<'a, Result<()>> {
        async move {
            let Ok(handle) = self.handle(sandbox) else { return Ok(()) };
            handle.sandbox.stop().await.map_err(failed)?;
            self.sandboxes.write().remove(sandbox);
            Ok(())
        }
        .boxed()
    }

    fn sandbox_lost<'a>(&'a self, sandbox: &'a str) -> BoxFuture<'a, ()> {
        async move {
            if let Ok(mut handle) = self.handle(sandbox) {
                // An error means that the sender is gone, and so that nobody watches the shim.
                let _ = handle.states.wait_for(Option::is_none).await;
            }
        }
        .boxed()
    }

    fn create<'a>(&'a self, sandbox: &'a str, config: ContainerConfig) -> BoxFuture<'a, Result<()>> {
        async move { self.handle(sandbox)?.sandbox.create(config).await.map_err(failed) }.boxed()
    }

    fn start<'a>(&'a self, sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<ContainerStatus>> {
        async move {
            let mut handle = self.handle(sandbox)?;
            handle.sandbox.start(id).await.map_err(failed)?;
            let started = |states: &States| {
                states
                    .as_ref()
                    .is_none_or(|states| states.get(id).is_some_and(|status| status.state != ContainerState::Created))
            };
            let states = handle.states.wait_for(started).await;
            let status = states.ok().and_then(|states| states.as_ref()?.get(id).cloned());
            status.ok_or_else(|| Error::NotFound { id: id.to_owned() })
        }
        .boxed()
    }

    fn wait<'a>(&'a self, sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<ContainerStatus>> {
        async move {
            let mut handle = self.handle(sandbox)?;
            let over = |states: &States| states.as_ref().is_none_or(|states| states.get(id).is_some_and(has_exited));
            let known = handle.states.wait_for(over).await.ok().and_then(|states| states.as_ref()?.get(id).cloned());
            if let Some(status) = known {
                return Ok(status);
            }
            // The shim is gone; its records may still tell.
            let recorded = handle.sandbox.statuses().await.map_err(failed)?;
            let found = recorded.into_iter().find(|status| status.id == id);
            found.ok_or_else(|| Error::NotFound { id: id.to_owned() })
        }
        .boxed()
    }

    fn signal<'a>(&'a self, sandbox: &'a str, id: &'a str, signal: i32) -> BoxFuture<'a, Result<()>> {
        async move {
            let signal = Signal::try_from(signal).map_err(|error| Error::Failed(error.to_string()))?;
            self.handle(sandbox)?.sandbox.signal(id, signal).await.map_err(failed)
        }
        .boxed()
    }

    fn remove<'a>(&'a self, sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<()>> {
        async move { self.handle(sandbox)?.sandbox.remove(id).await.map_err(failed) }.boxed()
    }

    fn exec<'a>(
        &'a self,
        sandbox: &'a str,
        id: &'a str,
        command: Vec<String>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<ExecResult>> {
        async move {
            let shown = command.join(" ");
            let config = ExecConfig { args: command, tty: false, stdin: false };
            let run = async {
                let mut exec = self.handle(sandbox)?.sandbox.exec(id, config).await.map_err(failed)?;
                let streams = exec.take_streams();
                let (stdout, stderr) = streams.map(|streams| (streams.stdout, streams.stderr)).unwrap_or_default();
                let (code, mut output, errors) = tokio::join!(exec.wait(), read(stdout), read(stderr));
                output.extend(errors);
                output.truncate(EXEC_OUTPUT_LIMIT_BYTES);
                Ok(ExecResult { code, output })
            };
            // Dropping the command kills it.
            match tokio::time::timeout(timeout, run).await {
                Ok(result) => result,
                Err(_) => Err(Error::ExecTimeout { command: shown, timeout }),
            }
        }
        .boxed()
    }

    fn exec_streams<'a>(
        &'a self,
        sandbox: &'a str,
        id: &'a str,
        config: ExecConfig,
    ) -> BoxFuture<'a, Result<ExecSession>> {
        async move {
            let exec = self.handle(sandbox)?.sandbox.exec(id, config).await.map_err(failed)?;
            self.session(exec)
        }
        .boxed()
    }

    fn attach<'a>(&'a self, sandbox: &'a str, id: &'a str) -> BoxFuture<'a, Result<ExecSession>> {
        async move {
            let exec = self.handle(sandbox)?.sandbox.attach(id).await.map_err(failed)?;
            self.session(exec)
        }
        .boxed()
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<RecoveredSandbox>>> {
        async move {
            let sandboxes = self.runtime.recover().await.map_err(failed)?;
            let recovered = sandboxes.into_iter().map(|sandbox| self.recovered(sandbox));
            Ok(futures_util::future::join_all(recovered).await)
        }
        .boxed()
    }
}

/// Reads a pipe to its end and keeps the first of it, so that its writer is never blocked.
async fn read(pipe: Option<OwnedFd>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(Ok(mut pipe)) = pipe.map(pipe::Receiver::from_owned_fd) else { return kept };
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        let room = EXEC_OUTPUT_LIMIT_BYTES.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&chunk[..room]);
    }
    kept
}

fn has_exited(status: &ContainerStatus) -> bool {
    matches!(status.state, ContainerState::Exited { .. })
}

fn failed(error: oci::Error) -> Error {
    Error::Failed(log::chain(&error))
}
