//! The garbage collector: deletes objects whose owners are gone, and carries out foreground and
//! orphaning deletions (API concepts, "Garbage collection"). It watches the metadata of everything
//! the API lets it delete, kinds that come and go included; Events, which own nothing and are many, are
//! left out. Kinds that are served behind the API server are watched on while they cannot be discovered.

mod graph;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use parking_lot::{Mutex, RwLock};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    base::{backoff::Backoff, task::Supervisor},
    client::{
        discovery::Served,
        queue::{Outcome, WorkQueue},
    },
    controllers::{
        Context,
        garbage::graph::{FOREGROUND, Graph, Node, ORPHAN},
        ignore_not_found, is_conflict, is_not_found,
    },
};

const NAME: &str = "generic-garbage-collector";
/// Groups and kinds of what decides which kinds there are.
const DECIDING: [(&str, &str); 2] =
    [("apiextensions.k8s.io", "CustomResourceDefinition"), ("apiregistration.k8s.io", "APIService")];
/// These come in bursts, and what they bring is served a moment after they say so.
const SETTLE: Duration = Duration::from_millis(500);
/// How long until what could not be discovered is looked for again: when its server answers, nothing need
/// change that is watched.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Objects worked on at once.
const WIDTH: usize = 16;

/// A kind of object that can be deleted.
#[derive(Debug, Clone)]
struct Watched {
    resource: ApiResource,
    namespaced: bool,
    /// Cancelled when the kind is no longer served.
    ended: CancellationToken,
}

/// The kinds that are watched, by index. An index is not given twice: the graph holds it.
#[derive(Default)]
struct Kinds {
    watched: Vec<Watched>,
    by_kind: HashMap<(String, String), usize>,
}

pub(super) async fn run(context: Context) {
    let client = context.client(NAME);
    let collector = Arc::new(Collector {
        kinds: RwLock::default(),
        client,
        graph: Mutex::default(),
        queue: WorkQueue::new(),
        kinds_changed: Notify::new(),
    });
    let supervisor = context.informers.supervisor();
    let served = discover(&collector.client).await;
    let is_complete = served.unknown.is_empty();
    collector.watch_exactly(supervisor, &served);
    supervisor.spawn("garbage collector discovery", collector.clone().follow_kinds(supervisor.clone(), is_complete));
    collector.queue.run(NAME, WIDTH, |uid| collector.reconcile(uid)).await;
}

