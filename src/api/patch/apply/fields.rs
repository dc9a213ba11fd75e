//! From values to the sets of their fields: all of one value, or those in which two differ.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    element::{self, Element},
    set::Set,
    shape::{self, Place, Shape},
};

/// The fields in which an object differs from an older one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// New fields.
    pub added: Set,
    /// Fields with another value.
    pub modified: Set,
    /// Fields that are gone.
    pub removed: Set,
}

impl Comparison {
    /// The fields that the change took hold of.
    pub fn taken(&self) -> Set {
        self.modified.clone().union(&self.added)
    }

    /// The fields that nobody but the writer has any more.
    pub fn lost(&self) -> Set {
        self.taken().union(&self.removed)
    }

    /// The comparison as if neither object had the fields of `ignored`.
    #[must_use]
    pub fn without(self, ignored: &Set) -> Self {
        Self {
            added: self.added.without(ignored),
            modified: self.modified.without(ignored),
            removed: self.removed.without(ignored),
        }
    }

    /// The comparison without exactly the fields of `excluded`.
    #[must_use]
    pub fn difference(self, excluded: &Set) -> Self {
        Self {
            added: self.added.difference(excluded),
            modified: self.modified.difference(excluded),
            removed: self.removed.difference(excluded),
        }
    }

    fn put(&mut self, element: impl Fn() -> Element, child: Self) {
        self.added.put(&element, child.added);
        self.modified.put(&element, child.modified);
        self.removed.put(&element, child.removed);
    }
}

/// The fields that an applied configuration has an opinion about.
pub fn of(place: Place<'_>, value: &Value) -> Set {
    match place.shape(value) {
        Shape::Leaf => Set::leaf(),
        Shape::Map => of_map(place, value),
        Shape::List => of_list(place, value),
    }
}

/// Whether all items of sets and keyed lists have what tells them apart.
pub fn are_trackable(place: Place<'_>, value: &Value) -> bool {
    match place.shape(value) {
        Shape::Leaf => true,
        Shape::Map => shape::fields(Some(value)).iter().all(|(name, value)| are_trackable(place.field(name).0, value)),
        Shape::List => {
            let mut items = shape::items(Some(value)).iter();
            items.all(|item| place.element(item).is_ok() && are_trackable(place.item(), item))
        }
    }
}

/// In which fields `new` differs from `old`.
pub fn compare(place: Place<'_>, old: Option<&Value>, new: Option<&Value>) -> Comparison {
    let shape = match (old, new) {
        (None, None) => return Comparison::default(),
        (Some(old), Some(new)) if old == new => return Comparison::default(),
        (Some(one), None) | (None, Some(one)) => place.shape(one),
        (Some(old), Some(new)) => match (place.shape(old), place.shape(new)) {
            (was, is) if was == is => is,
            _ => return compare_shapes(place, old, new),
        },
    };
    let hollow = [old, new].into_iter().flatten().all(shape::is_hollow);
    let mut comparison = match shape {
        Shape::Leaf => Comparison::default(),
        _ if hollow => Comparison::default(),
        Shape::Map => compare_maps(place, old, new),
        Shape::List => compare_lists(place, old, new),
    };
    comparison.added.member = old.is_none();
    comparison.removed.member = new.is_none();
    comparison.modified.member = old.is_some() && new.is_some() && (shape == Shape::Leaf || hollow);
    comparison
}

fn of_map(place: Place<'_>, value: &Value) -> Set {
    let mut set = Set::default();
    for (name, value) in shape::fields(Some(value)) {
        let (child, declared) = place.field(name);
        let mut fields = of(child, value);
        let hollow = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        fields.member |= hollow || !declared;
        set.put(|| element::field(name), fields);
    }
    set
}

/// Of items that are there more than once, only that they are is owned.
fn of_list(place: Place<'_>, value: &Value) -> Set {
    let items = shape::items(Some(value));
    let mut set = Set::default();
    for (element, item) in place.elements(items).into_iter().zip(items) {
        match set.children.get_mut(&element) {
            Some(known) => *known = Set::leaf(),
            None => {
                let fields = Set { member: true, ..of(place.item(), item) };
                set.children.insert(element, fields);
            }
        }
    }
    set
}

/// Something took the place of something else: what was inside is gone, what is inside is new.
fn compare_shapes(place: Place<'_>, old: &Value, new: &Value) -> Comparison {
    let mut added = compare(place, None, Some(new)).added;
    let mut removed = compare(place, Some(old), None).removed;
    (added.member, removed.member) = (false, false);
    Comparison { added, removed, modified: Set::leaf() }
}

