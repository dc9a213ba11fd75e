//! OpenAPI documents of servers behind this one: listed beside those of this server in version 3, and
//! merged into the one document of version 2.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{Compressed, convert, definitions};

const DEFINITIONS: &str = "#/definitions/";
const PARAMETERS: &str = "#/parameters/";

/// What a server behind this one has to say of a group version.
#[derive(Debug, Clone)]
pub struct RemoteDocument {
    /// `apis/<group>/<version>`.
    pub path: String,
    /// Where the document of version 3 is.
    pub v3: V3,
    /// The document of version 2, of all that the other server has.
    pub v2: Option<Arc<Compressed>>,
}

/// Where a server's document of version 3 is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum V3 {
    /// Nobody could say.
    #[default]
    Unknown,
    /// Here, on this server as on the other.
    At(String),
    /// The server knows version 2 alone.
    Missing,
}

impl RemoteDocument {
    /// Whether this server makes the document of version 3 of that of version 2.
    pub fn is_converted(&self) -> bool {
        self.v3 == V3::Missing && self.v2.is_some()
    }

    /// The document of version 3 that is made of that of version 2.
    pub(super) fn converted(&self) -> Value {
        let document = self.v2.as_ref().and_then(|v2| serde_json::from_slice(&v2.plain()).ok());
        convert::to_v3(document.unwrap_or_default())
    }
}

impl PartialEq for RemoteDocument {
    fn eq(&self, other: &Self) -> bool {
        let same_v2 = match (&self.v2, &other.v2) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        };
        same_v2 && self.path == other.path && self.v3 == other.v3
    }
}

/// Adds what `remote` says of its group version to a document of version 2: the paths, and the
/// definitions and parameters that they refer to. What has a name that means something else already gets
/// another name, as upstream's aggregator gives it.
pub(super) fn merge(document: &mut Value, remote: &RemoteDocument) {
    let Some(v2) = &remote.v2 else { return };
    let Ok(mut other) = serde_json::from_slice::<Value>(&v2.plain()) else { return };
    let prefix = format!("/{}/", remote.path);
    let mut paths = take_object(&mut other, "paths");
    paths.retain(|path, _| format!("{path}/").starts_with(&prefix));
    let mut parameters = take_object(&mut other, "parameters");
    let used: BTreeSet<String> = paths.values().flat_map(|item| references(item, PARAMETERS)).collect();
    parameters.retain(|name, _| used.contains(name));
    let mut definitions = take_object(&mut other, "definitions");
    definitions::prune(&mut definitions, paths.values().chain(parameters.values()));
    let definition_names = add(document, "definitions", definitions, &[]);
    let names = [(DEFINITIONS, definition_names)];
    let parameter_names = add(document, "parameters", parameters, &names);
    let [definition_names] = names;
    let names = [definition_names, (PARAMETERS, parameter_names)];
    let Some(known) = document.get_mut("paths").and_then(Value::as_object_mut) else { return };
    for (path, mut item) in paths {
        refer(&mut item, &names);
        known.insert(path, item);
    }
}

/// New names of what could not keep its own, below a prefix of references.
type Renamed = (&'static str, BTreeMap<String, String>);

/// Adds `new` entries to a `section` of the document, in which references change as in `others`. Gives the
/// new names of those that could not keep theirs.
fn add(document: &mut Value, section: &str, new: Map<String, Value>, others: &[Renamed]) -> BTreeMap<String, String> {
    if !document[section].is_object() {
        document[section] = Value::Object(Map::new());
    }
    let Some(known) = document[section].as_object_mut() else { return BTreeMap::new() };
    let own = (DEFINITIONS, rename(&new, known));
    for (name, mut entry) in new {
        refer(&mut entry, others);
        if section == "definitions" {
            refer(&mut entry, std::slice::from_ref(&own));
        }
        let name = own.1.get(&name).cloned().unwrap_or(name);
        known.entry(name).or_insert(entry);
    }
    own.1
}

fn take_object(value: &mut Value, field: &str) -> Map<String, Value> {
    value.get_mut(field).and_then(Value::as_object_mut).map(std::mem::take).unwrap_or_default()
}

/// New names for those of `entries` that are something else among the `known` ones.
fn rename(entries: &Map<String, Value>, known: &Map<String, Value>) -> BTreeMap<String, String> {
    let differs = |name: &String, entry: &Value| known.get(name).is_some_and(|known| known != entry);
    let conflicts = entries.iter().filter(|(name, entry)| differs(name, entry));
    let free = |name: &String| !known.contains_key(name) && !entries.contains_key(name);
    conflicts
        .filter_map(|(name, _)| {
            let new = (2_u32..).map(|number| format!("{name}_v{number}")).find(free)?;
            Some((name.clone(), new))
        })
        .collect()
}

/// The names that `value` refers to below `prefix`.
fn references(value: &Value, prefix: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str).and_then(|pointer| pointer.strip_prefix(prefix));
            let own = name.map(str::to_owned).into_iter();
            own.chain(fields.values().flat_map(|value| references(value, prefix))).collect()
        }
        Value::Array(items) => items.iter().flat_map(|value| references(value, prefix)).collect(),
        _ => Vec::new(),
    }
}

