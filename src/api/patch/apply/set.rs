//! Sets of fields (`fieldsV1`): a tree of path elements, in which each place is a member or is only
//! on the way to members.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element::{self, Element};

/// How `fieldsV1` says that a place with places below it is itself a member.
const SELF: &str = ".";

/// A set of fields; also a subtree of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// Whether the place itself is a member. Never true of the root.
    pub member: bool,
    /// What is below.
    pub children: BTreeMap<Element, Set>,
}

impl Set {
    /// A set of one place and nothing below it.
    pub fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    /// A set of paths whose elements are all fields, written with dots.
    pub fn of_fields(paths: &[&str]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut here = &mut set;
            for name in path.split('.') {
                here = here.children.entry(element::field(name)).or_default();
            }
            here.member = true;
        }
        set
    }

    /// Reads `fieldsV1`.
    pub fn from_value(fields: &Value) -> Result<Self, String> {
        let fields = fields.as_object().ok_or("fieldsV1 is not an object")?;
        let mut set = Self::default();
        for (given, below) in fields.iter().filter(|(given, _)| *given != SELF) {
            let Some(element) = element::canonical(given)? else { continue };
            let mut child = Self::from_value(below)?;
            child.member = child.children.is_empty() || below.get(SELF).is_some();
            set.children.insert(element, child);
        }
        Ok(set)
    }

    /// The set as `fieldsV1`.
    pub fn to_value(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.children.is_empty() {
            fields.insert(SELF.into(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            fields.insert(element.to_string(), child.to_value());
        }
        Value::Object(fields)
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Whether the place at the end of `path` is a member.
    pub fn has(&self, path: &[Element]) -> bool {
        let mut here = Some(self);
        for element in path {
            here = here.and_then(|set| set.children.get(element));
        }
        here.is_some_and(|set| set.member)
    }

    /// Puts a subtree in its place, unless it is empty.
    pub fn put(&mut self, element: impl FnOnce() -> Element, child: Self) {
        if !child.is_empty() {
            self.children.insert(element(), child);
        }
    }

    /// Members of either.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    /// Members of this set that are not in `other`; places below members of `other` stay.
    #[must_use]
    pub fn difference(mut self, other: &Self) -> Self {
        self.subtract(other, false);
        self
    }

    /// Members of this set that are neither in `other` nor below a member of it.
    #[must_use]
    pub fn without(mut self, other: &Self) -> Self {
        self.subtract(other, true);
        self
    }

    /// Members of both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (element, child) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                both.put(|| element.clone(), child.intersection(theirs));
            }
        }
        both
    }

    /// Paths of all members, as people read them; a place comes before what is below it.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, theirs) in &other.children {
            self.children.entry(element.clone()).or_default().add(theirs);
        }
    }

    fn subtract(&mut self, other: &Self, recursive: bool) {
        if other.member {
            self.member = false;
            if recursive {
                self.children.clear();
            }
        }
        for (element, theirs) in &other.children {
            let Some(child) = self.children.get_mut(element) else { continue };
            child.subtract(theirs, recursive);
            if child.is_empty() {
                self.children.remove(element);
            }
        }
    }

    fn collect(&self, here: &str, paths: &mut Vec<String>) {
        let path = |element: &str| format!("{here}{}", element::shown(element));
        paths.extend(self.children.iter().filter(|(_, child)| child.member).map(|(element, _)| path(element)));
        for (element, child) in &self.children {
            child.collect(&path(element), paths);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Random small sets over few names, so that they overlap.
    pub fn sets() -> impl Strategy<Value = Set> {
        proptest::collection::vec("[a-c](\\.[a-c]){0,2}", 0..8).prop_map(|paths| {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            Set::of_fields(&paths)
        })
    }

    #[test]
    fn fields_v1_is_read_and_written() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                            "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
                                       "f:finalizers": {"v:\"x\"": {}}}});
        let set = Set::from_value(&fields).unwrap();
        assert_eq!(set.to_value(), fields);
        assert_eq!(
            set.paths(),
            [
                ".metadata.labels",
                ".metadata.labels.a",
                ".spec.finalizers[=\"x\"]",
                ".spec.ports[port=80,protocol=\"TCP\"]",
                ".spec.ports[port=80,protocol=\"TCP\"].port",
            ]
        );
        assert!(Set::from_value(&json!({"f:a": 1})).is_err());
        assert!(Set::from_value(&json!({"z:a": {}})).unwrap().is_empty());
    }

    #[test]
    fn a_difference_is_exact_and_a_recursive_one_is_not() {
        let set = Set::of_fields(&["spec", "spec.a", "status.b"]);
        let other = Set::of_fields(&["spec", "status"]);
        assert_eq!(set.clone().difference(&other), Set::of_fields(&["spec.a", "status.b"]));
        assert!(set.without(&other).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(set in sets()) {
            prop_assert_eq!(Set::from_value(&set.to_value()).unwrap(), set);
        }

        #[test]
        fn algebra_holds(a in sets(), b in sets()) {
            let both = a.intersection(&b);
            prop_assert_eq!(&both, &b.intersection(&a));
            prop_assert_eq!(a.clone().union(&b), b.clone().union(&a));
            prop_assert_eq!(a.clone().difference(&b).union(&both), a.clone());
            prop_assert!(a.clone().difference(&b).intersection(&b).is_empty());
            prop_assert_eq!(a.clone().union(&b).difference(&b), a.difference(&b));
        }
    }
}
