//! OpenAPI documents of servers behind this one: listed beside those of this server in version 3, and
//! merged into the one document of version 2.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::Compressed;

const REFERENCE: &str = "#/definitions/";

/// What a server behind this one has to say of a group version.
#[derive(Debug, Clone)]
pub struct RemoteDocument {
    /// `apis/<group>/<version>`.
    pub path: String,
    /// Where the document of version 3 is, on this server as on the other.
    pub v3_url: Option<String>,
    /// The document of version 2, of all that the other server has.
    pub v2: Option<Arc<Compressed>>,
}

impl PartialEq for RemoteDocument {
    fn eq(&self, other: &Self) -> bool {
        let same_v2 = match (&self.v2, &other.v2) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        };
        same_v2 && self.path == other.path && self.v3_url == other.v3_url
    }
}

/// Adds what `remote` says of its group version to a document of version 2: the paths, and the
/// definitions that they refer to. A definition whose name means something else already gets another
/// name, as upstream's aggregator gives it.
pub(super) fn merge(document: &mut Value, remote: &RemoteDocument) {
    let Some(v2) = &remote.v2 else { return };
    let Ok(mut other) = serde_json::from_slice::<Value>(&v2.plain()) else { return };
    let prefix = format!("/{}/", remote.path);
    let mut paths = take_object(&mut other, "paths");
    paths.retain(|path, _| format!("{path}/").starts_with(&prefix));
    let mut definitions = take_object(&mut other, "definitions");
    let used = used(&paths, &definitions);
    definitions.retain(|name, _| used.contains(name));
    let Some(known) = document.get_mut("definitions").and_then(Value::as_object_mut) else { return };
    let renamed = rename(&definitions, known);
    let name_of = |name: &str| renamed.get(name).map_or(name, String::as_str).to_owned();
    for (name, mut definition) in definitions {
        refer(&mut definition, &name_of);
        known.entry(name_of(&name)).or_insert(definition);
    }
    let Some(known) = document.get_mut("paths").and_then(Value::as_object_mut) else { return };
    for (path, mut item) in paths {
        refer(&mut item, &name_of);
        known.insert(path, item);
    }
}

fn take_object(value: &mut Value, field: &str) -> Map<String, Value> {
    value.get_mut(field).and_then(Value::as_object_mut).map(std::mem::take).unwrap_or_default()
}

/// Names of the definitions that paths refer to, and that these refer to.
fn used(paths: &Map<String, Value>, definitions: &Map<String, Value>) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut waiting = Vec::new();
    paths.values().for_each(|item| references(item, &mut waiting));
    while let Some(name) = waiting.pop() {
        if let (Some(definition), true) = (definitions.get(&name), used.insert(name)) {
            references(definition, &mut waiting);
        }
    }
    used
}

/// New names for those of `definitions` that are something else among the `known` ones.
fn rename(definitions: &Map<String, Value>, known: &Map<String, Value>) -> BTreeMap<String, String> {
    let differs = |name: &String, definition: &Value| known.get(name).is_some_and(|known| known != definition);
    let conflicts = definitions.iter().filter(|(name, definition)| differs(name, definition));
    let free = |name: &String| !known.contains_key(name) && !definitions.contains_key(name);
    conflicts
        .filter_map(|(name, _)| {
            let new = (2_u32..).map(|number| format!("{name}_v{number}")).find(free)?;
            Some((name.clone(), new))
        })
        .collect()
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(REFERENCE));
            found.extend(name.map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// Gives references the names that definitions have now.
fn refer(value: &mut Value, name_of: &impl Fn(&str) -> String) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(name) = reference.strip_prefix(REFERENCE)
            {
                *reference = format!("{REFERENCE}{}", name_of(name));
            }
            fields.values_mut().for_each(|value| refer(value, name_of));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| refer(value, name_of)),
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
        let remote = RemoteDocument { path: "apis/a.b/v1".into(), v3_url: None, v2 };
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
    fn nonsense_changes_nothing() {
        for text in ["[]", "not json", "{\"paths\": 1}"] {
            let v2 = Some(Arc::new(Compressed::new(text.as_bytes(), String::new())));
            let mut document = json!({"paths": {}, "definitions": {}});
            merge(&mut document, &RemoteDocument { path: "apis/a.b/v1".into(), v3_url: None, v2 });
            assert_eq!(document, json!({"paths": {}, "definitions": {}}));
        }
    }
}
