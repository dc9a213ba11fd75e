//! What a definition's status must say: whether its names are taken by nobody else, and whether it
//! is served (apiextensions' naming and establishing controllers).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::{meta, time};

/// Names that other definitions of a group have.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Taken {
    resources: Vec<String>,
    kinds: Vec<String>,
}

impl Taken {
    /// Names that were accepted for any of `definitions` of `group` but the one called `but`.
    pub fn by_others<'a>(definitions: impl Iterator<Item = &'a Value>, group: &str, but: &str) -> Self {
        let mut taken = Self::default();
        let others = definitions.filter(|one| text(one, "/spec/group") == group && meta::name(one) != but);
        for names in others.filter_map(|one| one.pointer("/status/acceptedNames")) {
            let name = |field: &str| names.get(field).and_then(Value::as_str).map(str::to_owned);
            taken.resources.extend(name("plural").into_iter().chain(name("singular")).chain(short_names(names)));
            taken.kinds.extend(name("kind").into_iter().chain(name("listKind")));
        }
        taken
    }
}

/// The status that a definition must have; `None` if it has it.
pub fn plan(definition: &Value, taken: &Taken, now: Timestamp) -> Option<Value> {
    let old = definition.get("status").cloned().unwrap_or_else(|| json!({}));
    let mut status = old.clone();
    let conflict = accept(definition, &mut status, taken);
    match &conflict {
        None => set(&mut status, ["NamesAccepted", "True", "NoConflicts", "no conflicts found"], now),
        Some((reason, message)) => set(&mut status, ["NamesAccepted", "False", reason, message], now),
    }
    // Once established, always established: objects may be there.
    if !is_true(&status, "Established") {
        let said = match conflict {
            None => ["Established", "True", "InitialNamesAccepted", "the initial names have been accepted"],
            Some(_) => ["Established", "False", "NotAccepted", "not all names are accepted"],
        };
        set(&mut status, said, now);
    }
    if meta::deletion_timestamp(definition).is_some() {
        let said = ["Terminating", "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"];
        set(&mut status, said, now);
    }
    (status != old).then_some(status)
}

/// Whether a condition holds.
pub fn is_true(status: &Value, kind: &str) -> bool {
    let conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Takes each wanted name that is free into `acceptedNames`; the reason and message of what is not.
fn accept(definition: &Value, status: &mut Value, taken: &Taken) -> Option<(&'static str, String)> {
    let none = json!({});
    let wanted = definition.pointer("/spec/names").unwrap_or(&none);
    let mut accepted = status.get("acceptedNames").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut conflict = None;
    let names = [
        ("plural", &taken.resources, "PluralConflict"),
        ("singular", &taken.resources, "SingularConflict"),
        ("kind", &taken.kinds, "KindConflict"),
        ("listKind", &taken.kinds, "ListKindConflict"),
    ];
    for (field, taken, reason) in names {
        let Some(name) = wanted.get(field).and_then(Value::as_str).filter(|name| !name.is_empty()) else { continue };
        if taken.iter().any(|taken| taken == name) {
            conflict = Some((reason, format!("\"{name}\" is already in use")));
        } else {
            accepted.insert(field.to_owned(), name.into());
        }
    }
    let in_use: Vec<String> = short_names(wanted).filter(|name| taken.resources.contains(name)).collect();
    if in_use.is_empty() {
        copy(wanted, &mut accepted, "shortNames");
    } else {
        let each: Vec<String> = in_use.iter().map(|name| format!("\"{name}\" is already in use")).collect();
        conflict = Some(("ShortNamesConflict", each.join(", ")));
    }
    copy(wanted, &mut accepted, "categories");
    status["acceptedNames"] = Value::Object(accepted);
    conflict
}

fn copy(from: &Value, to: &mut Map<String, Value>, field: &str) {
    match from.get(field) {
        Some(value) => _ = to.insert(field.to_owned(), value.clone()),
        None => _ = to.remove(field),
    }
}

fn short_names(names: &Value) -> impl Iterator<Item = String> {
    let list = names.get("shortNames").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Sets a condition: its type, status, reason and message.
fn set(status: &mut Value, [kind, holds, reason, message]: [&str; 4], now: Timestamp) {
    let mut condition = json!({"type": kind, "status": holds, "reason": reason, "message": message,
                               "lastTransitionTime": time::format(now)});
    let conditions = &mut status["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else { return };
    match list.iter_mut().find(|known| known["type"] == kind) {
        Some(known) => {
            if known["status"] == holds {
                condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
            }
            *known = condition;
        }
        None => list.push(condition),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str) -> Value {
        json!({"metadata": {"name": format!("{plural}.example.com")},
               "spec": {"group": "example.com", "names": {"plural": plural, "singular": kind.to_lowercase(),
                        "kind": kind, "listKind": format!("{kind}List"), "shortNames": ["x"]}}})
    }

    fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
        status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == kind).unwrap()
    }

    #[test]
    fn free_names_are_accepted_and_the_definition_is_established() {
        let mut foo = definition("foos", "Foo");
        let status = plan(&foo, &Taken::default(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(status["acceptedNames"], foo["spec"]["names"]);
        assert_eq!(condition(&status, "NamesAccepted")["reason"], "NoConflicts");
        assert!(is_true(&status, "Established"));
        foo["status"] = status;
        assert_eq!(plan(&foo, &Taken::default(), Timestamp::now()), None);
    }

    #[test]
    fn names_that_others_have_are_not_accepted() {
        let mut foo = definition("foos", "Foo");
        foo["status"] = plan(&foo, &Taken::default(), Timestamp::UNIX_EPOCH).unwrap();
        let bar = definition("bars", "Foo");
        let all = [foo, bar.clone()];
        let taken = Taken::by_others(all.iter(), "example.com", "bars.example.com");
        let status = plan(&bar, &taken, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(condition(&status, "NamesAccepted")["status"], "False");
        assert_eq!(condition(&status, "NamesAccepted")["message"], "\"x\" is already in use");
        assert_eq!(condition(&status, "Established")["reason"], "NotAccepted");
        assert_eq!(status["acceptedNames"], json!({"plural": "bars"}));
        assert_eq!(Taken::by_others(all.iter(), "other.com", ""), Taken::default());
    }

    #[test]
    fn a_deleted_definition_says_so() {
        let mut foo = definition("foos", "Foo");
        foo["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let status = plan(&foo, &Taken::default(), Timestamp::UNIX_EPOCH).unwrap();
        assert!(is_true(&status, "Terminating"));
    }
}
