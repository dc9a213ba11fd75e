//! Custom resources: from a CustomResourceDefinition to kinds that are served like built-in ones.
//! [`structural`] is what a definition's schema is parsed into; [`prune`], [`defaults`], [`validate`] and
//! [`rules`] go by it; [`kind`] is the strategy made of them.

pub mod correlate;
pub mod defaults;
pub mod formats;
pub mod json_path;
pub mod kind;
pub mod openapi;
pub mod prune;
pub mod rules;
pub mod schema;
pub mod structural;
pub mod validate;
pub mod version;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionSpec,
    CustomResourceDefinitionVersion, WebhookConversion,
};
use serde_json::Value;

use crate::api::kind::{Descriptor, Name, STORED, Scope, Subresource};

pub use kind::CustomKind;

use json_path::JsonPath;
use kind::{PrinterColumn, ScalePaths, SelectableField};
use structural::Structural;

/// The group of definitions.
pub const GROUP: &str = "apiextensions.k8s.io";
/// The resource of definitions.
pub const DEFINITIONS: &str = "customresourcedefinitions";
/// Keeps a definition until its objects are deleted.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Verbs of a kind whose definition is being deleted: nothing new comes.
const ENDING: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The kinds that a stored definition serves, under the names that were accepted, preferred version
/// first. Empty for what is no definition.
pub fn kinds(definition: &Bytes) -> Vec<Descriptor> {
    let Ok(parsed) = serde_json::from_slice::<CustomResourceDefinition>(definition) else { return Vec::new() };
    let schemas = structurals(&serde_json::from_slice(definition).unwrap_or_default());
    let accepted = parsed.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    let names = accepted.filter(|names| !names.plural.is_empty()).unwrap_or(&parsed.spec.names);
    let versions = parsed.spec.versions.iter().enumerate().filter(|(_, version)| version.served);
    let mut kinds: Vec<Descriptor> = versions
        .map(|(index, version)| {
            let kind = custom_kind(&parsed, &schemas, version, (definition.clone(), index));
            descriptor(&parsed.spec.group, &version.name, names, kind)
        })
        .collect();
    kinds.sort_by(|a, b| version::compare(&a.version, &b.version));
    kinds
}

/// The order in which kinds are listed: by group, preferred version first.
pub fn preference(a: &Descriptor, b: &Descriptor) -> std::cmp::Ordering {
    let versions = || version::compare(&a.version, &b.version);
    a.group.cmp(&b.group).then_with(versions).then_with(|| a.plural.cmp(&b.plural))
}

fn descriptor(group: &str, version: &str, names: &CustomResourceDefinitionNames, kind: CustomKind) -> Descriptor {
    let list = |names: &Option<Vec<String>>| names.iter().flatten().cloned().map(Name::from).collect();
    let singular = names.singular.clone().unwrap_or_else(|| names.kind.to_lowercase());
    Descriptor {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        kind: names.kind.clone().into(),
        plural: names.plural.clone().into(),
        singular: singular.into(),
        short_names: list(&names.short_names),
        categories: list(&names.categories),
        scope: kind.scope,
        verbs: if kind.ending { ENDING } else { STORED },
        subresources: match (kind.has_status, kind.scale.is_some()) {
            (false, false) => &[],
            (true, false) => &[Subresource::Status],
            (false, true) => &[Subresource::Scale],
            (true, true) => &[Subresource::Status, Subresource::Scale],
        },
        strategy: Arc::new(kind),
    }
}

/// The schemas of all versions. A version without one may have anything.
fn structurals(definition: &Value) -> Vec<Arc<Structural>> {
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let read = |version: &Value| match version.pointer("/schema/openAPIV3Schema") {
        Some(schema) => Structural::read(schema),
        None => Structural { preserves_unknown: true, ..Structural::default() },
    };
    versions.map(|version| Arc::new(read(version))).collect()
}

