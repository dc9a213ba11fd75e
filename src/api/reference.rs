//! What the API reference says of the types of built-in kinds, as `build.rs` found it documented:
//! JSON schemas (draft 7) with descriptions. It is read when an OpenAPI document is built, and let
//! go with it.

use std::{collections::BTreeMap, io::Read};

use flate2::read::ZlibDecoder;
use serde_json::{Map, Value};

const COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/definitions.zlib"));

/// Where a schema's references to others lead.
pub const REFERENCE: &str = "#/definitions/";

/// The reference: a definition a line, its name and its schema.
pub struct Reference(String);

impl Reference {
    /// Unpacks it.
    pub fn read() -> Self {
        let mut text = String::new();
        let read = ZlibDecoder::new(COMPRESSED).read_to_string(&mut text);
        read.expect("the executable has the reference whole, as UTF-8");
        Self(text)
    }

    /// The definitions of `names` (`io.k8s.api.core.v1.Pod`) and of all that they refer to. Names that
    /// nothing is known of have none.
    pub fn closure<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Map<String, Value> {
        let lines: BTreeMap<&str, &str> = self.lines().collect();
        let mut found = Map::new();
        let mut waiting: Vec<String> = names.into_iter().map(str::to_owned).collect();
        while let Some(name) = waiting.pop() {
            if let Some(line) = lines.get(&*name).filter(|_| !found.contains_key(&name)) {
                let definition: Value = serde_json::from_str(line).expect("build.rs wrote JSON");
                add_references(&definition, &mut waiting);
                found.insert(name, definition);
            }
        }
        found
    }

    /// The definition of `name` alone.
    pub fn definition(&self, name: &str) -> Option<Value> {
        let line = self.lines().find(|line| line.0 == name)?.1;
        Some(serde_json::from_str(line).expect("build.rs wrote JSON"))
    }

    /// All names, with the texts of their definitions.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().filter_map(|line| line.split_once(' '))
    }
}

fn add_references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str).and_then(|pointer| pointer.strip_prefix(REFERENCE));
            found.extend(name.map(str::to_owned));
            fields.values().for_each(|value| add_references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| add_references(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{kinds, protobuf::facts::messages, schema::facts::long};

    #[test]
    fn every_kind_is_documented_with_all_it_consists_of() {
        let reference = Reference::read();
        for kind in kinds::all() {
            let name = long(messages().of_kind(&kind.api_version(), &kind.kind).unwrap().name);
            let closure = reference.closure([&*name]);
            assert!(closure[&*name]["description"].is_string(), "{name}");
            let mut referred = Vec::new();
            closure.values().for_each(|definition| add_references(definition, &mut referred));
            assert!(referred.iter().all(|name| closure.contains_key(name)), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_has_no_definition() {
        let reference = Reference::read();
        assert!(reference.closure(["io.example.v1.Widget"]).is_empty());
        assert_eq!(reference.definition("io.example.v1.Widget"), None);
    }
}
