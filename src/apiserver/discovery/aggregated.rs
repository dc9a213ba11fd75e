//! The aggregated discovery document (`apidiscovery.k8s.io/v2`, KEP-3352): everything in one
//! answer each for `/api` and `/apis`.

use serde_json::{Value, json};

use super::{
    Document,
    catalog::{Catalog, Group, Source, Version},
    subresource,
};
use crate::api::kind::{Descriptor, Scope};

/// The `Content-Type` of the answer.
pub const CONTENT_TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Whether an `Accept` header prefers the aggregated form over the classic ones.
pub fn is_preferred(accept: &str) -> bool {
    for media_type in accept.split(',') {
        let mut parts = media_type.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.collect();
        let has = |wanted: &str| parameters.contains(&wanted);
        if has("g=apidiscovery.k8s.io") {
            if kind == "application/json" && has("v=v2") && has("as=APIGroupDiscoveryList") {
                return true;
            }
        } else if matches!(kind, "application/json" | "application/*" | "*/*") {
            return false;
        }
    }
    false
}

/// `/api` in aggregated form: the core group.
pub fn core(catalog: &Catalog<'_>) -> Document {
    list(catalog.group("").map(group).into_iter().collect())
}

/// `/apis` in aggregated form: all named groups.
pub fn groups(catalog: &Catalog<'_>) -> Document {
    list(catalog.named_groups().map(group).collect())
}

fn list(items: Vec<Value>) -> Document {
    Document::new(&json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    }))
}

fn group(group: &Group<'_>) -> Value {
    let mut metadata = json!({});
    if !group.name.is_empty() {
        metadata["name"] = group.name.into();
    }
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    json!({"metadata": metadata, "versions": versions})
}

fn version(version: &Version<'_>) -> Value {
    let (resources, is_current) = match &version.source {
        Source::Local(kinds) => (subresource::in_order(kinds).into_iter().map(resource).collect(), true),
        Source::Remote(remote) => (remote.resources.clone(), remote.is_current),
    };
    let mut value = json!({"version": version.name, "freshness": if is_current { "Current" } else { "Stale" }});
    if !resources.is_empty() {
        value["resources"] = resources.into();
    }
    value
}

fn resource(kind: &Descriptor) -> Value {
    let scope = if kind.scope == Scope::Namespaced { "Namespaced" } else { "Cluster" };
    let mut value = json!({
        "resource": kind.plural, "singularResource": kind.singular, "scope": scope, "verbs": kind.verbs,
        "responseKind": response_kind(kind, (&kind.group, &kind.version, &kind.kind)),
    });
    if !kind.short_names.is_empty() {
        value["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        value["categories"] = json!(kind.categories);
    }
    let subresources: Vec<Value> =
        subresource::listed(kind).into_iter().map(|name| subresource_value(kind, name)).collect();
    if !subresources.is_empty() {
        value["subresources"] = subresources.into();
    }
    value
}

fn subresource_value(kind: &Descriptor, name: crate::api::kind::Subresource) -> Value {
    let facts = subresource::facts(kind, name);
    json!({
        "subresource": name.name(), "verbs": facts.verbs,
        "responseKind": response_kind(kind, (facts.group, facts.version, facts.kind)),
    })
}

/// What a request is answered with. Of built-in kinds, group and version are said where they are not the resource's.
fn response_kind(resource: &Descriptor, (group, version, kind): (&str, &str, &str)) -> Value {
    let is_own = (group, version) == (&*resource.group, &*resource.version);
    let (group, version) = if is_own && resource.strategy.custom().is_none() { ("", "") } else { (group, version) };
    json!({"group": group, "version": version, "kind": kind})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

    #[test]
    fn kubectl_gets_the_aggregated_form() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                       application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert!(is_preferred(kubectl));
        assert!(!is_preferred("application/json"));
        assert!(!is_preferred("application/json,application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"));
        assert!(!is_preferred("*/*") && !is_preferred(""));
    }

    #[test]
    fn all_groups_are_in_one_document() {
        let kinds = kinds::all();
        let catalog = Catalog::new(&kinds, &[]);
        let document: Value = serde_json::from_slice(&groups(&catalog).body).unwrap();
        let lease = &document["items"][0]["versions"][0]["resources"][0];
        assert!(lease["responseKind"]["kind"].is_string());
        let document: Value = serde_json::from_slice(&core(&catalog).body).unwrap();
        assert!(document["items"][0]["metadata"].get("name").is_none());
        assert_eq!(document["items"][0]["versions"][0]["version"], "v1");
    }
}
