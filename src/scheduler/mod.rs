//! The scheduler: watches pods without a node and binds each to the best node that can run it.
//!
//! One task decides, from a picture of the cluster kept current by informers ([`cluster`]); bindings
//! travel to the API side by side while the next pod is decided, the placed pod being counted on its
//! node already. The decision itself ([`plan`]) is pure.

mod bind;
mod cluster;
mod filters;
mod plan;
mod pod;
mod queue;
mod resources;
mod scores;

use std::{future::Future, sync::Arc};

use futures_util::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    client::{
        ObjectKey,
        events::Recorder,
        informer::{Delta, Informers},
        pod::Pod,
    },
    scheduler::{bind::Binder, cluster::Cluster, plan::Decision, pod::PodInfo, queue::Queue},
};

/// The scheduler that pods name unless they name another (`spec.schedulerName`).
pub const NAME: &str = "default-scheduler";
/// Bindings under way at once.
const BINDINGS_LIMIT: usize = 64;

/// Runs the scheduler until it is dropped.
pub async fn run(informers: Informers) {
    let recorder = Recorder::new(informers.supervisor(), informers.client(), NAME, None);
    let scheduler = Arc::new(Scheduler {
        state: Mutex::new(State::default()),
        changed: Notify::new(),
        binder: Binder::new(informers.client(), recorder),
    });
    let (pods, nodes) = (informers.of::<Pod>(), informers.of::<Node>());
    pods.synced().await;
    nodes.synced().await;
    let told = scheduler.clone();
    nodes.on_change(move |delta| told.node_changed(delta));
    let told = scheduler.clone();
    pods.on_change(move |delta| told.pod_changed(delta));
    scheduler.run().await;
}

#[derive(Default)]
struct State {
    cluster: Cluster,
    queue: Queue,
    /// Pods placed here whose binding the watch has not shown yet.
    assumed: std::collections::HashSet<ObjectKey>,
    turn: usize,
}

struct Scheduler {
    state: Mutex<State>,
    changed: Notify,
    binder: Binder,
}

/// A decided pod and what is to be done about it.
struct Decided {
    pod: Arc<PodInfo>,
    mark: u64,
    decision: Decision,
}

impl Scheduler {
    async fn run(&self) {
        let mut acting = FuturesUnordered::new();
        loop {
            while acting.len() < BINDINGS_LIMIT
                && let Some(decided) = self.decide_next()
            {
                acting.push(self.act(decided));
            }
            tokio::select! {
                Some(()) = acting.next(), if !acting.is_empty() => {}
                () = self.next_change(), if acting.len() < BINDINGS_LIMIT => {}
            }
        }
    }

    fn decide_next(&self) -> Option<Decided> {
        let mut state = self.state.lock();
        let (pod, mark) = state.queue.pop(Instant::now())?;
        state.turn = state.turn.wrapping_add(1);
        let decision = plan::decide(&pod, &state.cluster, state.turn);
        if let Decision::Bind(node) = &decision {
            state.cluster.place(node, pod.clone());
            state.assumed.insert(pod.key.clone());
        }
        Some(Decided { pod, mark, decision })
    }

    fn act(&self, decided: Decided) -> impl Future<Output = ()> + '_ {
        let Decided { pod, mark, decision } = decided;
        async move {
            match &decision {
                Decision::Bind(node) => {
                    if let Err(error) = self.binder.bind(&pod, node).await {
                        tracing::debug!(pod = %pod.key, node, error = %error, "binding failed");
                        self.release(&pod, mark);
                    }
                }
                Decision::Unschedulable(message) => {
                    self.binder.report_unschedulable(&pod, message).await;
                    self.state.lock().queue.park(&pod.key, mark, false, Instant::now());
                    self.changed.notify_one();
                }
            }
        }
    }

    /// Takes back a placement that the API refused.
    fn release(&self, pod: &PodInfo, mark: u64) {
        let mut state = self.state.lock();
        if state.assumed.remove(&pod.key) {
            state.cluster.remove_pod(&pod.key);
        }
        state.queue.park(&pod.key, mark, true, Instant::now());
        drop(state);
        self.changed.notify_one();
    }

    async fn next_change(&self) {
        let next = self.state.lock().queue.next_at();
        match next {
            Some(at) => {
                let _ = tokio::time::timeout_at(at, self.changed.notified()).await;
            }
            None => self.changed.notified().await,
        }
    }

    fn node_changed(&self, delta: &Delta<'_, Node>) {
        let mut state = self.state.lock();
        match delta.new {
            Some(node) => state.cluster.set_node(node.clone()),
            None => state.cluster.remove_node(delta.latest().metadata.name.as_deref().unwrap_or_default()),
        }
        if may_help(delta) {
            state.queue.nudge();
            drop(state);
            self.changed.notify_one();
        }
    }

    fn pod_changed(&self, delta: &Delta<'_, Pod>) {
        let mut state = self.state.lock();
        let key = ObjectKey::of(&**delta.latest());
        match delta.new {
            Some(pod) if is_bound(pod) => {
                state.assumed.remove(&key);
                state.queue.remove(&key);
                state.cluster.set_pod(pod);
                if pod::is_finished(pod) {
                    state.queue.nudge();
                }
            }
            Some(pod) if wants_a_node(pod) => {
                if !state.assumed.contains(&key) {
                    state.queue.add(Arc::new(PodInfo::new(pod.clone())), Instant::now());
                }
            }
            Some(_) => state.queue.remove(&key),
            None => {
                state.assumed.remove(&key);
                state.queue.remove(&key);
                state.cluster.remove_pod(&key);
                state.queue.nudge();
            }
        }
        drop(state);
        self.changed.notify_one();
    }
}

/// Whether a node's change can make room: heartbeats, which change conditions alone, cannot.
fn may_help(delta: &Delta<'_, Node>) -> bool {
    let (Some(old), Some(new)) = (delta.old, delta.new) else { return delta.new.is_some() };
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    old.spec != new.spec || old.metadata.labels != new.metadata.labels || allocatable(old) != allocatable(new)
}

fn is_bound(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty())
}

fn wants_a_node(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let scheduler = spec.scheduler_name.as_deref().unwrap_or(NAME);
    scheduler == NAME && !gated && !pod::is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}
