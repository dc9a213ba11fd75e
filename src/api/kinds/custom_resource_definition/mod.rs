//! Custom resource definitions: kinds that users bring. Here is the definition itself; the API
//! server serves what it defines.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionStatus,
};
use serde_json::{Value, json};

use super::{cells, names, status};
use crate::api::{
    field::{self, Path},
    kind::{Column, Generation, Kind, Names, Subresource},
    status::Cause,
    time,
    update_check::{self, UpdateCheck},
    validation::webhook,
};

mod conversion;
mod defaults;
mod rules;
mod schema;
mod spec;
mod structural;
mod version;

/// The condition that says that the definition's names are taken by nobody else and it is served.
const ESTABLISHED: &str = "Established";

/// `apiextensions.k8s.io/v1.CustomResourceDefinition`
pub struct CustomResourceDefinitionKind;

impl Kind for CustomResourceDefinitionKind {
    type Object = CustomResourceDefinition;
    const NAMES: Names = Names {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        subresources: &[Subresource::Status],
        ..names::cluster(
            names::GroupVersion::v1("apiextensions.k8s.io"),
            "CustomResourceDefinition",
            "customresourcedefinitions",
            "customresourcedefinition",
        )
    };
    const GENERATION: Generation = Generation::Spec;
    const UPDATES_UNCONDITIONALLY: bool = false;
    const COLUMNS: &'static [Column] = &[cells::NAME, cells::column("Created At", "date", cells::CREATED)];
    const UPDATE_CHECKS: &'static [UpdateCheck] = update_check::CHANGE_THEN_OBJECT;

    fn default(definition: &mut CustomResourceDefinition) {
        let spec = &mut definition.spec;
        let names = &mut spec.names;
        if names.singular.as_deref().unwrap_or_default().is_empty() {
            names.singular = Some(names.kind.to_lowercase());
        }
        if names.list_kind.as_deref().unwrap_or_default().is_empty() && !names.kind.is_empty() {
            names.list_kind = Some(format!("{}List", names.kind));
        }
        let conversion = spec.conversion.get_or_insert_with(|| CustomResourceConversion {
            strategy: "None".to_owned(),
            ..CustomResourceConversion::default()
        });
        let client = conversion.webhook.as_mut().and_then(|webhook| webhook.client_config.as_mut());
        if let Some(service) = client.and_then(|client| client.service.as_mut()) {
            service.port.get_or_insert(webhook::DEFAULT_PORT);
        }
    }

    fn prepare_for_create(definition: &mut CustomResourceDefinition) {
        definition.status = Some(CustomResourceDefinitionStatus::default());
        remember_stored_version(definition);
    }

    fn prepare_for_update(new: &mut CustomResourceDefinition, _old: &CustomResourceDefinition) {
        remember_stored_version(new);
    }

    fn prepare_for_status_update(new: &mut CustomResourceDefinition, old: &CustomResourceDefinition) {
        status::keep_metadata(&mut new.metadata, &old.metadata);
    }

    fn validate(definition: &CustomResourceDefinition) -> Vec<Cause> {
        let mut causes = name(definition);
        causes.extend(Self::validate_again(definition, definition));
        causes.extend(stored_versions(definition));
        causes
    }

    fn validate_again(definition: &CustomResourceDefinition, _old: &CustomResourceDefinition) -> Vec<Cause> {
        spec::validate(&definition.spec, &Path::new("spec"))
    }

    fn validate_update(new: &CustomResourceDefinition, old: &CustomResourceDefinition) -> Vec<Cause> {
        let mut causes = spec::validate_update(&new.spec, &old.spec, is_established(old), &Path::new("spec"));
        causes.extend(stored_versions(new));
        causes
    }

    fn validate_status_update(new: &CustomResourceDefinition, _old: &CustomResourceDefinition) -> Vec<Cause> {
        let mut causes = Vec::new();
        let accepted = new.status.as_ref().and_then(|status| status.accepted_names.as_ref());
        if let Some(names) = accepted.filter(|names| !names.plural.is_empty() || !names.kind.is_empty()) {
            causes.extend(spec::names(names, &Path::new("status.acceptedNames")));
        }
        causes
    }

    fn cells(definition: &CustomResourceDefinition, _now: Timestamp) -> Vec<Value> {
        let created = definition.metadata.creation_timestamp.as_ref();
        vec![cells::name(&definition.metadata), json!(created.map(|created| time::format(created.0)))]
    }
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == ESTABLISHED && condition.status == "True")
}

/// Objects may be stored in whatever was the storage version once, until somebody migrates them.
fn remember_stored_version(definition: &mut CustomResourceDefinition) {
    let storage = definition.spec.versions.iter().find(|version| version.storage);
    let Some(name) = storage.map(|version| version.name.clone()) else { return };
    let stored = definition.status.get_or_insert_default().stored_versions.get_or_insert_default();
    if !stored.contains(&name) {
        stored.push(name);
    }
}

fn name(definition: &CustomResourceDefinition) -> Vec<Cause> {
    let name = definition.metadata.name.as_deref().unwrap_or_default();
    let required = format!("{}.{}", definition.spec.names.plural, definition.spec.group);
    if name.is_empty() || name == required {
        return Vec::new();
    }
    let detail = "must be spec.names.plural+\".\"+spec.group";
    vec![field::invalid(&Path::new("metadata").child("name"), name, detail)]
}

fn stored_versions(definition: &CustomResourceDefinition) -> Vec<Cause> {
    let path = Path::new("status").child("storedVersions");
    let stored = definition.status.as_ref().and_then(|status| status.stored_versions.as_deref()).unwrap_or_default();
    if stored.is_empty() {
        return vec![field::invalid(&path, Value::Null, "must have at least one stored version")];
    }
    let versions = &definition.spec.versions;
    let missing = versions.iter().filter(|version| version.storage && !stored.contains(&version.name));
    let mut causes: Vec<Cause> = missing
        .map(|version| field::invalid(&path, stored, &format!("must have the storage version {}", version.name)))
        .collect();
    for (index, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version.name == *name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in \
                 spec.versions until a storage migration ensures no data remains persisted in {name} and removes \
                 {name} from status.storedVersions"
            );
            causes.push(field::invalid(&path.index(index), name, &detail));
        }
    }
    causes
}

#[cfg(test)]
mod tests;
