//! What documents say of the built-in kinds beyond their types: values that a field may have, what it is
//! when nobody says, the order of required fields. It stands in `embedded/openapi-facts.txt`:
//!
//! ```text
//! versions v1 apps/v1                       group versions in which options of requests exist
//! default core.v1.ServicePort port protocol=TCP         the zero of its type, or a value
//! required core.v1.Taint key effect                     in the order of documents
//! union core.v1.SeccompProfile type localhostProfile=LocalhostProfile
//! enum core.v1.PodSpec.restartPolicy core.v1.ServiceSpec.ipFamilies[]
//!     <tab>Always<tab>what the value means             one line a value
//! list core.v1.Pod<tab>description<tab>that of items<tab>that of metadata
//! ```
//!
//! `[]` after a field means its items, `{}` its values, and `+` that its description ends with an empty line.
//! The table is read when a document is built, and let go of after that.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::{api::schema::facts::short, apiserver::discovery::digest};

const TEXT: &str = include_str!("../../../embedded/openapi-facts.txt");
/// What introduces the values of a field in its description.
const VALUES: &str = "Possible enum values:";

/// Changes with the table.
pub(super) fn edition() -> &'static str {
    static EDITION: LazyLock<String> = LazyLock::new(|| digest(TEXT.as_bytes()));
    &EDITION
}

/// Groups that documents of custom kinds do not name among those with options.
const NOT_OF_CUSTOM: [&str; 4] =
    ["admission.k8s.io/", "apiextensions.k8s.io/", "apiregistration.k8s.io/", "imagepolicy.k8s.io/"];

/// What a document is about.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    /// Everything.
    All,
    /// One group version: `apps/v1`.
    Version(&'a str),
    /// Custom kinds alone.
    Custom,
}

/// The table, by definition.
#[derive(Default)]
pub(super) struct Facts {
    versions: Vec<&'static str>,
    defaults: HashMap<&'static str, &'static str>,
    required: HashMap<&'static str, &'static str>,
    unions: HashMap<&'static str, &'static str>,
    enums: HashMap<&'static str, Vec<Enumeration>>,
    lists: HashMap<&'static str, [&'static str; 3]>,
}

/// Values of a field.
struct Enumeration {
    field: &'static str,
    place: Place,
    /// The lines of its values.
    values: &'static str,
}

/// What of a field has the values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Field,
    FieldAfterLine,
    Items,
    Values,
}

/// Descriptions of a list.
pub(super) struct ListFacts {
    /// That of the list.
    pub(super) description: &'static str,
    /// That of its items.
    pub(super) items: &'static str,
    /// That of its metadata.
    pub(super) metadata: &'static str,
}

impl Facts {
    /// Reads the table.
    pub(super) fn read() -> Self {
        let mut facts = Self::default();
        // A statement is a line and the indented ones after it.
        let mut rest = TEXT;
        while !rest.is_empty() {
            let mut ends = rest.match_indices('\n').map(|(at, _)| at + 1);
            let end = ends.find(|end| !rest[*end..].starts_with('\t')).unwrap_or(rest.len());
            let (statement, others) = rest.split_at(end);
            facts.add(statement);
            rest = others;
        }
        facts
    }

    fn add(&mut self, statement: &'static str) {
        let (line, values) = statement.split_once('\n').unwrap_or((statement, ""));
        let Some((keyword, line)) = line.split_once(' ') else { return };
        let (definition, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        match keyword {
            "versions" => self.versions = line.split(' ').collect(),
            "default" => _ = self.defaults.insert(definition, rest),
            "required" => _ = self.required.insert(definition, rest),
            "union" => _ = self.unions.insert(definition, rest),
            "enum" => line.split(' ').for_each(|field| self.add_values(field, values)),
            _ => {
                let mut texts = rest.split('\t');
                let mut next = || texts.next().unwrap_or_default();
                self.lists.insert(definition, [next(), next(), next()]);
            }
        }
    }

    fn add_values(&mut self, field: &'static str, values: &'static str) {
        let places = [("[]", Place::Items), ("{}", Place::Values), ("+", Place::FieldAfterLine), ("", Place::Field)];
        let found = places.iter().find_map(|(suffix, place)| Some((field.strip_suffix(suffix)?, *place)));
        let (field, place) = found.unwrap_or((field, Place::Field));
        if let Some((definition, field)) = field.rsplit_once('.') {
            self.enums.entry(definition).or_default().push(Enumeration { field, place, values });
        }
    }

    /// What is said of the list of `definition`.
    pub(super) fn list(&self, definition: &str) -> Option<ListFacts> {
        let [description, items, metadata] = *self.lists.get(short(definition))?;
        Some(ListFacts { description, items, metadata })
    }

    /// `{group, version, kind}` of `kind` in those group versions of `scope` whose requests take options, which
    /// is nearly every one.
    pub(super) fn everywhere(&self, kind: &str, scope: Scope<'_>) -> Value {
        let is_shown = |version: &&&str| match scope {
            Scope::All => true,
            Scope::Version(only) => **version == "v1" || **version == only,
            Scope::Custom => !NOT_OF_CUSTOM.iter().any(|group| version.starts_with(group)),
        };
        let each = self.versions.iter().filter(is_shown).map(|version| {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            json!({"group": group, "version": version, "kind": kind})
        });
        each.collect()
    }

    /// Adds to a definition, whose references were not rewritten yet, what is known of it.
    pub(super) fn complete(&self, name: &str, definition: &mut Value, dialect: Dialect) {
        let name = short(name);
        if let Some(required) = self.required.get(name) {
            set_required(definition, required.split(' ').filter(|field| !field.is_empty()));
        }
        if let Some(union) = self.unions.get(name) {
            definition["x-kubernetes-unions"] = json!([union_of(union)]);
        }
        let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else { return };
        for enumeration in self.enums.get(name).into_iter().flatten() {
            properties.get_mut(enumeration.field).into_iter().for_each(|property| enumeration.tell(property));
        }
        // Version 2 has no defaults.
        let defaults = self.defaults.get(name).filter(|_| dialect == Dialect::V3);
        for default in defaults.into_iter().flat_map(|fields| fields.split(' ')) {
            let (field, value) = default.split_once('=').map_or((default, None), |(field, value)| (field, Some(value)));
            if let Some(property) = properties.get_mut(field) {
                property["default"] = default_of(property, value);
            }
        }
    }
}

fn set_required<'a>(definition: &mut Value, fields: impl Iterator<Item = &'a str>) {
    let fields: Vec<&str> = fields.collect();
    match definition.as_object_mut() {
        Some(definition) if fields.is_empty() => _ = definition.remove("required"),
        Some(definition) => _ = definition.insert("required".into(), json!(fields)),
        None => {}
    }
}

