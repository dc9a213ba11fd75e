//! The structured merge of an applied configuration into a live object: what the configuration says
//! holds, what it does not mention stays.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    element::Element,
    shape::{self, Place, Shape},
};

/// The object that `config` makes of `live`. A null in the configuration is there in the result.
pub fn merge(place: Place<'_>, live: &Value, config: &Value) -> Value {
    let shape = place.shape(config);
    if place.shape(live) != shape || (shape::is_hollow(live) && shape::is_hollow(config)) {
        return config.clone();
    }
    match shape {
        Shape::Leaf => config.clone(),
        Shape::Map => merge_maps(place, live, config),
        Shape::List => merge_lists(place, shape::items(Some(live)), shape::items(Some(config))),
    }
}

fn merge_maps(place: Place<'_>, live: &Value, config: &Value) -> Value {
    let mut merged: Map<String, Value> = shape::fields(Some(live)).clone();
    for (name, value) in shape::fields(Some(config)) {
        let value = match merged.get(name) {
            Some(live) => merge(place.field(name).0, live, value),
            None => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    Value::Object(merged)
}

/// Shared items are in the order of the configuration; the others of the live list keep their
/// places before the shared item that follows them, and the new ones come after these.
fn merge_lists(place: Place<'_>, live: &[Value], config: &[Value]) -> Value {
    let wanted = place.elements(config);
    let merger = ListMerger {
        place: place.item(),
        wanted: wanted.iter().collect(),
        known: single_items(place, live),
        live: place.elements(live).into_iter().zip(live).collect(),
    };
    Value::Array(merger.run(&wanted, config))
}

/// Items by element; those that are there more than once are left out, since none can be merged.
fn single_items<'v>(place: Place<'_>, items: &'v [Value]) -> BTreeMap<Element, Option<&'v Value>> {
    let mut single = BTreeMap::new();
    for (element, item) in place.elements(items).into_iter().zip(items) {
        single.entry(element).and_modify(|known| *known = None).or_insert(Some(item));
    }
    single
}

struct ListMerger<'v> {
    place: Place<'v>,
    /// What the configuration lists.
    wanted: BTreeSet<&'v Element>,
    /// What the live list has, by element.
    known: BTreeMap<Element, Option<&'v Value>>,
    /// The same in order.
    live: Vec<(Element, &'v Value)>,
}

impl ListMerger<'_> {
    fn run(&self, wanted: &[Element], config: &[Value]) -> Vec<Value> {
        let mut merged = Vec::with_capacity(self.live.len().max(config.len()));
        let mut rest = self.live.iter().peekable();
        let shared: Vec<&Element> = wanted.iter().filter(|element| self.known.contains_key(*element)).collect();
        let mut next_shared = shared.into_iter().peekable();
        for (element, item) in wanted.iter().zip(config) {
            // Up to the next shared item the live list goes on; shared items out of turn are passed over.
            while let Some((live, value)) = rest.next_if(|(live, _)| next_shared.peek() != Some(&live)) {
                if !self.wanted.contains(live) {
                    merged.push((*value).clone());
                }
            }
            merged.push(self.item(element, item));
            next_shared.next_if_eq(&element);
            rest.next_if(|(live, _)| live == element);
        }
        merged.extend(rest.filter(|(live, _)| !self.wanted.contains(live)).map(|(_, value)| (*value).clone()));
        merged
    }

    fn item(&self, element: &Element, item: &Value) -> Value {
        match self.known.get(element) {
            Some(Some(live)) => merge(self.place, live, item),
            _ => item.clone(),
        }
    }
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

    fn spec(live: Value, config: Value) -> Value {
        let (live, config) = (json!({"spec": live}), json!({"spec": config}));
        merge(Place::root(&pod()), &live, &config)["spec"].take()
    }

    fn list(names: &str) -> Value {
        let items = names.chars().map(|name| json!({"name": name.to_string()}));
        json!({"containers": items.collect::<Vec<_>>()})
    }

    fn order(live: &str, config: &str) -> String {
        let merged = spec(list(live), list(config));
        merged["containers"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn lists_keep_the_order_of_both_sides() {
        for (live, config, merged) in [
            ("abc", "", "abc"),
            ("", "abc", "abc"),
            ("abc", "abc", "abc"),
            ("abc", "bd", "abcd"),
            ("abc", "cb", "acb"),
            ("abc", "dc", "abdc"),
            ("ab", "cd", "abcd"),
            ("xayb", "ba", "xyba"),
        ] {
            assert_eq!(order(live, config), merged, "{live} {config}");
        }
    }

    #[test]
    fn keyed_items_merge_and_atomic_lists_are_replaced() {
        let live = json!({"containers": [{"name": "a", "image": "x", "args": ["1"]}], "nodeSelector": {"a": "1"}});
        let config = json!({"containers": [{"name": "a", "args": ["2"]}], "nodeSelector": {"b": "2"}});
        let merged = json!({"containers": [{"name": "a", "image": "x", "args": ["2"]}], "nodeSelector": {"b": "2"}});
        assert_eq!(spec(live, config), merged);
    }

    #[test]
    fn nulls_overwrite_leaves_but_not_what_has_fields() {
        let live = json!({"nodeName": "n", "containers": [{"name": "a"}]});
        let merged = spec(live, json!({"nodeName": null, "containers": null}));
        assert_eq!(merged, json!({"nodeName": null, "containers": [{"name": "a"}]}));
    }

    proptest! {
        #[test]
        fn merging_twice_changes_nothing_and_loses_nothing(live in "[a-f]{0,6}", config in "[a-f]{0,6}") {
            let distinct = |names: &str| {
                let mut seen = BTreeSet::new();
                names.chars().filter(|name| seen.insert(*name)).collect::<String>()
            };
            let (live, config) = (distinct(&live), distinct(&config));
            let once = order(&live, &config);
            prop_assert_eq!(order(&once, &config), once.clone());
            let all: BTreeSet<char> = live.chars().chain(config.chars()).collect();
            prop_assert_eq!(once.chars().count(), all.len());
            prop_assert_eq!(once.chars().filter(|name| config.contains(*name)).collect::<String>(), config);
        }
    }
}