fn custom_kind(
    definition: &CustomResourceDefinition,
    schemas: &[Arc<Structural>],
    version: &CustomResourceDefinitionVersion,
    source: (Bytes, usize),
) -> CustomKind {
    let spec = &definition.spec;
    let stored = spec.versions.iter().find(|version| version.storage).unwrap_or(version);
    let served = spec.versions.iter().filter(|version| version.served);
    let stored_at = spec.versions.iter().position(|version| version.storage).unwrap_or(source.1);
    let subresources = version.subresources.as_ref();
    let metadata = &definition.metadata;
    let (uid, generation) = (metadata.uid.as_deref(), metadata.generation);
    CustomKind {
        api_version: format!("{}/{}", spec.group, version.name).into(),
        stored_version: format!("{}/{}", spec.group, stored.name).into(),
        conversion: webhook(spec).map(Arc::new),
        versions: served.map(|version| version.name.as_str().into()).collect(),
        kind: spec.names.kind.as_str().into(),
        scope: if spec.scope == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        structural: schemas[source.1].clone(),
        stored_structural: schemas[stored_at].clone(),
        revision: metadata.resource_version.as_deref().and_then(|revision| revision.parse().ok()).unwrap_or_default(),
        has_status: subresources.is_some_and(|all| all.status.is_some()),
        scale: subresources.and_then(|all| scale(all.scale.as_ref()?)),
        columns: columns(version),
        selectable: selectable(version),
        deprecation: deprecation(spec, version),
        source,
        ending: definition.metadata.deletion_timestamp.is_some(),
        tag: format!("{} {}", uid.unwrap_or_default(), generation.unwrap_or_default()).into(),
        decoding: OnceLock::new(),
        merging: OnceLock::new(),
        rules: OnceLock::new(),
    }
}

fn webhook(spec: &CustomResourceDefinitionSpec) -> Option<WebhookConversion> {
    let conversion = spec.conversion.as_ref().filter(|conversion| conversion.strategy == "Webhook")?;
    conversion.webhook.clone()
}

fn scale(
    paths: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceSubresourceScale,
) -> Option<ScalePaths> {
    Some(ScalePaths {
        spec_replicas: JsonPath::parse(&paths.spec_replicas_path)?,
        spec_replicas_text: paths.spec_replicas_path.as_str().into(),
        status_replicas: JsonPath::parse(&paths.status_replicas_path)?,
        label_selector: paths.label_selector_path.as_deref().and_then(JsonPath::parse),
    })
}

fn columns(version: &CustomResourceDefinitionVersion) -> Box<[PrinterColumn]> {
    let declared = version.additional_printer_columns.as_deref().unwrap_or_default();
    if declared.is_empty() {
        return kind::default_columns();
    }
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
    declared
        .iter()
        .map(|column| PrinterColumn {
            name: column.name.as_str().into(),
            kind: column.type_.as_str().into(),
            format: text(&column.format),
            description: text(&column.description),
            priority: column.priority.unwrap_or_default(),
            path: JsonPath::parse(&column.json_path),
        })
        .collect()
}

fn selectable(version: &CustomResourceDefinitionVersion) -> Box<[SelectableField]> {
    let declared = version.selectable_fields.iter().flatten();
    let field =
        |path: &str| Some(SelectableField { name: path.trim_start_matches('.').into(), path: JsonPath::parse(path)? });
    declared.filter_map(|declared| field(&declared.json_path)).collect()
}

