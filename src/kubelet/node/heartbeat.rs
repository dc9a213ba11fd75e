//! Keeping the Node object current: registered, status written when something changes and every
//! five minutes, Lease renewed every ten seconds. While the server is away it is tried again with
//! back-off, and nothing else waits for it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{Node, NodeStatus},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};

use super::{
    facts::{Facts, Pressure},
    object::{self, Observed},
};
use crate::{base::backoff::Backoff, kubelet::shared::Shared};

/// Namespace of the nodes' Leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// How long a Lease is good for, in seconds (upstream's `nodeLeaseDurationSeconds`).
const LEASE_DURATION_S: i32 = 40;
/// How often it is renewed: a quarter of that.
const RENEWAL_PERIOD: Duration = Duration::from_secs(10);
/// Longest time between two statuses (upstream's `nodeStatusReportFrequency`).
const STATUS_PERIOD: Duration = Duration::from_secs(300);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// Registers the node and keeps it current for as long as the process lives.
pub async fn run(shared: Arc<Shared>, facts: Facts) {
    let node = persist(|| register(&shared, &facts)).await;
    let mut heart = Heart { shared, facts, node, written: None };
    let mut tick = tokio::time::interval(RENEWAL_PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let network = heart.shared.network.clone();
    let ready = network.became_ready();
    tokio::pin!(ready);
    let mut is_ready = false;
    loop {
        tokio::select! {
            _ = tick.tick() => heart.beat().await,
            () = &mut ready, if !is_ready => {
                is_ready = true;
                heart.report().await;
            }
        }
    }
}

struct Heart {
    shared: Arc<Shared>,
    facts: Facts,
    node: Node,
    written: Option<(Instant, NodeStatus)>,
}

impl Heart {
    async fn beat(&mut self) {
        let (renewed, ()) = tokio::join!(renew(&self.shared, &self.node), async {});
        if let Err(error) = renewed {
            tracing::debug!(error = crate::base::log::chain(&error), "lease not renewed");
        }
        self.report().await;
    }

    /// Writes the status if it says something new or is due.
    async fn report(&mut self) {
        let status = self.status().await;
        let due = self.written.as_ref().is_none_or(|(at, written)| {
            at.elapsed() >= STATUS_PERIOD || without_heartbeat(written) != without_heartbeat(&status)
        });
        if !due {
            return;
        }
        let before = self.written.as_ref().map(|(_, written)| written);
        let api: Api<Node> = Api::all(self.shared.client.clone());
        let patch = Patch::Strategic(json!({"status": changes(before, &status)}));
        match api.patch_status(&self.shared.config.node_name, &PatchParams::default(), &patch).await {
            Ok(_) => self.written = Some((Instant::now(), status)),
            // Deleted by somebody: it registers again, as upstream's does when it restarts.
            Err(kube::Error::Api(status)) if status.code == 404 => self.register_again().await,
            Err(error) => tracing::debug!(error = crate::base::log::chain(&error), "node status not written"),
        }
    }

    async fn register_again(&mut self) {
        match register(&self.shared, &self.facts).await {
            Ok(node) => {
                self.node = node;
                self.written = None;
            }
            Err(error) => tracing::debug!(error = crate::base::log::chain(&error), "node not registered"),
        }
    }

    async fn status(&self) -> NodeStatus {
        let directory = self.shared.config.data_dir.clone();
        let pressure = self.shared.lane.run(move || Pressure::read(&directory)).await;
        let images = self.shared.images.list().await.unwrap_or_default();
        let observed =
            Observed { pressure, network: self.shared.network.ready(), images: &images, now: Time(Timestamp::now()) };
        let before = self.written.as_ref().map(|(_, written)| written).or(self.node.status.as_ref());
        let none = NodeStatus::default();
        object::status(&self.shared.config, &self.facts, &observed, before.unwrap_or(&none))
    }
}

/// Creates the Node, or brings the labels of the one that is there up to date.
async fn register(shared: &Shared, facts: &Facts) -> kube::Result<Node> {
    let api: Api<Node> = Api::all(shared.client.clone());
    let wanted = object::registration(&shared.config, facts);
    match api.create(&PostParams::default(), &wanted).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        other => return other,
    }
    let labels = object::labels(&shared.config, facts);
    let name = &shared.config.node_name;
    let existing = api.get(name).await?;
    let has = existing.metadata.labels.clone().unwrap_or_default();
    if labels.iter().all(|(key, value)| has.get(key) == Some(value)) {
        return Ok(existing);
    }
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    api.patch(name, &PatchParams::default(), &patch).await
}

async fn renew(shared: &Shared, node: &Node) -> kube::Result<()> {
    let api: Api<Lease> = Api::namespaced(shared.client.clone(), LEASE_NAMESPACE);
    let name = &shared.config.node_name;
    let now = MicroTime(Timestamp::now());
    let patch = Patch::Merge(json!({"spec": {"renewTime": now}}));
    match api.patch(name, &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            api.create(&PostParams::default(), &lease(name, node, now)).await.map(drop)
        }
        Err(error) => Err(error),
    }
}

fn lease(name: &str, node: &Node, now: MicroTime) -> Lease {
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.to_owned(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(LEASE_NAMESPACE.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(LEASE_DURATION_S),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    }
}

/// The fields that differ; conditions always, for their heartbeat. Addresses merge by type, so
/// they are replaced as a whole.
fn changes(before: Option<&NodeStatus>, status: &NodeStatus) -> Value {
    let fields = |status: &NodeStatus| serde_json::to_value(status).unwrap_or_default();
    let (mut new, old) = (fields(status), before.map(fields));
    if let (Value::Object(new), Some(Value::Object(old))) = (&mut new, old) {
        new.retain(|key, value| key == "conditions" || old.get(key) != Some(value));
    }
    if let Some(Value::Array(addresses)) = new.get_mut("addresses") {
        addresses.push(json!({"$patch": "replace"}));
    }
    new
}

fn without_heartbeat(status: &NodeStatus) -> NodeStatus {
    let mut status = status.clone();
    status.conditions.iter_mut().flatten().for_each(|condition| condition.last_heartbeat_time = None);
    status
}

async fn persist<T, F: Future<Output = kube::Result<T>>>(mut attempt: impl FnMut() -> F) -> T {
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => {
                tracing::info!(error = crate::base::log::chain(&error), "node not registered yet");
                tokio::time::sleep(backoff.next_delay_jittered()).await;
            }
        }
    }
}
