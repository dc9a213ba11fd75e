//! From a typed [`Kind`] to the untyped [`Strategy`] that the generic path calls. What is the same
//! for every kind is done here: type identity, metadata rules, status kept apart from spec, and
//! generations. A kind's own file sees only its k8s-openapi type.

use std::marker::PhantomData;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::{
    Status,
    field::{self, Path},
    kind::{Column, Generation, Kind, Strategy, Subresource},
    meta,
    status::Cause,
    validation::metadata,
};

/// Turns a typed [`Kind`] into an untyped [`Strategy`].
pub struct Typed<K>(PhantomData<fn() -> K>);

impl<K> Default for Typed<K> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<K: Kind> Strategy for Typed<K> {
    fn decode(&self, mut object: Value) -> Result<Value, Status> {
        identify::<K>(&mut object)?;
        drop_null_metadata(&mut object);
        let mut typed = parse::<K>(&object)?;
        K::default(&mut typed);
        unparse::<K>(&typed)
    }

    fn prepare_for_create(&self, mut object: Value) -> Result<Value, Status> {
        if has_status::<K>() {
            remove(&mut object, "status");
        }
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            meta::set(&mut object, field, Value::Null);
        }
        let generation = if K::GENERATION == Generation::Never { Value::Null } else { 1.into() };
        meta::set(&mut object, "generation", generation);
        let mut typed = parse::<K>(&object)?;
        K::prepare_for_create(&mut typed);
        unparse::<K>(&typed)
    }

    fn prepare_for_update(&self, mut new: Value, old: &Value) -> Result<Value, Status> {
        keep_identity(&mut new, old);
        if has_status::<K>() {
            replace(&mut new, old, "status");
        }
        let mut typed = parse::<K>(&new)?;
        K::prepare_for_update(&mut typed, &parse::<K>(old)?);
        let mut new = unparse::<K>(&typed)?;
        let generation = next_generation::<K>(&new, old);
        meta::set(&mut new, "generation", generation);
        Ok(new)
    }

    fn prepare_for_status_update(&self, new: Value, old: &Value) -> Result<Value, Status> {
        let mut kept = old.clone();
        replace(&mut kept, &new, "status");
        replace(&mut kept, &new, "metadata");
        keep_identity(&mut kept, old);
        let owners = meta::metadata(old).and_then(|all| all.get("ownerReferences").cloned());
        meta::set(&mut kept, "ownerReferences", owners.unwrap_or_default());
        meta::set(&mut kept, "generation", generation_value(old));
        let mut typed = parse::<K>(&kept)?;
        K::prepare_for_status_update(&mut typed, &parse::<K>(old)?);
        unparse::<K>(&typed)
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = metadata::validate(object, K::NAMES.scope, K::NAME_RULE);
        causes.extend(problems::<K>(object, K::validate));
        causes
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = metadata::validate_update(new, old);
        causes.extend(change_problems::<K>(new, old, K::validate_update));
        causes
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = metadata::validate_update(new, old);
        causes.extend(change_problems::<K>(new, old, K::validate_status_update));
        causes
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        if K::FIELDS.is_empty() {
            return Vec::new();
        }
        let values = parse::<K>(object).map(|typed| K::field_values(&typed)).unwrap_or_default();
        K::FIELDS.iter().copied().zip(values).collect()
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        K::FIELDS
    }

    fn columns(&self) -> &'static [Column] {
        K::COLUMNS
    }

    fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        match parse::<K>(object) {
            Ok(typed) => K::cells(&typed, now),
            Err(_) => vec![Value::Null; K::COLUMNS.len()],
        }
    }

    fn grace_period_seconds(&self, object: &Value) -> Option<u64> {
        parse::<K>(object).ok().and_then(|typed| K::grace_period_seconds(&typed))
    }

    fn schema(&self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<K::Object>()
    }
}

