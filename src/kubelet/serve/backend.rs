//! What the HTTP service must know about pods, and what it asks to be done to them. The kubelet
//! implements it over its pod workers and shims; tests implement it over pipes.

use std::{future::Future, path::PathBuf};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::oci::{ExecConfig, Streams};

/// A pod as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, where the URL gives one (`/exec/{ns}/{pod}/{uid}/{container}`).
    pub uid: Option<String>,
}

/// Why a request about a pod cannot be served. The wording is upstream's, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 404: the pod is not on this node.
    #[error("pod does not exist")]
    PodNotFound,
    /// 404: the pod has no such container, running or ended.
    #[error("container not found (\"{container}\")")]
    ContainerNotFound {
        /// The container's name.
        container: String,
    },
    /// 400: the container has no log yet, or has not run before.
    #[error("{message}")]
    NotReady {
        /// Upstream's sentence, such as `container "a" in pod "b" is waiting to start: ContainerCreating`.
        message: String,
    },
    /// 500: the runtime failed.
    #[error("{message}")]
    Runtime {
        /// The whole chain of what went wrong.
        message: String,
    },
}

/// Where the log of one run of a container is.
#[derive(Debug, Clone)]
pub struct ContainerLog {
    /// The current file in CRI format (`…/0.log`); rotated ones lie beside it.
    pub path: PathBuf,
    /// True once that run has ended and its shim has written the last line.
    pub ended: watch::Receiver<bool>,
}

/// A container that can be executed in or attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRef {
    /// The sandbox that holds it.
    pub sandbox: String,
    /// Its ID in the runtime.
    pub id: String,
    /// Whether it was created with a terminal.
    pub tty: bool,
    /// Whether it was created with standard input.
    pub stdin: bool,
}

/// A command that runs, or a container that is attached to.
pub struct Session {
    /// Its streams. With a terminal, `terminal` is there for resizing.
    pub streams: Streams,
    /// Resolves to the exit code when the process has ended. Dropping it must not end the process.
    pub exit: BoxFuture<'static, Result<i32, Error>>,
}

/// The kubelet, as its HTTP service sees it. Lookups are answered from memory.
pub trait Backend: Send + Sync + 'static {
    /// The log of a container's current run, or of the one before (`previous`).
    fn log(&self, pod: &PodName, container: &str, previous: bool) -> Result<ContainerLog, Error>;

    /// A running container.
    fn container(&self, pod: &PodName, container: &str) -> Result<ContainerRef, Error>;

    /// Starts a command in a container. Standard output and error are always connected.
    fn exec(&self, container: &ContainerRef, config: ExecConfig)
    -> impl Future<Output = Result<Session, Error>> + Send;

    /// Connects to a container's own process. `stdin` asks for its standard input.
    fn attach(&self, container: &ContainerRef, stdin: bool) -> impl Future<Output = Result<Session, Error>> + Send;

    /// The network namespace of a running pod; `None` when it uses the host's.
    fn netns(&self, pod: &PodName) -> Result<Option<PathBuf>, Error>;

    /// The pods of this node as an encoded `v1.PodList`.
    fn pods(&self) -> Bytes;

    /// `/stats/summary`, encoded (`k8s.io/kubelet/pkg/apis/stats/v1alpha1`).
    fn stats_summary(&self) -> impl Future<Output = Bytes> + Send;

    /// The body of a metrics endpoint in the Prometheus text format, or `None` if there is none.
    fn metrics(&self, which: Metrics) -> impl Future<Output = Option<String>> + Send;
}

/// The kubelet's metrics endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metrics {
    /// `/metrics`: the kubelet's own.
    Kubelet,
    /// `/metrics/resource`: usage per pod and container.
    Resource,
    /// `/metrics/cadvisor`: usage in cAdvisor's names.
    Cadvisor,
    /// `/metrics/probes`: probe results.
    Probes,
}
