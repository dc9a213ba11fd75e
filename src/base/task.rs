//! The supervisor: every task of the process is started here, under a name and with a policy
//! that says what its end means. It owns the process-wide cancellation token.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the end of a task means for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The process cannot do its work without this task: shut down and exit with an error.
    Stop,
    /// The failure is logged and concerns this task alone (a connection, one pod's worker).
    Log,
}

/// Starts tasks, and ends them all on shutdown. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    token: CancellationToken,
    tasks: Mutex<JoinSet<()>>,
    failed: Mutex<Option<String>>,
    /// Names of tasks that failed, whatever that meant.
    broken: Mutex<BTreeSet<&'static str>>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                token: CancellationToken::new(),
                tasks: Mutex::new(JoinSet::new()),
                failed: Mutex::new(None),
                broken: Mutex::default(),
            }),
        }
    }

    /// Cancelled when the process shuts down. Tasks that need an orderly end watch it;
    /// all others are dropped at their next await point.
    pub fn token(&self) -> CancellationToken {
        self.inner.token.clone()
    }

    /// Starts `future` under `name`. It is dropped on shutdown.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn_fallible(name, OnFailure::Log, async move {
            future.await;
            Ok::<_, std::convert::Infallible>(())
        });
    }

    /// Starts `future` under `name`; an error, or a panic, is dealt with as `on_failure` says.
    pub fn spawn_fallible<E: std::fmt::Display + Send + 'static>(
        &self,
        name: &'static str,
        on_failure: OnFailure,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.start(name, on_failure, true, future);
    }

    /// Starts a task that watches [`Supervisor::token`] itself and is given until the shutdown's
    /// deadline to finish what it holds.
    pub fn spawn_draining<E: std::fmt::Display + Send + 'static>(
        &self,
        name: &'static str,
        on_failure: OnFailure,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.start(name, on_failure, false, future);
    }

    fn start<E: std::fmt::Display + Send + 'static>(
        &self,
        name: &'static str,
        on_failure: OnFailure,
        drop_on_shutdown: bool,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let mut guard = FailureGuard { supervisor: self.clone(), name, on_failure, armed: true };
        let token = self.token();
        let mut tasks = self.inner.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let result = tokio::select! {
                () = token.cancelled(), if drop_on_shutdown => Ok(()),
                result = future => result,
            };
            guard.armed = false;
            if let Err(error) = result {
                guard.report(&error.to_string());
            }
        });
    }

    /// Whether a task of this name has failed.
    pub fn has_failed(&self, name: &str) -> bool {
        self.inner.broken.lock().contains(name)
    }

    /// Waits until a task that the process cannot do without has failed, and says which.
    pub async fn failed(&self) -> String {
        self.inner.token.cancelled().await;
        let failed = self.inner.failed.lock().clone();
        match failed {
            Some(message) => message,
            None => std::future::pending().await,
        }
    }

    /// Cancels every task and waits for those that drain, at most `deadline`.
    pub async fn shutdown(&self, deadline: Duration) {
        self.inner.token.cancel();
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock());
        let drained = tokio::time::timeout(deadline, async { while tasks.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!(left = tasks.len(), "tasks were still running at the shutdown deadline");
        }
    }
}

/// Turns the end of a task, a panic included, into what its policy asks for.
struct FailureGuard {
    supervisor: Supervisor,
    name: &'static str,
    on_failure: OnFailure,
    armed: bool,
}

impl FailureGuard {
    fn report(&self, error: &str) {
        self.supervisor.inner.broken.lock().insert(self.name);
        match self.on_failure {
            OnFailure::Log => tracing::warn!(task = self.name, error, "task failed"),
            OnFailure::Stop => {
                tracing::error!(task = self.name, error, "task failed, stopping");
                *self.supervisor.inner.failed.lock() = Some(format!("{}: {error}", self.name));
                self.supervisor.inner.token.cancel();
            }
        }
    }
}

impl Drop for FailureGuard {
    fn drop(&mut self) {
        if self.armed && std::thread::panicking() {
            self.report("panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_vital_task_stops_the_process() {
        let supervisor = Supervisor::new();
        supervisor.spawn_fallible("vital", OnFailure::Stop, async { Err("disk is gone") });
        assert_eq!(supervisor.failed().await, "vital: disk is gone");
    }

    #[tokio::test]
    async fn what_failed_is_known_by_its_name() {
        let supervisor = Supervisor::new();
        supervisor.spawn("good", async {});
        supervisor.spawn_fallible("bad", OnFailure::Log, async { Err("no") });
        while !supervisor.has_failed("bad") {
            tokio::task::yield_now().await;
        }
        assert!(!supervisor.has_failed("good"));
    }

    #[tokio::test]
    async fn shutdown_drops_tasks_that_do_not_drain() {
        let supervisor = Supervisor::new();
        supervisor.spawn("forever", std::future::pending());
        supervisor.shutdown(Duration::from_secs(5)).await;
    }

    #[tokio::test]
    async fn shutdown_waits_for_a_draining_task() {
        let supervisor = Supervisor::new();
        let token = supervisor.token();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        supervisor.spawn_draining("drain", OnFailure::Log, async move {
            token.cancelled().await;
            sender.send(()).map_err(|()| "nobody waits")
        });
        supervisor.shutdown(Duration::from_secs(5)).await;
        receiver.await.expect("the task finished before shutdown returned");
    }
}
