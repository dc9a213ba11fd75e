//! A pod's worker: one task that holds the pod's record, asks the plan what to do, has it done by
//! jobs, and reports. Jobs run beside each other inside the worker's own task; whatever one of
//! them brings changes the record, and the round begins again.

pub mod inbox;
mod outcomes;
mod probes;
mod reporting;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, Pod};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::kubelet::{
    jobs::{self, report, sandbox, start},
    names, objects,
    plan::{self, Action},
    probe::run::Verdict,
    record::{self, ContainerRecord, Now, Operation, Record, Sandbox, Volumes},
    shared::{Shared, View},
};
use inbox::Inbox;
use probes::Probes;

/// Verdicts of probes that wait for the worker.
const VERDICT_LIMIT: usize = 32;

/// What a job brought.
enum Outcome {
    Mounted(Result<Option<Instant>, String>),
    Sandbox(Result<sandbox::Ready, String>),
    SandboxLost(String),
    Started(String, i32, start::Outcome),
    PostStart(String, String, Result<(), String>),
    Exited(String, String, ContainerStateTerminated),
    Stopped(String),
    BackOff(String, &'static str, String),
    TornDown(Result<(), String>),
    Reported(report::Outcome),
    Deleted(report::Outcome),
    Kept,
}

/// A worker and all it knows.
pub struct Worker {
    shared: Arc<Shared>,
    inbox: Inbox,
    pod: Arc<Pod>,
    gone: bool,
    record: Record,
    jobs: FuturesUnordered<BoxFuture<'static, Outcome>>,
    cancel_pulls: CancellationToken,
    stop_deadline: Option<watch::Sender<Instant>>,
    pulls: HashMap<String, crate::base::backoff::Backoff>,
    probes: Probes,
    verdicts: mpsc::Receiver<Verdict>,
    report: reporting::Reporting,
    volumes_changed: bool,
    forgotten: bool,
}

impl Worker {
    /// A worker for a pod, with what is known of it.
    pub fn new(shared: Arc<Shared>, inbox: Inbox, pod: Arc<Pod>, record: Record) -> Self {
        let (sender, verdicts) = mpsc::channel(VERDICT_LIMIT);
        Self {
            shared,
            inbox,
            pod,
            gone: false,
            record,
            jobs: FuturesUnordered::new(),
            cancel_pulls: CancellationToken::new(),
            stop_deadline: None,
            pulls: HashMap::new(),
            probes: Probes::new(sender),
            verdicts,
            report: reporting::Reporting::default(),
            volumes_changed: false,
            forgotten: false,
        }
    }

    /// Works until the pod is gone from API and node.
    pub async fn run(mut self) {
        self.subscribe();
        self.resume();
        loop {
            self.take_news();
            let wake_at = self.act();
            self.publish();
            self.report();
            if self.is_over() {
                break;
            }
            self.wait(wake_at).await;
        }
        jobs::teardown::forget(&self.shared, &self.pod).await;
        self.shared.views.write().remove(names::uid(&self.pod));
    }

    /// Follows what an earlier agent left running.
    fn resume(&mut self) {
        if let Some(id) = self.record.sandbox_id().map(str::to_owned) {
            self.watch_sandbox(id);
        }
        let running: Vec<String> = self
            .record
            .containers
            .iter()
            .filter(|(_, known)| known.is_running())
            .map(|(name, _)| name.clone())
            .collect();
        for name in running {
            self.watch_container(&name);
            self.start_probes(&name);
        }
    }

    fn subscribe(&self) {
        let references = objects::references(&self.pod);
        let (uid, namespace) = (names::uid(&self.pod), names::namespace(&self.pod));
        self.shared.objects.subscribe(uid, namespace, &references, &self.inbox.wake);
    }

    /// Reads the inbox.
    fn take_news(&mut self) {
        let (pod, gone) = self.inbox.take();
        if let Some(pod) = pod {
            let (new, old) = (&pod.metadata, &self.pod.metadata);
            // Labels and annotations may be the contents of a volume.
            let relabelled = new.labels != old.labels || new.annotations != old.annotations;
            let respecified = pod.spec != self.pod.spec;
            self.pod = pod;
            if respecified {
                self.subscribe();
            }
            if relabelled {
                self.refresh_volumes();
            }
        }
        self.gone |= gone;
        if self.is_deleted() {
            self.begin_end();
        }
        if self.inbox.wake.take_objects_changed() {
            self.objects_changed();
        }
    }