fn compare_maps(place: Place<'_>, old: Option<&Value>, new: Option<&Value>) -> Comparison {
    let (old, new) = (shape::fields(old), shape::fields(new));
    let mut all = Comparison::default();
    for (name, value) in old {
        let child = compare(place.field(name).0, Some(value), new.get(name));
        all.put(|| element::field(name), child);
    }
    for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        all.put(|| element::field(name), compare(place.field(name).0, None, Some(value)));
    }
    all
}

fn compare_lists(place: Place<'_>, old: Option<&Value>, new: Option<&Value>) -> Comparison {
    let (old, new) = (shape::items(old), shape::items(new));
    let mut pairs: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for (element, item) in place.elements(old).into_iter().zip(old) {
        pairs.entry(element).or_default().0.push(item);
    }
    for (element, item) in place.elements(new).into_iter().zip(new) {
        pairs.entry(element).or_default().1.push(item);
    }
    let mut all = Comparison::default();
    for (element, (old, new)) in pairs {
        all.put(|| element.clone(), compare_items(place.item(), &old, &new));
    }
    all
}

/// Compares what a list has of one element. More than one item of it count as a whole, which is
/// told from a single item by its lack of fields.
fn compare_items(place: Place<'_>, old: &[&Value], new: &[&Value]) -> Comparison {
    match (old, new) {
        ([], [_, _, ..]) => Comparison { added: Set::leaf(), ..Comparison::default() },
        ([_, _, ..], []) => Comparison { removed: Set::leaf(), ..Comparison::default() },
        ([_, _, ..], [_, _, ..]) if old == new => Comparison::default(),
        ([_, _, ..], [_, _, ..]) => Comparison { modified: Set::leaf(), ..Comparison::default() },
        ([_, _, ..], [one]) => Comparison { removed: Set::leaf(), ..compare(place, None, Some(one)) },
        ([one], [_, _, ..]) => Comparison { added: Set::leaf(), ..compare(place, Some(one), None) },
        _ => compare(place, old.first().copied(), new.first().copied()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::schema::{Library, Schema};

    fn pod() -> Schema {
        Library::default().schema_of("v1", "Pod")
    }

    fn paths(set: &Set) -> Vec<String> {
        set.paths()
    }

    #[test]
    fn an_applied_object_owns_its_leaves_and_items() {
        let object = json!({"metadata": {"labels": {"a": "1"}, "finalizers": ["x"]},
            "spec": {"containers": [{"name": "c", "args": ["1"], "ports": [{"containerPort": 80}]}],
                     "nodeSelector": {"a": "b"}, "securityContext": {}, "priority": null}});
        let set = of(Place::root(&pod()), &object);
        let fields = json!({
            "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {"v:\"x\"": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:args": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}},
                "f:nodeSelector": {}, "f:securityContext": {}, "f:priority": {}}});
        assert_eq!(set.to_value(), fields);
    }

    #[test]
    fn changes_are_told_apart() {
        let old = json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"nodeName": "n"}});
        let new = json!({"metadata": {"labels": {"a": "2", "c": "1"}}, "spec": {"containers": [{"name": "c"}]}});
        let schema = pod();
        let comparison = compare(Place::root(&schema), Some(&old), Some(&new));
        assert_eq!(paths(&comparison.modified), [".metadata.labels.a"]);
        assert_eq!(paths(&comparison.removed), [".metadata.labels.b", ".spec.nodeName"]);
        assert_eq!(
            paths(&comparison.added),
            [
                ".metadata.labels.c",
                ".spec.containers",
                ".spec.containers[name=\"c\"]",
                ".spec.containers[name=\"c\"].name"
            ]
        );
    }

    #[test]
    fn atomic_structures_change_as_a_whole() {
        let schema = Library::default().schema_of("apps/v1", "Deployment");
        let object = |app: &str| json!({"spec": {"selector": {"matchLabels": {"app": app}}}});
        let comparison = compare(Place::root(&schema), Some(&object("a")), Some(&object("b")));
        assert_eq!(paths(&comparison.modified), [".spec.selector"]);
    }

    #[test]
    fn duplicates_count_as_a_whole() {
        let schema = pod();
        let list = |items: Value| json!({"spec": {"containers": [{"name": "c", "env": items}]}});
        let one = list(json!([{"name": "a", "value": "1"}]));
        let two = list(json!([{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]));
        let comparison = compare(Place::root(&schema), Some(&one), Some(&two));
        let item = ".spec.containers[name=\"c\"].env[name=\"a\"]";
        assert_eq!(paths(&comparison.added), [item]);
        assert_eq!(paths(&comparison.removed)[0], item);
        assert_eq!(of(Place::root(&schema), &two).paths().last().unwrap(), item);
    }
}