/// What the API serves.
async fn discover(client: &Client) -> Served {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        match Served::discover(client).await {
            Ok(served) => return served,
            Err(error) => tracing::debug!(error = %error, "discovery failed, trying again"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Everything among it that can be watched and deleted.
fn deletable(served: &Served) -> impl Iterator<Item = Watched> {
    let wanted = served.resources.iter().filter(|one| one.supports(&["list", "watch", "delete"]));
    wanted.filter(|one| one.resource.kind != "Event").map(|one| Watched {
        resource: one.resource.clone(),
        namespaced: one.is_namespaced,
        ended: CancellationToken::new(),
    })
}

fn kind_of(resource: &ApiResource) -> (String, String) {
    (resource.group.clone(), resource.kind.clone())
}

struct Collector {
    kinds: RwLock<Kinds>,
    client: Client,
    graph: Mutex<Graph>,
    queue: WorkQueue<String>,
    kinds_changed: Notify,
}

/// What becomes of an object's references to its owners.
#[derive(Debug, Default)]
struct Owners {
    /// Owners that are there and stay.
    solid: usize,
    /// UIDs of owners that are gone.
    dangling: Vec<String>,
    /// UIDs of owners that wait for their dependents to go.
    waiting: Vec<String>,
}

impl Collector {
    /// Looks again for what is served whenever that may have changed.
    async fn follow_kinds(self: Arc<Self>, supervisor: Supervisor, mut is_complete: bool) {
        loop {
            let changed = self.kinds_changed.notified();
            if is_complete {
                changed.await;
            } else {
                _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
            }
            tokio::time::sleep(SETTLE).await;
            let served = discover(&self.client).await;
            is_complete = served.unknown.is_empty();
            self.watch_exactly(&supervisor, &served);
        }
    }

    /// Begins to watch what is new among `served`, and forgets what is no longer there.
    fn watch_exactly(self: &Arc<Self>, supervisor: &Supervisor, served: &Served) {
        let found: Vec<Watched> = deletable(served).collect();
        let names: HashSet<(String, String)> = found.iter().map(|kind| kind_of(&kind.resource)).collect();
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        {
            let mut guard = self.kinds.write();
            let kinds = &mut *guard;
            kinds.by_kind.retain(|name, index| {
                let kept = names.contains(name) || served.is_group_unknown(&name.0);
                if !kept {
                    gone.push(*index);
                }
                kept
            });
            for kind in found {
                let (name, index) = (kind_of(&kind.resource), kinds.watched.len());
                if let Entry::Vacant(entry) = kinds.by_kind.entry(name) {
                    entry.insert(index);
                    kinds.watched.push(kind);
                    new.push(index);
                }
            }
        }
        for index in gone {
            self.kinds.read().watched[index].ended.cancel();
            self.forget_all_but(index, &[]);
        }
        if !new.is_empty() {
            // Owners of these kinds may have come and gone before their kind was known.
            let doubtful = self.graph.lock().of_unknown_owners();
            doubtful.into_iter().for_each(|uid| self.queue.add(uid));
        }
        new.into_iter().for_each(|index| self.clone().watch(supervisor, index));
    }

    fn watch(self: Arc<Self>, supervisor: &Supervisor, index: usize) {
        let Watched { resource, ended, .. } = self.kinds.read().watched[index].clone();
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.client.clone(), &resource);
        let decides = DECIDING.contains(&(&*resource.group, &*resource.kind));
        supervisor.spawn("garbage collector watch", async move {
            let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
            let mut events = std::pin::pin!(events);
            let mut listed = Vec::new();
            while let Some(Some(event)) = ended.run_until_cancelled(events.next()).await {
                if decides && matches!(event, Ok(Event::Apply(_) | Event::Delete(_) | Event::InitApply(_))) {
                    self.kinds_changed.notify_one();
                }
                match event {
                    Ok(Event::Init) => listed.clear(),
                    Ok(Event::InitApply(object)) => {
                        listed.extend(object.metadata.uid.clone());
                        self.set(index, &object.metadata);
                    }
                    Ok(Event::InitDone) => self.forget_all_but(index, &listed),
                    Ok(Event::Apply(object)) => self.set(index, &object.metadata),
                    Ok(Event::Delete(object)) => self.remove(object.metadata.uid.as_deref().unwrap_or_default()),
                    Err(_) => {}
                }
            }
        });
    }

    fn set(&self, index: usize, metadata: &ObjectMeta) {
        let affected = self.graph.lock().set(index, metadata);
        affected.into_iter().for_each(|uid| self.queue.add(uid));
    }

    fn remove(&self, uid: &str) {
        let affected = self.graph.lock().remove(uid);
        affected.into_iter().for_each(|uid| self.queue.add(uid));
    }

    fn forget_all_but(&self, index: usize, listed: &[String]) {
        let known = self.graph.lock().of_resource(index);
        known.iter().filter(|uid| !listed.contains(uid)).for_each(|uid| self.remove(uid));
    }

    async fn reconcile(&self, uid: String) -> kube::Result<Outcome> {
        let Some(node) = self.graph.lock().get(&uid).cloned() else { return Ok(Outcome::Done) };
        let done = if node.orphans_dependents() {
            self.orphan(&uid, &node).await
        } else if node.waits_for_dependents() {
            self.delete_dependents(&uid, &node).await
        } else if !node.deleting && !node.owners.is_empty() {
            self.check_owners(&uid, &node).await
        } else {
            Ok(())
        };
        match done {
            // Somebody else changed the object: the watch brings it back.
            Err(error) if is_conflict(&error) => Ok(Outcome::After(Duration::from_millis(50))),
            done => done.map(|()| Outcome::Done),
        }
    }

    /// Takes the owner's reference from all dependents, then its finalizer.
    async fn orphan(&self, uid: &str, node: &Node) -> kube::Result<()> {
        let dependents = self.graph.lock().dependents(uid);
        for dependent in dependents {
            let found = self.graph.lock().get(&dependent).cloned();
            if let Some(found) = found {
                self.drop_owners(&dependent, &found, &[uid.to_owned()]).await?;
            }
        }
        self.drop_finalizer(node, ORPHAN).await
    }

    /// Foreground deletion: dependents are deleted; when none is left that blocks, the finalizer goes.
    async fn delete_dependents(&self, uid: &str, node: &Node) -> kube::Result<()> {
        let (dependents, blocking) = {
            let graph = self.graph.lock();
            (graph.dependents(uid), graph.blocking_dependents(uid))
        };
        dependents.into_iter().for_each(|dependent| self.queue.add(dependent));
        if blocking.is_empty() { self.drop_finalizer(node, FOREGROUND).await } else { Ok(()) }
    }

    /// An object all of whose owners are gone goes too; one that has others loses those that are.
    async fn check_owners(&self, uid: &str, node: &Node) -> kube::Result<()> {
        let owners = self.classify(node).await?;
        let gone: Vec<String> = owners.dangling.iter().chain(&owners.waiting).cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        if owners.solid > 0 {
            return self.drop_owners(uid, node, &gone).await;
        }
        let dependents: Vec<Node> = {
            let graph = self.graph.lock();
            graph.dependents(uid).iter().filter_map(|dependent| graph.get(dependent).cloned()).collect()
        };
        let policy = if !owners.waiting.is_empty() && !dependents.is_empty() {
            if dependents.iter().any(Node::waits_for_dependents) {
                // A circle, all of which would wait for each other.
                self.change_owners(uid, node, |owners| {
                    owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
                })
                .await?;
            }
            PropagationPolicy::Foreground
        } else if node.finalizers.iter().any(|name| name == ORPHAN) {
            PropagationPolicy::Orphan
        } else if node.finalizers.iter().any(|name| name == FOREGROUND) {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        };
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        tracing::debug!(name = node.name, namespace = node.namespace, "owner is gone, deleting");
        ignore_not_found(self.api(node.resource, &node.namespace).delete(&node.name, &params).await).map(|_| ())
    }

    async fn classify(&self, node: &Node) -> kube::Result<Owners> {
        let mut owners = Owners::default();
        for owner in &node.owners {
            let known = self.graph.lock().get(&owner.uid).cloned();
            match known {
                Some(known) if known.waits_for_dependents() && owner.block_owner_deletion == Some(true) => {
                    owners.waiting.push(owner.uid.clone());
                }
                Some(_) => owners.solid += 1,
                None if self.exists(owner, &node.namespace).await? => owners.solid += 1,
                None => owners.dangling.push(owner.uid.clone()),
            }
        }
        Ok(owners)
    }

    /// Asks the API itself: the watch of the owner's kind may be behind. An owner of a kind that
    /// the API does not serve is left alone: what it was cannot be known.
    async fn exists(&self, owner: &OwnerReference, namespace: &str) -> kube::Result<bool> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let known = self.kinds.read().by_kind.get(&(group.to_owned(), owner.kind.clone())).copied();
        let Some(index) = known else { return Ok(true) };
        match self.api(index, namespace).get_metadata(&owner.name).await {
            Ok(found) => Ok(found.metadata.uid.as_deref() == Some(&owner.uid)),
            Err(error) if is_not_found(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn drop_owners(&self, uid: &str, node: &Node, gone: &[String]) -> kube::Result<()> {
        self.change_owners(uid, node, |owners| owners.retain(|owner| !gone.contains(&owner.uid))).await
    }

    /// Changes the owners that a live object names; nothing if it is another one by now.
    async fn change_owners(
        &self,
        uid: &str,
        node: &Node,
        change: impl FnOnce(&mut Vec<OwnerReference>),
    ) -> kube::Result<()> {
        let api = self.api(node.resource, &node.namespace);
        let Some(live) = ignore_not_found(api.get_metadata(&node.name).await)? else { return Ok(()) };
        if live.metadata.uid.as_deref() != Some(uid) {
            return Ok(());
        }
        let mut owners = live.metadata.owner_references.clone().unwrap_or_default();
        change(&mut owners);
        let patch = json!({"metadata": {"resourceVersion": live.metadata.resource_version, "ownerReferences": owners}});
        ignore_not_found(api.patch_metadata(&node.name, &PatchParams::default(), &Patch::Merge(patch)).await)
            .map(|_| ())
    }

    async fn drop_finalizer(&self, node: &Node, finalizer: &str) -> kube::Result<()> {
        let api = self.api(node.resource, &node.namespace);
        let Some(live) = ignore_not_found(api.get_metadata(&node.name).await)? else { return Ok(()) };
        let mut finalizers = live.metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|name| name != finalizer);
        let patch = json!({"metadata": {"resourceVersion": live.metadata.resource_version, "finalizers": finalizers}});
        ignore_not_found(api.patch_metadata(&node.name, &PatchParams::default(), &Patch::Merge(patch)).await)
            .map(|_| ())
    }

    fn api(&self, index: usize, namespace: &str) -> Api<DynamicObject> {
        let Watched { resource, namespaced, .. } = self.kinds.read().watched[index].clone();
        if namespaced {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }
}
