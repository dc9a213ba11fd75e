//! Who owns which fields of an object: `metadata.managedFields`, decoded.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::set::Set;

/// Most managers that came by updates; the oldest beyond them are merged into one.
const UPDATERS_LIMIT: usize = 10;
/// The manager of what they owned.
const ANCIENT: &str = "ancient-changes";

/// How a manager writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By everything else.
    Update,
}

/// What tells managers apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// The name that it gave itself.
    pub name: String,
    /// How it writes.
    pub operation: Operation,
    /// The API version that it writes; empty for [`Operation::Apply`], whose manager stays the same
    /// when it moves to another version.
    pub api_version: String,
    /// The subresource that it writes; empty for the object itself.
    pub subresource: String,
}

/// What a manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Its fields.
    pub fields: Set,
    /// The API version that these are fields of.
    pub api_version: String,
    /// When it last took or changed a field; empty if unknown.
    pub time: String,
}

/// All managers of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managers(BTreeMap<Manager, Owned>);

impl Operation {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "Apply" => Ok(Self::Apply),
            "Update" => Ok(Self::Update),
            _ => Err("operation must be `Apply` or `Update`".into()),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

impl Manager {
    /// The manager that `entry` of `metadata.managedFields` is about.
    pub fn of_entry(entry: &Value) -> Result<Self, String> {
        let operation = Operation::parse(text(entry, "operation"))?;
        let api_version = match operation {
            Operation::Apply => "",
            Operation::Update => text(entry, "apiVersion"),
        };
        Ok(Self {
            name: text(entry, "manager").to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: text(entry, "subresource").to_owned(),
        })
    }
}

impl Managers {
    /// Reads `metadata.managedFields`; null is nobody.
    pub fn decode(entries: &Value) -> Result<Self, String> {
        let mut managers = BTreeMap::new();
        for (place, entry) in entries.as_array().into_iter().flatten().enumerate() {
            let manager = Manager::of_entry(entry)?;
            if text(entry, "apiVersion").is_empty() {
                return Err("apiVersion must not be empty".into());
            }
            match text(entry, "fieldsType") {
                "FieldsV1" => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {place}")),
                other => return Err(format!("invalid fieldsType \"{other}\" in managed fields entry {place}")),
            }
            let fields = entry.get("fieldsV1").filter(|fields| !fields.is_null());
            let owned = Owned {
                fields: fields.map(Set::from_value).transpose()?.unwrap_or_default(),
                api_version: text(entry, "apiVersion").to_owned(),
                time: text(entry, "time").to_owned(),
            };
            managers.insert(manager, owned);
        }
        Ok(Self(managers))
    }

    /// `metadata.managedFields`, in upstream's order; null for nobody.
    pub fn encode(&self) -> Value {
        if self.0.is_empty() {
            return Value::Null;
        }
        let mut all: Vec<(&Manager, &Owned)> = self.0.iter().collect();
        all.sort_by_key(|(manager, owned)| {
            (manager.operation, &owned.time, &manager.name, &owned.api_version, &manager.subresource)
        });
        all.into_iter().map(|(manager, owned)| encode_entry(manager, owned)).collect()
    }

    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a manager owns.
    pub fn get(&self, manager: &Manager) -> Option<&Owned> {
        self.0.get(manager)
    }

    /// All managers.
    pub fn iter(&self) -> impl Iterator<Item = (&Manager, &Owned)> {
        self.0.iter()
    }

    /// Sets what a manager owns; managers who own nothing are forgotten.
    pub fn set(&mut self, manager: Manager, owned: Owned) {
        if owned.fields.is_empty() {
            self.0.remove(&manager);
        } else {
            self.0.insert(manager, owned);
        }
    }

    /// Changes what each manager owns; managers who own nothing then are forgotten.
    pub fn change(&mut self, change: impl Fn(&Manager, &mut Owned)) {
        self.0.retain(|manager, owned| {
            change(manager, owned);
            !owned.fields.is_empty()
        });
    }

    /// Merges the oldest updaters, by API version, until there are few enough. Appliers stay.
    pub fn cap(&mut self) {
        let mut updaters: Vec<Manager> =
            self.0.keys().filter(|key| key.operation == Operation::Update).cloned().collect();
        let mut excess = updaters.len().saturating_sub(UPDATERS_LIMIT);
        updaters.sort_by_cached_key(|manager| (self.0[manager].time.clone(), manager.clone()));
        let mut first_of_version: BTreeMap<String, Manager> = BTreeMap::new();
        for manager in updaters {
            if excess == 0 {
                return;
            }
            let version = self.0[&manager].api_version.clone();
            match first_of_version.get(&version) {
                Some(first) => {
                    self.merge_into_ancient(&manager, &first.clone(), version);
                    excess -= 1;
                }
                None => _ = first_of_version.insert(version, manager),
            }
        }
    }

