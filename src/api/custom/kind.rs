//! A custom resource in one of its versions: what its definition says, and the strategy by which the
//! generic path treats it like any other kind.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::WebhookConversion;
use serde_json::Value;

use super::{
    defaults,
    json_path::JsonPath,
    prune,
    rules::{self, Rules},
    schema,
    structural::Structural,
    validate,
};
use crate::api::{
    Status,
    decoded::Decoded,
    field::{self, Path},
    kind::{Name, NameRule, Scope, Strategy, TableColumn},
    kinds::cells,
    meta,
    schema::Schema,
    status::Cause,
    time, typed,
    validation::metadata,
};

/// The column of a definition that declares none.
const AGE: &str = ".metadata.creationTimestamp";

/// One version of a custom resource.
pub struct CustomKind {
    /// `example.com/v1`
    pub api_version: Box<str>,
    /// The API version in which objects are stored.
    pub stored_version: Box<str>,
    /// All versions that are served, this one among them: `v1`, `v1beta1`.
    pub versions: Arc<[Box<str>]>,
    /// Who converts objects between versions; if nobody, these differ in nothing but their name.
    pub conversion: Option<Arc<WebhookConversion>>,
    /// `Foo`
    pub kind: Box<str>,
    /// Where objects live.
    pub scope: Scope,
    /// What objects look like.
    pub structural: Arc<Structural>,
    /// What they look like in the version in which they are stored.
    pub stored_structural: Arc<Structural>,
    /// The revision of the definition.
    pub revision: u64,
    /// Whether status is written apart from the rest.
    pub has_status: bool,
    /// Where a Scale is in an object, if it has one.
    pub scale: Option<ScalePaths>,
    /// Columns beside the name.
    pub columns: Box<[PrinterColumn]>,
    /// Fields that selectors may name.
    pub selectable: Box<[SelectableField]>,
    /// The definition as it is stored, and the position of this version in it.
    pub source: (Bytes, usize),
    /// What clients are warned of, if this version is deprecated.
    pub deprecation: Option<Box<str>>,
    /// Whether the definition is being deleted.
    pub ending: bool,
    /// Changes with everything that the definition says.
    pub tag: Box<str>,
    pub(super) decoding: OnceLock<Arc<Schema>>,
    pub(super) merging: OnceLock<Arc<Schema>>,
    pub(super) rules: OnceLock<Option<Rules>>,
}

/// Problems after which rules could not be evaluated soundly.
const BLOCKING: [&str; 5] =
    ["FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"];

/// Where the parts of a Scale are in an object (`CustomResourceSubresourceScale`).
#[derive(Debug, Clone)]
pub struct ScalePaths {
    /// Wanted replicas.
    pub spec_replicas: JsonPath,
    /// [`ScalePaths::spec_replicas`] as it is written.
    pub spec_replicas_text: Box<str>,
    /// Replicas that there are.
    pub status_replicas: JsonPath,
    /// A selector of pods, as text.
    pub label_selector: Option<JsonPath>,
}

/// An `additionalPrinterColumns` entry.
#[derive(Debug)]
pub struct PrinterColumn {
    /// Heading.
    pub name: Box<str>,
    /// OpenAPI type.
    pub kind: Box<str>,
    /// OpenAPI format.
    pub format: Box<str>,
    /// For people.
    pub description: Box<str>,
    /// 0 is always shown.
    pub priority: i32,
    /// Where its value is; `None` if that could not be understood.
    pub path: Option<JsonPath>,
}

/// A `selectableFields` entry.
#[derive(Debug)]
pub struct SelectableField {
    /// As selectors write it: `spec.color`.
    pub name: Box<str>,
    /// Where its value is.
    pub path: JsonPath,
}

impl PrinterColumn {
    fn shown(&self) -> TableColumn<'_> {
        let Self { name, kind, format, description, priority, .. } = self;
        TableColumn { name, kind, format, description, priority: *priority }
    }
}

impl CustomKind {
    /// The schema that bodies are decoded with; see [`schema`].
    pub fn decoding_schema(&self) -> &Arc<Schema> {
        let name = self.definition_name();
        self.decoding.get_or_init(|| schema::loose(&self.api_version, &self.kind, &name, &self.structural).into())
    }

    /// The schema that field ownership goes by.
    pub fn merging_schema(&self) -> &Arc<Schema> {
        let name = self.definition_name();
        self.merging.get_or_init(|| schema::typed(&self.api_version, &self.kind, &name, &self.structural).into())
    }

