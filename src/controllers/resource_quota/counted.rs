//! Kinds of which quotas count the objects and nothing else. They are found by discovery under the
//! names that quotas use, and watched by their metadata from then on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    api::{kind::GroupResource, quota::usage},
    base::task::Supervisor,
    client::{ObjectKey, discovery::Served},
    controllers::resource_quota::plan::Existing,
};

/// Kinds that are measured rather than counted, by those who have them whole.
const MEASURED: [&str; 3] = ["pods", "services", "persistentvolumeclaims"];
/// Core kinds with a name of their own.
const BARE: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// How long an unknown kind is not looked for again.
const PAUSE: Duration = Duration::from_secs(30);

/// Group and plural.
type Name = (String, String);

/// What is watched, and what it shows.
pub struct Counted {
    client: Client,
    supervisor: Supervisor,
    watched: Arc<Mutex<BTreeMap<Name, BTreeSet<ObjectKey>>>>,
    /// When discovery was last asked about a kind that was not watched.
    looked: Mutex<Option<Instant>>,
}

impl Counted {
    /// Watches through `client`; nothing yet.
    pub fn new(client: Client, supervisor: Supervisor) -> Self {
        Self { client, supervisor, watched: Arc::default(), looked: Mutex::default() }
    }

    /// Watches what `names` are about and is not watched yet. `nudge` is told the namespace of
    /// whatever comes and goes.
    pub async fn watch(&self, names: &[String], nudge: impl Fn(&str) + Clone + Send + Sync + 'static) {
        let wanted: Vec<Name> = {
            let watched = self.watched.lock();
            names.iter().filter_map(|name| counted_kind(name)).filter(|kind| !watched.contains_key(kind)).collect()
        };
        if wanted.is_empty() || !self.may_look() {
            return;
        }
        let Ok(served) = Served::discover(&self.client).await else { return };
        for kind in wanted {
            if let Some(resource) = find(&served, &kind)
                && self.watched.lock().insert(kind.clone(), BTreeSet::new()).is_none()
            {
                self.follow(kind, &resource, nudge.clone());
            }
        }
    }

    fn may_look(&self) -> bool {
        let mut looked = self.looked.lock();
        let may = looked.is_none_or(|looked| looked.elapsed() >= PAUSE);
        if may {
            *looked = Some(Instant::now());
        }
        may
    }

    /// What there is in `namespace` of the counted kinds that `names` are about.
    pub fn existing(&self, namespace: &str, names: &[String]) -> Vec<Existing> {
        let watched = self.watched.lock();
        let mut existing = Vec::new();
        for ((group, resource), keys) in &*watched {
            let resource = GroupResource { group, resource };
            if names.iter().any(|name| usage::tracks(resource, name)) {
                let inside = keys.iter().filter(|key| key.namespace == namespace);
                existing.extend(inside.map(|_| Existing::new(resource, &Value::Null)));
            }
        }
        existing
    }

    fn follow(&self, kind: Name, resource: &ApiResource, nudge: impl Fn(&str) + Send + Sync + 'static) {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.client.clone(), resource);
        let watched = self.watched.clone();
        self.supervisor.spawn("resource quota watch", async move {
            let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
            let mut events = std::pin::pin!(events);
            let mut listed = BTreeSet::new();
            while let Some(event) = events.next().await {
                let changed = take_in(watched.lock().entry(kind.clone()).or_default(), &mut listed, event);
                changed.iter().for_each(|namespace| nudge(namespace));
            }
        });
    }
}

/// Takes in one event of a watch; gives the namespaces in which something came or went.
fn take_in(
    keys: &mut BTreeSet<ObjectKey>,
    listed: &mut BTreeSet<ObjectKey>,
    event: watcher::Result<Event<PartialObjectMeta<DynamicObject>>>,
) -> BTreeSet<String> {
    let key = |object: &PartialObjectMeta<DynamicObject>| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        ObjectKey::new(text(&object.metadata.namespace), text(&object.metadata.name))
    };
    match event {
        Ok(Event::Init) => listed.clear(),
        Ok(Event::InitApply(object)) => {
            listed.insert(key(&object));
        }
        Ok(Event::InitDone) => {
            let before = std::mem::replace(keys, std::mem::take(listed));
            return before.symmetric_difference(keys).map(|key| key.namespace.clone()).collect();
        }
        Ok(Event::Apply(object)) => {
            let key = key(&object);
            let namespace = key.namespace.clone();
            return keys.insert(key).then_some(namespace).into_iter().collect();
        }
        Ok(Event::Delete(object)) => {
            let key = key(&object);
            return keys.remove(&key).then_some(key.namespace).into_iter().collect();
        }
        Err(_) => {}
    }
    BTreeSet::new()
}

/// The kind that a quota's name counts the objects of; `None` if they are measured, or it is no count.
fn counted_kind(name: &str) -> Option<Name> {
    let (resource, group) = match name.strip_prefix("count/") {
        Some(counted) => counted.split_once('.').unwrap_or((counted, "")),
        None => BARE.contains(&name).then_some((name, ""))?,
    };
    let measured = group.is_empty() && MEASURED.contains(&resource);
    (!measured).then(|| (group.to_owned(), resource.to_owned()))
}

fn find(served: &Served, (group, plural): &Name) -> Option<ApiResource> {
    let is_wanted = |resource: &ApiResource| resource.group == *group && resource.plural == *plural;
    let found = served.resources.iter().find(|one| is_wanted(&one.resource))?;
    (found.supports(&["list", "watch"]) && found.is_namespaced).then(|| found.resource.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kinds_that_are_only_counted() {
        let kind = |group: &str, resource: &str| Some((group.to_owned(), resource.to_owned()));
        assert_eq!(counted_kind("count/deployments.apps"), kind("apps", "deployments"));
        assert_eq!(counted_kind("count/widgets.example.com"), kind("example.com", "widgets"));
        assert_eq!(counted_kind("secrets"), kind("", "secrets"));
        assert_eq!(counted_kind("count/pods"), None);
        assert_eq!(counted_kind("requests.cpu"), None);
    }

    #[test]
    fn coming_and_going_tells_the_namespace() {
        let object = |name: &str| {
            let object = serde_json::json!({"metadata": {"namespace": "a", "name": name}});
            serde_json::from_value::<PartialObjectMeta<DynamicObject>>(object).unwrap()
        };
        let (mut keys, mut listed) = (BTreeSet::new(), BTreeSet::new());
        let mut changed = |event| take_in(&mut keys, &mut listed, Ok(event)).len();
        assert_eq!(changed(Event::Apply(object("x"))), 1);
        assert_eq!(changed(Event::Apply(object("x"))), 0);
        assert_eq!(changed(Event::Delete(object("x"))), 1);
        assert_eq!(changed(Event::Init) + changed(Event::InitApply(object("y"))), 0);
        assert_eq!(changed(Event::InitDone), 1);
    }
}
