//! From a typed [`Kind`] to the untyped [`Strategy`] that the generic path calls. What is the same
//! for every kind is done here: type identity, metadata rules, status kept apart from spec, and
//! generations. A kind's own file sees only its k8s-openapi type.

use std::{borrow::Cow, marker::PhantomData};

use k8s_openapi::Metadata;
use serde_json::{Map, Value};

use crate::api::{
    Status, codec,
    decoded::Decoded,
    field::{self, Path},
    kind::{Generation, Kind, Name, NameRule, Strategy, Subresource, TableColumn},
    meta, protobuf,
    status::Cause,
    update_check::UpdateCheck,
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
    fn decode(&self, object: Value) -> Result<Decoded, Status> {
        unparse::<K>(parse::<K>(&identified::<K>(object)?)?)
    }

    fn settle(&self, object: &mut Value) {
        protobuf::settle(&K::NAMES.api_version(), K::NAMES.kind, object);
    }

    fn prepare_for_create(&self, object: Value) -> Result<Decoded, Status> {
        let mut object = identified::<K>(object)?;
        if has_status::<K>() && !K::STATUS_ON_CREATE {
            remove(&mut object, "status");
        }
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            meta::set(&mut object, field, Value::Null);
        }
        let generation = match K::GENERATION {
            Generation::Never | Generation::Changes => Value::Null,
            _ => 1.into(),
        };
        meta::set(&mut object, "generation", generation);
        let mut typed = parse::<K>(&object)?;
        K::prepare_for_create(&mut typed);
        unparse::<K>(typed)
    }

    fn prepare_for_update(&self, new: Value, old: &Decoded) -> Result<Decoded, Status> {
        let mut new = identified::<K>(new)?;
        keep_identity(&mut new, old);
        if has_status::<K>() {
            replace(&mut new, old, "status");
        }
        let mut typed = parse::<K>(&new)?;
        K::prepare_for_update(&mut typed, known::<K>(old)?);
        let mut value = untyped::<K>(&typed)?;
        let generation = next_generation::<K>(&value, old);
        typed.metadata_mut().generation = generation;
        meta::set(&mut value, "generation", generation);
        Ok(Decoded::both(value, typed))
    }

    fn prepare_for_status_update(&self, new: Value, old: &Decoded) -> Result<Decoded, Status> {
        let new = identified::<K>(new)?;
        let mut kept = Value::clone(old);
        replace(&mut kept, &new, "status");
        replace(&mut kept, &new, "metadata");
        keep_identity(&mut kept, old);
        let owners = meta::metadata(old).and_then(|all| all.get("ownerReferences").cloned());
        meta::set(&mut kept, "ownerReferences", owners.unwrap_or_default());
        meta::set(&mut kept, "generation", generation_of(old));
        let mut typed = parse::<K>(&kept)?;
        K::prepare_for_status_update(&mut typed, known::<K>(old)?);
        unparse::<K>(typed)
    }

    fn prepare_for_part_update(&self, part: &str, new: Value, old: &Decoded) -> Result<Decoded, Status> {
        let mut new = identified::<K>(new)?;
        keep_identity(&mut new, old);
        let mut typed = parse::<K>(&new)?;
        K::prepare_for_part_update(part, &mut typed, known::<K>(old)?);
        let mut value = untyped::<K>(&typed)?;
        let generation = next_generation::<K>(&value, old);
        typed.metadata_mut().generation = generation;
        meta::set(&mut value, "generation", generation);
        Ok(Decoded::both(value, typed))
    }

    fn validate(&self, object: &Decoded) -> Vec<Cause> {
        let mut causes = metadata_problems::<K>(object);
        causes.extend(problems(known::<K>(object).map(K::validate)));
        causes
    }

    fn validate_again(&self, new: &Decoded, old: &Decoded) -> Vec<Cause> {
        let mut causes = metadata_problems::<K>(new);
        causes.extend(problems(typed_change::<K>(new, old).map(|(new, old)| K::validate_again(new, old))));
        causes
    }

    fn validate_change(&self, new: &Decoded, old: &Decoded) -> Vec<Cause> {
        change_problems::<K>(new, old, K::UPDATE_CHECKS)
    }

    fn validate_update(&self, new: &Decoded, old: &Decoded) -> Vec<Cause> {
        let mut causes = metadata::validate_update(new, old);
        causes.extend(problems(typed_change::<K>(new, old).map(|(new, old)| K::validate_update(new, old))));
        causes
    }

    fn validate_status_update(&self, new: &Decoded, old: &Decoded) -> Vec<Cause> {
        let mut causes = change_problems::<K>(new, old, &[UpdateCheck::MetadataChange]);
        causes.extend(problems(typed_change::<K>(new, old).map(|(new, old)| K::validate_status_update(new, old))));
        causes
    }

    fn validate_part_update(&self, part: &str, new: &Decoded, old: &Decoded) -> Vec<Cause> {
        let mut causes = metadata::validate_update(new, old);
        causes.extend(problems(typed_change::<K>(new, old).map(|(new, old)| K::validate_part_update(part, new, old))));
        causes
    }

    fn selectable_fields(&self, object: &Decoded) -> Vec<(Name, String)> {
        if K::FIELDS.is_empty() {
            return Vec::new();
        }
        let values = known::<K>(object).map(K::field_values).unwrap_or_default();
        K::FIELDS.iter().map(|field| Name::from(*field)).zip(values).collect()
    }

    fn selectable_field_names(&self) -> Cow<'_, [&str]> {
        Cow::Borrowed(K::FIELDS)
    }

    fn columns(&self) -> Cow<'_, [TableColumn<'_>]> {
        Cow::Borrowed(K::COLUMNS)
    }

    fn cells(&self, object: &Decoded, now: jiff::Timestamp) -> Vec<Value> {
        match known::<K>(object) {
            Ok(typed) => K::cells(typed, now),
            Err(_) => vec![Value::Null; K::COLUMNS.len()],
        }
    }

    fn row(&self, json: &[u8], now: jiff::Timestamp) -> Vec<Value> {
        let whole = || self.cells(&serde_json::from_slice::<Value>(json).unwrap_or_default().into(), now);
        K::row(json, now).unwrap_or_else(whole)
    }

    fn grace_period_seconds(&self, object: &Decoded) -> Option<u64> {
        known::<K>(object).ok().and_then(K::grace_period_seconds)
    }

    fn deprecation(&self) -> Option<Cow<'_, str>> {
        K::DEPRECATION.map(Cow::Borrowed)
    }

    fn reset_fields(&self, part: &str) -> Option<&'static [&'static str]> {
        K::reset_fields(part)
    }

    fn updates_unconditionally(&self) -> bool {
        K::UPDATES_UNCONDITIONALLY
    }

    fn warnings_as_sent(&self, object: &Value) -> Vec<String> {
        K::warnings_as_sent(object)
    }

    fn warnings(&self, new: &Decoded, old: Option<&Decoded>) -> Vec<String> {
        let old = old.and_then(|old| known::<K>(old).ok());
        known::<K>(new).map(|new| K::warnings(new, old)).unwrap_or_default()
    }

    fn is_named_by_server(&self) -> bool {
        K::NAMED_BY_SERVER
    }

    fn orphans_by_default(&self) -> bool {
        K::ORPHANS_BY_DEFAULT
    }
}

