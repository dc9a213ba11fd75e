//! Strategic merge patch: like a JSON merge patch, but lists of structures merge by a key that the
//! schema names, and directives (`$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…`,
//! `$setElementOrder/…`) say what plain values cannot.
//!
//! Source: "Strategic Merge Patch" in the API conventions, and the behaviour of apimachinery's
//! `strategicpatch` where that is silent.

mod order;

use serde_json::{Map, Value};

use crate::api::{
    Status, go,
    schema::{Fact, PatchStrategy, Type},
    status::Reason,
};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Why a patch is malformed, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `$patch` has an unknown value.
    #[error("unknown patch type: {directive} in map: {map}")]
    Directive {
        /// The value.
        directive: String,
        /// Where it stands.
        map: String,
    },
    /// An item of a merged list lacks the key.
    #[error("map: {map} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The item.
        map: String,
        /// The key.
        key: &'static str,
    },
    /// A list to merge by key holds something else than structures.
    #[error("cannot merge lists of different types for {field}")]
    MixedList {
        /// The field.
        field: String,
    },
    /// `$patch: merge` inside a list.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeInList,
    /// `$deleteFromPrimitiveList` is no list.
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    /// `$retainKeys` is no list, or lacks a key that the patch sets.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// `$setElementOrder` is no list, or lacks the merge key.
    #[error("invalid patch format of setElementOrder list")]
    SetElementOrder,
    /// The list is in another order than `$setElementOrder`, or has more.
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    Order {
        /// The list.
        patch: String,
        /// The order.
        order: String,
    },
}

impl Error {
    /// The refusal: upstream takes few of these for the client's fault.
    pub fn status(&self) -> Status {
        let reason = match self {
            Self::PrimitiveList | Self::RetainKeys | Self::SetElementOrder => Reason::BadRequest,
            _ => Reason::Unknown,
        };
        Status::new(reason, self.to_string())
    }
}

/// The object that `patch` makes of `object`, which has type `kind`.
pub fn apply(object: Value, patch: Value, kind: &Type) -> Result<Value, Error> {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => merge_map(object, patch, kind).map(Value::Object),
        (_, patch) => Ok(without_directives(patch).unwrap_or_default()),
    }
}

type Fields = Map<String, Value>;

fn merge_map(mut original: Fields, mut patch: Fields, kind: &Type) -> Result<Fields, Error> {
    if let Some(directive) = patch.get(PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(strip_fields(patch)),
            Some("delete") => Ok(Map::new()),
            _ => Err(unknown_directive(directive, &Value::Object(patch.clone()))),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    check_orders(&patch, kind)?;
    let mut orders = Vec::new();
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(SET_ORDER) {
            orders.push((list.to_owned(), value));
        } else if let Some(list) = name.strip_prefix(DELETE_FROM) {
            delete_from(&mut original, list, &value)?;
        } else {
            merge_field(&mut original, name, value, kind)?;
        }
    }
    for (name, order) in orders {
        let (_, fact) = child(kind, &name);
        order::set(&mut original, &name, order, fact.merge_key)?;
    }
    Ok(original)
}

/// Lists stand in the order that the patch itself gives them.
fn check_orders(patch: &Fields, kind: &Type) -> Result<(), Error> {
    for (name, order) in patch {
        let Some(list) = name.strip_prefix(SET_ORDER) else { continue };
        if let (Some(Value::Array(items)), Value::Array(order)) = (patch.get(list), order) {
            order::check(items, order, child(kind, list).1.merge_key)?;
        }
    }
    Ok(())
}

fn merge_field(original: &mut Fields, name: String, value: Value, kind: &Type) -> Result<(), Error> {
    if value.is_null() {
        original.remove(&name);
        return Ok(());
    }
    let (child, fact) = child(kind, &name);
    let merged = match (original.remove(&name), value) {
        (Some(Value::Object(before)), Value::Object(after)) if fact.patch != PatchStrategy::Replace => {
            Value::Object(merge_map(before, after, child)?)
        }
        (Some(Value::Array(before)), Value::Array(after)) if fact.patch == PatchStrategy::Merge => {
            Value::Array(merge_list(before, after, child, &fact, &name)?)
        }
        (_, value) => match without_directives(value) {
            Some(value) => value,
            None => return Ok(()),
        },
    };
    original.insert(name, merged);
    Ok(())
}

/// Type and merge facts of a field; of whatever is not declared, nothing is known.
fn child<'a>(kind: &'a Type, name: &str) -> (&'a Type, Fact) {
    const UNKNOWN: Fact =
        Fact { list: None, map: None, keys: &[], patch: PatchStrategy::Default, retain_keys: false, merge_key: None };
    match kind {
        Type::Struct(structure) => {
            structure.field(name).map_or((&Type::Any, UNKNOWN), |field| (&field.kind, field.fact))
        }
        Type::Map(values) => (values, UNKNOWN),
        _ => (&Type::Any, UNKNOWN),
    }
}