    /// The first manager of a version becomes the ancient one when a second joins it.
    fn merge_into_ancient(&mut self, manager: &Manager, first: &Manager, version: String) {
        let bucket = Manager {
            name: ANCIENT.into(),
            operation: Operation::Update,
            api_version: version,
            subresource: String::new(),
        };
        let Some(newer) = self.0.remove(manager) else { return };
        let older = self.0.remove(&bucket).or_else(|| self.0.remove(first));
        let fields = older.map(|older| older.fields).unwrap_or_default().union(&newer.fields);
        self.0.insert(bucket, Owned { fields, ..newer });
    }
}

fn encode_entry(manager: &Manager, owned: &Owned) -> Value {
    let mut entry = Map::new();
    entry.insert("manager".into(), manager.name.as_str().into());
    entry.insert("operation".into(), manager.operation.as_str().into());
    entry.insert("apiVersion".into(), owned.api_version.as_str().into());
    if !owned.time.is_empty() {
        entry.insert("time".into(), owned.time.as_str().into());
    }
    entry.insert("fieldsType".into(), "FieldsV1".into());
    entry.insert("fieldsV1".into(), owned.fields.to_value());
    if !manager.subresource.is_empty() {
        entry.insert("subresource".into(), manager.subresource.as_str().into());
    }
    Value::Object(entry)
}

fn text<'v>(entry: &'v Value, field: &str) -> &'v str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Whether `managedFields` as a client sent them ask for a new beginning: an empty list, or one with
/// a single empty entry.
pub fn is_reset(entries: &Value) -> bool {
    entries.as_array().is_some_and(|entries| match entries.as_slice() {
        [] => true,
        [only] => *only == json!({}),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, operation: &str, time: &str, field: &str) -> Value {
        json!({"manager": name, "operation": operation, "apiVersion": "v1", "time": time,
               "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {field: {}}}})
    }

    #[test]
    fn entries_are_sorted_as_upstream_does() {
        let entries = json!([
            entry("c", "Update", "2026-01-01T00:00:02Z", "f:x"),
            entry("b", "Update", "2026-01-01T00:00:01Z", "f:x"),
            entry("a", "Apply", "2026-01-01T00:00:03Z", "f:x"),
        ]);
        let encoded = Managers::decode(&entries).unwrap().encode();
        let names: Vec<_> = encoded.as_array().unwrap().iter().map(|entry| text(entry, "manager")).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(Managers::decode(&encoded).unwrap().encode(), encoded);
    }

    #[test]
    fn broken_entries_are_named() {
        let problem = |patch: Value| {
            let mut entry = entry("a", "Apply", "", "f:x");
            entry.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
            Managers::decode(&json!([entry])).unwrap_err()
        };
        assert_eq!(problem(json!({"operation": "x"})), "operation must be `Apply` or `Update`");
        assert_eq!(problem(json!({"apiVersion": ""})), "apiVersion must not be empty");
        assert_eq!(problem(json!({"fieldsType": null})), "missing fieldsType in managed fields entry 0");
        assert_eq!(problem(json!({"fieldsType": "V2"})), "invalid fieldsType \"V2\" in managed fields entry 0");
    }

    #[test]
    fn old_updaters_are_merged() {
        let entries: Value = (0..13)
            .map(|n| entry(&format!("m{n:02}"), "Update", &format!("2026-01-01T00:00:{n:02}Z"), &format!("f:k{n}")))
            .collect();
        let mut managers = Managers::decode(&entries).unwrap();
        let everything =
            |managers: &Managers| managers.iter().fold(Set::default(), |all, (_, owned)| all.union(&owned.fields));
        let before = everything(&managers);
        managers.cap();
        assert_eq!(managers.iter().count(), UPDATERS_LIMIT);
        let (_, ancient) = managers.iter().find(|(manager, _)| manager.name == ANCIENT).unwrap();
        assert_eq!(ancient.fields.paths(), [".data.k0", ".data.k1", ".data.k2", ".data.k3"]);
        assert_eq!(ancient.time, "2026-01-01T00:00:03Z");
        assert_eq!(everything(&managers), before);
    }

    #[test]
    fn a_new_beginning_is_an_empty_list_or_entry() {
        assert!(is_reset(&json!([])) && is_reset(&json!([{}])));
        assert!(!is_reset(&json!([{"manager": "a"}])) && !is_reset(&Value::Null));
    }
}