/// The object as sent, its type checked.
fn identified<K: Kind>(mut object: Value) -> Result<Value, Status> {
    identify::<K>(&mut object)?;
    drop_null_metadata(&mut object);
    protobuf::unset(&K::NAMES.api_version(), K::NAMES.kind, &mut object);
    K::before_decoding(&mut object).map_err(cannot_be_handled::<K>)?;
    Ok(object)
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
            // Upstream's internal types are in packages that are called as groups begin.
            let package = match K::NAMES.group.split('.').next() {
                None | Some("") => "core",
                Some(package) => package,
            };
            return Err(Status::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {wanted}: converting ({version}.{kind}) to \
                 ({package}.{wanted}): unknown conversion"
            )));
        }
    }
    Ok(())
}

/// Clients written in Go send `creationTimestamp: null` for "not set".
pub(super) fn drop_null_metadata(object: &mut Value) {
    if let Some(metadata) = meta::metadata_mut(object) {
        metadata.retain(|_, value| !value.is_null());
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The typed form, with defaults.
fn parse<K: Kind>(object: &Value) -> Result<K::Object, Status> {
    let mut typed = codec::decode(object).map_err(cannot_be_handled::<K>)?;
    K::default(&mut typed);
    Ok(typed)
}

/// The typed form of an object that is stored or about to be.
fn known<K: Kind>(object: &Decoded) -> Result<&K::Object, Status> {
    object.typed().map_err(cannot_be_handled::<K>)
}

fn unparse<K: Kind>(typed: K::Object) -> Result<Decoded, Status> {
    Ok(Decoded::both(untyped::<K>(&typed)?, typed))
}

fn untyped<K: Kind>(typed: &K::Object) -> Result<Value, Status> {
    let mut object = codec::encode(typed).map_err(Status::internal)?;
    protobuf::settle(&K::NAMES.api_version(), K::NAMES.kind, &mut object);
    Ok(object)
}

fn cannot_be_handled<K: Kind>(why: impl std::fmt::Display) -> Status {
    let (kind, version) = (K::NAMES.kind, K::NAMES.version);
    Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
}

fn metadata_problems<K: Kind>(object: &Decoded) -> Vec<Cause> {
    let mut causes = metadata::validate(object, K::NAMES.scope, K::NAME_RULE);
    causes.extend(finalizer_problems::<K>(object));
    causes
}

fn finalizer_problems<K: Kind>(object: &Decoded) -> Vec<Cause> {
    let looks_at_metadata =
        K::UPDATE_CHECKS.iter().any(|check| matches!(check, UpdateCheck::Metadata | UpdateCheck::MetadataChange));
    let is_liberal = !looks_at_metadata || metadata::LIBERAL_GROUPS.contains(&K::NAMES.group);
    if is_liberal { Vec::new() } else { metadata::qualified_finalizers(object) }
}

/// What `checks` find, after the problems of metadata that are looked for whatever the kind.
fn change_problems<K: Kind>(new: &Decoded, old: &Decoded, checks: &[UpdateCheck]) -> Vec<Cause> {
    let whole = metadata::validate(new, K::NAMES.scope, K::NAME_RULE);
    let change = metadata::validate_update(new, old);
    // A name stays as it is, but what it was made of may change, and is looked at less closely for every kind.
    let common = match meta::generate_name(new) {
        "" => whole.clone(),
        _ => metadata::validate(new, K::NAMES.scope, NameRule::PathSegment),
    };
    let mut causes = [common, change.clone()].concat();
    for check in checks {
        match check {
            UpdateCheck::Metadata => causes.extend([whole.clone(), finalizer_problems::<K>(new)].concat()),
            UpdateCheck::MetadataChange => causes.extend([change.clone(), finalizer_problems::<K>(new)].concat()),
            UpdateCheck::Object => {
                causes.extend(problems(typed_change::<K>(new, old).map(|(new, old)| K::validate_again(new, old))));
            }
            UpdateCheck::Change => {
                causes.extend(problems(typed_change::<K>(new, old).map(|(new, old)| K::validate_update(new, old))));
            }
        }
    }
    causes
}

fn has_status<K: Kind>() -> bool {
    K::NAMES.subresources.contains(&Subresource::Status)
}

/// What only the server writes stays as it was when the new object leaves it out.
pub(super) fn keep_identity(new: &mut Value, old: &Value) {
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

fn next_generation<K: Kind>(new: &Value, old: &Value) -> Option<i64> {
    let changed = |name: &str| {
        let value = |object| meta::metadata(object).and_then(|all: &Map<String, Value>| all.get(name));
        value(new) != value(old)
    };
    let raised = match K::GENERATION {
        Generation::Never | Generation::Once => return generation_of(old),
        Generation::Changes if same_spec(new, old) => return generation_of(old),
        Generation::Spec | Generation::Changes => !same_spec(new, old),
        Generation::SpecAndAnnotations => !same_spec(new, old) || changed("annotations"),
        Generation::SpecAndLabels => !same_spec(new, old) || changed("labels"),
    };
    Some(meta::generation(old) + i64::from(raised))
}

/// Everything beside type, metadata and status counts as the wish.
fn same_spec(new: &Value, old: &Value) -> bool {
    let wish = |(name, _): &(&String, &Value)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status");
    match (new.as_object(), old.as_object()) {
        (Some(new), Some(old)) => new.iter().filter(wish).eq(old.iter().filter(wish)),
        _ => new == old,
    }
}

fn generation_of(object: &Value) -> Option<i64> {
    meta::metadata(object).and_then(|all| all.get("generation")).and_then(Value::as_i64)
}

pub(super) fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

/// Makes `field` of `to` what it is in `from`.
pub(super) fn replace(to: &mut Value, from: &Value, field: &str) {
    let Some(fields) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => _ = fields.insert(field.to_owned(), value.clone()),
        None => _ = fields.remove(field),
    }
}

fn typed_change<'a, K: Kind>(new: &'a Decoded, old: &'a Decoded) -> Result<(&'a K::Object, &'a K::Object), Status> {
    Ok((known::<K>(new)?, known::<K>(old)?))
}

/// What a check found, or why it could not look.
fn problems(found: Result<Vec<Cause>, Status>) -> Vec<Cause> {
    found.unwrap_or_else(|status| vec![field::internal(&Path::new(""), status.message)])
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use serde_json::json;

    use super::*;
    use crate::api::kind::{Column, Names, STORED, Scope};

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

    fn stored(replicas: i32, ready: i32) -> Decoded {
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
        let object = strategy().prepare_for_create(stored(1, 5).into_value()).unwrap();
        assert_eq!(object["metadata"]["generation"], 1);
        assert!(object["status"].get("replicas").is_none_or(|replicas| replicas == 0));
    }

    #[test]
    fn a_changed_spec_raises_the_generation_and_keeps_status() {
        let old = stored(1, 5);
        let object = strategy().prepare_for_update(stored(2, 0).into_value(), &old).unwrap();
        assert_eq!(object["metadata"]["generation"], 4);
        assert_eq!(object["status"]["replicas"], 5);
        let same = strategy().prepare_for_update(stored(1, 0).into_value(), &old).unwrap();
        assert_eq!(same["metadata"]["generation"], 3);
    }

    #[test]
    fn a_problem_of_metadata_is_found_as_often_as_upstream_looks() {
        let old = stored(1, 1);
        let mut new = stored(1, 1).into_value();
        meta::set(&mut new, "labels", json!({"a": "-"}));
        let new = strategy().prepare_for_update(new, &old).unwrap();
        // Twice for every kind, and here in the object and in the change once more each.
        assert_eq!(strategy().validate_change(&new, &old).len(), 4);
        assert_eq!(change_problems::<Example>(&new, &old, crate::api::update_check::OBJECT).len(), 2);
    }

    #[test]
    fn a_status_update_keeps_the_spec() {
        let old = stored(1, 5);
        let object = strategy().prepare_for_status_update(stored(2, 6).into_value(), &old).unwrap();
        assert_eq!(object["spec"]["replicas"], 1);
        assert_eq!(object["status"]["replicas"], 6);
        assert_eq!(object["metadata"]["generation"], 3);
    }

    #[test]
    fn an_update_without_uid_keeps_it() {
        let old = stored(1, 1);
        let mut new = stored(1, 1).into_value();
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
