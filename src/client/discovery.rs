//! What the API serves, as controllers ask for it: every resource once, in its preferred version, and
//! which group versions could not be asked. One that is served behind the API server and does not answer
//! keeps nobody from seeing the others.

use kube::{
    Client, Result,
    api::{ApiResource, GroupVersionKind},
    core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery},
};

/// What is said of a group version whose server did not answer.
const STALE: &str = "Stale";

/// What the API serves.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// Resources.
    pub resources: Vec<Resource>,
    /// Group versions whose resources are not known, such as `metrics.k8s.io/v1beta1`.
    pub unknown: Vec<String>,
}

/// A resource.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its names.
    pub resource: ApiResource,
    /// Whether objects live in namespaces.
    pub is_namespaced: bool,
    verbs: Vec<String>,
}

impl Resource {
    /// Whether all of `verbs` are served.
    pub fn supports(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|wanted| self.verbs.iter().any(|verb| verb == wanted))
    }
}

impl Served {
    /// Asks the API.
    pub async fn discover(client: &Client) -> Result<Self> {
        let core = client.list_core_api_versions_aggregated().await?.items;
        let named = client.list_api_groups_aggregated().await?.items;
        Ok(Self::of(core.into_iter().chain(named)))
    }

    fn of(groups: impl Iterator<Item = APIGroupDiscovery>) -> Self {
        let mut served = Self::default();
        for group in groups {
            let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
            let first = served.resources.len();
            // The preferred version comes first.
            for version in group.versions {
                let version_name = version.version.unwrap_or_default();
                if version.freshness.as_deref() == Some(STALE) {
                    let prefix = if name.is_empty() { String::new() } else { format!("{name}/") };
                    served.unknown.push(format!("{prefix}{version_name}"));
                }
                for resource in version.resources.into_iter().filter_map(|one| read(&name, &version_name, one)) {
                    let is_known = |known: &Resource| known.resource.plural == resource.resource.plural;
                    if !served.resources[first..].iter().any(is_known) {
                        served.resources.push(resource);
                    }
                }
            }
        }
        served
    }

    /// Whether resources of `group` may be missing.
    pub fn is_group_unknown(&self, group: &str) -> bool {
        self.unknown.iter().any(|one| one.rsplit_once('/').map_or("", |(group, _)| group) == group)
    }
}

fn read(group: &str, version: &str, resource: APIResourceDiscovery) -> Option<Resource> {
    let kind = resource.response_kind.and_then(|kind| kind.kind).unwrap_or_default();
    let names = GroupVersionKind::gvk(group, version, &kind);
    Some(Resource {
        resource: ApiResource::from_gvk_with_plural(&names, &resource.resource?),
        is_namespaced: resource.scope.as_deref() == Some("Namespaced"),
        verbs: resource.verbs,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_resource_is_there_once_and_what_does_not_answer_is_named() {
        let resource = |name: &str, scope: &str| json!({"resource": name, "scope": scope, "verbs": ["list"], "responseKind": {"kind": name}});
        let group = json!({"metadata": {"name": "a.b"}, "versions": [
            {"version": "v1", "resources": [resource("foos", "Namespaced")]},
            {"version": "v1beta1", "resources": [resource("foos", "Namespaced"), resource("bars", "Cluster")]},
        ]});
        let stale = json!({"metadata": {"name": "c.d"}, "versions": [{"version": "v1", "freshness": "Stale"}]});
        let groups = [group, stale].map(|group| serde_json::from_value(group).unwrap());
        let served = Served::of(groups.into_iter());
        let found: Vec<String> = served
            .resources
            .iter()
            .map(|one| format!("{} {} {}", one.resource.api_version, one.resource.plural, one.is_namespaced))
            .collect();
        assert_eq!(found, ["a.b/v1 foos true", "a.b/v1beta1 bars false"]);
        assert!(served.resources[0].supports(&["list"]) && !served.resources[0].supports(&["list", "delete"]));
        assert_eq!(served.unknown, ["c.d/v1"]);
        assert!(served.is_group_unknown("c.d") && !served.is_group_unknown("a.b"));
    }
}