    fn is_deleted(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// The pod is to end: pulls are given up, and the grace period can only become shorter.
    fn begin_end(&mut self) {
        self.cancel_pulls.cancel();
        let deadline = Instant::now() + self.grace();
        match &self.stop_deadline {
            Some(sender) => {
                sender.send_if_modified(|current| {
                    let sooner = deadline < *current;
                    *current = deadline.min(*current);
                    sooner
                });
            }
            None => self.stop_deadline = Some(watch::channel(deadline).0),
        }
    }

    /// Seconds from the deletion, or else from the spec; at least one, as upstream.
    fn grace(&self) -> Duration {
        let of_spec = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let wish = self.pod.metadata.deletion_grace_period_seconds.or(of_spec).unwrap_or(30);
        Duration::from_secs(wish.max(1).unsigned_abs())
    }

    fn objects_changed(&mut self) {
        self.refresh_volumes();
        let now = Instant::now();
        for known in self.record.containers.values_mut() {
            if known.waiting.as_ref().is_some_and(|waiting| waiting.reason == "CreateContainerConfigError") {
                known.retry_at = Some(now);
            }
        }
    }

    fn refresh_volumes(&mut self) {
        match &mut self.record.volumes {
            Volumes::Mounted { refresh_at } => *refresh_at = Some(Instant::now()),
            Volumes::Failed { retry_at } => *retry_at = Instant::now(),
            Volumes::Unmounted => {}
            Volumes::Mounting => self.volumes_changed = true,
        }
    }

    /// Carries out the plan; gives the time to look again at the latest.
    fn act(&mut self) -> Option<Instant> {
        let plan = plan::plan(&self.pod, &self.record, self.is_deleted(), Now::get());
        for action in plan.actions {
            self.carry_out(action);
        }
        plan.wake_at
    }

    fn carry_out(&mut self, action: Action) {
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        match action {
            Action::MountVolumes => {
                self.record.volumes = match self.record.volumes {
                    Volumes::Mounted { .. } => Volumes::Mounted { refresh_at: None },
                    _ => Volumes::Mounting,
                };
                self.job(async move { Outcome::Mounted(jobs::mount::run(shared, pod).await) });
            }
            Action::CreateSandbox => {
                self.record.sandbox = Sandbox::Creating;
                self.job(async move { Outcome::Sandbox(sandbox::run(shared, pod).await) });
            }
            Action::Start(name) => self.start(&name),
            Action::Stop { name, reason } => self.stop(&name, reason),
            Action::Fail { reason, message } => {
                self.shared.event(&self.pod, crate::client::events::Type::Normal, reason, message);
                self.record.failed = Some(record::Failure { reason: reason.into(), message: message.into() });
                self.begin_end();
                self.inbox.wake.nudge();
            }
            Action::TearDown => {
                self.record.sandbox = Sandbox::Removing;
                self.probes.clear();
                let instances = self.instances();
                self.job(async move { Outcome::TornDown(jobs::teardown::run(shared, pod, instances).await) });
            }
        }
    }

    fn job(&mut self, job: impl Future<Output = Outcome> + Send + 'static) {
        self.jobs.push(Box::pin(job));
    }

    fn container(&self, name: &str) -> Option<Container> {
        record::find_container(self.pod.spec.as_ref()?, name)
    }

    fn start(&mut self, name: &str) {
        let (Some(container), Some(sandbox)) = (self.container(name), self.sandbox()) else { return };
        let known = self.record.container(name);
        let again = known.instance.is_some();
        let attempt = if again { known.restarts + 1 } else { known.restarts };
        known.operation = Operation::Starting;
        known.retry_at = None;
        let previous = known.instance.as_ref().map(|instance| instance.id.clone());
        let request = start::Request {
            shared: self.shared.clone(),
            pod: self.pod.clone(),
            container,
            attempt,
            sandbox,
            previous,
            cancel: self.cancel_pulls.clone(),
        };
        let name = name.to_owned();
        self.job(async move { Outcome::Started(name, attempt, start::run(request).await) });
    }

    fn sandbox(&self) -> Option<sandbox::Ready> {
        match &self.record.sandbox {
            Sandbox::Ready { id, netns, addresses } => {
                Some(sandbox::Ready { id: id.clone(), netns: netns.clone(), addresses: addresses.clone() })
            }
            _ => None,
        }
    }

    fn stop(&mut self, name: &str, reason: Option<String>) {
        let Some(container) = self.container(name) else { return };
        let address = self.sandbox().and_then(|sandbox| sandbox.addresses.first().copied());
        let grace = self.probes.grace(name).unwrap_or_else(|| self.grace());
        let known = self.record.container(name);
        let Some(instance) = known.instance.as_ref() else { return };
        let (id, signal) = (instance.id.clone(), instance.stop_signal);
        known.operation = Operation::Stopping;
        known.restart_reason = None;
        let deadline = match (&self.stop_deadline, &reason) {
            (Some(sender), _) => sender.subscribe(),
            // The pod goes on: the container has its own deadline, which the pod's end replaces
            // only by shortening the wait for what is left.
            (None, Some(_)) => watch::channel(Instant::now() + grace).1,
            (None, None) => {
                let sender = watch::channel(Instant::now() + grace).0;
                let receiver = sender.subscribe();
                self.stop_deadline = Some(sender);
                receiver
            }
        };
        self.probes.stop(name);
        let (shared, pod) = (self.shared.clone(), self.pod.clone());
        let request = jobs::stop::Request { shared, pod, container, id, signal, address, deadline, reason };
        let name = name.to_owned();
        self.job(async move {
            jobs::stop::run(request).await;
            Outcome::Stopped(name)
        });
    }

    fn watch_sandbox(&mut self, id: String) {
        let shared = self.shared.clone();
        self.job(async move {
            shared.containers.sandbox_lost(&id).await;
            Outcome::SandboxLost(id)
        });
    }

    fn watch_container(&mut self, name: &str) {
        let Some(container) = self.container(name) else { return };
        let known: &ContainerRecord = self.record.container(name);
        let Some(id) = known.instance.as_ref().map(|instance| instance.id.clone()) else { return };
        let (shared, pod, attempt) = (self.shared.clone(), self.pod.clone(), known.restarts);
        let name = name.to_owned();
        self.job(async move {
            let terminated = jobs::exit::run(shared, pod, container, id.clone(), attempt).await;
            Outcome::Exited(name, id, terminated)
        });
    }

    /// Shows those who only look how far the pod is.
    fn publish(&mut self) {
        let status = self.status();
        let mut pod = Pod::clone(&self.pod);
        pod.status = Some(status);
        let view = View { pod: Arc::new(pod), record: Arc::new(self.record.clone()) };
        self.shared.views.write().insert(names::uid(&self.pod).to_owned(), view);
    }

    fn status(&self) -> k8s_openapi::api::core::v1::PodStatus {
        crate::kubelet::status::generate(
            &self.report.base(&self.pod),
            &self.record,
            self.is_deleted(),
            &self.shared.config.node_ips,
            Now::get(),
        )
    }

    /// Everything of the pod is gone from this node, and the API knows.
    fn is_over(&self) -> bool {
        let is_at_rest = self.record.sandbox == Sandbox::Removed && !self.report.is_keeping();
        is_at_rest && (self.gone || self.forgotten)
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, wake_at: Option<Instant>) {
        let wake_at = [wake_at, self.report.retry_at()].into_iter().flatten().min();
        let timer = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(outcome) = self.jobs.next() => self.take_in(outcome),
            Some(verdict) = self.verdicts.recv() => self.take_verdict(verdict),
            () = self.inbox.wake.woken() => {}
            () = timer => {}
        }
    }

    /// IDs of all runs that may still have a root file system.
    fn instances(&self) -> Vec<String> {
        let instances = self.record.containers.values().filter_map(|known| known.instance.as_ref());
        instances.map(|instance| instance.id.clone()).collect()
    }
}
