//! ConfigMaps and Secrets that pods of this node use. Each is watched on its own, for as long as
//! some pod refers to it: the node authorizer allows no more, and a node has no business knowing
//! the cluster's other secrets.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use futures_util::{StreamExt, pin_mut};
use k8s_openapi::{
    ByteString, NamespaceResourceScope,
    api::core::v1::{ConfigMap, Container, Pod, Secret, Volume},
};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    base::task::Supervisor,
    kubelet::{record::all_containers, wake::Wake},
};

/// Kinds of objects that pods refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `configmap`
    ConfigMap,
    /// `secret`
    Secret,
}

impl Kind {
    /// The kind as upstream's messages spell it.
    pub const fn lower(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

/// Names an object in a pod's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl Reference {
    /// A ConfigMap.
    pub fn config_map(name: impl Into<String>) -> Self {
        Self { kind: Kind::ConfigMap, name: name.into() }
    }

    /// A Secret.
    pub fn secret(name: impl Into<String>) -> Self {
        Self { kind: Kind::Secret, name: name.into() }
    }
}

/// What a pod needs of a ConfigMap or Secret.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Values by key.
    pub data: BTreeMap<String, ByteString>,
    /// A Secret's type.
    #[serde(default)]
    pub kind: String,
}

impl From<ConfigMap> for Object {
    fn from(object: ConfigMap) -> Self {
        let text = object.data.into_iter().flatten().map(|(key, value)| (key, ByteString(value.into_bytes())));
        Self { data: text.chain(object.binary_data.into_iter().flatten()).collect(), kind: String::new() }
    }
}

impl From<Secret> for Object {
    fn from(object: Secret) -> Self {
        Self { data: object.data.unwrap_or_default(), kind: object.type_.unwrap_or_default() }
    }
}

/// The objects of one pod as they are now; `None` for those that do not exist.
pub type Snapshot = BTreeMap<Reference, Option<Arc<Object>>>;

/// An object that cannot be had, as when the server is away and it was never fetched before.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to get {} {namespace}/{}: {message}", reference.kind.lower(), reference.name)]
pub struct Error {
    /// What was wanted.
    pub reference: Reference,
    /// The pod's namespace.
    pub namespace: String,
    /// Why it could not be had.
    pub message: String,
}

#[derive(Clone)]
enum State {
    Unknown,
    Known(Option<Arc<Object>>),
    Failed(String),
}

struct Watched {
    state: watch::Receiver<State>,
    users: Arc<Mutex<HashMap<String, Wake>>>,
    cancel: CancellationToken,
}

type Key = (String, Reference);

/// The objects in use on this node.
pub struct Objects {
    client: Client,
    supervisor: Supervisor,
    watched: Mutex<HashMap<Key, Watched>>,
}

impl Objects {
    /// Nothing is watched yet.
    pub fn new(client: Client, supervisor: Supervisor) -> Self {
        Self { client, supervisor, watched: Mutex::new(HashMap::new()) }
    }

    /// Makes the pod `uid` a user of exactly these objects; it is woken when one changes.
    pub fn subscribe(&self, uid: &str, namespace: &str, references: &BTreeSet<Reference>, wake: &Wake) {
        let mut watched = self.watched.lock();
        watched.retain(|(at, reference), entry| {
            if at == namespace && !references.contains(reference) {
                entry.users.lock().remove(uid);
            }
            entry.keep()
        });
        for reference in references {
            let key = (namespace.to_owned(), reference.clone());
            let entry = watched.entry(key).or_insert_with(|| self.start(namespace, reference));
            entry.users.lock().insert(uid.to_owned(), wake.clone());
        }
    }

    /// The pod is gone.
    pub fn unsubscribe(&self, uid: &str) {
        self.watched.lock().retain(|_, entry| {
            entry.users.lock().remove(uid);
            entry.keep()
        });
    }

    /// An object's state, as soon as it is known. Only for objects that were subscribed to.
    pub async fn get(&self, namespace: &str, reference: &Reference) -> Result<Option<Arc<Object>>, Error> {
        let failed = |message: String| Error { reference: reference.clone(), namespace: namespace.to_owned(), message };
        let key = (namespace.to_owned(), reference.clone());
        let state = self.watched.lock().get(&key).map(|entry| entry.state.clone());
        let mut state = state.ok_or_else(|| failed("not subscribed to".into()))?;
        let known = state.wait_for(|state| !matches!(state, State::Unknown)).await;
        match known.map(|state| state.clone()) {
            Ok(State::Known(object)) => Ok(object),
            Ok(State::Failed(message)) => Err(failed(message)),
            Ok(State::Unknown) | Err(_) => Err(failed("the watch has ended".into())),
        }
    }

