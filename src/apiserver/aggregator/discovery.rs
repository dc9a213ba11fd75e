//! What a server behind this one has: asked for in the aggregated form, and else in the classic one, of
//! which the same is made (KEP-3352); and where its OpenAPI documents are.

use std::sync::Arc;

use http::{StatusCode, header};
use serde_json::{Value, json};

use super::{
    target::Target,
    way::{Wanted, Way},
};
use crate::apiserver::{
    discovery::classic::group_version,
    openapi::{Compressed, remote::V3},
};

/// The forms of aggregated discovery that are understood.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
const JSON: &str = "application/json";

/// What was heard of a group version.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// `APIResourceDiscovery` objects.
    pub resources: Vec<Value>,
    /// Whether the server was heard when it was last asked.
    pub is_current: bool,
    /// Where its OpenAPI document of version 3 is.
    pub v3: V3,
    /// Its whole OpenAPI document of version 2, if it has one.
    pub v2: Option<Arc<Compressed>>,
    /// Tag of the aggregated document that `resources` come from; empty for none.
    etag: String,
}

/// Asks for everything again, knowing what was heard `before`.
pub async fn ask(way: &Way, target: &Target, before: Heard) -> Heard {
    let (resources, etag) = match resources(way, target, &before).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(name = target.name, error, "discovery of an aggregated API failed");
            return Heard { is_current: false, ..before };
        }
    };
    let v3 = v3(way, target).await.unwrap_or(before.v3);
    let v2 = v2(way, target, before.v2).await;
    Heard { resources, is_current: true, v3, v2, etag }
}

/// What is shown of a server that does not answer: that it is there.
pub fn unheard(before: Heard) -> Heard {
    Heard { resources: Vec::new(), is_current: false, etag: String::new(), ..before }
}

async fn resources(way: &Way, target: &Target, before: &Heard) -> Result<(Vec<Value>, String), String> {
    let answer = way.get(target, Wanted { path: "/apis", accept: AGGREGATED, etag: &before.etag }).await?;
    let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    match answer.status() {
        StatusCode::NOT_MODIFIED => return Ok((before.resources.clone(), before.etag.clone())),
        StatusCode::OK if is_aggregated(&text(header::CONTENT_TYPE)) => {
            let document: Value = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
            return Ok((in_document(&document, target), text(header::ETAG)));
        }
        StatusCode::SERVICE_UNAVAILABLE => return Err("the server is unavailable".to_owned()),
        _ => {}
    }
    let path = target.path();
    let answer = way.get(target, Wanted { path: &path, accept: JSON, etag: "" }).await?;
    if answer.status() != StatusCode::OK {
        return Err(format!("failed to download legacy discovery for {path}: {}", answer.status()));
    }
    let list: Value = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
    Ok((of_classic(&list, target), String::new()))
}

fn is_aggregated(content_type: &str) -> bool {
    let mut parameters = content_type.split(';').map(str::trim);
    parameters.any(|parameter| parameter == "as=APIGroupDiscoveryList")
}

/// The resources of the target in an `APIGroupDiscoveryList`.
fn in_document(document: &Value, target: &Target) -> Vec<Value> {
    let named = |list: &Value, path: &str, name: &str| {
        let items = list.as_array().into_iter().flatten();
        items.into_iter().find(|item| item.pointer(path).is_some_and(|found| found == name)).cloned()
    };
    let group = named(&document["items"], "/metadata/name", &target.group);
    let version = group.and_then(|group| named(&group["versions"], "/version", &target.version));
    let mut resources = version.map(|mut version| version["resources"].take());
    let mut resources = resources.as_mut().and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    for resource in &mut resources {
        complete(resource);
        resource["subresources"].as_array_mut().into_iter().flatten().for_each(complete);
        if resource["subresources"].is_null()
            && let Some(fields) = resource.as_object_mut()
        {
            fields.remove("subresources");
        }
    }
    resources
}

/// Clients of some age take no resource without a kind.
fn complete(resource: &mut Value) {
    if resource.is_object() && resource["responseKind"].is_null() {
        resource["responseKind"] = json!({"group": "", "version": "", "kind": ""});
    }
}

