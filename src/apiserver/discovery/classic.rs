//! The documents of `/api`, `/apis` and the group-versions below them (`APIVersions`,
//! `APIGroupList`, `APIGroup`, `APIResourceList`).

use serde_json::{Map, Value, json};

use super::{Document, subresource};
use crate::api::kind::{Descriptor, Scope};

/// `/api`: versions of the core group. `address` is where clients reach the server, `host:port`.
pub fn core_versions(kinds: &[Descriptor], address: &str) -> Document {
    Document::new(&json!({
        "kind": "APIVersions",
        "versions": versions(kinds, ""),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }))
}

/// `/apis`: all named groups.
pub fn groups(kinds: &[Descriptor]) -> Document {
    let groups: Vec<Value> = named_groups(kinds).into_iter().map(|name| group_value(kinds, name)).collect();
    Document::new(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

/// `/apis/<group>`; `None` if there is no such group.
pub fn group(kinds: &[Descriptor], name: &str) -> Option<Document> {
    if name.is_empty() || versions(kinds, name).is_empty() {
        return None;
    }
    let mut value = group_value(kinds, name);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(Document::new(&value))
}

/// `/api/<version>` (with an empty group) or `/apis/<group>/<version>`; `None` if there is none.
pub fn resources(kinds: &[Descriptor], group: &str, version: &str) -> Option<Document> {
    let served = kinds.iter().filter(|kind| kind.group == group && kind.version == version);
    let list: Vec<Value> = served.flat_map(resource_values).collect();
    if list.is_empty() {
        return None;
    }
    let name = group_version(group, version);
    Some(Document::new(
        &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": list}),
    ))
}

/// Named groups in the order of the kinds.
pub(crate) fn named_groups(kinds: &[Descriptor]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for kind in kinds {
        if !kind.group.is_empty() && !names.contains(&&*kind.group) {
            names.push(&kind.group);
        }
    }
    names
}

/// Versions of a group in the order of the kinds; the first is the preferred one.
pub(crate) fn versions<'k>(kinds: &'k [Descriptor], group: &str) -> Vec<&'k str> {
    let mut names: Vec<&str> = Vec::new();
    for kind in kinds {
        if kind.group == group && !names.contains(&&*kind.version) {
            names.push(&kind.version);
        }
    }
    names
}

/// `apps/v1`, or `v1` for core.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn group_value(kinds: &[Descriptor], name: &str) -> Value {
    let versions: Vec<Value> = versions(kinds, name)
        .into_iter()
        .map(|version| json!({"groupVersion": group_version(name, version), "version": version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

fn resource_values(kind: &Descriptor) -> Vec<Value> {
    let namespaced = kind.scope == Scope::Namespaced;
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": namespaced, "kind": kind.kind,
        "verbs": kind.verbs,
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    let subresources = kind.subresources.iter().map(|subresource| {
        let facts = subresource::facts(kind, *subresource);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    fn parsed(document: Option<Document>) -> Value {
        serde_json::from_slice(&document.unwrap().body).unwrap()
    }

    #[test]
    fn pods_are_listed_with_their_subresources() {
        let list = parsed(resources(&kinds::all(), "", "v1"));
        assert_eq!(list["groupVersion"], "v1");
        let resources = list["resources"].as_array().unwrap();
        let named = |name: &str| resources.iter().find(|resource| resource["name"] == name).unwrap();
        assert_eq!(named("pods")["shortNames"], json!(["po"]));
        assert_eq!(named("pods/status")["verbs"], json!(["get", "patch", "update"]));
        assert_eq!(named("pods/binding")["kind"], "Binding");
        assert!(named("pods/binding").get("group").is_none());
        assert_eq!(named("pods/eviction")["group"], "policy");
    }

    #[test]
    fn groups_have_a_preferred_version() {
        let all = parsed(Some(groups(&kinds::all())));
        let names: Vec<_> = all["groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
        assert!(names.contains(&&json!("coordination.k8s.io")));
        let one = parsed(group(&kinds::all(), "coordination.k8s.io"));
        assert_eq!(one["preferredVersion"]["groupVersion"], "coordination.k8s.io/v1");
        assert!(group(&kinds::all(), "nothing.example.com").is_none());
        assert!(resources(&kinds::all(), "", "v2").is_none());
    }
}