/// Checks `apiVersion` and `kind`, or fills them in: the endpoint says what a body without them is.
fn identify<K: Kind>(object: &mut Value) -> Result<(), Status> {
    let Value::Object(fields) = object else {
        return Err(cannot_be_handled::<K>("the body is not an object"));
    };
    let expected = K::NAMES.api_version();
    match text(fields, "apiVersion") {
        "" => _ = fields.insert("apiVersion".into(), expected.into()),
        version if version == expected => {}
        version => {
            return Err(Status::bad_request(format!(
                "the API version in the data ({version}) does not match the expected API version ({expected})"
            )));
        }
    }
    match text(fields, "kind") {
        "" => _ = fields.insert("kind".into(), K::NAMES.kind.into()),
        kind if kind == K::NAMES.kind => {}
        kind => {
            let (version, wanted) = (K::NAMES.version, K::NAMES.kind);
            return Err(Status::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {wanted}: converting ({version}.{kind}) to \
                 ({version}.{wanted}): unknown conversion"
            )));
        }
    }
    Ok(())
}

/// Clients written in Go send `creationTimestamp: null` for "not set".
fn drop_null_metadata(object: &mut Value) {
    if let Some(metadata) = meta::metadata_mut(object) {
        metadata.retain(|_, value| !value.is_null());
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn parse<K: Kind>(object: &Value) -> Result<K::Object, Status> {
    K::Object::deserialize(object).map_err(cannot_be_handled::<K>)
}

fn unparse<K: Kind>(typed: &K::Object) -> Result<Value, Status> {
    let mut object = serde_json::to_value(typed).map_err(Status::internal)?;
    if has_status::<K>() && object.get("status").is_some_and(Value::is_null) {
        remove(&mut object, "status");
    }
    Ok(object)
}

fn cannot_be_handled<K: Kind>(why: impl std::fmt::Display) -> Status {
    let (kind, version) = (K::NAMES.kind, K::NAMES.version);
    Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
}

fn has_status<K: Kind>() -> bool {
    K::NAMES.subresources.contains(&Subresource::Status)
}

/// What only the server writes stays as it was when the new object leaves it out.
fn keep_identity(new: &mut Value, old: &Value) {
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "namespace", "name"] {
        let kept = meta::metadata(old).and_then(|all| all.get(field).cloned());
        let missing = meta::metadata(new).is_none_or(|all| all.get(field).is_none_or(is_unset));
        if let (Some(kept), true) = (kept, missing) {
            meta::set(new, field, kept);
        }
    }
}

fn is_unset(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

fn next_generation<K: Kind>(new: &Value, old: &Value) -> Value {
    let annotations = |object: &Value| meta::metadata(object).and_then(|all| all.get("annotations").cloned());
    let raised = match K::GENERATION {
        Generation::Never => return generation_value(old),
        Generation::Spec => !same_spec(new, old),
        Generation::SpecAndAnnotations => !same_spec(new, old) || annotations(new) != annotations(old),
    };
    Value::from(meta::generation(old) + i64::from(raised))
}

/// Everything beside type, metadata and status counts as the wish.
fn same_spec(new: &Value, old: &Value) -> bool {
    let wish = |(name, _): &(&String, &Value)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status");
    match (new.as_object(), old.as_object()) {
        (Some(new), Some(old)) => new.iter().filter(wish).eq(old.iter().filter(wish)),
        _ => new == old,
    }
}

fn generation_value(object: &Value) -> Value {
    meta::metadata(object).and_then(|all| all.get("generation").cloned()).unwrap_or_default()
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

/// Makes `field` of `to` what it is in `from`.
fn replace(to: &mut Value, from: &Value, field: &str) {
    let Some(fields) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => _ = fields.insert(field.to_owned(), value.clone()),
        None => _ = fields.remove(field),
    }
}

fn problems<K: Kind>(object: &Value, validate: fn(&K::Object) -> Vec<Cause>) -> Vec<Cause> {
    match parse::<K>(object) {
        Ok(typed) => validate(&typed),
        Err(status) => vec![field::internal(&Path::new(""), status.message)],
    }
}

fn change_problems<K: Kind>(
    new: &Value,
    old: &Value,
    validate: fn(&K::Object, &K::Object) -> Vec<Cause>,
) -> Vec<Cause> {
    match (parse::<K>(new), parse::<K>(old)) {
        (Ok(new), Ok(old)) => validate(&new, &old),
        (Err(status), _) | (_, Err(status)) => vec![field::internal(&Path::new(""), status.message)],
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use serde_json::json;

    use super::*;
    use crate::api::kind::{NameRule, Names, STORED, Scope};

    struct Example;

    impl Kind for Example {
        type Object = ReplicaSet;
        const NAMES: Names = Names {
            group: "apps",
            version: "v1",
            kind: "ReplicaSet",
            plural: "replicasets",
            singular: "replicaset",
            short_names: &["rs"],
            categories: &["all"],
            scope: Scope::Namespaced,
            verbs: STORED,
            subresources: &[Subresource::Status],
        };
        const NAME_RULE: NameRule = NameRule::Subdomain;
        const GENERATION: Generation = Generation::Spec;
        const COLUMNS: &'static [Column] = &[];

        fn cells(_: &ReplicaSet, _: jiff::Timestamp) -> Vec<Value> {
            Vec::new()
        }
    }

    fn strategy() -> Typed<Example> {
        Typed::default()
    }

    fn stored(replicas: i32, ready: i32) -> Value {
        let object = json!({"metadata": {"name": "a", "namespace": "b", "uid": "u", "generation": 3},
                            "spec": {"replicas": replicas, "selector": {}},
                            "status": {"replicas": ready}});
        strategy().decode(object).unwrap()
    }

    #[test]
    fn a_body_without_type_is_what_the_endpoint_says() {
        let object = strategy().decode(json!({"metadata": {"creationTimestamp": null}})).unwrap();
        assert_eq!(object["apiVersion"], "apps/v1");
        assert_eq!(object["kind"], "ReplicaSet");
    }

    #[test]
    fn another_version_is_a_bad_request() {
        let status = strategy().decode(json!({"apiVersion": "v1"})).unwrap_err();
        assert_eq!(
            status.message,
            "the API version in the data (v1) does not match the expected API version (apps/v1)"
        );
    }

    #[test]
    fn create_clears_status_and_starts_generations() {
        let object = strategy().prepare_for_create(stored(1, 5)).unwrap();
        assert_eq!(object["metadata"]["generation"], 1);
        assert!(object["status"].get("replicas").is_none_or(|replicas| replicas == 0));
    }

    #[test]
    fn a_changed_spec_raises_the_generation_and_keeps_status() {
        let old = stored(1, 5);
        let object = strategy().prepare_for_update(stored(2, 0), &old).unwrap();
        assert_eq!(object["metadata"]["generation"], 4);
        assert_eq!(object["status"]["replicas"], 5);
        let same = strategy().prepare_for_update(stored(1, 0), &old).unwrap();
        assert_eq!(same["metadata"]["generation"], 3);
    }

    #[test]
    fn a_status_update_keeps_the_spec() {
        let old = stored(1, 5);
        let object = strategy().prepare_for_status_update(stored(2, 6), &old).unwrap();
        assert_eq!(object["spec"]["replicas"], 1);
        assert_eq!(object["status"]["replicas"], 6);
        assert_eq!(object["metadata"]["generation"], 3);
    }

    #[test]
    fn an_update_without_uid_keeps_it() {
        let old = stored(1, 1);
        let mut new = stored(1, 1);
        meta::set(&mut new, "uid", Value::Null);
        let object = strategy().prepare_for_update(new, &old).unwrap();
        assert!(strategy().validate_update(&object, &old).is_empty());
    }

    #[test]
    fn every_kind_survives_an_empty_object() {
        for kind in crate::api::kinds::all() {
            let object = kind.strategy.decode(json!({})).unwrap();
            let created = kind.strategy.prepare_for_create(object.clone()).unwrap();
            let updated = kind.strategy.prepare_for_update(created.clone(), &object).unwrap();
            let status = kind.strategy.prepare_for_status_update(updated.clone(), &object).unwrap();
            kind.strategy.validate(&created);
            kind.strategy.validate_update(&updated, &object);
            kind.strategy.validate_status_update(&status, &object);
            let cells = kind.strategy.cells(&created, jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(cells.len(), kind.strategy.columns().len(), "{}", kind.kind);
            let fields = kind.strategy.selectable_fields(&created);
            assert_eq!(fields.len(), kind.strategy.selectable_field_names().len(), "{}", kind.kind);
        }
    }
}
