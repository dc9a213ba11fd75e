//! The APIServices that the server keeps by itself, one for each group version that it serves
//! (upstream's autoregister and crd-registration controllers). Those of built-in kinds are made at the
//! start (`apiserver::bootstrap`) and then left alone; those of custom resources come and go with the
//! definitions. What an operator has put in such a place, without the label, is not touched.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use crate::{
    api::{
        Status,
        custom::{DEFINITIONS, GROUP},
        kind::{Descriptor, GroupResource},
        meta,
    },
    apiserver::{
        aggregator::API_SERVICES,
        cache::ResourceCache,
        discovery::priority,
        reader::Reader,
        registry::{Registry, Warnings, delete::DeleteOptions, own, update::Endpoint},
    },
};

/// Label of APIServices that the server keeps.
pub const MANAGED_LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Value of the label: made at the start.
pub const ON_START: &str = "onstart";
/// Value of the label: kept for as long as the server runs.
pub const ALWAYS: &str = "true";

const DEFINITIONS_RESOURCE: GroupResource<'static> = GroupResource { group: GROUP, resource: DEFINITIONS };

/// What has to be done for the APIServices of custom resources.
#[derive(Debug, PartialEq)]
enum Step {
    Create(Value),
    /// Gives the object this spec.
    Update(String, Value),
    Delete(String),
}

/// The APIService of a group version that this server serves itself.
pub fn local(group: &str, version: &str, managed: &str) -> Value {
    let priority = priority::of(group, version);
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {MANAGED_LABEL: managed}},
        "spec": {
            "group": group, "version": version,
            "groupPriorityMinimum": priority.group, "versionPriority": priority.version,
        },
    })
}