/// An `APIResourceList` in the aggregated form.
fn of_classic(list: &Value, target: &Target) -> Vec<Value> {
    let all = list["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let split = |resource: &Value| {
        let name = resource["name"].as_str().unwrap_or_default();
        name.split_once('/').map_or((name.to_owned(), None), |(name, sub)| (name.to_owned(), Some(sub.to_owned())))
    };
    let mut resources: Vec<Value> = Vec::new();
    for resource in all {
        let (name, subresource) = split(resource);
        let at = resources.iter().position(|known| known["resource"] == *name).unwrap_or_else(|| {
            resources.push(json!({"resource": name, "scope": scope(resource), "verbs": []}));
            resources.len() - 1
        });
        let kind = response_kind(resource, target);
        let Some(subresource) = subresource else {
            let known = &mut resources[at];
            known["responseKind"] = kind;
            known["verbs"] = resource["verbs"].clone();
            for (from, to) in
                [("singularName", "singularResource"), ("shortNames", "shortNames"), ("categories", "categories")]
            {
                if !resource[from].is_null() {
                    known[to] = resource[from].clone();
                }
            }
            continue;
        };
        let entry = json!({"subresource": subresource, "responseKind": kind, "verbs": resource["verbs"]});
        match resources[at]["subresources"].as_array_mut() {
            Some(list) => list.push(entry),
            None => resources[at]["subresources"] = json!([entry]),
        }
    }
    resources.iter_mut().for_each(complete);
    resources
}

fn scope(resource: &Value) -> &'static str {
    if resource["namespaced"] == true { "Namespaced" } else { "Cluster" }
}

fn response_kind(resource: &Value, target: &Target) -> Value {
    let own = |field: &str, otherwise: &str| match resource[field].as_str() {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => otherwise.to_owned(),
    };
    json!({"group": own("group", &target.group), "version": own("version", &target.version), "kind": resource["kind"]})
}

/// Where the document of version 3 is; `None` if the server does not say.
async fn v3(way: &Way, target: &Target) -> Option<V3> {
    let answer = way.get(target, Wanted { path: "/openapi/v3", accept: JSON, etag: "" }).await.ok()?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Some(V3::Missing);
    }
    let index: Value = serde_json::from_slice(answer.body()).ok().filter(|_| answer.status() == StatusCode::OK)?;
    let prefix = if target.group.is_empty() { "api" } else { "apis" };
    let path = format!("{prefix}/{}", group_version(&target.group, &target.version));
    let url = index["paths"][path]["serverRelativeURL"].as_str().unwrap_or_default();
    // Nobody is sent elsewhere by it.
    Some(if url.starts_with("/openapi/v3/") { V3::At(url.to_owned()) } else { V3::Unknown })
}

async fn v2(way: &Way, target: &Target, before: Option<Arc<Compressed>>) -> Option<Arc<Compressed>> {
    let etag = before.as_ref().map_or("", |document| &document.etag);
    let answer = way.get(target, Wanted { path: "/openapi/v2", accept: JSON, etag }).await.ok()?;
    match answer.status() {
        StatusCode::NOT_MODIFIED => before,
        StatusCode::OK => {
            let etag = answer.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
            Some(Arc::new(Compressed::new(answer.body(), etag.to_owned())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        let spec = json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 2,
            "service": {"namespace": "n", "name": "s"}});
        Target::read(json!({"metadata": {"name": "v1.a.b"}, "spec": spec}).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_aggregated_form_is_taken_as_it_is() {
        let foos = json!({"resource": "foos", "scope": "Namespaced", "verbs": ["get"],
            "responseKind": {"group": "a.b", "version": "v1", "kind": "Foo"}});
        let document = json!({"items": [
            {"metadata": {"name": "other"}, "versions": [{"version": "v1", "resources": [{"resource": "x"}]}]},
            {"metadata": {"name": "a.b"}, "versions": [{"version": "v1", "resources": [foos, {"resource": "bars"}]}]},
        ]});
        let resources = in_document(&document, &target());
        assert_eq!(resources[0], foos);
        assert_eq!(resources[1]["responseKind"], json!({"group": "", "version": "", "kind": ""}));
        assert!(in_document(&json!({"items": []}), &target()).is_empty());
        assert!(is_aggregated("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"));
        assert!(!is_aggregated("application/json"));
    }

    #[test]
    fn the_classic_form_becomes_the_aggregated_one() {
        let list = json!({"resources": [
            {"name": "foos", "singularName": "foo", "namespaced": true, "kind": "Foo", "verbs": ["get", "list"],
             "shortNames": ["fo"]},
            {"name": "foos/scale", "singularName": "", "namespaced": true, "kind": "Scale", "group": "autoscaling",
             "version": "v1", "verbs": ["get"]},
        ]});
        assert_eq!(
            of_classic(&list, &target()),
            [json!({
                "resource": "foos", "singularResource": "foo", "scope": "Namespaced", "verbs": ["get", "list"],
                "shortNames": ["fo"], "responseKind": {"group": "a.b", "version": "v1", "kind": "Foo"},
                "subresources": [{"subresource": "scale", "verbs": ["get"],
                    "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}}],
            })]
        );
    }
}
