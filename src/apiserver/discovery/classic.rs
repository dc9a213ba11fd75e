//! The documents of `/api`, `/apis` and the group-versions below them (`APIVersions`,
//! `APIGroupList`, `APIGroup`, `APIResourceList`).

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Document,
    catalog::{Catalog, Group},
    subresource,
};
use crate::api::{
    kind::{Descriptor, Scope},
    kinds,
};

/// Kinds that upstream stores in an older version, so that servers of its last release can read them.
const STORED_AS_BETA: [&str; 3] =
    ["CustomResourceDefinition", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"];
/// How much of a digest is told.
const HASHED_BYTES: usize = 8;

/// `/api`: versions of the core group. `address` is where clients reach the server, `host:port`.
pub fn core_versions(catalog: &Catalog<'_>, address: &str) -> Document {
    let versions: Vec<&str> =
        catalog.group("").iter().flat_map(|group| &group.versions).map(|version| version.name).collect();
    Document::new(&json!({
        "kind": "APIVersions",
        "versions": versions,
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }))
}

/// `/apis`: all named groups.
pub fn groups(catalog: &Catalog<'_>) -> Document {
    let groups: Vec<Value> = catalog.named_groups().map(group_value).collect();
    Document::new(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

/// `/apis/<group>`.
pub fn group(group: &Group<'_>) -> Document {
    let mut value = group_value(group);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Document::new(&value)
}

/// `/api/<version>` (of the group without a name) or `/apis/<group>/<version>`, of kinds of this server.
pub fn resources(group: &str, version: &str, kinds: &[&Descriptor]) -> Document {
    let list: Vec<Value> = subresource::in_order(kinds).into_iter().flat_map(resource_values).collect();
    let name = group_version(group, version);
    let mut document = json!({"kind": "APIResourceList", "groupVersion": name, "resources": list});
    // Upstream's oldest document says no more of itself.
    if !group.is_empty() {
        document["apiVersion"] = "v1".into();
    }
    Document::new(&document)
}

/// `apps/v1`, or `v1` for core.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn group_value(group: &Group<'_>) -> Value {
    let version = |name: &str| json!({"groupVersion": group_version(group.name, name), "version": name});
    let versions: Vec<Value> = group.versions.iter().map(|one| version(one.name)).collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": group.name, "versions": versions, "preferredVersion": preferred})
}

fn resource_values(kind: &Descriptor) -> Vec<Value> {
    let namespaced = kind.scope == Scope::Namespaced;
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": namespaced, "kind": kind.kind,
        "verbs": kind.verbs,
    });
    if let Some(stored) = stored_kind(kind) {
        resource["storageVersionHash"] = storage_version_hash(&stored).into();
    }
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    let subresources = subresource::listed(kind).into_iter().map(|subresource| {
        let facts = subresource::facts(kind, subresource);
        let mut value = Map::new();
        value.insert("name".into(), format!("{}/{}", kind.plural, subresource.name()).into());
        value.insert("singularName".into(), "".into());
        value.insert("namespaced".into(), namespaced.into());
        value.insert("kind".into(), facts.kind.into());
        value.insert("verbs".into(), json!(facts.verbs));
        if (facts.group, facts.version) != (&*kind.group, &*kind.version) {
            value.insert("group".into(), facts.group.into());
            value.insert("version".into(), facts.version.into());
        }
        Value::Object(value)
    });
    std::iter::once(resource).chain(subresources).collect()
}

/// Group, version and kind in which objects are stored, parted by slashes. Custom resources may be stored in any
/// version of theirs, and reviews are not stored.
fn stored_kind(kind: &Descriptor) -> Option<String> {
    if !kind.verbs.contains(&"watch") || kind.strategy.custom().is_some() {
        return None;
    }
    let (group, version) = match kinds::shared_storage(kind) {
        Some(shared) => (shared.stored.group, shared.version),
        None if STORED_AS_BETA.contains(&&*kind.kind) => (&*kind.group, "v1beta1"),
        None => (&*kind.group, &*kind.version),
    };
    Some(format!("{group}/{version}/{}", kind.kind))
}

/// By which clients see that objects are stored in another version than before.
fn storage_version_hash(stored: &str) -> String {
    BASE64_STANDARD.encode(&Sha256::digest(stored.as_bytes())[..HASHED_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    fn parsed(document: &Document) -> Value {
        serde_json::from_slice(&document.body).unwrap()
    }

    #[test]
    fn pods_are_listed_with_their_subresources() {
        let kinds = kinds::all();
        let core: Vec<&Descriptor> = kinds.iter().filter(|kind| kind.group.is_empty()).collect();
        let list = parsed(&resources("", "v1", &core));
        assert_eq!(list["groupVersion"], "v1");
        let resources = list["resources"].as_array().unwrap();
        let named = |name: &str| resources.iter().find(|resource| resource["name"] == name).unwrap();
        assert_eq!(named("pods")["shortNames"], json!(["po"]));
        assert_eq!(named("pods/status")["verbs"], json!(["get", "patch", "update"]));
        assert_eq!(named("pods/binding")["kind"], "Binding");
        assert!(named("pods/binding").get("group").is_none());
        assert_eq!(named("pods/eviction")["group"], "policy");
        assert_eq!(named("events")["storageVersionHash"], "r2yiGXH7wu8=");
        let order: Vec<&str> = resources.iter().filter_map(|resource| resource["name"].as_str()).collect();
        assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn groups_have_a_preferred_version() {
        let kinds = kinds::all();
        let catalog = Catalog::new(&kinds, &[]);
        let all = parsed(&groups(&catalog));
        let names: Vec<_> = all["groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
        assert_eq!(names[..2], [&json!("apiregistration.k8s.io"), &json!("apps")]);
        let one = parsed(&group(catalog.group("coordination.k8s.io").unwrap()));
        assert_eq!(one["preferredVersion"]["groupVersion"], "coordination.k8s.io/v1");
    }
}
