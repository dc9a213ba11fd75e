//! Removal of what a manager applied before and applies no longer, unless somebody else owns it.

use serde_json::{Map, Value};

use super::{
    element, fields,
    set::Set,
    shape::{self, Place, Shape},
};

/// The object without what is in `last` (the manager's fields before this apply) and in no set of
/// `owned` (everybody's fields, this apply's included).
pub fn prune(place: Place<'_>, merged: &Value, last: &Set, owned: &Set) -> Value {
    let last = with_named_fields(place, last);
    let owned = with_named_fields(place, owned);
    let everything = with_named_fields(place, &fields::of(place, merged));
    let left = |pruned: &Value| with_named_fields(place, &fields::of(place, pruned));

    let pruned = remove(place, merged, &last);
    // What others own comes back, even inside of something that went as a whole …
    let kept = left(&pruned).union(&owned);
    let pruned = remove(place, merged, &everything.clone().difference(&kept));
    // … and so does what the manager never owned.
    let gone = everything.difference(&left(&pruned)).intersection(&last);
    remove(place, merged, &gone)
}

/// The set with all declared fields that lead to members: whoever owns a field of a structure has a
/// say in whether the structure exists.
fn with_named_fields(place: Place<'_>, set: &Set) -> Set {
    let mut all = Set { member: set.member, ..Set::default() };
    for (element, child) in &set.children {
        let (below, declared) = place.child(element);
        let mut named = with_named_fields(below, child);
        named.member |= declared && !child.children.is_empty();
        all.children.insert(element.clone(), named);
    }
    all
}

/// The value without the places of `unwanted`. What is emptied by that becomes null, as if it had
/// never been set.
fn remove(place: Place<'_>, value: &Value, unwanted: &Set) -> Value {
    match place.shape(value) {
        Shape::Leaf => value.clone(),
        Shape::Map => remove_fields(place, value, unwanted),
        Shape::List => remove_items(place, value, unwanted),
    }
}

fn remove_fields(place: Place<'_>, value: &Value, unwanted: &Set) -> Value {
    let mut kept = Map::new();
    for (name, value) in shape::fields(Some(value)) {
        match unwanted.children.get(&element::field(name)) {
            Some(set) if set.member => {}
            Some(set) => _ = kept.insert(name.clone(), remove(place.field(name).0, value, set)),
            None => _ = kept.insert(name.clone(), value.clone()),
        }
    }
    if kept.is_empty() { Value::Null } else { Value::Object(kept) }
}

fn remove_items(place: Place<'_>, value: &Value, unwanted: &Set) -> Value {
    let items = shape::items(Some(value));
    let mut kept = Vec::with_capacity(items.len());
    for (element, item) in place.elements(items).into_iter().zip(items) {
        match unwanted.children.get(&element) {
            Some(set) if set.member => {}
            Some(set) => kept.push(remove(place.item(), item, set)),
            None => kept.push(item.clone()),
        }
    }
    // An item that lost all of its fields is no item.
    kept.retain(|item| !item.is_null());
    if kept.is_empty() { Value::Null } else { Value::Array(kept) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::schema::{Library, Schema};

    fn pod() -> Schema {
        Library::default().schema_of("v1", "Pod")
    }

    fn pruned(live: &Value, last: &Value, others: &Value) -> Value {
        let schema = pod();
        let place = Place::root(&schema);
        prune(place, live, &fields::of(place, last), &fields::of(place, others))
    }

    #[test]
    fn what_nobody_owns_any_more_goes() {
        let live = json!({"metadata": {"labels": {"a": "1", "b": "1", "c": "1"}}});
        let last = json!({"metadata": {"labels": {"a": "1", "b": "1"}}});
        let others = json!({"metadata": {"labels": {"b": "1"}}});
        let left = json!({"metadata": {"labels": {"b": "1", "c": "1"}}});
        assert_eq!(pruned(&live, &last, &others), left);
    }

    #[test]
    fn a_structure_goes_with_its_last_owner() {
        let live = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "priority": 1}});
        let last = json!({"spec": {"nodeName": "n"}});
        assert_eq!(pruned(&live, &last, &json!({})), json!({"metadata": {"name": "p"}}));
    }

    #[test]
    fn an_item_with_fields_of_others_stays_with_these() {
        let live = json!({"spec": {"containers": [{"name": "a", "image": "x", "args": ["1"]}, {"name": "b"}]}});
        let last = json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}});
        let others = json!({"spec": {"containers": [{"name": "a", "args": ["1"]}]}});
        let left = json!({"spec": {"containers": [{"name": "a", "args": ["1"]}]}});
        assert_eq!(pruned(&live, &last, &others), left);
    }

    #[test]
    fn a_map_that_is_emptied_is_not_set() {
        let live = json!({"metadata": {"name": "p", "labels": {"a": "1"}}});
        let left = json!({"metadata": {"name": "p", "labels": null}});
        assert_eq!(
            pruned(&live, &json!({"metadata": {"labels": {"a": "1"}}}), &json!({"metadata": {"labels": {}}})),
            left
        );
    }
}
