//! Aggregation (Kubernetes documentation, "API aggregation"): group versions that another server
//! serves, whose APIService names the service in front of it. Requests for them are passed on in the
//! name of their user once they are authorized; discovery and OpenAPI show what the other server has.
//!
//! [`Aggregator`] owns what is known of these servers. It follows the APIServices in the watch cache of
//! its own server; one task per APIService checks whether its server answers, and asks what it has.

pub mod availability;
pub mod discovery;
pub mod follow;
pub mod proxy;
pub mod registration;
pub mod target;
pub mod way;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    api::kind::GroupResource,
    apiserver::{
        attributes::Attributes, discovery::catalog::Remote, kinds::Kinds, openapi::remote::RemoteDocument,
        reader::Reader, registry::Registry,
    },
    base::task::Supervisor,
};

use discovery::Heard;
use target::Target;
use way::Way;

/// The resource of APIServices.
pub const API_SERVICES: GroupResource<'static> =
    GroupResource { group: "apiregistration.k8s.io", resource: "apiservices" };

/// Who serves what behind this server.
pub struct Aggregator {
    registry: Registry,
    kinds: Arc<Kinds>,
    way: Way,
    targets: ArcSwap<Targets>,
    /// By the name of their APIService.
    known: Mutex<BTreeMap<String, Known>>,
}

/// Targets by group and version.
type Targets = HashMap<(String, String), Arc<Target>>;

/// What is kept of an APIService.
#[derive(Default)]
struct Known {
    heard: Heard,
    /// Ends the task that follows it.
    ended: Option<CancellationToken>,
}

impl Aggregator {
    /// Reads the APIServices there are in the caches of `registry`, and tells `kinds`.
    pub fn new(registry: Registry, kinds: Arc<Kinds>, way: Way) -> Arc<Self> {
        let aggregator = Self { registry, kinds, way, targets: ArcSwap::default(), known: Mutex::new(BTreeMap::new()) };
        aggregator.read();
        Arc::new(aggregator)
    }

    /// Starts to follow APIServices and the servers behind them.
    pub fn start(self: &Arc<Self>, supervisor: &Supervisor) {
        supervisor.spawn("api services", self.clone().run(supervisor.clone()));
        supervisor.spawn(
            "api service registration",
            registration::run(self.registry.clone(), self.kinds.built_in().to_vec()),
        );
    }

    /// The server behind this one that a request is for.
    pub fn target(&self, attributes: &Attributes) -> Option<Arc<Target>> {
        let targets = self.targets.load();
        if targets.is_empty() {
            return None;
        }
        let group_version = if attributes.is_resource() {
            (attributes.group.clone(), attributes.version.clone())
        } else {
            group_version(&attributes.path)?
        };
        let target = targets.get(&group_version)?;
        let is_own = attributes.path.starts_with(OPENAPI) && self.converts(target);
        (!is_own).then(|| target.clone())
    }

    /// Whether this server makes the target's OpenAPI document of version 3.
    fn converts(&self, target: &Target) -> bool {
        let known = self.known.lock();
        known.get(&target.name).is_some_and(|known| show(target, known.heard.clone()).1.is_converted())
    }

    /// How servers behind this one are reached.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Takes in the APIServices as they are now.
    fn read(&self) {
        let objects = self.registry.caches().list(API_SERVICES, None);
        let targets: Targets = objects
            .iter()
            .filter_map(|object| Target::read(object))
            .map(|target| ((target.group.clone(), target.version.clone()), Arc::new(target)))
            .collect();
        self.known.lock().retain(|name, known| {
            let kept = targets.values().any(|target| target.name == *name);
            if let (false, Some(ended)) = (kept, &known.ended) {
                ended.cancel();
            }
            kept
        });
        for target in targets.values() {
            self.known.lock().entry(target.name.clone()).or_default();
        }
        self.targets.store(Arc::new(targets));
        self.publish();
    }

    /// The target of an APIService.
    fn named(&self, name: &str) -> Option<Arc<Target>> {
        self.targets.load().values().find(|target| target.name == name).cloned()
    }

    /// Shows what was heard of the servers.
    fn publish(&self) {
        let known = self.known.lock();
        let targets = self.targets.load();
        let mut ordered: Vec<&Arc<Target>> = targets.values().collect();
        ordered.sort_by(|a, b| a.name.cmp(&b.name));
        let heard = |target: &Target| known.get(&target.name).map(|known| known.heard.clone()).unwrap_or_default();
        let (remotes, documents) = ordered.into_iter().map(|target| show(target, heard(target))).unzip();
        self.kinds.aggregate(remotes, documents);
    }
}

fn show(target: &Target, heard: Heard) -> (Remote, RemoteDocument) {
    let remote = Remote {
        group: target.group.clone(),
        version: target.version.clone(),
        priority: target.priority,
        resources: heard.resources,
        is_current: heard.is_current,
    };
    let path = target.path().trim_start_matches('/').to_owned();
    (remote, RemoteDocument { path, v3: heard.v3, v2: heard.v2 })
}

/// Where documents of version 3 are.
const OPENAPI: &str = "/openapi/v3/";

/// Group and version of a path that is no resource: that of the version itself, or of its OpenAPI
/// document.
fn group_version(path: &str) -> Option<(String, String)> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let segments = segments.strip_prefix(&["openapi", "v3"]).unwrap_or(&segments);
    match segments {
        ["apis", group, version] => Some(((*group).to_owned(), (*version).to_owned())),
        ["api", version] => Some((String::new(), (*version).to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_version_lead_to_its_server() {
        let found = |path: &str| group_version(path).map(|(group, version)| format!("{group} {version}"));
        assert_eq!(found("/apis/a.b/v1").as_deref(), Some("a.b v1"));
        assert_eq!(found("/apis/a.b/v1/").as_deref(), Some("a.b v1"));
        assert_eq!(found("/openapi/v3/apis/a.b/v1").as_deref(), Some("a.b v1"));
        assert_eq!(found("/api/v1").as_deref(), Some(" v1"));
        assert!(found("/apis/a.b").is_none() && found("/healthz").is_none() && found("/").is_none());
    }
}