fn merge_list(
    original: Vec<Value>,
    patch: Vec<Value>,
    kind: &Type,
    fact: &Fact,
    field: &str,
) -> Result<Vec<Value>, Error> {
    let items = match kind {
        Type::List(items) => items,
        _ => kind,
    };
    let maps = original.iter().chain(&patch).filter(|item| item.is_object()).count();
    match fact.merge_key {
        Some(_) if maps < original.len() + patch.len() => Err(Error::MixedList { field: field.to_owned() }),
        Some(key) => merge_keyed(original, patch, items, key),
        None => Ok(merge_scalars(original, patch)),
    }
}

/// A set: what the patch has beyond the original comes last, as far as order allows.
fn merge_scalars(original: Vec<Value>, patch: Vec<Value>) -> Vec<Value> {
    let server_order = original.clone();
    let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
    for item in original.into_iter().chain(patch.iter().cloned()) {
        if !merged.contains(&item) {
            merged.push(item);
        }
    }
    order::arrange(merged, &patch, &server_order, None)
}

fn merge_keyed(original: Vec<Value>, patch: Vec<Value>, kind: &Type, key: &'static str) -> Result<Vec<Value>, Error> {
    let (mut original, patch) = apply_item_directives(original, patch, key)?;
    let server_order = original.clone();
    let patch_order = patch.clone();
    for item in patch {
        let identity = item.get(key).cloned().ok_or_else(|| no_merge_key(&item, key))?;
        match original.iter().position(|known| order::same(known.get(key), Some(&identity))) {
            Some(at) => original[at] = apply(original[at].take(), item, kind)?,
            None => original.extend(without_directives(item)),
        }
    }
    Ok(order::arrange(original, &patch_order, &server_order, Some(key)))
}

/// Obeys `$patch` in items of a list: `delete` removes the item of that key, `replace` anywhere
/// means that the patch's other items are the whole list.
fn apply_item_directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &'static str,
) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let (mut kept, mut replaces) = (Vec::with_capacity(patch.len()), false);
    for item in patch {
        match item.get(PATCH) {
            None => kept.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let identity = item.get(key).ok_or_else(|| no_merge_key(&item, key))?;
                    original.retain(|known| !order::same(known.get(key), Some(identity)));
                }
                Some("replace") => replaces = true,
                Some("merge") => return Err(Error::MergeInList),
                _ => return Err(unknown_directive(directive, &item)),
            },
        }
    }
    Ok((if replaces { Vec::new() } else { original }, kept))
}

fn retain_keys(original: &mut Fields, patch: &mut Fields) -> Result<(), Error> {
    let Some(list) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let retained: Vec<&str> = match &list {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return Err(Error::RetainKeys),
    };
    let plain = |name: &str| !name.starts_with(DELETE_FROM) && !name.starts_with(SET_ORDER);
    if patch.iter().any(|(name, value)| !value.is_null() && plain(name) && !retained.contains(&name.as_str())) {
        return Err(Error::RetainKeys);
    }
    original.retain(|name, _| retained.contains(&name.as_str()));
    Ok(())
}

fn delete_from(original: &mut Fields, list: &str, unwanted: &Value) -> Result<(), Error> {
    let unwanted = unwanted.as_array().ok_or(Error::PrimitiveList)?;
    if let Some(Value::Array(items)) = original.get_mut(list) {
        items.retain(|item| !unwanted.contains(item));
    }
    Ok(())
}

/// A value taken whole from a patch: what is meant for merging says nothing then, and structures with a directive
/// are left out.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(PATCH) => None,
        Value::Object(fields) => Some(Value::Object(strip_fields(fields))),
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        leaf => Some(leaf),
    }
}

fn strip_fields(fields: Fields) -> Fields {
    let directives = [DELETE_FROM, SET_ORDER];
    let directive = |name: &str| {
        [PATCH, RETAIN_KEYS].contains(&name) || directives.iter().any(|directive| name.starts_with(directive))
    };
    let plain = fields.into_iter().filter(|(name, value)| !directive(name) && !value.is_null());
    plain.filter_map(|(name, value)| Some((name, without_directives(value)?))).collect()
}

fn unknown_directive(directive: &Value, map: &Value) -> Error {
    Error::Directive { directive: go::printed(directive), map: go::printed(map) }
}