    fn start(&self, namespace: &str, reference: &Reference) -> Watched {
        let (sender, state) = watch::channel(State::Unknown);
        let users: Arc<Mutex<HashMap<String, Wake>>> = Arc::default();
        let cancel = CancellationToken::new();
        let feed = Feed { name: reference.name.clone(), sender, users: users.clone() };
        let (client, ended) = (self.client.clone(), cancel.clone());
        match reference.kind {
            Kind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(client, namespace);
                self.supervisor.spawn("configmap watch", async move {
                    ended.run_until_cancelled(feed.run(api)).await;
                });
            }
            Kind::Secret => {
                let api: Api<Secret> = Api::namespaced(client, namespace);
                self.supervisor.spawn("secret watch", async move {
                    ended.run_until_cancelled(feed.run(api)).await;
                });
            }
        }
        Watched { state, users, cancel }
    }
}

impl Watched {
    /// Whether anybody still uses it; ends the watch if not.
    fn keep(&self) -> bool {
        let used = !self.users.lock().is_empty();
        if !used {
            self.cancel.cancel();
        }
        used
    }
}

struct Feed {
    name: String,
    sender: watch::Sender<State>,
    users: Arc<Mutex<HashMap<String, Wake>>>,
}

impl Feed {
    async fn run<K>(self, api: Api<K>)
    where
        K: kube::Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
        Object: From<K>,
    {
        let events = watcher::watch_object(api, &self.name).default_backoff();
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(object) => self.set(object.map(|object| Arc::new(Object::from(object)))),
                Err(error) => self.fail(&error),
            }
        }
    }

    fn set(&self, object: Option<Arc<Object>>) {
        let changed = self.sender.send_if_modified(|state| {
            let changed = !matches!(state, State::Known(known) if *known == object);
            *state = State::Known(object);
            changed
        });
        if changed {
            self.users.lock().values().for_each(Wake::objects_changed);
        }
    }

    /// What is known stays known while the server is away.
    fn fail(&self, error: &watcher::Error) {
        self.sender.send_if_modified(|state| {
            let fails = !matches!(state, State::Known(_));
            if fails {
                *state = State::Failed(crate::base::log::chain(error));
            }
            fails
        });
    }
}

/// Every ConfigMap and Secret that a pod refers to.
pub fn references(pod: &Pod) -> BTreeSet<Reference> {
    let mut references = BTreeSet::new();
    let Some(spec) = &pod.spec else { return references };
    let pull = spec.image_pull_secrets.iter().flatten();
    references.extend(pull.filter(|secret| !secret.name.is_empty()).map(|secret| Reference::secret(&secret.name)));
    spec.volumes.iter().flatten().for_each(|volume| of_volume(volume, &mut references));
    all_containers(spec).for_each(|container| of_environment(&container, &mut references));
    references
}

fn of_volume(volume: &Volume, references: &mut BTreeSet<Reference>) {
    references.extend(volume.config_map.iter().map(|source| Reference::config_map(&source.name)));
    references.extend(volume.secret.iter().filter_map(|source| source.secret_name.as_ref()).map(Reference::secret));
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        references.extend(source.config_map.iter().map(|source| Reference::config_map(&source.name)));
        references.extend(source.secret.iter().map(|source| Reference::secret(&source.name)));
    }
}

fn of_environment(container: &Container, references: &mut BTreeSet<Reference>) {
    for source in container.env_from.iter().flatten() {
        references.extend(source.config_map_ref.iter().map(|source| Reference::config_map(&source.name)));
        references.extend(source.secret_ref.iter().map(|source| Reference::secret(&source.name)));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        references.extend(source.config_map_key_ref.iter().map(|source| Reference::config_map(&source.name)));
        references.extend(source.secret_key_ref.iter().map(|source| Reference::secret(&source.name)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_every_reference_once() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "a", "configMap": {"name": "cm"}},
                {"name": "b", "secret": {"secretName": "s"}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "root"}}, {"secret": {"name": "s"}}]}}],
            "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "env"}}]}],
            "containers": [{"name": "x", "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]}]}}))
        .unwrap();
        let names: Vec<_> = references(&pod).into_iter().map(|r| format!("{}/{}", r.kind.lower(), r.name)).collect();
        assert_eq!(names, ["configmap/cm", "configmap/root", "secret/env", "secret/pull", "secret/s"]);
    }
}