/// Keeps the APIServices of custom resources for as long as the server runs. Those that were made at an
/// earlier start for what is not in `built_in` any more go first.
pub async fn run(registry: Registry, built_in: Vec<Descriptor>) {
    let (Some(definitions), Some(services)) = (cache(&registry, DEFINITIONS_RESOURCE), cache(&registry, API_SERVICES))
    else {
        return;
    };
    for name in outdated(&built_in, &read(&registry, API_SERVICES)) {
        carry_out_or_say(&registry, &services.kind(), Step::Delete(name)).await;
    }
    let (mut defined, mut registered) = (definitions.changes(), services.changes());
    loop {
        defined.mark_unchanged();
        registered.mark_unchanged();
        reconcile(&registry, &services.kind()).await;
        let changed = tokio::select! {
            changed = defined.changed() => changed,
            changed = registered.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn cache(registry: &Registry, resource: GroupResource<'_>) -> Option<Arc<ResourceCache>> {
    registry.caches().of(resource)
}

async fn reconcile(registry: &Registry, kind: &Descriptor) {
    for step in plan(&wanted(&read(registry, DEFINITIONS_RESOURCE)), &read(registry, API_SERVICES)) {
        carry_out_or_say(registry, kind, step).await;
    }
}

async fn carry_out_or_say(registry: &Registry, kind: &Descriptor, step: Step) {
    // Who was quicker caused another change, after which all is looked at again.
    if let Err(status) = carry_out(registry, kind, step).await
        && !matches!(status.code(), 404 | 409)
    {
        tracing::warn!(error = status.message, "an API service of the server itself could not be kept");
    }
}

fn read(registry: &Registry, resource: GroupResource<'_>) -> Vec<Value> {
    let objects = registry.caches().list(resource, None);
    objects.iter().filter_map(|object| serde_json::from_slice(object).ok()).collect()
}

/// Names of APIServices that an earlier start has made and this one would not.
fn outdated(built_in: &[Descriptor], found: &[Value]) -> Vec<String> {
    let is_served = |service: &Value| {
        let mut served = built_in.iter().filter(|kind| *kind.group != *priority::REGISTRATION_GROUP);
        served.any(|kind| service["spec"]["group"] == *kind.group && service["spec"]["version"] == *kind.version)
    };
    let made = found.iter().filter(|service| meta::label(service, MANAGED_LABEL) == Some(ON_START));
    made.filter(|service| !is_served(service)).map(|service| meta::name(service).to_owned()).collect()
}

/// Group versions that definitions serve.
fn wanted(definitions: &[Value]) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |definition: &Value| -> Vec<(String, String)> {
        let versions = definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
        let served = versions.filter(|version| version["served"] == true);
        served.map(|version| (text(&definition["spec"]["group"]), text(&version["name"]))).collect()
    };
    definitions.iter().flat_map(of).collect()
}

fn plan(wanted: &BTreeSet<(String, String)>, found: &[Value]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (group, version) in wanted {
        let object = local(group, version, ALWAYS);
        match found.iter().find(|found| meta::name(found) == meta::name(&object)) {
            None => steps.push(Step::Create(object)),
            Some(found) if is_kept(found) && found["spec"] != object["spec"] => {
                steps.push(Step::Update(meta::name(found).to_owned(), object["spec"].clone()));
            }
            Some(_) => {}
        }
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_wanted = |found: &Value| wanted.contains(&(text(&found["spec"]["group"]), text(&found["spec"]["version"])));
    let spurious = found.iter().filter(|found| is_kept(found) && !is_wanted(found));
    steps.extend(spurious.map(|found| Step::Delete(meta::name(found).to_owned())));
    steps
}

fn is_kept(service: &Value) -> bool {
    meta::label(service, MANAGED_LABEL) == Some(ALWAYS)
}

async fn carry_out(registry: &Registry, kind: &Descriptor, step: Step) -> Result<(), Status> {
    let warnings = Warnings::default();
    match step {
        Step::Create(object) => {
            let attributes = own::attributes(kind, "", "");
            registry.create(&own::call(&attributes, kind, &warnings), object).await.map(drop)
        }
        Step::Update(name, spec) => {
            let attributes = own::attributes(kind, "", &name);
            let write = |current: &Value| {
                let mut object = current.clone();
                object["spec"] = spec.clone();
                Ok(object)
            };
            registry.modify(&own::call(&attributes, kind, &warnings), Endpoint::Main, write).await.map(drop)
        }
        Step::Delete(name) => {
            let attributes = own::attributes(kind, "", &name);
            registry.delete(&own::call(&attributes, kind, &warnings), &DeleteOptions::default()).await.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(group: &str, versions: &[(&str, bool)]) -> Value {
        let versions: Vec<Value> =
            versions.iter().map(|(name, served)| json!({"name": name, "served": served})).collect();
        json!({"spec": {"group": group, "versions": versions}})
    }

    #[test]
    fn served_versions_of_definitions_are_registered() {
        let definitions = [definition("a.b", &[("v1", true), ("v1beta1", false)]), definition("a.b", &[("v1", true)])];
        let wanted = wanted(&definitions);
        assert_eq!(plan(&wanted, &[]), [Step::Create(local("a.b", "v1", ALWAYS))]);
        assert_eq!(local("a.b", "v1", ALWAYS)["spec"]["groupPriorityMinimum"], 1000);
        assert_eq!(plan(&wanted, &[local("a.b", "v1", ALWAYS)]), []);
    }

    #[test]
    fn what_is_no_longer_served_goes_and_what_others_made_stays() {
        let mut changed = local("a.b", "v1", ALWAYS);
        changed["spec"]["groupPriorityMinimum"] = 7.into();
        let steps =
            plan(&wanted(&[definition("a.b", &[("v1", true)])]), &[changed.clone(), local("c.d", "v1", ALWAYS)]);
        let update = Step::Update("v1.a.b".into(), local("a.b", "v1", ALWAYS)["spec"].clone());
        assert_eq!(steps, [update, Step::Delete("v1.c.d".into())]);
        changed["metadata"]["labels"] = json!({});
        let steps = plan(&wanted(&[definition("a.b", &[("v1", true)])]), &[changed, local("apps", "v1", ON_START)]);
        assert_eq!(steps, []);
    }

    #[test]
    fn what_an_earlier_start_made_for_nothing_goes() {
        let kinds = crate::api::kinds::all();
        let found = ["apps", "apiregistration.k8s.io", "extensions"].map(|group| local(group, "v1", ON_START));
        assert_eq!(outdated(&kinds, &found), ["v1.apiregistration.k8s.io", "v1.extensions"]);
    }
}