/// The definition's own words, or which version to use instead.
fn deprecation(spec: &CustomResourceDefinitionSpec, version: &CustomResourceDefinitionVersion) -> Option<Box<str>> {
    if !version.deprecated.unwrap_or_default() {
        return None;
    }
    if let Some(warning) = &version.deprecation_warning {
        return Some(warning.as_str().into());
    }
    let (group, kind) = (&spec.group, &spec.names.kind);
    let newer = spec.versions.iter().filter(|other| {
        let newer = version::compare(&other.name, &version.name).is_lt();
        other.served && !other.deprecated.unwrap_or_default() && newer
    });
    let best = newer.min_by(|a, b| version::compare(&a.name, &b.name));
    let instead = best.map(|best| format!("; use {group}/{} {kind}", best.name)).unwrap_or_default();
    Some(format!("{group}/{} {kind} is deprecated{instead}", version.name).into())
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A definition of `foos.example.com` with status, scale, columns and a selectable field.
    pub(crate) fn definition(schema: Value) -> Value {
        let column = |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "foos.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced",
                "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList",
                          "shortNames": ["fo"], "categories": ["all"]},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
                    "selectableFields": [{"jsonPath": ".spec.replicas"}],
                    "additionalPrinterColumns": [
                        column("Replicas", "integer", ".spec.replicas"),
                        column("List", "string", ".spec.list"),
                        column("Age", "date", ".metadata.creationTimestamp"),
                        column("When", "date", ".spec.when"),
                        column("Missing", "string", ".spec.nothing"),
                    ],
                }],
            },
        })
    }

    /// The version at `index` of a definition.
    pub(crate) fn served(definition: &Value, index: usize) -> CustomKind {
        let parsed: CustomResourceDefinition = serde_json::from_value(definition.clone()).unwrap();
        let source = (definition.to_string().into(), index);
        custom_kind(&parsed, &structurals(definition), &parsed.spec.versions[index], source)
    }

    #[test]
    fn a_definition_serves_its_versions_by_preference() {
        let mut definition = definition(json!({"type": "object"}));
        let mut beta = definition["spec"]["versions"][0].clone();
        beta["name"] = "v1beta1".into();
        beta["storage"] = false.into();
        let mut unserved = beta.clone();
        unserved["name"] = "v2".into();
        unserved["served"] = false.into();
        let stable = definition["spec"]["versions"][0].clone();
        definition["spec"]["versions"] = json!([beta, unserved, stable]);
        let kinds = kinds(&definition.to_string().into());
        let versions: Vec<String> = kinds.iter().map(Descriptor::api_version).collect();
        assert_eq!(versions, ["example.com/v1", "example.com/v1beta1"]);
        let beta = kinds[1].strategy.custom().unwrap();
        assert_eq!((&*beta.stored_version, &*beta.api_version), ("example.com/v1", "example.com/v1beta1"));
        assert_eq!(kinds[0].subresources, [Subresource::Status, Subresource::Scale]);
        assert_eq!(kinds[0].short_names[..], ["fo"]);
    }

    #[test]
    fn deprecated_versions_say_what_to_use_instead() {
        let mut definition = definition(json!({"type": "object"}));
        let mut beta = definition["spec"]["versions"][0].clone();
        (beta["name"], beta["storage"], beta["deprecated"]) = ("v1beta1".into(), false.into(), true.into());
        let mut alpha = beta.clone();
        (alpha["name"], alpha["deprecationWarning"]) = ("v1alpha1".into(), "gone soon".into());
        definition["spec"]["versions"].as_array_mut().unwrap().extend([beta, alpha]);
        let warnings: Vec<_> = (0..3).map(|index| served(&definition, index).deprecation).collect();
        let [stable, beta, alpha] = [0, 1, 2].map(|index| warnings[index].as_deref());
        assert_eq!(stable, None);
        assert_eq!(beta, Some("example.com/v1beta1 Foo is deprecated; use example.com/v1 Foo"));
        assert_eq!(alpha, Some("gone soon"));
    }

    #[test]
    fn what_is_no_definition_serves_nothing() {
        assert!(kinds(&"{}".into()).is_empty());
        assert!(kinds(&"x".into()).is_empty());
    }

    #[test]
    fn a_version_without_columns_shows_its_age() {
        let mut definition = definition(json!({"type": "object"}));
        definition["spec"]["versions"][0]["additionalPrinterColumns"] = json!([]);
        assert_eq!(served(&definition, 0).columns[0].name, "Age".into());
    }
}