fn union_of(text: &str) -> Value {
    let (discriminator, fields) = text.split_once(' ').unwrap_or((text, ""));
    let fields: Map<String, Value> = fields
        .split(' ')
        .filter_map(|field| field.split_once('='))
        .map(|(field, value)| (field.to_owned(), value.into()))
        .collect();
    let mut union = json!({"fields-to-discriminateBy": fields});
    if discriminator != "-" {
        union["discriminator"] = discriminator.into();
    }
    union
}

fn default_of(property: &Value, value: Option<&str>) -> Value {
    let text = value.unwrap_or_default();
    match property["type"].as_str() {
        Some("string") => text.into(),
        Some("integer") => text.parse::<i64>().unwrap_or_default().into(),
        Some("boolean") => (text == "true").into(),
        _ => json!({}),
    }
}

impl Enumeration {
    fn tell(&self, property: &mut Value) {
        let values: Vec<(&str, &str)> = self
            .values
            .lines()
            .filter_map(|line| line.strip_prefix('\t'))
            .map(|line| line.split_once('\t').unwrap_or((line, "")))
            .collect();
        let target = match self.place {
            Place::Field | Place::FieldAfterLine => property,
            Place::Items => &mut property["items"],
            Place::Values => &mut property["additionalProperties"],
        };
        target["enum"] = values.iter().map(|(value, _)| Value::from(*value)).collect();
        let end = match self.place {
            Place::Field => "",
            Place::FieldAfterLine => "\n",
            Place::Items | Place::Values => return,
        };
        let about = target["description"].as_str().unwrap_or_default();
        let lines: Vec<String> = values.iter().map(|(value, meaning)| line(value, meaning)).collect();
        target["description"] = format!("{about}{end}\n\n{VALUES}\n{}", lines.join("\n")).into();
    }
}

fn line(value: &str, meaning: &str) -> String {
    format!(" - `\"{value}\"` {meaning}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";

    #[test]
    fn every_statement_is_understood() {
        let facts = Facts::read();
        assert!(facts.versions.contains(&"apps/v1"));
        let known = [facts.defaults.len(), facts.required.len(), facts.enums.len(), facts.lists.len()];
        assert!(known.iter().all(|count| *count > 50), "{known:?}");
        assert!(TEXT.lines().all(|line| {
            let keyword = line.split([' ', '\t']).next().unwrap_or_default();
            ["versions", "default", "required", "union", "enum", "list", ""].contains(&keyword)
        }));
    }

    #[test]
    fn values_of_a_field_are_told_and_described() {
        let mut pod = json!({"properties": {"restartPolicy": {"type": "string", "description": "When to restart."}}});
        Facts::read().complete(POD_SPEC, &mut pod, Dialect::V2);
        let policy = &pod["properties"]["restartPolicy"];
        assert_eq!(policy["enum"], json!(["Always", "Never", "OnFailure"]));
        let about = policy["description"].as_str().unwrap();
        assert!(about.starts_with("When to restart.\n\nPossible enum values:\n - `\"Always\"`\n"), "{about}");
    }

    #[test]
    fn defaults_are_zeros_or_values() {
        let port = json!({"type": "integer"});
        assert_eq!((default_of(&port, None), default_of(&port, Some("1"))), (json!(0), json!(1)));
        assert_eq!(default_of(&json!({"type": "string"}), Some("TCP")), "TCP");
        assert_eq!(default_of(&json!({"$ref": "#/definitions/a"}), None), json!({}));
    }
}
