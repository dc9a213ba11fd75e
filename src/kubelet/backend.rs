//! What the kubelet's HTTP service asks for, answered from what workers have published.

use std::{fmt::Write, path::PathBuf, sync::Arc};

use bytes::Bytes;
use k8s_openapi::{List, api::core::v1::Pod};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    kubelet::{
        host, names,
        record::{self, Sandbox, State},
        serve::backend::{Backend, ContainerLog, ContainerRef, Error, Metrics, PodName, Session},
        shared::{Shared, View},
    },
    oci::ExecConfig,
};

/// The kubelet as its HTTP service sees it.
#[derive(Clone)]
pub struct Node(Arc<Shared>);

impl Node {
    /// Over a running kubelet.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    fn view(&self, wanted: &PodName) -> Result<View, Error> {
        let views = self.0.views.read();
        let found = views.values().find(|view| {
            names::namespace(&view.pod) == wanted.namespace
                && names::name(&view.pod) == wanted.name
                && wanted.uid.as_deref().is_none_or(|uid| uid == names::uid(&view.pod))
        });
        found.cloned().ok_or(Error::PodNotFound)
    }

    /// A receiver that turns true when the run has ended.
    fn ended(&self, sandbox: String, id: String) -> watch::Receiver<bool> {
        let (sender, receiver) = watch::channel(false);
        let shared = self.0.clone();
        self.0.supervisor.spawn("log end", async move {
            tokio::select! {
                // An error means that the container is gone, and so has ended.
                _ = shared.containers.wait(&sandbox, &id) => {
                    sender.send_replace(true);
                }
                () = sender.closed() => return,
            }
            sender.closed().await;
        });
        receiver
    }
}

impl Backend for Node {
    fn log(&self, pod: &PodName, container: &str, previous: bool) -> Result<ContainerLog, Error> {
        let view = self.view(pod)?;
        let spec = view.pod.spec.as_ref().ok_or(Error::PodNotFound)?;
        let not_found = || Error::ContainerNotFound { container: container.to_owned() };
        record::find_container(spec, container).ok_or_else(not_found)?;
        let known = view.record.containers.get(container).cloned().unwrap_or_default();
        let path = |attempt| names::log_path(&self.0.config, &view.pod, container, attempt);
        let over = || watch::channel(true).1;
        let Some(instance) = known.instance.filter(|_| !previous) else {
            // The run before the newest one, or the last one before a reboot.
            let attempt = known.restarts - 1;
            if attempt >= 0 && known.last.is_some() {
                return Ok(ContainerLog { path: path(attempt), ended: over() });
            }
            return Err(Error::NotReady { message: not_ready(&view.pod, container, previous) });
        };
        let ended = match instance.state {
            State::Running { .. } => self.ended(names::uid(&view.pod).to_owned(), instance.id),
            State::Exited(_) => over(),
        };
        Ok(ContainerLog { path: path(known.restarts), ended })
    }

    fn container(&self, pod: &PodName, container: &str) -> Result<ContainerRef, Error> {
        let view = self.view(pod)?;
        let not_found = || Error::ContainerNotFound { container: container.to_owned() };
        let spec = view.pod.spec.as_ref().ok_or_else(not_found)?;
        let wanted = record::find_container(spec, container).ok_or_else(not_found)?;
        let known = view.record.containers.get(container).filter(|known| known.is_running());
        let instance = known.and_then(|known| known.instance.as_ref()).ok_or_else(not_found)?;
        Ok(ContainerRef {
            sandbox: names::uid(&view.pod).to_owned(),
            id: instance.id.clone(),
            tty: wanted.tty == Some(true),
            stdin: wanted.stdin == Some(true),
        })
    }

    async fn exec(&self, container: &ContainerRef, config: ExecConfig) -> Result<Session, Error> {
        let session = self.0.containers.exec_streams(&container.sandbox, &container.id, config).await;
        session.map(into_session).map_err(|error| failed(&error))
    }

    async fn attach(&self, container: &ContainerRef, stdin: bool) -> Result<Session, Error> {
        let mut session =
            self.0.containers.attach(&container.sandbox, &container.id).await.map_err(|error| failed(&error))?;
        session.streams.stdin = session.streams.stdin.filter(|_| stdin);
        Ok(into_session(session))
    }

    fn netns(&self, pod: &PodName) -> Result<Option<PathBuf>, Error> {
        let view = self.view(pod)?;
        match &view.record.sandbox {
            Sandbox::Ready { netns, .. } => Ok(netns.clone()),
            _ => Err(Error::NotReady {
                message: format!(
                    "unable to do port forwarding: pod is not running. Current status={}",
                    phase(&view.pod)
                ),
            }),
        }
    }

    fn pods(&self) -> Bytes {
        let items: Vec<Pod> = self.0.views.read().values().map(|view| Pod::clone(&view.pod)).collect();
        let list = List { items, ..List::default() };
        serde_json::to_vec(&list).unwrap_or_default().into()
    }

    async fn stats_summary(&self) -> Bytes {
        let pods: Vec<_> = self.0.views.read().values().map(pod_stats).collect();
        let summary = json!({"node": {"nodeName": self.0.config.node_name}, "pods": pods});
        summary.to_string().into()
    }

    async fn metrics(&self, which: Metrics) -> Option<String> {
        if which != Metrics::Kubelet {
            return None;
        }
        let views = self.0.views.read();
        let pods = views.values().filter(|view| view.record.any_running()).count();
        let containers: usize =
            views.values().map(|view| view.record.containers.values().filter(|known| known.is_running()).count()).sum();
        let mut text = String::new();
        let node = &self.0.config.node_name;
        for (name, help, value) in [
            ("kubelet_running_pods", "Number of pods that have a running container", pods),
            ("kubelet_running_containers", "Number of containers currently running", containers),
        ] {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{node=\"{node}\"}} {value}")
                .expect("writing to a String succeeds");
        }
        Some(text)
    }
}

fn not_ready(pod: &Pod, container: &str, previous: bool) -> String {
    let name = names::name(pod);
    if previous {
        return format!("previous terminated container \"{container}\" in pod \"{name}\" not found");
    }
    let status = pod.status.clone().unwrap_or_default();
    let lists = [status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses];
    let found = lists.into_iter().flatten().flatten().find(|status| status.name == container);
    let waiting = found.and_then(|status| status.state?.waiting);
    let reason = waiting.as_ref().and_then(|waiting| waiting.reason.as_deref()).unwrap_or("ContainerCreating");
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            format!("container \"{container}\" in pod \"{name}\" is waiting to start: trying and failing to pull image")
        }
        _ => format!("container \"{container}\" in pod \"{name}\" is waiting to start: {reason}"),
    }
}

fn pod_stats(view: &View) -> serde_json::Value {
    let pod = &view.pod;
    json!({
        "podRef": {"name": names::name(pod), "namespace": names::namespace(pod), "uid": names::uid(pod)},
        "startTime": view.record.start_time,
        "containers": view.record.containers.iter().filter(|(_, known)| known.is_running()).map(|(name, _)| {
            json!({"name": name})
        }).collect::<Vec<_>>(),
    })
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Unknown")
}

fn into_session(session: host::ExecSession) -> Session {
    let exit = session.exit;
    Session { streams: session.streams, exit: Box::pin(async move { exit.await.map_err(|error| failed(&error)) }) }
}

fn failed(error: &host::Error) -> Error {
    Error::Runtime { message: error.to_string() }
}