    /// Drops what the schema does not declare; gives a message for each dropped field.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        let dropped = prune::prune(object, &self.structural);
        dropped.into_iter().map(|path| format!("unknown field \"{path}\"")).collect()
    }

    /// A stored object as the definition has it by now, which may have changed since; `None` if that is
    /// what it is. One that was stored in another version, and that a webhook converts, is left to that.
    pub fn refreshed(&self, stored: &Value) -> Option<Value> {
        if self.conversion.is_some() && stored["apiVersion"] != *self.stored_version {
            return None;
        }
        let mut object = stored.clone();
        prune::prune(&mut object, &self.stored_structural);
        defaults::fill_in(&mut object, &self.stored_structural);
        (object != *stored).then_some(object)
    }

    /// The validation rules, compiled when the first object is written.
    fn rules(&self) -> Option<&Rules> {
        self.rules.get_or_init(|| Rules::compile(&self.structural, true)).as_ref()
    }

    /// Adds what the schema and its rules find wrong. `old` is what the object was before.
    fn check(&self, object: &Value, old: Option<&Value>, mut causes: Vec<Cause>) -> Vec<Cause> {
        causes.extend(validate::validate(object, old, &self.structural));
        let Some(rules) = self.rules() else { return causes };
        if causes.iter().any(|cause| BLOCKING.contains(&&*cause.reason)) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                          errors to complete validation";
            causes.push(field::invalid(&Path::new("<nil>"), Value::Null, detail));
        } else {
            causes.extend(rules::validate(object, old, &self.structural, rules));
        }
        causes
    }

    /// `com.example.v1.Foo`: the group's parts reversed.
    pub fn definition_name(&self) -> String {
        let (group, version) = self.api_version.split_once('/').unwrap_or_default();
        let reversed: Vec<&str> = group.rsplit('.').collect();
        format!("{}.{version}.{}", reversed.join("."), self.kind)
    }

    /// An object of this kind, pruned and with its defaults.
    fn completed(&self, mut object: Value) -> Result<Value, Status> {
        self.identify(&mut object)?;
        typed::drop_null_metadata(&mut object);
        prune::prune(&mut object, &self.structural);
        defaults::fill_in(&mut object, &self.structural);
        Ok(object)
    }

    fn identify(&self, object: &mut Value) -> Result<(), Status> {
        let Value::Object(fields) = object else {
            return Err(Status::bad_request("the object provided is unrecognized: it is not a JSON object"));
        };
        for (field, expected) in [("apiVersion", &self.api_version), ("kind", &self.kind)] {
            match fields.get(field).and_then(Value::as_str).unwrap_or_default() {
                "" => _ = fields.insert(field.to_owned(), Value::from(&**expected)),
                found if found == &**expected => {}
                found if field == "kind" => {
                    let version = self.api_version.rsplit('/').next().unwrap_or_default();
                    return Err(Status::bad_request(format!(
                        "{found} in version \"{version}\" cannot be handled as a {expected}: converting to {expected}: \
                         unknown conversion"
                    )));
                }
                found => {
                    return Err(Status::bad_request(format!(
                        "the API version in the data ({found}) does not match the expected API version ({expected})"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Everything but metadata, and status where that is apart, counts as the wish.
    fn is_changed(&self, new: &Value, old: &Value) -> bool {
        let counts = |name: &str| name != "metadata" && !(self.has_status && name == "status");
        let wish = |object: &Value| -> Vec<(String, Value)> {
            let fields = object.as_object().into_iter().flatten();
            fields.filter(|(name, _)| counts(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        wish(new) != wish(old)
    }
}

impl Strategy for CustomKind {
    fn decode(&self, object: Value) -> Result<Decoded, Status> {
        self.completed(object).map(Decoded::from)
    }

    fn prepare_for_create(&self, object: Value) -> Result<Decoded, Status> {
        let mut object = self.completed(object)?;
        if self.has_status {
            typed::remove(&mut object, "status");
        }
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            meta::set(&mut object, field, Value::Null);
        }
        meta::set(&mut object, "generation", 1);
        Ok(object.into())
    }

    fn prepare_for_update(&self, new: Value, old: &Decoded) -> Result<Decoded, Status> {
        let mut new = self.completed(new)?;
        typed::keep_identity(&mut new, old);
        if self.has_status {
            typed::replace(&mut new, old, "status");
        }
        let raised = i64::from(self.is_changed(&new, old));
        meta::set(&mut new, "generation", meta::generation(old) + raised);
        Ok(new.into())
    }

    fn prepare_for_status_update(&self, new: Value, old: &Decoded) -> Result<Decoded, Status> {
        let new = self.completed(new)?;
        let mut kept = Value::clone(old);
        typed::replace(&mut kept, &new, "status");
        let managed = meta::metadata(&new).and_then(|all| all.get("managedFields").cloned());
        meta::set(&mut kept, "managedFields", managed.unwrap_or_default());
        Ok(kept.into())
    }

    fn validate(&self, object: &Decoded) -> Vec<Cause> {
        self.check(object, None, metadata::validate(object, self.scope, NameRule::Subdomain))
    }

    fn validate_update(&self, new: &Decoded, old: &Decoded) -> Vec<Cause> {
        metadata::validate_update(new, old)
    }

    fn validate_change(&self, new: &Decoded, old: &Decoded) -> Vec<Cause> {
        // Every kind's metadata is checked first, and then its change by what validates custom resources.
        let change = metadata::validate_update(new, old);
        let causes = [metadata::validate(new, self.scope, NameRule::Subdomain), change.clone(), change].concat();
        self.check(new, Some(old), causes)
    }

    fn validate_status_update(&self, new: &Decoded, old: &Decoded) -> Vec<Cause> {
        self.validate_change(new, old)
    }

    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn selectable_fields(&self, object: &Decoded) -> Vec<(Name, String)> {
        let value = |field: &SelectableField| match field.path.find(object) {
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
            _ => String::new(),
        };
        self.selectable.iter().map(|field| (field.name.to_string().into(), value(field))).collect()
    }

    fn selectable_field_names(&self) -> Cow<'_, [&str]> {
        self.selectable.iter().map(|field| &*field.name).collect()
    }

    fn columns(&self) -> Cow<'_, [TableColumn<'_>]> {
        let name = TableColumn {
            name: "Name",
            kind: "string",
            format: "name",
            description: cells::NAME.description,
            priority: 0,
        };
        std::iter::once(name).chain(self.columns.iter().map(PrinterColumn::shown)).collect()
    }

    fn cells(&self, object: &Decoded, now: jiff::Timestamp) -> Vec<Value> {
        let value = |column: &PrinterColumn| {
            let found = column.path.as_ref().and_then(|path| path.find(object));
            found.map_or(Value::Null, |found| cell(found, &column.kind, now))
        };
        std::iter::once(meta::name(object).into()).chain(self.columns.iter().map(value)).collect()
    }

    fn grace_period_seconds(&self, _: &Decoded) -> Option<u64> {
        None
    }

    fn deprecation(&self) -> Option<Cow<'_, str>> {
        self.deprecation.as_deref().map(Cow::Borrowed)
    }

    fn custom(&self) -> Option<&CustomKind> {
        Some(self)
    }
}

/// Columns of a definition that declares none.
pub(super) fn default_columns() -> Box<[PrinterColumn]> {
    [PrinterColumn {
        name: "Age".into(),
        kind: "date".into(),
        format: "".into(),
        description: "When the object was created.".into(),
        priority: 0,
        path: JsonPath::parse(AGE),
    }]
    .into()
}

/// A value as a column of type `kind` shows it; null if it does not have that type.
fn cell(value: &Value, kind: &str, now: jiff::Timestamp) -> Value {
    match (kind, value) {
        ("integer", Value::Number(number)) if number.is_f64() => {
            number.as_f64().map_or(Value::Null, |number| (number.trunc() as i64).into())
        }
        ("integer" | "number", Value::Number(_)) | ("boolean", Value::Bool(_)) | ("string", Value::String(_)) => {
            value.clone()
        }
        ("string", Value::Null) => Value::Null,
        ("string", other) => other.to_string().into(),
        ("date", Value::String(text)) => match time::parse(text) {
            Some(then) => time::age(Some(then), now).into(),
            None => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{definition, served};
    use super::*;

    fn kind(schema: Value) -> CustomKind {
        served(&definition(schema), 0)
    }

    #[test]
    fn decoding_identifies_prunes_and_defaults() {
        let foo = kind(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "replicas": {"type": "integer", "default": 1}}}}}));
        let decoded = foo.decode(json!({"metadata": {"name": "a"}, "spec": {"x": 1}})).unwrap();
        assert_eq!(
            *decoded,
            json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "a"}, "spec": {"replicas": 1}})
        );
        assert_eq!(foo.decode(json!({"apiVersion": "example.com/v2"})).unwrap_err().code(), 400);
        assert_eq!(foo.decode(json!({"kind": "Bar"})).unwrap_err().code(), 400);
    }

    #[test]
    fn generations_follow_everything_but_metadata_and_status() {
        let foo = kind(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        let old = foo.prepare_for_create(json!({"metadata": {"name": "a"}, "spec": 1, "status": 1})).unwrap();
        assert_eq!(old["metadata"], json!({"name": "a", "generation": 1}));
        assert!(old.get("status").is_none());
        let update = |new: Value| meta::generation(&foo.prepare_for_update(new, &old).unwrap());
        assert_eq!(update(json!({"metadata": {"name": "a", "labels": {"a": "b"}}, "spec": 1, "status": 2})), 1);
        assert_eq!(update(json!({"metadata": {"name": "a"}, "spec": 2})), 2);
    }

    #[test]
    fn a_status_update_changes_nothing_else() {
        let foo = kind(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        let old = json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "a"}, "spec": 1}).into();
        let new = json!({"metadata": {"name": "a", "labels": {"a": "b"}}, "spec": 2, "status": 3});
        let updated = foo.prepare_for_status_update(new, &old).unwrap();
        assert_eq!(updated["spec"], 1);
        assert_eq!(updated["status"], 3);
        assert!(updated["metadata"].get("labels").is_none());
    }

    #[test]
    fn cells_show_values_of_their_type() {
        let foo = kind(json!({"type": "object"}));
        let now = time::parse("2026-01-01T00:01:00Z").unwrap();
        let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
                            "spec": {"replicas": 3, "list": ["x"], "when": "never"}});
        let object = Decoded::from(object);
        let cells = foo.cells(&object, now);
        assert_eq!(cells, [json!("a"), json!(3), json!("[\"x\"]"), json!("60s"), json!("<invalid>"), json!(null)]);
        assert_eq!(foo.columns().len(), cells.len());
        assert_eq!(foo.selectable_fields(&object), [("spec.replicas".into(), "3".to_owned())]);
    }
}