/// Gives references the names that their targets have now.
fn refer(value: &mut Value, renamed: &[Renamed]) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                for (prefix, names) in renamed {
                    if let Some(new) = reference.strip_prefix(prefix).and_then(|name| names.get(name)) {
                        *reference = format!("{prefix}{new}");
                        break;
                    }
                }
            }
            fields.values_mut().for_each(|value| refer(value, renamed));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| refer(value, renamed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_come_with_the_definitions_they_need() {
        let other = json!({
            "paths": {
                "/apis/a.b/v1/foos": {"get": {"schema": {"$ref": "#/definitions/Foo"}}},
                "/apis/a.b/v1beta1/foos": {"get": {"schema": {"$ref": "#/definitions/Old"}}},
            },
            "definitions": {
                "Foo": {"properties": {"meta": {"$ref": "#/definitions/Meta"}, "same": {"$ref": "#/definitions/Same"}}},
                "Meta": {"type": "object"}, "Same": {"type": "string"}, "Old": {}, "Unused": {},
            },
        });
        let v2 = Some(Arc::new(Compressed::new(other.to_string().as_bytes(), String::new())));
        let remote = RemoteDocument { path: "apis/a.b/v1".into(), v3: V3::Missing, v2 };
        let mut document =
            json!({"paths": {"/api/v1": {}}, "definitions": {"Meta": {"type": "number"}, "Same": {"type": "string"}}});
        merge(&mut document, &remote);
        let names: Vec<&String> = document["definitions"].as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(document["definitions"]["Meta"]["type"], "number");
        assert_eq!(document["definitions"]["Meta_v2"]["type"], "object");
        assert_eq!(document["definitions"]["Foo"]["properties"]["meta"]["$ref"], "#/definitions/Meta_v2");
        let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        assert_eq!(paths, ["/api/v1", "/apis/a.b/v1/foos"]);
    }

    #[test]
    fn shared_parameters_come_along() {
        let list = json!([{"$ref": "#/parameters/limit-1"}, {"$ref": "#/parameters/body-1"}]);
        let other = json!({
            "paths": {"/apis/a.b/v1/foos": {"get": {"parameters": list}}},
            "parameters": {
                "limit-1": {"name": "limit"}, "unused-1": {"name": "unused"},
                "body-1": {"name": "body", "schema": {"$ref": "#/definitions/Meta"}},
            },
            "definitions": {"Meta": {"type": "object"}},
        });
        let v2 = Some(Arc::new(Compressed::new(other.to_string().as_bytes(), String::new())));
        let mut document = json!({"paths": {}, "definitions": {"Meta": {"type": "number"}},
                                  "parameters": {"limit-1": {"name": "limit", "type": "integer"}}});
        merge(&mut document, &RemoteDocument { path: "apis/a.b/v1".into(), v3: V3::Missing, v2 });
        let parameters = &document["paths"]["/apis/a.b/v1/foos"]["get"]["parameters"];
        assert_eq!(*parameters, json!([{"$ref": "#/parameters/limit-1_v2"}, {"$ref": "#/parameters/body-1"}]));
        assert_eq!(document["parameters"]["limit-1_v2"], json!({"name": "limit"}));
        assert_eq!(document["parameters"]["body-1"]["schema"]["$ref"], "#/definitions/Meta_v2");
        assert!(document["parameters"]["unused-1"].is_null());
    }

    #[test]
    fn nonsense_changes_nothing() {
        for text in ["[]", "not json", "{\"paths\": 1}"] {
            let v2 = Some(Arc::new(Compressed::new(text.as_bytes(), String::new())));
            let mut document = json!({"paths": {}, "definitions": {}, "parameters": {}});
            merge(&mut document, &RemoteDocument { path: "apis/a.b/v1".into(), v3: V3::Missing, v2 });
            assert_eq!(document, json!({"paths": {}, "definitions": {}, "parameters": {}}));
        }
    }
}