fn no_merge_key(item: &Value, key: &'static str) -> Error {
    Error::NoMergeKey { map: go::printed(item), key }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::api::schema::{Library, Schema};

    fn pod() -> Schema {
        Library::default().schema_of("v1", "Pod")
    }

    fn spec(original: Value, patch: Value) -> Result<Value, Error> {
        let result = apply(json!({"spec": original}), json!({"spec": patch}), &pod().root)?;
        Ok(result["spec"].clone())
    }

    #[test]
    fn lists_merge_by_key_and_keep_the_servers_items() {
        let original = json!({"containers": [{"name": "a", "image": "x", "args": ["1"]}, {"name": "b"}]});
        let patch = json!({"containers": [{"name": "a", "image": "y", "args": ["2"]}, {"name": "c"}]});
        let expected =
            json!({"containers": [{"name": "a", "image": "y", "args": ["2"]}, {"name": "c"}, {"name": "b"}]});
        assert_eq!(spec(original, patch).unwrap(), expected);
    }

    #[test]
    fn items_are_deleted_and_lists_replaced_by_directive() {
        let original = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        let delete = json!({"containers": [{"name": "a", "$patch": "delete"}]});
        assert_eq!(spec(original.clone(), delete).unwrap(), json!({"containers": [{"name": "b"}]}));
        let replace = json!({"containers": [{"name": "c"}, {"$patch": "replace"}]});
        assert_eq!(spec(original, replace).unwrap(), json!({"containers": [{"name": "c"}]}));
    }

    #[test]
    fn element_order_is_set() {
        let original = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
        let patch = json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
                           "containers": [{"name": "c", "image": "x"}]});
        let result = spec(original, patch).unwrap();
        let names: Vec<_> = result["containers"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
        assert_eq!(names, ["b", "c", "a"]);
    }

    #[test]
    fn null_deletes_and_sets_merge() {
        let object = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}}});
        let patch = json!({"metadata": {"finalizers": ["c"], "labels": {"x": null},
                           "$deleteFromPrimitiveList/finalizers": ["a"]}});
        let result = apply(object, patch, &pod().root).unwrap();
        let finalizers = result["metadata"]["finalizers"].as_array().unwrap();
        assert!(finalizers.contains(&json!("b")) && finalizers.contains(&json!("c")) && finalizers.len() == 2);
        assert_eq!(result["metadata"]["labels"], json!({"y": "2"}));
    }

    #[test]
    fn retained_keys_drop_the_others() {
        let schema = Library::default().schema_of("apps/v1", "Deployment");
        let object = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        let result = apply(object.clone(), patch, &schema.root).unwrap();
        assert_eq!(result["spec"]["strategy"], json!({"type": "Recreate"}));
        let patch = json!({"spec": {"strategy": {"$retainKeys": [], "type": "Recreate"}}});
        assert_eq!(apply(object, patch, &schema.root).unwrap_err(), Error::RetainKeys);
    }

    #[test]
    fn maps_are_replaced_by_directive() {
        let patch = json!({"nodeSelector": {"$patch": "replace", "b": "2"}});
        assert_eq!(spec(json!({"nodeSelector": {"a": "1"}}), patch).unwrap(), json!({"nodeSelector": {"b": "2"}}));
    }

    #[test]
    fn malformed_patches_are_refused() {
        let original = json!({"containers": [{"name": "a"}]});
        let error = spec(original.clone(), json!({"containers": [{"image": "x"}]})).unwrap_err();
        assert_eq!(error.to_string(), "map: map[image:x] does not contain declared merge key: name");
        let error = spec(original.clone(), json!({"$patch": "wipe"})).unwrap_err();
        assert_eq!(error.to_string(), "unknown patch type: wipe in map: map[$patch:wipe]");
        let patch = json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]});
        let error = spec(original, patch).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n"
        );
        assert_eq!(error.status().code(), 500);
    }

    #[test]
    fn directives_for_what_is_not_there_leave_it_out() {
        let patch = json!({"nodeSelector": {"$patch": "replace", "b": "2"}, "containers": [{"image": "x"}]});
        assert_eq!(spec(json!({}), patch).unwrap(), json!({"containers": [{"image": "x"}]}));
    }

    fn containers() -> impl Strategy<Value = Value> {
        let item = ("[a-e]", "[x-z]").prop_map(|(name, image)| (name.clone(), json!({"name": name, "image": image})));
        proptest::collection::vec(item, 0..5).prop_map(|items| {
            let unique: std::collections::BTreeMap<_, _> = items.into_iter().collect();
            json!({"containers": unique.into_values().collect::<Vec<_>>()})
        })
    }

    proptest! {
        #[test]
        fn a_second_time_changes_nothing(original in containers(), patch in containers()) {
            let once = spec(original, patch.clone()).unwrap();
            prop_assert_eq!(spec(once.clone(), patch).unwrap(), once);
        }
    }
}
