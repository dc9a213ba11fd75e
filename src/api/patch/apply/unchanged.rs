//! Writes that leave ownership as it is: most updates change values of fields that their writer owns
//! already (leases, heartbeats, status). These are recognized on the encoded sets, so that nothing
//! but a time is written anew.

use serde_json::Value;

use super::{fields::Comparison, managers::Manager, set::Set};

/// The entries of `managedFields` with the time of `manager` set to `now`, if a change leaves it at
/// that: nothing was added or removed, and all that changed is the manager's own and nobody else's.
/// `None` if the change means more.
pub fn with_time(entries: &Value, manager: &Manager, comparison: &Comparison, now: &str) -> Option<Value> {
    if !comparison.added.is_empty() || !comparison.removed.is_empty() {
        return None;
    }
    if comparison.modified.is_empty() {
        return Some(entries.clone());
    }
    let list = entries.as_array()?;
    let mut own = None;
    for (place, entry) in list.iter().enumerate() {
        if entry["apiVersion"] != *manager.api_version {
            return None;
        }
        if Manager::of_entry(entry).ok()? == *manager {
            own = Some(place);
        } else if touches(entry.get("fieldsV1")?, &comparison.modified) {
            return None;
        }
    }
    let own = own.filter(|place| holds(&list[*place]["fieldsV1"], &comparison.modified))?;
    let mut list = list.clone();
    list[own]["time"] = now.into();
    list.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    Some(Value::Array(list))
}

/// Whether two states of managed fields differ in no more than their times.
pub fn same_but_times(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_array(), old.as_array()) else { return new == old };
    // Times decide about the order: what was written last may have moved.
    let counterpart = |entry: &Value| old.iter().any(|old| same_but_time(entry, old));
    new.len() == old.len() && new.iter().all(counterpart)
}

fn same_but_time(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return new == old };
    let others = |(name, _): &(&String, &Value)| *name != "time";
    new.iter().filter(others).eq(old.iter().filter(others))
}

fn sort_key(entry: &Value) -> [&str; 5] {
    ["operation", "time", "manager", "apiVersion", "subresource"].map(|field| entry[field].as_str().unwrap_or_default())
}

/// Whether all of `set` is in an encoded set.
fn holds(fields: &Value, set: &Set) -> bool {
    set.children.iter().all(|(element, child)| match fields.get(&**element) {
        Some(below) => (!child.member || is_member(below)) && holds(below, child),
        None => false,
    })
}

/// Whether any of `set` is in an encoded set.
fn touches(fields: &Value, set: &Set) -> bool {
    set.children.iter().any(|(element, child)| match fields.get(&**element) {
        Some(below) => (child.member && is_member(below)) || touches(below, child),
        None => false,
    })
}

fn is_member(below: &Value) -> bool {
    below.as_object().is_some_and(|fields| fields.is_empty() || fields.contains_key("."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::managers::Operation, *};

    const NOW: &str = "2026-01-01T00:00:09Z";

    fn entry(name: &str, fields: &Value) -> Value {
        json!({"manager": name, "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:01Z",
               "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn manager(name: &str) -> Manager {
        Manager {
            name: name.into(),
            operation: Operation::Update,
            api_version: "v1".into(),
            subresource: String::new(),
        }
    }

    fn modified(paths: &[&str]) -> Comparison {
        Comparison { modified: Set::of_fields(paths), ..Comparison::default() }
    }

    #[test]
    fn own_fields_cost_a_time() {
        let entries = json!([entry("a", &json!({"f:x": {}})), entry("b", &json!({"f:y": {".": {}, "f:z": {}}}))]);
        let changed = with_time(&entries, &manager("a"), &modified(&["x"]), NOW).unwrap();
        assert_eq!((&changed[1]["manager"], &changed[1]["time"]), (&json!("a"), &json!(NOW)));
        assert_eq!(changed[0], entries[1]);
        assert!(with_time(&entries, &manager("b"), &modified(&["y", "y.z"]), NOW).is_some());
        assert_eq!(with_time(&entries, &manager("c"), &modified(&[]), NOW), Some(entries));
    }

    #[test]
    fn everything_else_means_more() {
        let entries = json!([entry("a", &json!({"f:x": {}})), entry("b", &json!({"f:y": {"f:z": {}}, "f:x": {}}))]);
        for (name, paths) in [("a", "x"), ("a", "y.z"), ("c", "w"), ("b", "y")] {
            assert_eq!(with_time(&entries, &manager(name), &modified(&[paths]), NOW), None, "{name} {paths}");
        }
        let added = Comparison { added: Set::of_fields(&["x"]), ..Comparison::default() };
        assert_eq!(with_time(&entries, &manager("a"), &added, NOW), None);
    }

    #[test]
    fn times_alone_are_no_difference() {
        let entries = |time: &str, fields: &str| json!([{"time": time, "fieldsV1": fields}, {"time": "0"}]);
        assert!(same_but_times(&entries("1", "f"), &entries("2", "f")));
        assert!(!same_but_times(&entries("1", "f"), &entries("2", "g")));
        assert!(!same_but_times(&entries("1", "f"), &Value::Null) && same_but_times(&Value::Null, &Value::Null));
    }
}
